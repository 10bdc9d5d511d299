//! A number for each row of a matrix.

use nki::prelude::*;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    /// The largest absolute value.
    AbsMax,
}

/// What `reduce` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ReduceConfig {
    #[config(default = Reduction::Sum)]
    pub reduction: Reduction,
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r]` is the sum, mean, largest, smallest or absolutely largest element of row `r` of `x`, in f32.
#[nki::kernel]
pub fn reduce<T: Float>(nc: Nc, x: Hbm<T>, cfg: ReduceConfig) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    ensure!(nc, columns > 0);
    let out = nc.hbm([rows]);
    let (start, combine) = match cfg.reduction {
        Reduction::Sum | Reduction::Mean => (0.0, Alu::Add),
        Reduction::Max => (f64::NEG_INFINITY, Alu::Maximum),
        Reduction::Min => (f64::INFINITY, Alu::Minimum),
        Reduction::AbsMax => (0.0, Alu::Maximum),
    };
    for r in nc.tiles(rows, 128) {
        let result = nc.full::<f32>([r.len(), 1], start);
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let part = match cfg.reduction {
                Reduction::Sum | Reduction::Mean => tile.sum(),
                Reduction::Max => tile.max(),
                Reduction::Min => tile.min(),
                Reduction::AbsMax => tile.abs().max(),
            };
            nc.tensor_tensor(result, result, part, combine);
        }
        let result = match cfg.reduction {
            Reduction::Mean => result * (1.0 / columns as f32),
            _ => result,
        };
        nc.store(out.reshape([rows, 1]).at((r, ..)), result);
    }
    out
}
