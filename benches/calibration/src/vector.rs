//! Kernels that the vector engine bounds: C6, C7 and C9 of calibration.md.

use crate::pieces::{load, store};
use nki::ir::op::DgeMode;
use nki::prelude::*;

/// A new tile that the scalar engine fills with `factor · x`.
#[nki::kernel]
fn scaled(nc: Nc, x: Tile<f32>, factor: f32) -> Tile<f32> {
    let out = nc.sbuf::<f32>(x.dims::<2>());
    nc.activation(out, Act::Copy, x).scale(factor);
    out
}

/// The same in PSUM, so that the vector engine reads it beside an operand in SBUF.
#[nki::kernel]
fn scaled_in_psum(nc: Nc, x: Tile<f32>, factor: f32) -> Acc<f32> {
    let out = nc.psum(x.dims::<2>());
    nc.activation(out, Act::Copy, x).scale(factor);
    out
}

/// C6: one AdamW step; only the parameters are written.
#[nki::kernel]
pub fn adamw(nc: Nc, theta: Hbm<f32>, m: Hbm<f32>, v: Hbm<f32>, g: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = theta.dims();
    let out = nc.hbm([rows, columns]);
    let small = nc.sbuf::<f32>([128, 1]);
    nc.memset(small, 1e-8).engine(Engine::GpSimd);
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, 1024) {
            let part = |x: Hbm<f32>| load(nc, x.at((r, c)), 1024);
            let (theta, m, v, g) = (part(theta), part(m), part(v), part(g));
            let result = nc.sbuf::<f32>([r.len(), 1024]);
            for half in 0..2 {
                let columns = half * 512..half * 512 + 512;
                let at = |x: Tile<f32>| x.at((.., columns.clone()));
                let (theta, m, v, g) = (at(theta), at(m), at(v), at(g));
                step(nc, at(result), theta, m, v, g, small.at((0..r.len(), ..)));
            }
            store(nc, out.at((r, c)), result);
        }
    }
    out
}

/// Fifteen instructions on 512 columns: eight on the scalar engine, seven on the vector engine. Four of the vector engine's
/// `tensor_tensor` have one operand in PSUM.
#[nki::kernel]
#[allow(clippy::too_many_arguments)] // The state of the optimiser.
fn step(
    nc: Nc,
    out: Tile<f32>,
    theta: Tile<f32>,
    m: Tile<f32>,
    v: Tile<f32>,
    g: Tile<f32>,
    small: Tile<f32>,
) {
    let shape = theta.dims::<2>();
    let tile = || nc.sbuf::<f32>(shape);
    let decay = scaled(nc, theta, 1e-5);
    let kept = nc.psum(shape);
    nc.tensor_tensor(kept, theta, decay, Alu::Subtract).engine(Engine::Vector);
    let first = tile();
    nc.tensor_tensor(first, scaled(nc, m, 0.9), scaled_in_psum(nc, g, 0.1), Alu::Add).engine(Engine::Vector);
    let square = tile();
    nc.tensor_tensor(square, scaled_in_psum(nc, g, 0.001), g, Alu::Multiply).engine(Engine::Vector);
    let second = tile();
    nc.tensor_tensor(second, scaled_in_psum(nc, v, 0.999), square, Alu::Add).engine(Engine::Vector);
    let root = tile();
    nc.activation(root, Act::Sqrt, second).scale(1000.0);
    let divisor = tile();
    nc.activation(divisor, Act::Copy, root).bias(small);
    let inverse = tile();
    nc.reciprocal(inverse, divisor).engine(Engine::Vector);
    let change = tile();
    nc.tensor_tensor(change, scaled(nc, first, 0.01), inverse, Alu::Multiply).engine(Engine::Vector);
    nc.tensor_tensor(out, kept, change, Alu::Subtract).engine(Engine::Vector);
}

/// C7: rotary embedding; the halves of the head are on partitions 0 to 63 and 64 to 127.
#[nki::kernel]
pub fn rope(nc: Nc, x: Hbm<f32>, cos: Hbm<f32>, sin: Hbm<f32>) -> Hbm<f32> {
    let [_, n] = x.dims();
    let out = nc.hbm([128, n]);
    // One buffer for each operand, and two products in place: the next load waits for the last use.
    let whole = nc.sbuf::<f32>([128, 512]);
    let [cos_tile, sin_tile] = [nc.sbuf::<f32>([64, 512]), nc.sbuf::<f32>([64, 512])];
    let products: [Tile<f32>; 2] = std::array::from_fn(|_| nc.sbuf([64, 512]));
    for c in nc.tiles(n, 512) {
        nc.dma_copy(whole, x.at((.., c))).dge_mode(DgeMode::None);
        nc.dma_copy(cos_tile, cos.at((.., c))).dge_mode(DgeMode::None);
        nc.dma_copy(sin_tile, sin.at((.., c))).dge_mode(DgeMode::None);
        let (cos, sin) = (cos_tile, sin_tile);
        let (upper, lower) = (whole.at((0..64, ..)), nc.sbuf::<f32>([64, 512]));
        nc.activation(lower, Act::Copy, whole.at((64..128, ..)));
        let vector = |out: Tile<f32>, a: Tile<f32>, b: Tile<f32>, op: Alu| {
            nc.tensor_tensor(out, a, b, op).engine(Engine::Vector);
        };
        let result = nc.sbuf::<f32>([128, 512]);
        vector(products[0], upper, cos, Alu::Multiply);
        vector(products[1], lower, sin, Alu::Multiply);
        vector(sin, upper, sin, Alu::Multiply);
        vector(cos, lower, cos, Alu::Multiply);
        vector(result.at((0..64, ..)), products[0], products[1], Alu::Subtract);
        let second = nc.sbuf::<f32>([64, 512]);
        vector(second, sin, cos, Alu::Add);
        nc.activation(result.at((64..128, ..)), Act::Copy, second);
        store(nc, out.at((.., c)), result);
    }
    out
}

/// C9: depthwise convolution with three taps, one tiny vector instruction per output column, sums of four columns each.
#[nki::kernel]
pub fn conv1d(nc: Nc, image: Hbm<f32>, filter: Hbm<f32>) -> Hbm<f32> {
    let [images, channels, width] = image.dims();
    let out = nc.hbm([images, channels, width]);
    for c in nc.tiles(channels, 128) {
        let taps = load(nc, filter.at((c, ..)), 3);
        let weights = nc.psum([128, 3]);
        nc.tensor_copy(weights, taps).engine(Engine::Vector);
        for i in nc.range(images) {
            let row = nc.sbuf::<f32>([128, width + 2]);
            nc.memset(row.at((.., 0..1)), 0.0).engine(Engine::GpSimd);
            nc.memset(row.at((.., width + 1..width + 2)), 0.0).engine(Engine::GpSimd);
            nc.dma_copy(row.at((.., 1..width + 1)), image.at((i, c, ..))).dge_mode(DgeMode::None);
            let result = nc.sbuf::<f32>([128, width]);
            for w in nc.tiles(width, 4) {
                let products = nc.sbuf::<f32>([128, 4, 3]);
                for j in 0..4 {
                    let window = row.at((.., w.start() + j..w.start() + j + 3));
                    nc.tensor_tensor(products.at((.., j, ..)), window, weights, Alu::Multiply)
                        .engine(Engine::Vector);
                }
                nc.tensor_reduce(result.at((.., w)), Alu::Add, products).engine(Engine::Vector);
            }
            store(nc, out.at((i, c, ..)), result);
        }
    }
    out
}
