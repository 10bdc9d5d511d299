//! The matrix product in blocks over all three dimensions.

use super::kernel::shares;
use crate::strip::{product, strip};
use nki::prelude::*;

/// How `matmul_blocked` cuts its operands, in tiles.
#[derive(Clone, Debug, KernelConfig)]
pub struct BlockedConfig {
    /// Result rows of a block, in tiles of 128.
    #[config(default = 16, tune = [2, 4, 8, 16, 32])]
    pub block_m: usize,
    /// Result columns of a block, in tiles of 512.
    #[config(default = 2, tune = [1, 2, 4])]
    pub block_n: usize,
    /// Contraction of a block, in tiles of 128; 8 for 16-bit types and 4 for f32 unless given.
    #[config(default = None, tune = [None, Some(4), Some(8), Some(16), Some(32)])]
    pub block_k: Option<usize>,
}

/// `out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]`, summed in f32: operands are loaded in blocks of many tiles, each of which is used
/// once for every tile of the other operand's block.
#[nki::kernel]
pub fn matmul_blocked<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>, cfg: BlockedConfig) -> Hbm<T> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs && k > 0);
    ensure!(nc, cfg.block_m > 0 && cfg.block_n > 0 && cfg.block_k != Some(0));
    let block_k = 128 * cfg.block_k.unwrap_or(16 / size_of::<T>());
    let out = nc.hbm([m, n]);
    let (of_m, of_n) = shares(nc, m, n);
    let (lhs_t, rhs, to) = (of_m.of(lhs_t, 1), of_n.of(rhs, 1), of_n.of(of_m.of(out, 0), 1));
    let (m, n) = (of_m.len(), of_n.len());
    for nb in nc.tiles(n, 512 * cfg.block_n) {
        for mb in nc.tiles(m, 128 * cfg.block_m) {
            let (left, right, result) = (lhs_t.at((.., mb)), rhs.at((.., nb)), to.at((mb, nb)));
            if k <= block_k {
                one_block(nc, result, left, right);
            } else {
                several_blocks(nc, result, left, right, block_k);
            }
        }
    }
    out
}

/// A block of the result whose operands fit on chip with all their rows.
#[nki::kernel]
fn one_block<T: Float>(nc: Nc, out: Hbm<T>, lhs_t: Hbm<T>, rhs: Hbm<T>) {
    let ([k, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let (left, right) = (strip(nc, lhs_t), strip(nc, rhs));
    for mi in nc.tiles(m, 128) {
        let rows = nc.sbuf::<T>([mi.len(), n]);
        for ni in nc.tiles(n, 512) {
            let acc = product(nc, left.at((.., .., mi)), right.at((.., .., ni)), k);
            nc.tensor_copy(rows.at((.., ni)), acc);
        }
        nc.store(out.at((mi, ..)), rows);
    }
}

/// A block of the result that is summed over blocks of `block_k` rows. The running sums are f32: rounded to bf16, they would
/// lose a bit with every block.
#[nki::kernel]
fn several_blocks<T: Float>(nc: Nc, out: Hbm<T>, lhs_t: Hbm<T>, rhs: Hbm<T>, block_k: usize) {
    let ([k, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let sums = nc.sbuf::<f32>([m.min(128), m.div_ceil(128), n]);
    // The first block of rows writes the sums, the others add to them.
    let left = strip(nc, lhs_t.at((0..block_k, ..)));
    let right = strip(nc, rhs.at((0..block_k, ..)));
    for mi in nc.tiles(m, 128) {
        for ni in nc.tiles(n, 512) {
            let acc = product(nc, left.at((.., .., mi)), right.at((.., .., ni)), block_k);
            nc.tensor_copy(sums.at((0..mi.len(), mi.index(), ni)), acc);
        }
    }
    for kb in nc.tiles(k - block_k, block_k) {
        let left = strip(nc, lhs_t.at((block_k.., ..)).at((kb, ..)));
        let right = strip(nc, rhs.at((block_k.., ..)).at((kb, ..)));
        for mi in nc.tiles(m, 128) {
            for ni in nc.tiles(n, 512) {
                let acc = product(nc, left.at((.., .., mi)), right.at((.., .., ni)), kb.len());
                let sum = sums.at((0..mi.len(), mi.index(), ni));
                nc.tensor_tensor(sum, sum, acc, Alu::Add);
            }
        }
    }
    for mi in nc.tiles(m, 128) {
        let rows = sums.at((0..mi.len(), mi.index(), ..)).to::<T>();
        nc.store(out.at((mi, ..)), rows);
    }
}
