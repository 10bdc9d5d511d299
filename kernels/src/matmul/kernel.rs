//! The matrix product, tile by tile and in blocks.

use crate::share::Share;
use nki::prelude::*;

/// How `matmul` cuts its result.
#[derive(Clone, Debug, KernelConfig)]
pub struct MatmulConfig {
    /// Rows of one result tile, at most 128.
    #[config(default = 128, tune = [32, 64, 128])]
    pub tile_m: usize,
    /// Columns of one result tile, at most 512.
    #[config(default = 512, tune = [128, 256, 512])]
    pub tile_n: usize,
}

/// `out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]`, summed in f32: one result tile at a time, every operand tile loaded when it is
/// needed.
#[nki::kernel]
pub fn matmul<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>, cfg: MatmulConfig) -> Hbm<T> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs && k > 0);
    let out = nc.hbm([m, n]);
    let (of_m, of_n) = shares(nc, m, n);
    let (lhs_t, rhs, to) = (of_m.of(lhs_t, 1), of_n.of(rhs, 1), of_n.of(of_m.of(out, 0), 1));
    let (m, n) = (of_m.len(), of_n.len());
    for mi in nc.tiles(m, cfg.tile_m) {
        for ni in nc.tiles(n, cfg.tile_n) {
            let acc = nc.psum([mi.len(), ni.len()]);
            for ki in nc.tiles(k, 128) {
                let a = nc.load(lhs_t.at((ki, mi)));
                let b = nc.load(rhs.at((ki, ni)));
                nc.nc_matmul(acc, a, b);
            }
            nc.store(to.at((mi, ni)), acc.to::<T>());
        }
    }
    out
}

/// What two programs do of a result of `m` rows and `n` columns: halves of whichever has more tiles.
#[track_caller]
pub(super) fn shares(nc: Nc, m: usize, n: usize) -> (Share, Share) {
    if m.div_ceil(128) > n.div_ceil(512) {
        (Share::new(nc, m, 128), Share::whole(n))
    } else {
        (Share::whole(m), Share::new(nc, n, 512))
    }
}
