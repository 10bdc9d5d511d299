//! The largest elements of rows, and where they are.

use crate::share::Share;
use nki::prelude::*;

/// What `top_k` looks for.
#[derive(Clone, Debug, KernelConfig)]
pub struct TopKConfig {
    /// How many of the largest elements, at most 512.
    #[config(default = 8)]
    pub k: usize,
}

/// The largest element of each row, and its column: the lowest where several are equal.
///
/// `x` is `[rows, columns]`, less than 2^21 columns, without NaN; the results are `[rows, 1]`, values in f32.
#[nki::kernel]
pub fn argmax<T: Float>(nc: Nc, x: Hbm<T>) -> (Hbm<f32>, Hbm<i32>) {
    let [rows, columns] = x.dims();
    largest(nc, x, rows, columns, 1)
}

/// The `k` largest elements of each row in descending order, and their columns: of equal elements the lowest columns, ascending.
///
/// `x` is `[rows, columns]`, less than 2^21 columns, without NaN, and with `k` elements above minus infinity; the results are `[rows, k]`,
/// values in f32.
#[nki::kernel]
pub fn top_k<T: Float>(nc: Nc, x: Hbm<T>, cfg: TopKConfig) -> (Hbm<f32>, Hbm<i32>) {
    let [rows, columns] = x.dims();
    ensure!(nc, cfg.k > 0 && cfg.k <= 512, "up to 512 elements");
    largest(nc, x, rows, columns, cfg.k)
}

/// What a vector instruction searches at most.
const SEARCHED: usize = 16384;

#[nki::kernel]
fn largest<T: Float>(nc: Nc, x: Hbm<T>, rows: usize, columns: usize, k: usize) -> (Hbm<f32>, Hbm<i32>) {
    ensure!(nc, columns >= k, "a row has as many elements as are wanted");
    let (values, indices) = (nc.hbm([rows, k]), nc.hbm([rows, k]));
    // A row is folded over as many partitions as leave each at least 8 columns, and more than it keeps.
    let kept = k.next_multiple_of(8);
    let lanes = (columns / kept.max(64)).clamp(1, (SEARCHED / kept).min(128));
    let per_lane = columns.div_ceil(lanes).max(8);
    let lanes = columns.div_ceil(per_lane);
    ensure!(nc, per_lane <= SEARCHED, "a row of {columns} columns is too long");
    let first = nc.sbuf::<f32>([lanes, 1]);
    nc.iota(first, &[[0, 1]]).offset(0).channel_multiplier(per_lane as i64);
    let mine = Share::new(nc, rows, 1);
    for r in nc.range(mine.len()) {
        let r = r + mine.range().start;
        let folded = folded(nc, x.at((r, ..)), lanes, per_lane);
        let (best, at) = best(nc, folded, kept);
        let column = nc.sbuf::<f32>([lanes, kept]);
        nc.tensor_scalar(column, at, Alu::Add, first);
        let (value, column) = if lanes == 1 { (best, column) } else { merged(nc, best, column, kept) };
        nc.store(values.at((r..r + 1, ..)), value.at((.., 0..k)));
        let index = nc.sbuf::<i32>([1, kept]);
        nc.tensor_copy(index, column);
        nc.store(indices.at((r..r + 1, ..)), index.at((.., 0..k)));
    }
    (values, indices)
}

/// A row over `lanes` partitions, the rest of the last one filled with what is never chosen.
#[nki::kernel]
fn folded<T: Float>(nc: Nc, row: Hbm<T>, lanes: usize, per_lane: usize) -> Tile<T> {
    let n = row.elements();
    let (full, rest) = (n / per_lane, n % per_lane);
    let tile = nc.sbuf::<T>([lanes, per_lane]);
    if rest > 0 {
        nc.memset(tile, f64::NEG_INFINITY);
    }
    if full > 0 {
        nc.dma_copy(tile.at((0..full, ..)), row.at((0..full * per_lane,)).split(0, &[full, per_lane]));
    }
    if rest > 0 {
        nc.dma_copy(tile.at((full..lanes, 0..rest)), row.at((full * per_lane..n,)).reshape([1, rest]));
    }
    tile
}

/// The `kept` largest elements of every partition in descending order, and their positions. `x` is written over.
#[nki::kernel]
fn best<T: Float>(nc: Nc, x: Tile<T>, kept: usize) -> (Tile<f32>, Tile<f32>) {
    let lanes = x.dim(0);
    let (values, positions) = (nc.sbuf::<f32>([lanes, kept]), nc.sbuf::<f32>([lanes, kept]));
    for at in (0..kept).step_by(8) {
        let (eight, found) = (values.at((.., at..at + 8)), nc.sbuf::<u32>([lanes, 8]));
        nc.max8(eight, x);
        nc.nc_find_index8(found, x, eight);
        nc.tensor_copy(positions.at((.., at..at + 8)), found);
        if at + 8 < kept {
            nc.nc_match_replace8(x, x, eight, f32::NEG_INFINITY);
        }
    }
    (values, positions)
}

/// The best of all partitions' best, on one.
#[nki::kernel]
fn merged(nc: Nc, values: Tile<f32>, columns: Tile<f32>, kept: usize) -> (Tile<f32>, Tile<f32>) {
    let n = values.dim(0) * kept;
    let on_one = |tile: Tile<f32>| {
        let row = nc.sbuf::<f32>([1, n]);
        nc.dma_copy(row, tile);
        row
    };
    let (all, columns) = (on_one(values), on_one(columns));
    let (value, column) = (nc.sbuf::<f32>([1, kept]), nc.sbuf::<f32>([1, kept]));
    for at in (0..kept).step_by(8) {
        let (eight, found) = (value.at((.., at..at + 8)), nc.sbuf::<u32>([1, 8]));
        nc.max8(eight, all);
        nc.nc_find_index8(found, all, eight);
        nc.nc_n_gather(column.at((.., at..at + 8)), columns, found);
        if at + 8 < kept {
            nc.nc_match_replace8(all, all, eight, f32::NEG_INFINITY);
        }
    }
    (value, column)
}
