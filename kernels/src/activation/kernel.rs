//! A function of the scalar engine over a matrix.

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
}

impl Function {
    fn of_the_scalar_engine(self) -> Act {
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
    for r in nc.tiles(rows, 128) {
        let bias = bias.map(|b| nc.load(b.reshape([rows, 1]).at((r, ..))).to::<f32>());
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            let instruction = nc.activation(y, cfg.function.of_the_scalar_engine(), tile).scale(cfg.scale);
            if let Some(bias) = bias {
                instruction.bias(bias);
            }
            nc.store(out.at((r, c)), y);
        }
    }
    out
}
