//! The sum of two matrices.

use crate::share::Share;
use nki::prelude::*;

/// How `add` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct AddConfig {
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out[r, c] = a[r, c] + b[r, c]`, added in f32 and rounded once.
#[nki::kernel]
pub fn add<T: Float>(nc: Nc, a: Hbm<T>, b: Hbm<T>, cfg: AddConfig) -> Hbm<T> {
    let [rows, columns] = a.dims();
    let shape_b: [usize; 2] = b.dims();
    ensure!(nc, shape_b == [rows, columns]);
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (a, b, to, rows) = (mine.of(a, 0), mine.of(b, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let left = nc.load(a.at((r, c)));
            let right = nc.load(b.at((r, c)));
            nc.store(to.at((r, c)), left + right);
        }
    }
    out
}
