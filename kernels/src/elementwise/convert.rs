//! Conversion between dtypes.

use super::kernel::shape_is;
use crate::share::Share;
use nki::prelude::*;

/// How `cast` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct CastConfig {
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out = x` in the dtype of `out`, every element of which is written.
///
/// Floats round to nearest even and overflow to infinity where the dtype has one; integers round to nearest even and saturate,
/// NaN becomes 0; between equal dtypes every bit stays (isa.md 2.2). A 32-bit integer passes through f32, which keeps 24 of its
/// bits, unless both sides have the same dtype.
#[nki::kernel]
pub fn cast<T: Elem, D: Elem>(nc: Nc, x: Hbm<T>, #[inout] out: Hbm<D>, cfg: CastConfig) {
    let [rows, columns] = x.dims();
    shape_is(nc, Some(out), &[rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, to, rows) = (mine.of(x, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            nc.store(to.at((r, c)), nc.load(x.at((r, c))).to::<D>());
        }
    }
}
