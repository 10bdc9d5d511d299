//! What the calibration kernels share: transfers with static descriptors, copies on the scalar engine.

use nki::ir::op::DgeMode;
use nki::prelude::*;

/// Loads into a new tile `columns` wide, of which the source may fill the left part only.
#[nki::kernel]
pub fn load(nc: Nc, src: Hbm<f32>, columns: usize) -> Tile<f32> {
    let [rows, given] = src.dims();
    let tile = nc.sbuf::<f32>([rows, columns]);
    nc.dma_copy(tile.at((.., 0..given)), src).dge_mode(DgeMode::None);
    if given < columns {
        // On the device whatever the tile held; here defined, by an engine that has nothing else to do.
        nc.memset(tile.at((.., given..columns)), 0.0).engine(Engine::GpSimd);
    }
    tile
}

/// Stores a tile.
#[nki::kernel]
pub fn store(nc: Nc, dst: Hbm<f32>, src: Tile<f32>) {
    nc.dma_copy(dst, src).dge_mode(DgeMode::None);
}

/// PSUM to SBUF on the scalar engine.
#[nki::kernel]
pub fn copy(nc: Nc, dst: Tile<f32>, src: Acc<f32>) {
    nc.activation(dst, Act::Copy, src);
}

/// A transpose as gen2 runs it: the tile stationary, an identity moving.
#[nki::kernel]
pub fn product_with_identity(nc: Nc, tile: Tile<f32>, identity: Tile<f32>) -> Acc<f32> {
    let [rows, columns] = tile.dims();
    let turned = nc.psum([columns, rows]);
    nc.nc_matmul(turned, tile, identity.at((0..rows, 0..rows))).is_transpose(true);
    turned
}
