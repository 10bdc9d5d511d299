//! Other orders of the same elements.

use nki::prelude::*;

/// `out[p, j, i] = x[p, i, j]`: each partition reorders its own elements, which takes a strided copy and no arithmetic.
#[nki::kernel]
pub fn transpose_inside<T: Elem>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [p, f1, f2] = x.dims();
    let out = nc.hbm([p, f2, f1]);
    let wide = (ROOM / T::DTYPE.bytes() / f1.max(1)).max(1);
    for r in nc.tiles(p, 128) {
        for j in nc.tiles(f2, wide) {
            let tile = nc.load(x.at((r, .., j)));
            let turned = nc.sbuf::<T>([r.len(), j.len(), f1]);
            nc.tensor_copy(turned, tile.permute(&[0, 2, 1]));
            nc.store(out.at((r, j, ..)), turned);
        }
    }
    out
}

/// Bytes of a partition that a tile may take.
const ROOM: usize = 32 << 10;

/// `out[i, p, j] = x[p, i, j]`: the first axis changes places with the second, on the tensor engine, one `j` at a time.
#[nki::kernel]
pub fn swap_axes<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [p, f1, f2] = x.dims();
    let out = nc.hbm([f1, p, f2]);
    let wide = ROOM / T::DTYPE.bytes() / 128;
    for r in nc.tiles(p, 128) {
        for i in nc.tiles(f1, 128) {
            for part in nc.tiles(f2, wide) {
                let tile = nc.load(x.at((r, i, part)));
                let turned = nc.sbuf::<T>([i.len(), r.len(), part.len()]);
                for j in nc.range(part.len()) {
                    let bank = nc.psum_of::<T>([i.len(), r.len()]);
                    nc.nc_transpose(bank, tile.at((.., .., j)));
                    nc.tensor_copy(turned.at((.., .., j)), bank);
                }
                nc.store(out.at((i, r, part)), turned);
            }
        }
    }
    out
}

/// `out[c, r] = x[r, c]` of 16-bit elements, by the DMA engines alone: no compute engine takes part.
#[nki::kernel]
pub fn transpose_dma<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, T::DTYPE.bytes() == 2, "transfers transpose elements of 2 bytes");
    let out = nc.hbm([columns, rows]);
    for r in nc.tiles(rows, 512) {
        for c in nc.tiles(columns, 128) {
            let turned = nc.sbuf::<T>([c.len(), r.len()]);
            nc.dma_transpose(turned, x.at((r, c)));
            nc.store(out.at((c, r)), turned);
        }
    }
    out
}

/// Every 32 × 32 block of `x` transposed where it is, on the vector engine, which reaches across 32 partitions and no further. Both
/// dimensions are multiples of 32.
#[nki::kernel]
pub fn transpose_blocks<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, rows % 32 == 0 && columns % 32 == 0, "blocks are 32 by 32");
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 32) {
        for c in nc.tiles(columns, 2048) {
            let tile = nc.load(x.at((r, c)));
            let turned = nc.sbuf::<T>([32, c.len()]);
            for block in nc.tiles(c.len(), 32) {
                nc.nc_transpose(turned.at((.., block)), tile.at((.., block))).engine(Engine::Vector);
            }
            nc.store(out.at((r, c)), turned);
        }
    }
    out
}

/// `out[i, r] = column[r]` for every `i` of `rows`: a column of one value per partition becomes the same row on all partitions. The
/// tensor engine turns the column, and a product with ones repeats it.
#[nki::kernel]
pub fn broadcast_column<T: Float>(nc: Nc, column: Tile<T>, rows: usize) -> Tile<T> {
    let turned = nc.transpose(column).to::<T>();
    nc.broadcast_partitions(turned, rows)
}

/// `dst = src`, in pieces of `columns` that the vector and the scalar engine take in turns (trn2 and later).
#[nki::kernel]
pub fn interleaved_copy<D: Elem, T: Elem>(nc: Nc, dst: Tile<D>, src: Tile<T>, columns: usize) {
    let n = src.dim(1);
    ensure!(nc, src.rank() == 2 && dst.rank() == 2 && columns > 0);
    for (i, start) in (0..n).step_by(columns).enumerate() {
        let part = start..(start + columns).min(n);
        let engine = if i % 2 == 0 { Engine::Vector } else { Engine::Scalar };
        nc.tensor_copy(dst.at((.., part.clone())), src.at((.., part))).engine(engine);
    }
}
