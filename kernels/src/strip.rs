//! Strips: matrices of any height on 128 partitions, and products of them.

use nki::ir::DType;
use nki::prelude::*;

/// Loads `[rows, columns]` as a strip `[128, ⌈rows / 128⌉, columns]`: row `r` is on partition `r % 128`, at position
/// `r / 128` of the middle axis. What is past the last row is never written.
#[nki::kernel]
pub fn strip<T: Elem>(nc: Nc, matrix: Hbm<T>) -> Tile<T> {
    let [rows, columns] = matrix.dims();
    let strip = nc.sbuf::<T>([rows.min(128), rows.div_ceil(128), columns]);
    for r in nc.tiles(rows, 128) {
        nc.dma_copy(strip.at((0..r.len(), r.index(), ..)), matrix.at((r, ..)));
    }
    strip
}

/// `Σ_k left[k, m] · right[k, n]` over the `k` rows of two strips, or of some of their columns: at most 128 of `left` and
/// 512 of `right`.
#[nki::kernel]
pub fn product<A: Elem, B: Elem>(nc: Nc, left: Tile<A>, right: Tile<B>, k: usize) -> Acc {
    let acc = nc.psum([left.dim(2), right.dim(2)]);
    for ki in nc.tiles(k, 128) {
        let stationary = left.at((0..ki.len(), ki.index(), ..));
        multiply(nc, acc, stationary, right.at((0..ki.len(), ki.index(), ..)));
    }
    acc
}

/// Adds `stationaryᵀ · moving` to `acc`, whatever their dtypes: the tensor engine multiplies 8-bit and 16-bit floats with each other, but f32
/// only with f32 (isa.md 9.1.1).
#[nki::kernel]
pub fn multiply<A: Elem, B: Elem>(nc: Nc, acc: Acc, stationary: Tile<A>, moving: Tile<B>) {
    match (A::DTYPE == DType::F32, B::DTYPE == DType::F32) {
        (true, false) => drop(nc.nc_matmul(acc, stationary, moving.to::<A>())),
        (false, true) => drop(nc.nc_matmul(acc, stationary.to::<B>(), moving)),
        _ => drop(nc.nc_matmul(acc, stationary, moving)),
    }
}

/// `x[tokens, hidden]` as `[128, ⌈hidden / 128⌉, tokens]`: element `h` of a token is on partition `h % 128`, in row `h / 128`.
#[nki::kernel]
pub fn transposed<T: Float>(nc: Nc, x: Hbm<T>) -> Tile<T> {
    let [tokens, hidden] = x.dims();
    let x_t = nc.sbuf::<T>([hidden.min(128), hidden.div_ceil(128), tokens]);
    for t in nc.tiles(tokens, 128) {
        let rows = nc.load(x.at((t, ..)));
        for h in nc.tiles(hidden, 128) {
            let turned = nc.psum_of::<T>([h.len(), t.len()]);
            nc.nc_transpose(turned, rows.at((.., h)));
            nc.tensor_copy(x_t.at((0..h.len(), h.index(), t)), turned);
        }
    }
    x_t
}
