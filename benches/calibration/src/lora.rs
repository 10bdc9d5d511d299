//! C3 of calibration.md: `out = x · w + (x · a) · b` in float32, with the intermediates that went through device memory.

use crate::pieces::{copy, load, product_with_identity, store};
use nki::prelude::*;

/// `x [m, k]`, `w [k, n]`, `a [k, 128]`, `b [128, n]`. Running sums leave the chip after every quarter of the contraction, as
/// nearly all of them did.
#[nki::kernel]
pub fn lora(nc: Nc, x: Hbm<f32>, w: Hbm<f32>, a: Hbm<f32>, b: Hbm<f32>, identity: Hbm<f32>) -> Hbm<f32> {
    let ([m, k], [_, n]) = (x.dims(), w.dims());
    ensure!(nc, m % 4096 == 0 && n % 1024 == 0 && k % 5120 == 0);
    let out = nc.hbm([m, n]);
    let turned = nc.hbm::<f32>([m / 512, k / 128, 128, 512]);
    let low_rank = nc.hbm::<f32>([n / 128, m / 512, 128, 512]);
    let identity = load(nc, identity, 128);
    first_part(nc, low_rank, x, a, b, identity);
    for rb in nc.range(m / 512) {
        for (j, tile) in
            transposed_block(nc, x.at((rb * 512..rb * 512 + 512, ..)), identity).iter().enumerate()
        {
            store(nc, turned.at((rb, j, .., ..)), *tile);
        }
    }
    let sums = nc.hbm::<f32>([n / 1024, m / 512, 8, 128, 512]);
    for nb in nc.range(n / 1024) {
        let columns = nb * 1024..nb * 1024 + 1024;
        for quarter in 0..4 {
            let depth = k / 128 / 4;
            let tile = |j: usize| {
                let row = (quarter * depth + j) * 128;
                load(nc, w.at((row..row + 128, columns.clone())), 1024)
            };
            let weights: Vec<Tile<f32>> = (0..depth).map(tile).collect();
            for rb in nc.range(m / 512) {
                let moving: Vec<Tile<f32>> =
                    (0..depth).map(|j| load(nc, turned.at((rb, quarter * depth + j, .., ..)), 512)).collect();
                for c in 0..8 {
                    let acc = nc.psum([128, 512]);
                    for (weights, moving) in weights.iter().zip(&moving) {
                        nc.nc_matmul(acc, weights.at((.., c * 128..c * 128 + 128)), *moving);
                    }
                    let place = sums.at((nb, rb, c, .., ..));
                    let sum = if quarter == 0 { zeros(nc) } else { load(nc, place, 512) };
                    nc.tensor_tensor(sum, sum, acc, Alu::Add).engine(Engine::Vector);
                    store(nc, place, sum);
                }
            }
        }
        for rb in nc.range(m / 512) {
            for c in 0..8 {
                let sum = load(nc, sums.at((nb, rb, c, .., ..)), 512);
                let part = load(nc, low_rank.at((nb * 8 + c, rb, .., ..)), 512);
                nc.tensor_tensor(sum, sum, part, Alu::Add).engine(Engine::Vector);
                for i in 0..4 {
                    let back = product_with_identity(nc, sum.at((.., i * 128..i * 128 + 128)), identity);
                    let rows = nc.sbuf::<f32>([128, 128]);
                    copy(nc, rows, back);
                    let (row, column) = (rb * 512 + i * 128, nb * 1024 + c * 128);
                    store(nc, out.at((row..row + 128, column..column + 128)), rows);
                }
            }
        }
    }
    out
}

fn zeros(nc: Nc) -> Tile<f32> {
    let tile = nc.sbuf::<f32>([128, 512]);
    nc.memset(tile, 0.0).engine(Engine::Vector);
    tile
}

/// 512 rows transposed: one tile `[128, 512]` for each 128 columns.
fn transposed_block(nc: Nc, x: Hbm<f32>, identity: Tile<f32>) -> Vec<Tile<f32>> {
    let [rows, k] = x.dims();
    let tiles: Vec<Tile<f32>> = (0..k / 128).map(|_| nc.sbuf::<f32>([128, rows])).collect();
    for i in 0..rows / 128 {
        for block in 0..k / 1024 {
            let part = load(nc, x.at((i * 128..i * 128 + 128, block * 1024..block * 1024 + 1024)), 1024);
            for j in 0..8 {
                let turned = product_with_identity(nc, part.at((.., j * 128..j * 128 + 128)), identity);
                copy(nc, tiles[block * 8 + j].at((.., i * 128..i * 128 + 128)), turned);
            }
        }
    }
    tiles
}

/// `((x · a) · b)` transposed, in tiles of 128 columns and 512 rows.
fn first_part(nc: Nc, low_rank: Hbm<f32>, x: Hbm<f32>, a: Hbm<f32>, b: Hbm<f32>, identity: Tile<f32>) {
    let ([m, k], [_, n]) = (x.dims(), b.dims());
    let factors: Vec<Tile<f32>> =
        (0..k / 128).map(|j| load(nc, a.at((j * 128..j * 128 + 128, ..)), 128)).collect();
    let products = nc.sbuf::<f32>([128, m / 512, 512]);
    for rb in nc.range(m / 512) {
        let moving = transposed_block(nc, x.at((rb * 512..rb * 512 + 512, ..)), identity);
        let acc = nc.psum([128, 512]);
        for (factor, moving) in factors.iter().zip(&moving) {
            nc.nc_matmul(acc, *factor, *moving);
        }
        copy(nc, products.at((.., rb, ..)), acc);
    }
    let half = m / 1024;
    for h in 0..2 {
        for nb in nc.range(n / 1024) {
            let columns = load(nc, b.at((.., nb * 1024..nb * 1024 + 1024)), 1024);
            for rb in h * half..h * half + half {
                for c in 0..8 {
                    let acc = nc.psum([128, 512]);
                    let stationary = columns.at((.., c * 128..c * 128 + 128));
                    nc.nc_matmul(acc, stationary, products.at((.., rb, ..)));
                    let tile = nc.sbuf::<f32>([128, 512]);
                    copy(nc, tile, acc);
                    store(nc, low_rank.at((nb * 8 + c, rb, .., ..)), tile);
                }
            }
        }
    }
}
