//! Operations on the elements of a matrix and of what is broadcast to it.

use crate::share::Share;
use nki::prelude::*;

/// An operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// A product with the reciprocal: two roundings in f32.
    Div,
    Min,
    Max,
}

impl Binary {
    /// The ALU operator; division has none.
    pub(super) fn alu(self) -> Option<Alu> {
        match self {
            Binary::Add => Some(Alu::Add),
            Binary::Sub => Some(Alu::Subtract),
            Binary::Mul => Some(Alu::Multiply),
            Binary::Div => None,
            Binary::Min => Some(Alu::Minimum),
            Binary::Max => Some(Alu::Maximum),
        }
    }
}

/// What `elementwise` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ElementwiseConfig {
    #[config(default = Binary::Add)]
    pub op: Binary,
    /// The other side, where no tensor is.
    #[config(default = 1.0)]
    pub scalar: f32,
    /// Exchanges the sides: `other op x`.
    #[config(default = false)]
    pub reverse: bool,
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r, c] = x[r, c] op other`, in f32 and rounded once, `other` being one of `y[r, c]`, `row[c]`, `column[r]` and, without
/// any of them, the number `scalar`.
#[nki::kernel]
pub fn elementwise<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    y: Option<Hbm<T>>,
    row: Option<Hbm<T>>,
    column: Option<Hbm<T>>,
    cfg: ElementwiseConfig,
) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let given = [y.is_some(), row.is_some(), column.is_some()];
    let tensors = given.into_iter().filter(|g| *g).count();
    ensure!(nc, tensors <= 1, "the other side is one of y, row and column, or the number");
    shape_is(nc, y, &[rows, columns]);
    shape_is(nc, row, &[columns]);
    shape_is(nc, column, &[rows]);
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, y, column, to, rows) =
        (mine.of(x, 0), y.map(|t| mine.of(t, 0)), column.map(|t| mine.of(t, 0)), mine.of(out, 0), mine.len());
    for c in nc.tiles(columns, cfg.columns) {
        // The same for all rows: its load repeats it on every partition, once for these columns.
        let row = row.map(|v| nc.load(v.reshape([1, columns]).at((.., c)).broadcast(0, rows.min(128))));
        for r in nc.tiles(rows, 128) {
            let tile = nc.load(x.at((r, c)));
            let result = nc.sbuf::<T>([r.len(), c.len()]);
            let other = match (y, row, column) {
                (Some(y), ..) => Side::Tile(nc.load(y.at((r, c)))),
                (_, Some(row), _) => Side::Tile(row.at((0..r.len(), ..))),
                (_, _, Some(v)) => Side::Column(nc.load(v.reshape([rows, 1]).at((r, ..))).to::<f32>()),
                (None, None, None) => Side::Number(cfg.scalar),
            };
            combine(nc, result, tile, other, &cfg);
            nc.store(to.at((r, c)), result);
        }
    }
    out
}

/// Refuses an operand of another shape.
#[nki::kernel]
pub(super) fn shape_is<T: Elem>(nc: Nc, operand: Option<Hbm<T>>, shape: &[usize]) {
    if let Some(operand) = operand {
        ensure!(nc, operand.shape() == shape);
    }
}

/// What a tile is combined with.
enum Side<T: Elem> {
    Tile(Tile<T>),
    /// One value per partition.
    Column(Tile<f32>),
    Number(f32),
}

/// `dst = x op other`.
#[nki::kernel]
fn combine<T: Float>(nc: Nc, dst: Tile<T>, x: Tile<T>, other: Side<T>, cfg: &ElementwiseConfig) {
    let Some(op) = cfg.op.alu() else { return divide(nc, dst, x, other, cfg.reverse) };
    match other {
        Side::Tile(y) if cfg.reverse => drop(nc.tensor_tensor(dst, y, x, op)),
        Side::Tile(y) => drop(nc.tensor_tensor(dst, x, y, op)),
        Side::Column(v) => drop(nc.tensor_scalar(dst, x, op, v).reverse0(cfg.reverse)),
        Side::Number(n) => drop(nc.tensor_scalar(dst, x, op, n).reverse0(cfg.reverse)),
    }
}

/// `dst = x / other` or `other / x`: there is no division, only the reciprocal.
#[nki::kernel]
fn divide<T: Float>(nc: Nc, dst: Tile<T>, x: Tile<T>, other: Side<T>, reverse: bool) {
    match (other, reverse) {
        (Side::Tile(y), false) => drop(nc.tensor_tensor(dst, x, inverse(nc, y), Alu::Multiply)),
        (Side::Tile(y), true) => drop(nc.tensor_tensor(dst, y, inverse(nc, x), Alu::Multiply)),
        (Side::Column(v), false) => drop(nc.tensor_scalar(dst, x, Alu::Multiply, inverse(nc, v))),
        (Side::Column(v), true) => drop(nc.tensor_scalar(dst, inverse(nc, x), Alu::Multiply, v)),
        (Side::Number(n), false) => drop(nc.tensor_scalar(dst, x, Alu::Multiply, 1.0 / n)),
        (Side::Number(n), true) => drop(nc.tensor_scalar(dst, inverse(nc, x), Alu::Multiply, n)),
    }
}

/// `1 / x` in f32.
#[nki::kernel]
fn inverse<T: Float>(nc: Nc, x: Tile<T>) -> Tile<f32> {
    let inverse = nc.sbuf::<f32>(x.shape());
    nc.reciprocal(inverse, x);
    inverse
}
