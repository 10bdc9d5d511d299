//! Zeroing elements at random.

use nki::prelude::*;

/// What `dropout` computes, and how it cuts its rows.
#[derive(Clone, Debug, KernelConfig)]
pub struct DropoutConfig {
    /// Probability with which an element becomes 0, at least 0 and less than 1.
    #[config(default = 0.1)]
    pub p: f32,
    /// What the random numbers start from: the same seed gives the same zeros.
    #[config(default = 0)]
    pub seed: u32,
    /// Columns of one instruction, a multiple of 4 (trn3 draws from four generators in turn).
    #[config(default = 4096)]
    pub columns: usize,
}

/// `out[r, c] = 0` with probability `p`, else `x[r, c] / (1 - p)`. Elements are decided by the vector engine's generator, which
/// [`reference::keeps`](super::reference::keeps) states.
#[nki::kernel]
pub fn dropout<T: Float>(nc: Nc, x: Hbm<T>, cfg: DropoutConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, (0.0..1.0).contains(&cfg.p), "a probability of at least 0 and less than 1");
    ensure!(nc, cfg.columns > 0 && cfg.columns % 4 == 0);
    let out = nc.hbm([rows, columns]);
    nc.random_seed(cfg.seed);
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let kept = nc.load(x.at((r, c))).dropout(cfg.p);
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            nc.activation(y, Act::Copy, kept).scale(1.0 / (1.0 - cfg.p));
            nc.store(out.at((r, c)), y);
        }
    }
    out
}
