//! Running sums along rows.

use nki::prelude::*;

/// How `cumsum` cuts its rows.
#[derive(Clone, Debug, KernelConfig)]
pub struct CumsumConfig {
    /// Columns that one instruction adds up.
    #[config(default = 2048, tune = [1024, 2048, 4096])]
    pub columns: usize,
}

/// `out[r, c] = Σ_{j <= c} x[r, j]`, summed in f32 from left to right and rounded once.
#[nki::kernel]
pub fn cumsum<T: Float>(nc: Nc, x: Hbm<T>, cfg: CumsumConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, rows > 0 && columns > 0);
    ensure!(nc, cfg.columns > 0, "an instruction adds up at least one column");
    let out = nc.hbm([rows, columns]);
    let one = nc.ones::<f32>([rows.min(128), 1]);
    for r in nc.tiles(rows, 128) {
        let carry = nc.zeros::<f32>([r.len(), 1]);
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let sums = nc.sbuf::<f32>([r.len(), c.len()]);
            let ones = one.at((0..r.len(), ..)).broadcast(1, c.len());
            nc.tensor_tensor_scan(sums, ones, tile, carry, Alu::Multiply, Alu::Add);
            nc.tensor_copy(carry, sums.at((.., c.len() - 1..c.len())));
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            // The scalar engine rounds while the vector engine adds up the next chunk.
            nc.activation(y, Act::Copy, sums);
            nc.store(out.at((r, c)), y);
        }
    }
    out
}
