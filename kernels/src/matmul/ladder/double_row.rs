//! Rung 7: 8-bit operands, two rows of the contraction in one pass.

use nki::f8e4m3;
use nki::ir::op::MatmulPerf;
use nki::prelude::*;

/// How `matmul_double_row` cuts its result.
#[derive(Clone, Debug, KernelConfig)]
pub struct DoubleRowConfig {
    /// Rows of the result at a time, a multiple of 128.
    #[config(default = 1024)]
    pub rows: usize,
}

/// `out[m, n] = scale · lhs_t[k, m]ᵀ · rhs[k, n]` of 8-bit floats, summed in f32: 256 rows of the contraction pass at a time, two in each
/// partition (trn2 and later). `k` is a multiple of 256, `scale[0]` the product of the operands' scales.
#[nki::kernel]
pub fn matmul_double_row(
    nc: Nc,
    lhs_t: Hbm<f8e4m3>,
    rhs: Hbm<f8e4m3>,
    scale: Hbm<f32>,
    cfg: DoubleRowConfig,
) -> Hbm<bf16> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs && k > 0);
    ensure!(nc, k % 256 == 0, "rows of the contraction pass in pairs of 128");
    ensure!(nc, cfg.rows > 0 && cfg.rows % 128 == 0);
    ensure!(nc, scale.shape() == [1]);
    let out = nc.hbm([m, n]);
    let scale = nc.load(scale.reshape([1, 1]).broadcast(0, m.clamp(1, 128)));
    for mb in nc.tiles(m, cfg.rows) {
        let left = pairs(nc, lhs_t.at((.., mb)));
        for ni in nc.tiles(n, 512) {
            let right = pairs(nc, rhs.at((.., ni)));
            for mi in nc.tiles(mb.len(), 128) {
                let acc = nc.psum([mi.len(), ni.len()]);
                for ki in nc.range(k / 256) {
                    let (a, b) = (left.at((.., ki, .., mi)), right.at((.., ki, .., ..)));
                    nc.nc_matmul(acc, a, b).perf_mode(MatmulPerf::DoubleRow);
                }
                let result = nc.sbuf::<bf16>([mi.len(), ni.len()]);
                nc.tensor_scalar(result, acc, Alu::Multiply, scale.at((0..mi.len(), ..)));
                nc.store(out.at((mb, ni)).at((mi, ..)), result);
            }
        }
    }
    out
}

/// `[k, columns]` as `[128, k / 256, 2, columns]`: row `256 i + 128 j + p` is on partition `p`, the `j`-th of pair `i`.
#[nki::kernel]
fn pairs(nc: Nc, matrix: Hbm<f8e4m3>) -> Tile<f8e4m3> {
    let [k, columns] = matrix.dims();
    let tile = nc.sbuf::<f8e4m3>([128, k / 256, 2, columns]);
    for r in nc.tiles(k, 256) {
        for j in 0..2 {
            let rows = matrix.at((r, ..)).at((128 * j..128 * (j + 1), ..));
            nc.dma_copy(tile.at((.., r.index(), j, ..)), rows);
        }
    }
    tile
}
