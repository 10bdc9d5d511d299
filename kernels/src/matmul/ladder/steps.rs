//! The first four rungs: one tile, loops, hoisted loads, blocks over the free axes.

use crate::strip::{product, strip};
use nki::prelude::*;

/// Rung 1, one tile: `out[64, 512] = lhs_t[128, 64]ᵀ · rhs[128, 512]`, which is one instruction of the tensor engine.
#[nki::kernel]
pub fn matmul_basic<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> Hbm<T> {
    ensure!(nc, lhs_t.shape() == [128, 64]);
    ensure!(nc, rhs.shape() == [128, 512]);
    let out = nc.hbm([64, 512]);
    let (stationary, moving) = (nc.load(lhs_t), nc.load(rhs));
    let acc = nc.psum([64, 512]);
    nc.nc_matmul(acc, stationary, moving);
    nc.store(out, acc.to::<T>());
    out
}

/// The extents of a product in whole tiles.
#[nki::kernel]
fn whole_tiles<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> [usize; 3] {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs && k > 0);
    ensure!(nc, k % 128 == 0 && m % 128 == 0 && n % 512 == 0, "whole tiles of 128 x 128 x 512");
    [k, m, n]
}

/// Rung 2, tiles: loops over result tiles of 128 × 512, and for each over the contraction in steps of 128, which PSUM adds up.
/// Both operands are loaded where they are multiplied.
#[nki::kernel]
pub fn matmul_tiled<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> Hbm<T> {
    let [k, m, n] = whole_tiles(nc, lhs_t, rhs);
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        for ni in nc.tiles(n, 512) {
            let acc = nc.psum([128, 512]);
            for ki in nc.tiles(k, 128) {
                nc.nc_matmul(acc, nc.load(lhs_t.at((ki, mi))), nc.load(rhs.at((ki, ni))));
            }
            nc.store(out.at((mi, ni)), acc.to::<T>());
        }
    }
    out
}

/// Rung 3, hoisted loads: the strip of `lhs_t` for a row of result tiles is loaded once, before the loop over its columns.
#[nki::kernel]
pub fn matmul_hoisted<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> Hbm<T> {
    let [k, m, n] = whole_tiles(nc, lhs_t, rhs);
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        let left = strip(nc, lhs_t.at((.., mi)));
        for ni in nc.tiles(n, 512) {
            let right = strip(nc, rhs.at((.., ni)));
            nc.store(out.at((mi, ni)), product(nc, left, right, k).to::<T>());
        }
    }
    out
}

/// Rung 4, blocks: two strips of either operand at a time, so that each is used twice where rung 3 uses `rhs` once.
#[nki::kernel]
pub fn matmul_blocked_free<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> Hbm<T> {
    let [k, m, n] = whole_tiles(nc, lhs_t, rhs);
    let out = nc.hbm([m, n]);
    for mb in nc.tiles(m, 2 * 128) {
        let left = strip(nc, lhs_t.at((.., mb)));
        for nb in nc.tiles(n, 2 * 512) {
            let right = strip(nc, rhs.at((.., nb)));
            for mi in nc.tiles(mb.len(), 128) {
                let rows = nc.sbuf::<T>([128, nb.len()]);
                for ni in nc.tiles(nb.len(), 512) {
                    let acc = product(nc, left.at((.., .., mi)), right.at((.., .., ni)), k);
                    nc.tensor_copy(rows.at((.., ni)), acc);
                }
                nc.store(out.at((mb, nb)).at((mi, ..)), rows);
            }
        }
    }
    out
}
