//! C10 of calibration.md: self-attention for small heads with a fused softmax.

use crate::pieces::store;
use nki::ir::op::DgeMode;
use nki::prelude::*;

/// `q`, `k`, `v` `[n, 64]` in bfloat16, `out` in float32, not causal: `softmax(q · kᵀ / 8) · v`. Both identities are 128 wide.
///
/// The result leaves through a transpose on the tensor engine: element by element, as a transposed store would move it, the
/// transfers alone take three times what was measured.
#[nki::kernel]
pub fn small_heads(
    nc: Nc,
    q: Hbm<bf16>,
    k: Hbm<bf16>,
    v: Hbm<bf16>,
    identity: Hbm<bf16>,
    identity32: Hbm<f32>,
) -> Hbm<f32> {
    let [n, d] = q.dims();
    ensure!(nc, n % 512 == 0 && d <= 128);
    let out = nc.hbm([n, d]);
    let identity = fixed(nc, identity);
    let identity32 = fixed(nc, identity32);
    let ones = nc.sbuf::<f32>([128, d]);
    nc.memset(ones, 1.0).engine(Engine::GpSimd);
    let keys: Vec<Tile<bf16>> =
        (0..n / 512).map(|c| turned(nc, k.at((c * 512..c * 512 + 512, ..)))).collect();
    let values: Vec<Tile<bf16>> =
        (0..n / 128).map(|i| fixed(nc, v.at((i * 128..i * 128 + 128, ..)))).collect();
    for r in nc.tiles(n, 128) {
        let scaled = nc.sbuf::<bf16>([d, 128]);
        nc.activation(scaled, Act::Copy, turned(nc, q.at((r, ..)))).scale(0.125);
        let (powers, total) = powers(nc, scaled, &keys);
        let sum = nc.psum([d, 128]);
        for (b, values) in values.chunks(4).enumerate() {
            let turned = nc.psum([128, 512]);
            for j in 0..4 {
                let column = b * 512 + j * 128;
                let block = powers.at((.., column..column + 128));
                nc.nc_matmul(turned.at((.., j * 128..j * 128 + 128)), block, identity);
            }
            let moving = nc.sbuf::<bf16>([128, 512]);
            nc.activation(moving, Act::Copy, turned);
            for (j, value) in values.iter().enumerate() {
                nc.nc_matmul(sum, *value, moving.at((.., j * 128..j * 128 + 128)));
            }
        }
        store(nc, out.at((r, ..)), divided(nc, sum, total, ones, identity32));
    }
    out
}

/// Loaded as it is, with static descriptors.
fn fixed<T: Float>(nc: Nc, src: Hbm<T>) -> Tile<T> {
    let tile = nc.sbuf::<T>(src.dims::<2>());
    nc.dma_copy(tile, src).dge_mode(DgeMode::None);
    tile
}

/// Loaded and transposed by the DMA engines.
fn turned(nc: Nc, src: Hbm<bf16>) -> Tile<bf16> {
    let [rows, d] = src.dims();
    let tile = nc.sbuf::<bf16>([d, rows]);
    nc.dma_transpose(tile, src);
    tile
}

/// `exp(queriesᵀ · keys - maximum)` of 128 queries, and its row sums.
#[nki::kernel]
fn powers(nc: Nc, queries: Tile<bf16>, keys: &[Tile<bf16>]) -> (Tile<bf16>, Tile<f32>) {
    let n = 512 * keys.len();
    let (scores, maxima) = (nc.sbuf::<f32>([128, n]), nc.sbuf::<f32>([128, n / 512]));
    for (b, keys) in keys.iter().enumerate() {
        let columns = b * 512..b * 512 + 512;
        let acc = nc.psum([128, 512]);
        for j in 0..4 {
            let part = j * 128..j * 128 + 128;
            nc.nc_matmul(acc.at((.., part.clone())), queries, keys.at((.., part)));
        }
        nc.activation(scores.at((.., columns.clone())), Act::Copy, acc);
        nc.tensor_reduce(maxima.at((.., b..b + 1)), Alu::Maximum, scores.at((.., columns)))
            .engine(Engine::Vector);
    }
    let negative = nc.sbuf::<f32>([128, 1]);
    nc.tensor_reduce(negative, Alu::Maximum, maxima).negate(true).engine(Engine::Vector);
    let (powers, total) = (nc.sbuf::<bf16>([128, n]), nc.sbuf::<f32>([128, 1]));
    nc.activation(powers, Act::Exp, scores).bias(negative).reduce(total);
    (powers, total)
}

/// `sumᵀ / total`: the reciprocal is widened to as many columns as `sum` has rows, transposed and multiplied.
#[nki::kernel]
fn divided(nc: Nc, sum: Acc<f32>, total: Tile<f32>, ones: Tile<f32>, identity: Tile<f32>) -> Tile<f32> {
    let [d, rows] = sum.dims();
    let (inverse, wide) = (nc.sbuf::<f32>([rows, 1]), nc.sbuf::<f32>([rows, d]));
    nc.reciprocal(inverse, total).engine(Engine::Vector);
    nc.tensor_scalar(wide, ones, Alu::Multiply, inverse).engine(Engine::Vector);
    let factors = nc.psum([d, rows]);
    nc.nc_matmul(factors, wide, identity).is_transpose(true);
    let (copied, quotient) = (nc.sbuf::<f32>([d, rows]), nc.sbuf::<f32>([d, rows]));
    nc.activation(copied, Act::Copy, sum);
    nc.tensor_tensor(quotient, copied, factors, Alu::Multiply).engine(Engine::Vector);
    let back = nc.psum([rows, d]);
    nc.nc_matmul(back, quotient, identity.at((0..d, 0..d))).is_transpose(true);
    let out = nc.sbuf::<f32>([rows, d]);
    nc.activation(out, Act::Copy, back);
    out
}
