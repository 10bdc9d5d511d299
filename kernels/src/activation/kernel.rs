//! A function of the scalar engine over a matrix.

use crate::share::Share;
use nki::prelude::*;

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Function {
    Exp,
    /// `x · σ(x)`.
    Silu,
    /// With the error function.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))`.
    GeluTanh,
    /// `x · σ(1.702x)`.
    GeluSigmoid,
    Relu,
    Tanh,
    Sigmoid,
    Square,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Softplus,
    /// Derivative of `Silu`.
    SiluDx,
    /// Derivative of `Gelu`.
    GeluDx,
    /// Derivative of `GeluSigmoid`.
    GeluSigmoidDx,
}

impl Function {
    /// The scalar engine's function of that name.
    pub(crate) fn of_the_scalar_engine(self) -> Act {
        match self {
            Function::Exp => Act::Exp,
            Function::Silu => Act::Silu,
            Function::Gelu => Act::Gelu,
            Function::GeluTanh => Act::GeluApprxTanh,
            Function::GeluSigmoid => Act::GeluApprxSigmoid,
            Function::Relu => Act::Relu,
            Function::Tanh => Act::Tanh,
            Function::Sigmoid => Act::Sigmoid,
            Function::Square => Act::Square,
            Function::Sqrt => Act::Sqrt,
            Function::Rsqrt => Act::Rsqrt,
            Function::Reciprocal => Act::Reciprocal,
            Function::Softplus => Act::Softplus,
            Function::SiluDx => Act::SiluDx,
            Function::GeluDx => Act::GeluDx,
            Function::GeluSigmoidDx => Act::GeluApprxSigmoidDx,
        }
    }
}

/// What `activation` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ActivationConfig {
    #[config(default = Function::Silu)]
    pub function: Function,
    /// Multiplies the argument.
    #[config(default = 1.0)]
    pub scale: f32,
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r, c] = f(scale · x[r, c] + bias[r])`, in f32 and rounded once.
#[nki::kernel]
pub fn activation<T: Float>(nc: Nc, x: Hbm<T>, bias: Option<Hbm<T>>, cfg: ActivationConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    if let Some(bias) = bias {
        let shape: [usize; 1] = bias.dims();
        ensure!(nc, shape == [rows], "the bias has one value per row");
    }
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, bias, to, rows) = (mine.of(x, 0), bias.map(|t| mine.of(t, 0)), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        let bias = bias.map(|b| nc.load(b.reshape([rows, 1]).at((r, ..))).to::<f32>());
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            let instruction = nc.activation(y, cfg.function.of_the_scalar_engine(), tile).scale(cfg.scale);
            if let Some(bias) = bias {
                instruction.bias(bias);
            }
            nc.store(to.at((r, c)), y);
        }
    }
    out
}

/// [`activation()`], and the sum of each row of its results: `out[r, c] = f(scale · x[r, c] + bias[r])`, `sums[r] = Σ_c out[r, c]` in f32
/// before rounding.
#[nki::kernel]
pub fn activation_sum<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    bias: Option<Hbm<T>>,
    cfg: ActivationConfig,
) -> (Hbm<T>, Hbm<f32>) {
    let [rows, columns] = x.dims();
    if let Some(bias) = bias {
        ensure!(nc, bias.shape() == [rows], "the bias has one value per row");
    }
    let (out, sums) = (nc.hbm([rows, columns]), nc.hbm([rows]));
    let mine = Share::new(nc, rows, 128);
    let (x, bias, to, to_sums, rows) =
        (mine.of(x, 0), bias.map(|t| mine.of(t, 0)), mine.of(out, 0), mine.of(sums, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        let bias = bias.map(|b| nc.load(b.reshape([rows, 1]).at((r, ..))).to::<f32>());
        let total = nc.zeros::<f32>([r.len(), 1]);
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let (y, sum) = (nc.sbuf::<T>([r.len(), c.len()]), nc.sbuf::<f32>([r.len(), 1]));
            let instruction = nc.activation(y, cfg.function.of_the_scalar_engine(), tile).scale(cfg.scale);
            match bias {
                Some(bias) => drop(instruction.bias(bias).reduce(sum)),
                None => drop(instruction.reduce(sum)),
            }
            nc.tensor_tensor(total, total, sum, Alu::Add);
            nc.store(to.at((r, c)), y);
        }
        nc.store(to_sums.reshape([rows, 1]).at((r, ..)), total);
    }
    (out, sums)
}
