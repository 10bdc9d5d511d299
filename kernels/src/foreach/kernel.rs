//! Operations of an optimiser on flat tensors.

use nki::prelude::*;

/// What `foreach` computes of `x`, `y`, `z` and the number `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Foreach {
    /// `x + s`
    AddScalar,
    /// `x - s`
    SubScalar,
    /// `x · s`
    MulScalar,
    /// `x / s`
    DivScalar,
    /// `x + s · y`
    Add,
    /// `x - s · y`
    Sub,
    /// `x · y`
    Mul,
    /// `x / y`
    Div,
    /// `x + s · (y / z)`
    Addcdiv,
    /// `x + s · y · z`
    Addcmul,
    /// `x + s · (y - x)`
    Lerp,
    /// `√x`
    Sqrt,
}

impl Foreach {
    /// Whether `y`, `z` and the number are operands.
    pub fn operands(self) -> [bool; 3] {
        match self {
            Foreach::AddScalar | Foreach::SubScalar | Foreach::MulScalar | Foreach::DivScalar => {
                [false, false, true]
            }
            Foreach::Add | Foreach::Sub | Foreach::Lerp => [true, false, true],
            Foreach::Mul | Foreach::Div => [true, false, false],
            Foreach::Addcdiv | Foreach::Addcmul => [true, true, true],
            Foreach::Sqrt => [false, false, false],
        }
    }
}

/// What `foreach` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ForeachConfig {
    #[config(default = Foreach::Sqrt)]
    pub op: Foreach,
    /// Elements of one tile in each partition.
    #[config(default = 2048)]
    pub columns: usize,
}

/// One operation on flat tensors `[n]`, in f32 and rounded once. The number is data, `scalar[0]`: another learning rate is not
/// another kernel. `y`, `z` and `scalar` are given exactly where the operation has them.
#[nki::kernel]
pub fn foreach<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    y: Option<Hbm<T>>,
    z: Option<Hbm<T>>,
    scalar: Option<Hbm<f32>>,
    cfg: ForeachConfig,
) -> Hbm<T> {
    let [n] = x.dims();
    let given = [y.is_some(), z.is_some(), scalar.is_some()];
    let wanted = cfg.op.operands();
    ensure!(nc, given == wanted, "y, z and scalar: exactly those that the operation has");
    for operand in [y, z].into_iter().flatten() {
        ensure!(nc, operand.shape() == [n]);
    }
    let number = scalar.map(|s| {
        ensure!(nc, s.shape() == [1]);
        nc.load(s.reshape([1, 1]).broadcast(0, n.clamp(1, 128)))
    });
    let out = nc.hbm([n]);
    for fold in folds(n) {
        for c in nc.tiles(fold.columns, cfg.columns) {
            let part = |t: Hbm<T>| nc.load(fold.of(t).at((.., c)));
            let result = nc.sbuf::<T>([fold.rows, c.len()]);
            let number = number.map(|s| s.at((0..fold.rows, ..)));
            apply(nc, cfg.op, result, part(x), [y, z].map(|t| t.map(part)), number);
            nc.store(fold.of(out).at((.., c)), result);
        }
    }
    out
}

/// A run of a flat tensor as a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold {
    start: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Fold {
    /// The run of `t`.
    pub(super) fn of<T: Elem>(self, t: Hbm<T>) -> Hbm<T> {
        let run = t.at((self.start..self.start + self.rows * self.columns,));
        run.reshape([self.rows, self.columns])
    }
}

/// All of `n` elements: as many as 128 divides on all partitions, the rest in one.
pub(super) fn folds(n: usize) -> Vec<Fold> {
    let whole = n - n % 128;
    let all =
        [Fold { start: 0, rows: 128, columns: n / 128 }, Fold { start: whole, rows: 1, columns: n % 128 }];
    all.into_iter().filter(|f| f.columns > 0).collect()
}

/// `dst = op(x, y, z, number)`.
#[nki::kernel]
fn apply<T: Float>(
    nc: Nc,
    op: Foreach,
    dst: Tile<T>,
    x: Tile<T>,
    [y, z]: [Option<Tile<T>>; 2],
    number: Option<Tile<f32>>,
) {
    let between = || nc.sbuf::<f32>(x.shape());
    match (op, y, z, number) {
        (Foreach::AddScalar, _, _, Some(s)) => drop(nc.tensor_scalar(dst, x, Alu::Add, s)),
        (Foreach::SubScalar, _, _, Some(s)) => drop(nc.tensor_scalar(dst, x, Alu::Subtract, s)),
        (Foreach::MulScalar, _, _, Some(s)) => drop(nc.tensor_scalar(dst, x, Alu::Multiply, s)),
        (Foreach::DivScalar, _, _, Some(s)) => drop(nc.tensor_scalar(dst, x, Alu::Multiply, s.reciprocal())),
        (Foreach::Add, Some(y), _, Some(s)) => {
            nc.scalar_tensor_tensor(dst, y, Alu::Multiply, s, Alu::Add, x);
        }
        (Foreach::Sub, Some(y), _, Some(s)) => {
            nc.scalar_tensor_tensor(dst, y, Alu::Multiply, s, Alu::Subtract, x).reverse1(true);
        }
        (Foreach::Mul, Some(y), ..) => drop(nc.tensor_tensor(dst, x, y, Alu::Multiply)),
        (Foreach::Div, Some(y), ..) => {
            let inverse = between();
            nc.reciprocal(inverse, y);
            nc.tensor_tensor(dst, x, inverse, Alu::Multiply);
        }
        (Foreach::Addcdiv, Some(y), Some(z), Some(s)) => {
            let quotient = between();
            nc.reciprocal(quotient, z);
            nc.tensor_tensor(quotient, quotient, y, Alu::Multiply);
            nc.scalar_tensor_tensor(dst, quotient, Alu::Multiply, s, Alu::Add, x);
        }
        (Foreach::Addcmul, Some(y), Some(z), Some(s)) => {
            let product = between();
            nc.scalar_tensor_tensor(product, y, Alu::Multiply, s, Alu::Multiply, z);
            nc.tensor_tensor(dst, product, x, Alu::Add);
        }
        (Foreach::Lerp, Some(y), _, Some(s)) => {
            let distance = between();
            nc.tensor_tensor(distance, y, x, Alu::Subtract);
            nc.scalar_tensor_tensor(dst, distance, Alu::Multiply, s, Alu::Add, x);
        }
        (Foreach::Sqrt, ..) => drop(nc.activation(dst, Act::Sqrt, x)),
        _ => nc.fail("an operand of the operation is missing"),
    }
}
