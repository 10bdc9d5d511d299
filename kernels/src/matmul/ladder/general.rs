//! Rung 6: any shape, batches, operands either way round, and what follows a product.

use crate::activation::Function;
use crate::strip::{product, strip, transposed};
use nki::prelude::*;

/// What `matmul_general` does with the product.
#[derive(Clone, Debug, KernelConfig)]
pub struct GeneralConfig {
    /// A function of the product and the bias.
    #[config(default = None)]
    pub activation: Option<Function>,
    /// Rows of the result at a time, for which the right operand is read once.
    #[config(default = 512)]
    pub rows: usize,
}

/// `out[b] = f(lhs[b] · rhs[b] + bias) + residual[b]` for each of a batch, in f32 and rounded once.
///
/// The left operand is `lhs[b, m, k]` or `lhs_t[b, k, m]`, the right one `rhs[b, k, n]` or `rhs_t[b, n, k]`: one of each. What does not
/// have the contraction first is turned by the tensor engine. `bias` is `[n]`, `residual` like the result `[b, m, n]`.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn matmul_general<T: Float>(
    nc: Nc,
    lhs: Option<Hbm<T>>,
    lhs_t: Option<Hbm<T>>,
    rhs: Option<Hbm<T>>,
    rhs_t: Option<Hbm<T>>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: GeneralConfig,
) -> Hbm<T> {
    let (left, right) = (one_of(nc, lhs, lhs_t), one_of(nc, rhs_t, rhs));
    let ([batch, m, k], [batch_right, n, k_right]) = (left.shape(), right.shape());
    ensure!(nc, batch == batch_right && k == k_right && k > 0);
    ensure!(nc, bias.is_none_or(|b| b.shape() == [n]));
    ensure!(nc, residual.is_none_or(|r| r.shape() == [batch, m, n]));
    let out = nc.hbm([batch, m, n]);
    let bias = bias.map(|b| b.reshape([1, n]).broadcast(0, m.min(128)));
    for b in nc.range(batch) {
        for mb in nc.tiles(m, cfg.rows) {
            let left = left.contraction_first(nc, b, mb);
            for ni in nc.tiles(n, 512) {
                let right = right.contraction_first(nc, b, ni);
                let bias = bias.map(|b| nc.load(b.at((.., ni))));
                for mi in nc.tiles(mb.len(), 128) {
                    let acc = product(nc, left.at((.., .., mi)), right, k);
                    let bias = bias.map(|b| b.at((0..mi.len(), ..)));
                    let part = |t: Hbm<T>| t.at((b, mb, ni)).at((mi, ..));
                    let result = finished(nc, acc, bias, residual.map(part), &cfg);
                    nc.store(part(out), result);
                }
            }
        }
    }
    out
}

/// An operand, one way round or the other.
#[derive(Clone, Copy)]
enum Side<T: Elem> {
    /// `[batch, rows, k]`
    Natural(Hbm<T>),
    /// `[batch, k, rows]`
    Turned(Hbm<T>),
}

#[nki::kernel]
fn one_of<T: Float>(nc: Nc, natural: Option<Hbm<T>>, turned: Option<Hbm<T>>) -> Side<T> {
    match (natural, turned) {
        (Some(x), None) => Side::Natural(x),
        (None, Some(x)) => Side::Turned(x),
        _ => nc.fail("each operand is given one way round"),
    }
}

impl<T: Float> Side<T> {
    /// Batch, rows (or columns) of the result, contraction.
    fn shape(self) -> [usize; 3] {
        match self {
            Side::Natural(x) => x.dims(),
            Side::Turned(x) => {
                let [batch, k, rows] = x.dims();
                [batch, rows, k]
            }
        }
    }
    /// The strip of some rows, contraction on partitions.
    fn contraction_first(self, nc: Nc, b: Idx, rows: Block) -> Tile<T> {
        match self {
            Side::Natural(x) => transposed(nc, x.at((b, rows, ..))),
            Side::Turned(x) => strip(nc, x.at((b, .., rows))),
        }
    }
}

/// `f(acc + bias) + residual`.
#[nki::kernel]
fn finished<T: Float>(
    nc: Nc,
    acc: Acc,
    bias: Option<Tile<T>>,
    residual: Option<Hbm<T>>,
    cfg: &GeneralConfig,
) -> Tile<T> {
    let between = || nc.sbuf::<f32>(acc.shape());
    let result = nc.sbuf::<T>(acc.shape());
    let biased = bias.map(|bias| {
        let sum = between();
        nc.tensor_tensor(sum, acc, bias, Alu::Add);
        sum
    });
    let acted = cfg.activation.map(|f| {
        let y = between();
        let f = f.of_the_scalar_engine();
        match biased {
            Some(sum) => drop(nc.activation(y, f, sum)),
            None => drop(nc.activation(y, f, acc)),
        }
        y
    });
    match (acted.or(biased), residual.map(|r| nc.load(r))) {
        (Some(y), Some(residual)) => drop(nc.tensor_tensor(result, y, residual, Alu::Add)),
        (Some(y), None) => drop(nc.tensor_copy(result, y)),
        (None, Some(residual)) => drop(nc.tensor_tensor(result, acc, residual, Alu::Add)),
        (None, None) => drop(nc.tensor_copy(result, acc)),
    }
    result
}
