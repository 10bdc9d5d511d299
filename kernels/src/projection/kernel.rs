//! A linear layer: product with a weight, bias, residual.

use crate::strip::{product, strip, transposed};
use nki::prelude::*;

/// How `projection` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct ProjectionConfig {
    /// Tokens at a time, for which the weight is read once.
    #[config(default = 512)]
    pub tokens: usize,
    /// Columns of the weight at a time, at most 512.
    #[config(default = 512)]
    pub columns: usize,
}

/// `out = x · weight + bias + residual`, bias and residual where present; added in f32 and rounded once.
///
/// `x` is `[tokens, hidden]`, `weight` is `[hidden, columns]`, `bias` is `[columns]`, `residual` like the result `[tokens, columns]`:
/// the projections to queries, keys and values, that of the attention's result, and the last one to a vocabulary.
#[nki::kernel]
pub fn projection<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: ProjectionConfig,
) -> Hbm<T> {
    let [tokens, hidden] = x.dims();
    let [rows, columns] = weight.dims();
    ensure!(nc, rows == hidden && hidden > 0);
    ensure!(nc, cfg.columns <= 512, "a bank of PSUM has 512 columns");
    if let Some(bias) = bias {
        let shape: [usize; 1] = bias.dims();
        ensure!(nc, shape == [columns]);
    }
    if let Some(residual) = residual {
        let shape: [usize; 2] = residual.dims();
        ensure!(nc, shape == [tokens, columns]);
    }
    let out = nc.hbm([tokens, columns]);
    for t in nc.tiles(tokens, cfg.tokens) {
        let x_t = transposed(nc, x.at((t, ..)));
        for c in nc.tiles(columns, cfg.columns) {
            let strip = strip(nc, weight.at((.., c)));
            let bias =
                bias.map(|b| nc.load(b.reshape([1, columns]).at((.., c)).broadcast(0, t.len().min(128))));
            for s in nc.tiles(t, 128) {
                let y = product(nc, x_t.at((.., .., s.local())), strip, hidden);
                let with_residual = residual.map(|r| {
                    let sum = nc.sbuf::<f32>([s.len(), c.len()]);
                    nc.tensor_tensor(sum, y, nc.load(r.at((s, c))), Alu::Add);
                    sum
                });
                let result = nc.sbuf::<T>([s.len(), c.len()]);
                match (with_residual, bias.map(|b| b.at((0..s.len(), ..)))) {
                    (Some(sum), Some(bias)) => drop(nc.tensor_tensor(result, sum, bias, Alu::Add)),
                    (Some(sum), None) => drop(nc.tensor_copy(result, sum)),
                    (None, Some(bias)) => drop(nc.tensor_tensor(result, y, bias, Alu::Add)),
                    (None, None) => drop(nc.tensor_copy(result, y)),
                }
                nc.store(out.at((s, c)), result);
            }
        }
    }
    out
}
