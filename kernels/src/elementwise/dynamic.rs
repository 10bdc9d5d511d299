//! A sum whose number of rows is data.

use super::kernel::shape_is;
use nki::prelude::*;

/// How `dynamic_add` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct DynamicAddConfig {
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r, c] = a[r, c] + b[r, c]` for the rows before `128 · tiles`; the others keep what they hold. `tiles` is at most
/// `rows / 128`, `rows` a multiple of 128.
#[nki::kernel]
pub fn dynamic_add<T: Float>(
    nc: Nc,
    a: Hbm<T>,
    b: Hbm<T>,
    tiles: Hbm<i32>,
    #[inout] out: Hbm<T>,
    cfg: DynamicAddConfig,
) {
    let [rows, columns] = a.dims();
    shape_is(nc, Some(b), &[rows, columns]);
    shape_is(nc, Some(out), &[rows, columns]);
    shape_is(nc, Some(tiles), &[1, 1]);
    ensure!(nc, rows % 128 == 0, "rows are counted in tiles of 128");
    let count = nc.register(tiles);
    for i in nc.range_dyn(count, rows / 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let left = nc.load(a.at((i * 128..(i + 1) * 128, c)));
            let right = nc.load(b.at((i * 128..(i + 1) * 128, c)));
            nc.store(out.at((i * 128..(i + 1) * 128, c)), left + right);
        }
    }
}
