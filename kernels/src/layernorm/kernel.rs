//! Layer normalisation over rows.

use crate::norm::moments;
use crate::share::Share;
use nki::prelude::*;

/// Numbers that `layernorm` needs.
#[derive(Clone, Debug, KernelConfig)]
pub struct LayerNormConfig {
    /// Added to the variance, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
    /// Columns normalised by one instruction.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r, c] = (x[r, c] - mean_r) / sqrt(var_r + eps) · gamma[c] + beta[c]`, with the population variance, in f32 and rounded
/// once.
#[nki::kernel]
pub fn layernorm<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Hbm<T>,
    beta: Option<Hbm<T>>,
    cfg: LayerNormConfig,
) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let [gains] = gamma.dims();
    ensure!(nc, gains == columns && columns > 0);
    if let Some(beta) = beta {
        let shape: [usize; 1] = beta.dims();
        ensure!(nc, shape == [columns]);
    }
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, to, rows) = (mine.of(x, 0), mine.of(out, 0), mine.len());
    let for_all_rows = |vector: Hbm<T>| nc.load(vector.reshape([1, columns]).broadcast(0, rows.min(128)));
    let gains = for_all_rows(gamma);
    let shifts = beta.map(for_all_rows);
    for r in nc.tiles(rows, 128) {
        let tile = nc.load(x.at((r, ..)));
        let (neg_mean, scale) = moments(nc, tile, cfg.eps);
        for c in nc.tiles(columns, cfg.columns) {
            let centred = nc.sbuf::<f32>([r.len(), c.len()]);
            nc.tensor_scalar(centred, tile.at((.., c)), Alu::Add, neg_mean).then(Alu::Multiply, scale);
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            let gain = gains.at((0..r.len(), c));
            match shifts {
                Some(shifts) => {
                    nc.tensor_tensor(centred, centred, gain, Alu::Multiply);
                    nc.tensor_tensor(y, centred, shifts.at((0..r.len(), c)), Alu::Add);
                }
                None => {
                    nc.tensor_tensor(y, centred, gain, Alu::Multiply);
                }
            }
            nc.store(to.at((r, c)), y);
        }
    }
    out
}
