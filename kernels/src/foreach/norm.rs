//! Norms of flat tensors.

use super::kernel::folds;
use nki::prelude::*;

/// How the elements become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Norm {
    /// `Σ |x|`
    L1,
    /// `√Σ x²`
    L2,
    /// `max |x|`
    LInf,
}

/// What `foreach_norm` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ForeachNormConfig {
    #[config(default = Norm::L2)]
    pub norm: Norm,
    /// Elements of one tile in each partition.
    #[config(default = 2048)]
    pub columns: usize,
}

/// The norm of a flat tensor `[n]`, as `[1, 1]` in f32. No elements have the norm 0.
#[nki::kernel]
pub fn foreach_norm<T: Float>(nc: Nc, x: Hbm<T>, cfg: ForeachNormConfig) -> Hbm<f32> {
    let [n] = x.dims();
    let out = nc.hbm([1, 1]);
    // One value per partition; those that no element reaches stay 0.
    let parts = nc.zeros::<f32>([128, 1]);
    for fold in folds(n) {
        let parts = parts.at((0..fold.rows, ..));
        for c in nc.tiles(fold.columns, cfg.columns) {
            let tile = nc.load(fold.of(x).at((.., c)));
            let (part, terms) = (nc.sbuf::<f32>([fold.rows, 1]), nc.sbuf::<f32>([fold.rows, c.len()]));
            match cfg.norm {
                Norm::L1 => drop(nc.activation(terms, Act::Abs, tile).reduce(part)),
                Norm::L2 => drop(nc.activation(terms, Act::Square, tile).reduce(part)),
                Norm::LInf => {
                    nc.activation(terms, Act::Abs, tile);
                    nc.tensor_reduce(part, Alu::Maximum, terms);
                }
            }
            let combine = if cfg.norm == Norm::LInf { Alu::Maximum } else { Alu::Add };
            nc.tensor_tensor(parts, parts, part, combine);
        }
    }
    let result = nc.sbuf::<f32>([1, 1]);
    match cfg.norm {
        Norm::LInf => {
            let row = nc.psum([1, 128]);
            nc.nc_transpose(row, parts);
            nc.tensor_reduce(result, Alu::Maximum, row);
        }
        norm => {
            // The sum over partitions is a product with ones.
            let total = nc.psum([1, 1]);
            nc.nc_matmul(total, nc.ones::<f32>([128, 1]), parts);
            nc.activation(result, if norm == Norm::L2 { Act::Sqrt } else { Act::Copy }, total);
        }
    }
    nc.store(out, result);
    out
}
