//! The transpose of a matrix.

use nki::prelude::*;

/// `out[c, r] = x[r, c]`, every bit of every element.
#[nki::kernel]
pub fn transpose<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([columns, rows]);
    for r in nc.tiles(rows, 512) {
        for c in nc.tiles(columns, 128) {
            let turned = nc.sbuf::<T>([c.len(), r.len()]);
            for part in nc.tiles(r, 128) {
                let tile = nc.load(x.at((part, c)));
                nc.tensor_copy(turned.at((.., part.local())), nc.transpose(tile));
            }
            nc.store(out.at((c, r)), turned);
        }
    }
    out
}
