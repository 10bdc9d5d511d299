//! Rung 6 for few rows: memory bounds the product, and a few columns of the tensor engine are enough.

use nki::prelude::*;

/// f32 values per partition of a bank of PSUM.
const BANK: usize = 512;

/// How `matmul_decode` uses the tensor engine.
#[derive(Clone, Debug, KernelConfig)]
pub struct DecodeConfig {
    /// Column groups of the array that work side by side: 1, 2 or 4. A group of `128 / groups` columns takes that many rows of the
    /// result; 4 groups need trn2 or later.
    #[config(default = 1, tune = [1, 2, 4])]
    pub groups: usize,
}

/// `out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]` for at most `128 / groups` rows: wide rows of `rhs` are read once, in order, and multiplied as
/// they come. With several groups, tiles of the contraction take turns on them, and their sums meet at the end.
#[nki::kernel]
pub fn matmul_decode<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>, cfg: DecodeConfig) -> Hbm<T> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs && k > 0);
    ensure!(nc, matches!(cfg.groups, 1 | 2 | 4), "1, 2 or 4 column groups");
    let width = 128 / cfg.groups;
    ensure!(nc, (1..=width).contains(&m), "the rows of the result fit a group");
    let out = nc.hbm([m, n]);
    let left = crate::strip::strip(nc, lhs_t);
    for nb in nc.tiles(n, 4 * BANK) {
        let sums = nc.sbuf::<T>([m, nb.len()]);
        let acc = nc.psum([(cfg.groups - 1) * width + m, nb.len()]);
        // Which groups have a tile of the contraction at all.
        let used = cfg.groups.min(k.div_ceil(128));
        for turn in nc.tiles(k, 128 * cfg.groups) {
            for group in 0..turn.len().div_ceil(128) {
                let rows = (turn.len() - 128 * group).min(128);
                let part = |t: Hbm<T>| t.at((turn, nb)).at((128 * group..128 * group + rows, ..));
                let moving = nc.load(part(rhs));
                let stationary = left.at((0..rows, turn.index() * cfg.groups + group, ..));
                let to = acc.at((group * width..group * width + m, ..));
                for c in nc.tiles(nb.len(), BANK) {
                    let product = nc.nc_matmul(to.at((.., c)), stationary, moving.at((.., c)));
                    if cfg.groups > 1 {
                        product.tile((0, group * width), (128, width));
                    }
                }
            }
        }
        for c in nc.tiles(nb.len(), BANK) {
            let of = |group: usize| acc.at((group * width..group * width + m, c));
            let to = sums.at((.., c));
            if used == 1 {
                nc.tensor_copy(to, of(0));
            } else {
                // One operand of an addition can be in PSUM.
                let total = of(0).to::<f32>();
                for group in 1..used {
                    nc.tensor_tensor(total, total, of(group), Alu::Add);
                }
                nc.tensor_copy(to, total);
            }
        }
        nc.store(out.at((.., nb)), sums);
    }
    out
}
