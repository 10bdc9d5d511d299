//! Maxima and means of windows of images.

use nki::prelude::*;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum PoolKind {
    /// Its largest element.
    Max,
    /// The mean of its elements; those that are padding count as 0.
    Average,
}

/// The windows of `pool`.
#[derive(Clone, Debug, KernelConfig)]
pub struct PoolConfig {
    #[config(default = PoolKind::Max)]
    pub kind: PoolKind,
    /// Rows of a window.
    #[config(default = 2)]
    pub height: usize,
    /// Columns of a window.
    #[config(default = 2)]
    pub width: usize,
    /// Distance of windows in both directions; the window's height, which must be its width, unless given.
    #[config(default = None)]
    pub stride: Option<usize>,
    /// Rows and columns around the image that no window's result depends on, less than a window.
    #[config(default = 0)]
    pub pad: usize,
    /// Elements of a partition that are on chip at a time.
    #[config(default = 8192)]
    pub budget: usize,
}

/// `out[p, i, j]` is the maximum or the mean of `x[p, i · stride - pad .. + height, j · stride - pad .. + width]`.
///
/// `x` is `[planes, rows, columns]`: batch and channels are planes. Means are summed in f32 and rounded once.
#[nki::kernel]
pub fn pool<T: Float>(nc: Nc, x: Hbm<T>, cfg: PoolConfig) -> Hbm<T> {
    let [planes, rows, columns] = x.dims();
    let windows = Windows::of(nc, [rows, columns], &cfg);
    let [out_rows, out_columns] = windows.results;
    let out = nc.hbm([planes, out_rows, out_columns]);
    // Few large images: rows of results on partitions. Each loads the rows of its window, so that rows that windows share are
    // loaded more than once.
    if planes < 64 && out_rows > planes && cfg.pad == 0 && windows.height * columns <= cfg.budget {
        for p in nc.range(planes) {
            for r in nc.tiles(out_rows, 128) {
                let tile = nc.sbuf::<T>([r.len(), windows.height, columns]);
                for i in 0..windows.height {
                    let first = r.start() * windows.stride + i;
                    let last = first + ((r.len() - 1) * windows.stride + 1);
                    nc.dma_copy(tile.at((.., i, ..)), x.at((p, first..last, ..)).step(0, windows.stride));
                }
                let y = reduce(nc, tile, &windows, 1);
                nc.store(out.at((p, r, ..)), y.reshape([r.len(), out_columns]));
            }
        }
        return out;
    }
    let wide = columns + 2 * cfg.pad;
    let band = (cfg.budget / wide).saturating_sub(windows.height) / windows.stride + 1;
    for p in nc.tiles(planes, 128) {
        for first in (0..out_rows).step_by(band) {
            let n = band.min(out_rows - first);
            let tile = nc.sbuf::<T>([p.len(), (n - 1) * windows.stride + windows.height, wide]);
            fill(nc, tile, x.at((p, .., ..)), first * windows.stride, &cfg);
            nc.store(out.at((p, first..first + n, ..)), reduce(nc, tile, &windows, n));
        }
    }
    out
}

/// The windows, checked.
struct Windows {
    kind: PoolKind,
    height: usize,
    width: usize,
    stride: usize,
    /// Rows and columns of results.
    results: [usize; 2],
}

impl Windows {
    #[track_caller]
    fn of(nc: Nc, [rows, columns]: [usize; 2], cfg: &PoolConfig) -> Windows {
        let stride = cfg.stride.unwrap_or(cfg.height);
        ensure!(nc, cfg.height > 0 && cfg.width > 0 && stride > 0);
        ensure!(
            nc,
            cfg.stride.is_some() || cfg.height == cfg.width,
            "windows that are not square need a stride"
        );
        ensure!(nc, cfg.pad < cfg.height && cfg.pad < cfg.width, "every window has elements");
        let fits = rows + 2 * cfg.pad >= cfg.height && columns + 2 * cfg.pad >= cfg.width;
        ensure!(nc, rows > 0 && columns > 0 && fits, "the window is at most as large as the padded image");
        let count = |size: usize, window: usize| (size + 2 * cfg.pad - window) / stride + 1;
        let results = [count(rows, cfg.height), count(columns, cfg.width)];
        Windows { kind: cfg.kind, height: cfg.height, width: cfg.width, stride, results }
    }
}

/// Rows `first ..` of the padded image, as many as `tile` has.
#[nki::kernel]
fn fill<T: Float>(nc: Nc, tile: Tile<T>, x: Hbm<T>, first: usize, cfg: &PoolConfig) {
    let ([_, rows, columns], [_, n, wide]) = (x.dims(), tile.dims());
    // Image rows of the tile; the rest is padding.
    let (start, end) = (first.max(cfg.pad) - cfg.pad, (first + n).saturating_sub(cfg.pad).min(rows));
    let at = start + cfg.pad - first;
    if cfg.pad > 0 {
        let nothing = if cfg.kind == PoolKind::Max { f64::NEG_INFINITY } else { 0.0 };
        for (r, c) in [
            (0..at, 0..wide),
            (at + end - start..n, 0..wide),
            (0..n, 0..cfg.pad),
            (0..n, wide - cfg.pad..wide),
        ] {
            if !r.is_empty() {
                nc.memset(tile.at((.., r, c)), nothing);
            }
        }
    }
    let inside = tile.at((.., at..at + end - start, cfg.pad..cfg.pad + columns));
    nc.dma_copy(inside, x.at((.., start..end, ..)));
}

/// The results of `n` rows of windows in a tile: first along rows, then along columns.
#[nki::kernel]
fn reduce<T: Float>(nc: Nc, tile: Tile<T>, w: &Windows, n: usize) -> Tile<T> {
    match w.kind {
        PoolKind::Max => folded::<T, T>(nc, tile, w, n, Alu::Maximum),
        PoolKind::Average => {
            let sums = folded::<T, f32>(nc, tile, w, n, Alu::Add);
            let y = nc.sbuf::<T>(sums.shape());
            nc.activation(y, Act::Copy, sums).scale(1.0 / (w.height * w.width) as f32);
            y
        }
    }
}

#[nki::kernel]
fn folded<T: Float, A: Float>(nc: Nc, tile: Tile<T>, w: &Windows, n: usize, op: Alu) -> Tile<A> {
    let ([p, rows, _], columns) = (tile.dims(), w.results[1]);
    let along = nc.sbuf::<A>([p, rows, columns]);
    let column = |j: usize| tile.at((.., .., j..j + (columns - 1) * w.stride + 1)).step(2, w.stride);
    first_two(nc, along, column(0), (w.width > 1).then(|| column(1)), op);
    for j in 2..w.width {
        nc.tensor_tensor(along, along, column(j), op);
    }
    let down = nc.sbuf::<A>([p, n, columns]);
    let row = |i: usize| along.at((.., i..i + (n - 1) * w.stride + 1, ..)).step(1, w.stride);
    first_two(nc, down, row(0), (w.height > 1).then(|| row(1)), op);
    for i in 2..w.height {
        nc.tensor_tensor(down, down, row(i), op);
    }
    down
}

#[nki::kernel]
fn first_two<T: Float, A: Float>(nc: Nc, dst: Tile<A>, a: Tile<T>, b: Option<Tile<T>>, op: Alu) {
    match b {
        Some(b) => drop(nc.tensor_tensor(dst, a, b, op)),
        None => drop(nc.tensor_copy(dst, a)),
    }
}
