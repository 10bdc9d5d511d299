//! Images at another size.

use crate::strip::strip;
use nki::prelude::*;

/// How elements between those of the image come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Interpolation {
    /// `out[i, j] = x[⌊i · rows / out_rows⌋, ⌊j · columns / out_columns⌋]`, bit for bit.
    Nearest,
    /// Between the four elements around, as if elements were areas: corners of the images coincide, not their elements
    /// (`align_corners = false`).
    Bilinear,
}

/// What `resize` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct ResizeConfig {
    #[config(default = Interpolation::Bilinear)]
    pub kind: Interpolation,
    /// Rows of the result; twice those of the image unless given.
    #[config(default = None)]
    pub rows: Option<usize>,
    /// Columns of the result; twice those of the image unless given.
    #[config(default = None)]
    pub columns: Option<usize>,
}

/// `x`, `[planes, rows, columns]`, at another size; batch and channels are planes.
#[nki::kernel]
pub fn resize<T: Float>(nc: Nc, x: Hbm<T>, cfg: ResizeConfig) -> Hbm<T> {
    let [planes, rows, columns] = x.dims();
    let (to_rows, to_columns) = (cfg.rows.unwrap_or(2 * rows), cfg.columns.unwrap_or(2 * columns));
    ensure!(nc, planes > 0 && rows > 0 && columns > 0 && to_rows > 0 && to_columns > 0);
    let exact = |from: usize, to: usize| 2 * from * to + to < 1 << 24;
    ensure!(nc, exact(rows, to_rows) && exact(columns, to_columns), "positions are whole numbers in f32");
    let out = nc.hbm([planes, to_rows, to_columns]);
    match cfg.kind {
        Interpolation::Nearest => nearest(nc, x, out),
        Interpolation::Bilinear => bilinear(nc, x, out),
    }
    out
}

/// Planes on partitions. Of `to` positions from `from` elements, those that are `to / gcd` apart come from elements that are
/// `from / gcd` apart: one strided copy for each remainder.
#[nki::kernel]
fn nearest<T: Float>(nc: Nc, x: Hbm<T>, out: Hbm<T>) {
    let ([planes, rows, columns], [_, to_rows, to_columns]) = (x.dims(), out.dims());
    let (across, down) = (gcd(columns, to_columns), gcd(rows, to_rows));
    // Rows of the image that are loaded together: a period of the rows, and as many as there is room for.
    let (period, to_period) = (rows / down, to_rows / down);
    let band = (16384 / (period * (columns + to_columns))).clamp(1, down);
    for p in nc.tiles(planes, 128) {
        for first in (0..down).step_by(band) {
            let n = band.min(down - first);
            let tile = nc.load(x.at((p, first * period..(first + n) * period, ..)));
            let wide = nc.sbuf::<T>([p.len(), n * period, to_columns]);
            let (from, to) =
                (tile.split(2, &[across, columns / across]), wide.split(2, &[across, to_columns / across]));
            for j in 0..to_columns / across {
                nc.tensor_copy(to.at((.., .., .., j)), from.at((.., .., .., j * columns / to_columns)));
            }
            let source = wide.split(1, &[n, period]);
            let target =
                out.at((p, first * to_period..(first + n) * to_period, ..)).split(1, &[n, to_period]);
            for i in 0..to_period {
                nc.dma_copy(target.at((.., .., i, ..)), source.at((.., .., i * rows / to_rows, ..)));
            }
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Two products for each plane: columns of the image by the weights of rows, and rows of that by the weights of columns.
#[nki::kernel]
fn bilinear<T: Float>(nc: Nc, x: Hbm<T>, out: Hbm<T>) {
    let ([planes, rows, columns], [_, to_rows, to_columns]) = (x.dims(), out.dims());
    let (down, across) = (weights::<T>(nc, rows, to_rows), weights::<T>(nc, columns, to_columns));
    for p in nc.range(planes) {
        let image = strip(nc, x.at((p, .., ..)));
        // [columns, to_rows]: the image with its rows interpolated, transposed.
        let tall = nc.sbuf::<T>([columns.min(128), columns.div_ceil(128), to_rows]);
        for c in nc.tiles(columns, 128) {
            for r in nc.tiles(to_rows, 512) {
                let acc = nc.psum([c.len(), r.len()]);
                for k in nc.tiles(rows, 128) {
                    let part = image.at((0..k.len(), k.index(), c));
                    nc.nc_matmul(acc, part, down.at((0..k.len(), k.index(), r)));
                }
                nc.tensor_copy(tall.at((0..c.len(), c.index(), r)), acc);
            }
        }
        for r in nc.tiles(to_rows, 128) {
            for c in nc.tiles(to_columns, 512) {
                let acc = nc.psum([r.len(), c.len()]);
                for k in nc.tiles(columns, 128) {
                    let part = tall.at((0..k.len(), k.index(), r));
                    nc.nc_matmul(acc, part, across.at((0..k.len(), k.index(), c)));
                }
                nc.store(out.at((p, r, c)), acc.to::<T>());
            }
        }
    }
}

/// `[from, to]`, as a strip: what element `i` contributes to position `o`, `max(0, 1 - |s - i|)` with
/// `s = (o + 1/2) · from / to - 1/2` moved inside the image. Everything is counted in units of `1 / (2 to)`, in which it is whole and
/// exact, and divided last.
#[nki::kernel]
fn weights<T: Float>(nc: Nc, from: usize, to: usize) -> Tile<T> {
    let (lanes, tiles, unit) = (from.min(128), from.div_ceil(128), 2 * to as i64);
    let strip = nc.sbuf::<T>([lanes, tiles, to]);
    let position = nc.sbuf::<f32>([lanes, to]);
    nc.iota(position, &[[2 * from as i64, to as i64]]).offset(from as i64 - to as i64);
    let last = (2 * to * (from - 1)) as f32;
    nc.tensor_scalar(position, position, Alu::Maximum, 0.0).then(Alu::Minimum, last);
    for i in nc.tiles(from, 128) {
        let element = nc.sbuf::<f32>([lanes, tiles]);
        nc.iota(element, &[[128 * unit, tiles as i64]]).channel_multiplier(unit);
        let distance = nc.sbuf::<f32>([i.len(), to]);
        let own = element.at((0..i.len(), ..)).at((.., i.index()..i.index() + 1));
        nc.tensor_scalar(distance, position.at((0..i.len(), ..)), Alu::Subtract, own);
        nc.activation(distance, Act::Abs, distance);
        nc.tensor_scalar(distance, distance, Alu::Multiply, -1.0 / unit as f32).then(Alu::Add, 1.0);
        nc.tensor_scalar(strip.at((0..i.len(), i.index(), ..)), distance, Alu::Maximum, 0.0);
    }
    strip
}
