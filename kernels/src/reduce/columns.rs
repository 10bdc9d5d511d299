//! A number for each column of a matrix.

use super::Reduction;
use nki::prelude::*;

/// What `reduce_columns` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ReduceColumnsConfig {
    #[config(default = Reduction::Sum)]
    pub reduction: Reduction,
}

/// `out[c]` is the sum, mean, largest, smallest or absolutely largest element of column `c` of `x`, in f32.
#[nki::kernel]
pub fn reduce_columns<T: Float>(nc: Nc, x: Hbm<T>, cfg: ReduceColumnsConfig) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    ensure!(nc, rows > 0);
    let out = nc.hbm([columns]);
    match cfg.reduction {
        Reduction::Sum => sums(nc, x, out, 1.0),
        Reduction::Mean => sums(nc, x, out, 1.0 / rows as f32),
        Reduction::Max => extremes(nc, x, out, Alu::Maximum, false),
        Reduction::Min => extremes(nc, x, out, Alu::Minimum, false),
        Reduction::AbsMax => extremes(nc, x, out, Alu::Maximum, true),
    }
    out
}

/// Sums: a product with a column of ones adds up all partitions, and PSUM the tiles of rows.
#[nki::kernel]
fn sums<T: Float>(nc: Nc, x: Hbm<T>, out: Hbm<f32>, scale: f32) {
    let [rows, columns] = x.dims();
    let ones = nc.ones::<T>([rows.min(128), 1]);
    for c in nc.tiles(columns, 512) {
        let total = nc.psum([1, c.len()]);
        for r in nc.tiles(rows, 128) {
            nc.nc_matmul(total, ones.at((0..r.len(), ..)), nc.load(x.at((r, c))));
        }
        let result = nc.sbuf::<f32>([1, c.len()]);
        nc.tensor_scalar(result, total, Alu::Multiply, scale);
        nc.store(out.reshape([1, columns]).at((.., c)), result);
    }
}

/// Extremes: tiles of rows meet element by element, then the tensor engine turns what is left, so that a column lies in one partition.
#[nki::kernel]
fn extremes<T: Float>(nc: Nc, x: Hbm<T>, out: Hbm<f32>, op: Alu, absolute: bool) {
    let [rows, columns] = x.dims();
    let first = rows.min(128);
    for c in nc.tiles(columns, 512) {
        let read = |part: Hbm<T>| {
            let tile = nc.sbuf::<f32>(part.shape());
            nc.activation(tile, if absolute { Act::Abs } else { Act::Copy }, nc.load(part));
            tile
        };
        let running = read(x.at((0..first, c)));
        for r in nc.tiles(rows - first, 128) {
            let part = running.at((0..r.len(), ..));
            nc.tensor_tensor(part, part, read(x.at((first.., ..)).at((r, c))), op);
        }
        for part in nc.tiles(c.len(), 128) {
            let turned = nc.psum([part.len(), first]);
            nc.nc_transpose(turned, running.at((.., part)));
            let result = nc.sbuf::<f32>([part.len(), 1]);
            nc.tensor_reduce(result, op, turned);
            nc.store(out.reshape([columns, 1]).at((c, ..)).at((part, ..)), result);
        }
    }
}
