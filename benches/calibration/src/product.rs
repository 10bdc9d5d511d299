//! Matrix products: C1, C2, C4 and C4b of calibration.md.

use crate::pieces::{copy, load, product_with_identity, store};
use nki::prelude::*;

/// C1: `out[m, n] = lhsᵀ · rhs`. The contraction is split as `k = 16 · p + j`: partition `p` holds 16 consecutive rows, tile `j`
/// the rows `{16 · p + j}`, the same for both operands.
#[nki::kernel]
pub fn transpose_matmul(nc: Nc, lhs: Hbm<f32>, rhs: Hbm<f32>) -> Hbm<f32> {
    let ([k, m], [_, n]) = (lhs.dims(), rhs.dims());
    let depth = k / 128;
    let (lhs, rhs) = (lhs.split(0, &[128, depth]), rhs.split(0, &[128, depth]));
    let out = nc.hbm([m, n]);
    for mb in nc.tiles(m, 1024) {
        let left: Vec<Tile<f32>> = (0..depth).map(|j| load(nc, lhs.at((.., j, mb)), 1024)).collect();
        for nb in nc.tiles(n, 1024) {
            // The last block is narrower; its matmuls still run 512 wide, over what the tile held.
            let right: Vec<Tile<f32>> = (0..depth).map(|j| load(nc, rhs.at((.., j, nb)), 1024)).collect();
            for mi in nc.range(8) {
                let rows = nc.sbuf::<f32>([128, nb.len()]);
                for half in 0..2 {
                    let columns = half * 512..(half * 512 + 512).min(nb.len());
                    let acc = nc.psum([128, 512]);
                    for j in 0..depth {
                        let stationary = left[j].at((.., mi * 128..mi * 128 + 128));
                        nc.nc_matmul(acc, stationary, right[j].at((.., half * 512..half * 512 + 512)));
                    }
                    copy(nc, rows.at((.., columns.clone())), acc.at((.., 0..columns.len())));
                }
                let row = mb.start() + mi * 128;
                store(nc, out.at((row..row + 128, nb)), rows);
            }
        }
    }
    out
}

/// C2: `out = (rmsnorm(x + z) ∘ g) · w`, with the transposes repeated for every column tile.
#[nki::kernel]
pub fn add_rmsnorm_matmul(
    nc: Nc,
    x: Hbm<f32>,
    z: Hbm<f32>,
    g: Hbm<f32>,
    w: Hbm<f32>,
    identity: Hbm<f32>,
) -> Hbm<f32> {
    let ([rows, k], [_, n]) = (x.dims(), w.dims());
    let out = nc.hbm([rows, n]);
    let identity = load(nc, identity, 128);
    let gain_row = load(nc, g.reshape([1, k]), k);
    let ones = nc.sbuf::<f32>([1, 128]);
    nc.memset(ones, 1.0).engine(Engine::GpSimd);
    let eps = nc.sbuf::<f32>([128, 1]);
    nc.memset(eps, 1e-5).engine(Engine::GpSimd);
    let gains = nc.sbuf::<f32>([128, k]);
    for c in 0..k / 512 {
        let columns = c * 512..c * 512 + 512;
        let acc = nc.psum([128, 512]);
        nc.nc_matmul(acc, ones, gain_row.at((.., columns.clone()))).is_stationary_onezero(true);
        copy(nc, gains.at((.., columns)), acc);
    }
    let weights: Vec<Vec<Tile<f32>>> = (0..k / 128)
        .map(|ki| {
            let tile = |ni| w.at((ki * 128..ki * 128 + 128, ni * 512..ni * 512 + 512));
            (0..n / 512).map(|ni| load(nc, tile(ni), 512)).collect()
        })
        .collect();
    // The tensor engine is two blocks of transposes ahead of the products, so that their copies need not be waited for.
    let turned: Vec<Vec<Acc<f32>>> =
        (0..2).map(|_| (0..k / 128).map(|_| nc.psum([128, 128])).collect()).collect();
    let blocks: Vec<Vec<Tile<f32>>> =
        (0..3).map(|_| (0..k / 128).map(|_| nc.sbuf([128, 128])).collect()).collect();
    let sums: Vec<Acc<f32>> = (0..2).map(|_| nc.psum([128, 512])).collect();
    let (per_row, all) = (n / 512, rows / 128 * (n / 512));
    let operands = |r: usize| [x, z].map(|x| load(nc, x.at((r * 128..r * 128 + 128, ..)), k));
    let mut normal = vec![normalised_sum(nc, operands(0), gains, eps)];
    let mut next = (rows > 128).then(|| operands(1));
    for step in 0..all + 2 {
        if step < all {
            for (ki, turned) in turned[step % 2].iter().enumerate() {
                let block = normal[step / per_row].at((.., ki * 128..ki * 128 + 128));
                nc.nc_matmul(*turned, block, identity).is_transpose(true);
            }
        }
        if step >= 2 {
            let done = step - 2;
            let (r, ni) = (done / per_row, done % per_row);
            for (block, weights) in blocks[done % 3].iter().zip(&weights) {
                nc.nc_matmul(sums[done % 2], *block, weights[ni]);
            }
            let result = nc.sbuf::<f32>([128, 512]);
            copy(nc, result, sums[done % 2]);
            store(nc, out.at((r * 128..r * 128 + 128, ni * 512..ni * 512 + 512)), result);
        }
        if step < all {
            for (block, turned) in blocks[step % 3].iter().zip(&turned[step % 2]) {
                copy(nc, *block, *turned);
            }
        }
        if step % per_row == 1
            && let Some(operands_of_next) = next.take()
        {
            normal.push(normalised_sum(nc, operands_of_next, gains, eps));
            let then = step / per_row + 2;
            next = (then < rows / 128).then(|| operands(then));
        }
    }
    out
}

/// `rmsnorm(a + b) ∘ gains` of 128 rows.
fn normalised_sum(nc: Nc, [a, b]: [Tile<f32>; 2], gains: Tile<f32>, eps: Tile<f32>) -> Tile<f32> {
    let [_, k] = a.dims();
    let sum = nc.sbuf::<f32>([128, k]);
    nc.tensor_tensor(sum, a, b, Alu::Add).engine(Engine::Vector);
    let squares = nc.sbuf::<f32>([128, k]);
    nc.activation(squares, Act::Square, sum);
    let total = nc.sbuf::<f32>([128, 1]);
    nc.tensor_reduce(total, Alu::Add, squares).engine(Engine::Vector);
    let mean = nc.sbuf::<f32>([128, 1]);
    nc.activation(mean, Act::Copy, total).scale(1.0 / k as f32).bias(eps);
    let factor = nc.sbuf::<f32>([128, 1]);
    nc.activation(factor, Act::Rsqrt, mean);
    let scaled = nc.sbuf::<f32>([128, k]);
    nc.activation(scaled, Act::Copy, sum).scale(factor);
    let normal = nc.sbuf::<f32>([128, k]);
    nc.tensor_tensor(normal, scaled, gains, Alu::Multiply).engine(Engine::Vector);
    normal
}

/// C4 and C4b: sixteen products `[4096, 64] · [64, 4096]`. The left operand is transposed once per batch, into buffers 1024
/// wide; in C4, as measured, 48 of these buffers are written to device memory and 129 are read back.
#[nki::kernel]
pub fn bmm(nc: Nc, lhs: Hbm<f32>, rhs: Hbm<f32>, identity: Hbm<f32>, spill: bool) -> Hbm<f32> {
    let ([batches, m, k], [_, _, n]) = (lhs.dims(), rhs.dims());
    let out = nc.hbm([batches, m, n]);
    let identity = load(nc, identity, 128);
    let saved = spill.then(|| nc.hbm::<f32>([batches, m / 1024, k, 1024]));
    // Nine buffers of the first batch are read back, eight of the others.
    let of = |x: Hbm<f32>| x.at((0, .., ..));
    batch(nc, of(out), of(lhs), of(rhs), identity, saved.map(|s| (s.at((0, .., .., ..)), 9)));
    for b in nc.range(batches - 1) {
        let of = |x: Hbm<f32>| x.at((b + 1, .., ..));
        batch(nc, of(out), of(lhs), of(rhs), identity, saved.map(|s| (s.at((b + 1, .., .., ..)), 8)));
    }
    out
}

/// One product; with `saved`, where its transposed buffers go and how many are read back.
#[nki::kernel]
fn batch(
    nc: Nc,
    out: Hbm<f32>,
    lhs: Hbm<f32>,
    rhs: Hbm<f32>,
    identity: Tile<f32>,
    saved: Option<(Hbm<f32>, usize)>,
) {
    let [_, n] = rhs.dims();
    let blocks = turned_blocks(nc, lhs, identity);
    let spilled = blocks.len() - 1;
    if let Some((saved, _)) = saved {
        for (q, block) in blocks.iter().enumerate().take(spilled) {
            store(nc, saved.at((q, .., ..)), *block);
        }
    }
    let mut back = saved.map_or(0, |s| s.1);
    for nb in 0..n / 1024 {
        let right = load(nc, rhs.at((.., nb * 1024..nb * 1024 + 1024)), 1024);
        for (q, &block) in blocks.iter().enumerate() {
            let block = match saved {
                Some((saved, _)) if nb > 0 && q < spilled && back > 0 => {
                    back -= 1;
                    load(nc, saved.at((q, .., ..)), 1024)
                }
                _ => block,
            };
            for i in 0..8 {
                let rows = nc.sbuf::<f32>([128, 1024]);
                for half in 0..2 {
                    let columns = half * 512..half * 512 + 512;
                    let acc = nc.psum([128, 512]);
                    let stationary = block.at((.., i * 128..i * 128 + 128));
                    nc.nc_matmul(acc, stationary, right.at((.., columns.clone())));
                    copy(nc, rows.at((.., columns)), acc);
                }
                let row = q * 1024 + i * 128;
                store(nc, out.at((row..row + 128, nb * 1024..nb * 1024 + 1024)), rows);
            }
        }
    }
}

/// `lhs` transposed, in buffers of 1024 columns.
fn turned_blocks(nc: Nc, lhs: Hbm<f32>, identity: Tile<f32>) -> Vec<Tile<f32>> {
    let [m, k] = lhs.dims();
    let block = |q: usize| {
        let block = nc.sbuf::<f32>([k, 1024]);
        for i in 0..8 {
            let row = q * 1024 + i * 128;
            let tile = load(nc, lhs.at((row..row + 128, ..)), k);
            let turned = product_with_identity(nc, tile, identity);
            copy(nc, block.at((.., i * 128..i * 128 + 128)), turned);
        }
        block
    };
    (0..m / 1024).map(block).collect()
}

/// Score tiles of a batch, of 256, that go to device memory between the two phases of C5: 2944 in all, where 2875 did.
const SPILLED: usize = 184;

/// C5: softmax over the last axis of the sixteen products of C4.
#[nki::kernel]
pub fn bmm_softmax(nc: Nc, lhs: Hbm<f32>, rhs: Hbm<f32>, identity: Hbm<f32>) -> Hbm<f32> {
    let ([batches, m, k], [_, _, n]) = (lhs.dims(), rhs.dims());
    ensure!(nc, k <= 128 && m % 1024 == 0 && n % 1024 == 0);
    let out = nc.hbm([batches, m, n]);
    let saved = nc.hbm::<f32>([batches, SPILLED, 128, 512]);
    let identity = load(nc, identity, 128);
    for b in nc.range(batches) {
        let blocks = turned_blocks(nc, lhs.at((b, .., ..)), identity);
        let mut scores: Vec<Vec<Option<Tile<f32>>>> = vec![vec![None; n / 512]; m / 128];
        let maxima: Vec<Tile<f32>> = (0..m / 128).map(|_| nc.sbuf::<f32>([128, 1])).collect();
        for nb in 0..n / 1024 {
            let right = load(nc, rhs.at((b, .., nb * 1024..nb * 1024 + 1024)), 1024);
            for r in 0..m / 128 {
                for half in 0..2 {
                    let c = nb * 2 + half;
                    let acc = nc.psum([128, 512]);
                    let stationary = blocks[r / 8].at((.., r % 8 * 128..r % 8 * 128 + 128));
                    nc.nc_matmul(acc, stationary, right.at((.., half * 512..half * 512 + 512)));
                    let score = nc.sbuf::<f32>([128, 512]);
                    copy(nc, score, acc);
                    if c == 0 {
                        nc.tensor_reduce(maxima[r], Alu::Maximum, acc).engine(Engine::Vector);
                    } else {
                        let part = nc.psum([128, 1]);
                        nc.tensor_reduce(part, Alu::Maximum, acc).engine(Engine::Vector);
                        nc.tensor_tensor(maxima[r], maxima[r], part, Alu::Maximum).engine(Engine::Vector);
                    }
                    let tile = r * (n / 512) + c;
                    if tile < SPILLED {
                        store(nc, saved.at((b, tile, .., ..)), score);
                    } else {
                        scores[r][c] = Some(score);
                    }
                }
            }
        }
        // Tiles that stayed are used first, which makes room for those that come back.
        for r in (0..m / 128).rev() {
            let part = |c: usize| {
                let tile = r * (n / 512) + c;
                scores[r][c].unwrap_or_else(|| load(nc, saved.at((b, tile, .., ..)), 512))
            };
            let parts: Vec<Tile<f32>> = (0..n / 512).map(part).collect();
            normalised(nc, out.at((b, r * 128..r * 128 + 128, ..)), &parts, maxima[r]);
        }
    }
    out
}

/// `exp(part - maximum)` of all parts, divided by their sum.
fn normalised(nc: Nc, out: Hbm<f32>, parts: &[Tile<f32>], maximum: Tile<f32>) {
    let negative = nc.sbuf::<f32>([128, 1]);
    nc.tensor_scalar(negative, maximum, Alu::Multiply, -1.0).engine(Engine::Vector);
    let total = nc.sbuf::<f32>([128, 1]);
    for (c, &part) in parts.iter().enumerate() {
        nc.activation(part, Act::Exp, part).bias(negative);
        let sum = if c == 0 { total } else { nc.sbuf::<f32>([128, 1]) };
        nc.tensor_reduce(sum, Alu::Add, part).engine(Engine::Vector);
        if c > 0 {
            nc.tensor_tensor(total, total, sum, Alu::Add).engine(Engine::Vector);
        }
    }
    let inverse = nc.sbuf::<f32>([128, 1]);
    nc.reciprocal(inverse, total).engine(Engine::Vector);
    for (block, pair) in parts.chunks(2).enumerate() {
        let rows = nc.sbuf::<f32>([128, 1024]);
        for (half, &power) in pair.iter().enumerate() {
            nc.activation(rows.at((.., half * 512..half * 512 + 512)), Act::Copy, power).scale(inverse);
        }
        store(nc, out.at((.., block * 1024..block * 1024 + 1024)), rows);
    }
}
