//! The product, and what is done to heads after it.

use super::kernel::QkvConfig;
use super::normed::{Input, few, many};
use crate::rope::Pairs;
use crate::share::Share;
use crate::strip::{multiply, product, strip};
use nki::Tensor;
use nki::prelude::*;
use nki::space::OnChip;
use std::ops::Range;

/// What tokens are projected with.
pub(super) struct Projection<T: Float, W: Elem> {
    /// `[hidden, slots, d]`.
    pub weight: Hbm<W>,
    /// What the weights of queries, keys and values stand for, `[3]`: each so many times its element.
    pub scales: Option<Hbm<f32>>,
    pub bias: Option<Hbm<T>>,
    pub cos: Option<Hbm<f32>>,
    pub sin: Option<Hbm<f32>>,
    /// Of the norms of queries and keys.
    pub gains: [Option<Hbm<T>>; 2],
    /// Of two programs each needs all keys and values.
    pub all_keys: bool,
    pub cfg: QkvConfig,
}

/// Queries, keys and values of tokens into `[tokens, n, d]` each.
#[nki::kernel]
pub(super) fn project<T: Float, W: Elem>(
    nc: Nc,
    input: &Input<T>,
    all: &Projection<T, W>,
    [q, k, v]: [Hbm<T>; 3],
) {
    let ([tokens, hidden], cfg) = (input.x.dims(), &all.cfg);
    let Projection { weight, bias, cos, sin, gains: [q_gain, k_gain], .. } = *all;
    let [rows, slots, d] = weight.dims();
    ensure!(nc, rows == hidden && hidden > 0);
    ensure!(nc, d > 0 && d <= 512, "a head fits into a bank of PSUM");
    ensure!(nc, cos.is_some() == sin.is_some(), "`cos` and `sin` come together");
    ensure!(nc, cos.is_none() || d % 2 == 0, "{d} elements do not form pairs");
    for table in cos.iter().chain(&sin) {
        let shape: [usize; 2] = table.dims();
        ensure!(nc, shape == [tokens, d / 2], "one angle for each token and pair");
    }
    for gain in [q_gain, k_gain].into_iter().flatten() {
        ensure!(nc, gain.elements() == d, "one gain for each element of a head");
    }
    if let Some(bias) = bias {
        let shape: [usize; 2] = bias.dims();
        ensure!(nc, shape == [slots, d]);
    }
    let heads = slots - 2 * cfg.kv_heads;
    if tokens == 0 {
        return;
    }
    let scales = all.scales.map(|s| nc.load(s.reshape([1, 3]).broadcast(0, tokens.min(128))));
    let part = |scale, first, n, out, gain, rotated| Part { scale, first, heads: n, out, gain, rotated };
    // Values come last: nothing is left to do with the last product.
    let parts = [
        part(1, heads, cfg.kv_heads, k, k_gain, true),
        part(0, 0, heads, q, q_gain, true),
        part(2, heads + cfg.kv_heads, cfg.kv_heads, v, None, false),
    ];
    let gains =
        parts.each_ref().map(|p| p.gain.map(|g| nc.load(g.reshape([1, d]).broadcast(0, tokens.min(128)))));
    let after = |p: usize, columns: &Range<usize>, rows: usize| {
        let bias = bias.map(|b| {
            let b = b.at((parts[p].first + columns.start..parts[p].first + columns.end, ..));
            nc.load(b.reshape([1, columns.len() * d]).broadcast(0, rows))
        });
        let scale = scales.map(|s| s.at((0..rows, parts[p].scale..parts[p].scale + 1)));
        After { scale, bias, gain: gains[p], eps: cfg.eps, pairs: cfg.pairs }
    };
    // The heads that are this program's.
    let heads_of = |part: &Part<T>| match all.all_keys && part.first >= heads {
        true => 0..part.heads,
        false => Share::new(nc, part.heads, 1).range(),
    };
    if tokens <= 128 && hidden % 128 == 0 {
        let angles = cos.zip(sin).map(|(cos, sin)| (nc.load(cos), nc.load(sin)));
        let x_t = few(nc, input);
        for (p, part) in parts.iter().enumerate() {
            for group in chunks(heads_of(part), (4 * (512 / d)).max(1)) {
                let heads = part.first + group.start..part.first + group.end;
                let sums = streamed(nc, x_t, weight.at((.., heads, ..)));
                let mut first = group.start;
                for y in sums {
                    let here = first..first + y.dim(1) / d;
                    first = here.end;
                    let after = after(p, &here, tokens);
                    let rotation = angles.filter(|_| part.rotated);
                    finish(nc, part.out.at((.., here, ..)), y, &after, rotation);
                }
            }
        }
        return;
    }
    let mine = if all.all_keys { Share::whole(tokens) } else { Share::new(nc, tokens, 128) };
    let (input, cos, sin) = (input.part(&mine), cos.map(|t| mine.of(t, 0)), sin.map(|t| mine.of(t, 0)));
    let outs = parts.each_ref().map(|p| mine.of(p.out, 0));
    for t in nc.tiles(mine.len(), if hidden * size_of::<T>() <= 8192 { 512 } else { 256 }) {
        let x_t = many(nc, &input.of(t));
        for (p, part) in parts.iter().enumerate() {
            for group in chunks(if all.all_keys { heads_of(part) } else { 0..part.heads }, 512 / d) {
                let heads = part.first + group.start..part.first + group.end;
                let columns = strip(nc, weight.at((.., heads, ..)).merge(1, 3));
                let after = after(p, &group, t.len().min(128));
                for s in nc.tiles(t, 128) {
                    let y = product(nc, x_t.at((.., .., s.local())), columns, hidden);
                    let tables = cos.zip(sin).filter(|_| part.rotated);
                    let rotation =
                        tables.map(|(cos, sin)| (nc.load(cos.at((s, ..))), nc.load(sin.at((s, ..)))));
                    finish(nc, outs[p].at((s, group.clone(), ..)), y, &after, rotation);
                }
            }
        }
    }
}

/// Queries, keys or values.
struct Part<T: Float> {
    /// Which of the scales is theirs.
    scale: usize,
    /// The first of their slots in the weight.
    first: usize,
    heads: usize,
    out: Hbm<T>,
    gain: Option<Hbm<T>>,
    rotated: bool,
}

/// A range in runs of at most `size`.
fn chunks(all: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone().step_by(size).map(move |at| at..(at + size).min(all.end))
}

/// Rows of the weight, of each partition, that are loaded together.
const ROWS: usize = 8;

/// `x · weight[.., heads, ..]` for few tokens, in as many banks of PSUM as it takes. The weight passes through once, in pieces that
/// do not wait for `x`.
#[nki::kernel]
fn streamed<T: Float, W: Elem>(nc: Nc, x_t: Tile<T>, weight: Hbm<W>) -> Vec<Acc> {
    let [lanes, per_lane, tokens] = x_t.dims();
    let [_, heads, d] = weight.dims();
    let weight = weight.merge(1, 3).split(0, &[lanes, per_lane]);
    let banks: Vec<Range<usize>> = chunks(0..heads * d, 512 / d * d).collect();
    let sums: Vec<Acc> = banks.iter().map(|b| nc.psum([tokens, b.len()])).collect();
    for rows in chunks(0..per_lane, ROWS) {
        let piece = nc.load(weight.at((.., rows.clone(), ..)));
        for j in rows.clone() {
            for (bank, sum) in banks.iter().zip(&sums) {
                multiply(nc, *sum, x_t.at((.., j, ..)), piece.at((.., j - rows.start, bank.clone())));
            }
        }
    }
    sums
}

/// What is done to a block of heads after the product.
struct After<T: Float> {
    /// `[rows, 1]`.
    scale: Option<Tile<f32>>,
    bias: Option<Tile<T>>,
    gain: Option<Tile<T>>,
    eps: f32,
    pairs: Pairs,
}

/// Cosines and sines, one row a token.
type Angles = (Tile<f32>, Tile<f32>);

/// Scale, bias, norm, rotation; then to memory.
#[nki::kernel]
fn finish<T: Float>(nc: Nc, out: Hbm<T>, y: Acc, after: &After<T>, rotation: Option<Angles>) {
    let [n, heads, d] = out.dims();
    let sum = (after.scale.is_some() || after.bias.is_some()).then(|| nc.sbuf::<f32>([n, heads * d]));
    if let Some(sum) = sum {
        let scale = after.scale.map(|s| s.at((0..n, ..)));
        match (scale, after.bias.map(|b| b.at((0..n, ..)))) {
            (Some(scale), Some(bias)) => {
                drop(nc.scalar_tensor_tensor(sum, y, Alu::Multiply, scale, Alu::Add, bias));
            }
            (Some(scale), None) => drop(nc.tensor_scalar(sum, y, Alu::Multiply, scale)),
            (None, Some(bias)) => drop(nc.tensor_tensor(sum, y, bias, Alu::Add)),
            (None, None) => {}
        }
    }
    match (sum, after.gain) {
        (None, None) => place(nc, out, y.split(1, &[heads, d]), after.pairs, rotation),
        (Some(y), None) => place(nc, out, y.split(1, &[heads, d]), after.pairs, rotation),
        (Some(y), Some(gain)) => {
            let y = norm_heads(nc, y.split(1, &[heads, d]), gain.at((0..n, ..)), after.eps);
            place(nc, out, y, after.pairs, rotation);
        }
        (None, Some(gain)) => {
            let y = norm_heads(nc, y.split(1, &[heads, d]), gain.at((0..n, ..)), after.eps);
            place(nc, out, y, after.pairs, rotation);
        }
    }
}

/// `y[.., h, ..] / sqrt(mean(y[.., h, ..]²) + eps) · gain` for every head `h`.
#[nki::kernel]
fn norm_heads<T: Float, M: OnChip>(nc: Nc, y: Tensor<f32, M>, gain: Tile<T>, eps: f32) -> Tile<f32> {
    let [n, heads, d] = y.dims();
    let squares = nc.sbuf::<f32>([n, heads, d]);
    nc.activation(squares, Act::Square, y);
    let sums = nc.sbuf::<f32>([n, heads]);
    nc.tensor_reduce(sums, Alu::Add, squares);
    nc.tensor_scalar(sums, sums, Alu::Multiply, 1.0 / d as f32).then(Alu::Add, eps);
    nc.activation(sums, Act::Rsqrt, sums);
    let normed = nc.sbuf::<f32>([n, heads, d]);
    nc.tensor_tensor(normed, y, sums.expand(2).broadcast(2, d), Alu::Multiply);
    nc.tensor_tensor(normed, normed, gain.expand(1).broadcast(1, heads), Alu::Multiply);
    normed
}

/// Rotates, rounds and stores.
#[nki::kernel]
fn place<T: Float, M: OnChip>(
    nc: Nc,
    out: Hbm<T>,
    y: Tensor<f32, M>,
    pairs: Pairs,
    rotation: Option<Angles>,
) {
    let [n, heads, d] = y.dims();
    let result = nc.sbuf::<T>([n, heads, d]);
    match rotation {
        None => drop(nc.tensor_copy(result, y)),
        Some((cos, sin)) => {
            let [cos, sin] = [cos, sin].map(|t| t.expand(1).broadcast(1, heads));
            let times = |a: Tensor<f32, M>, b: Tile<f32>| {
                let product = nc.sbuf::<f32>([n, heads, d / 2]);
                nc.tensor_tensor(product, a, b, Alu::Multiply);
                product
            };
            let ((y1, y2), (r1, r2)) = (pairs.of(y), pairs.of(result));
            nc.tensor_tensor(r1, times(y1, cos), times(y2, sin), Alu::Subtract);
            nc.tensor_tensor(r2, times(y2, cos), times(y1, sin), Alu::Add);
        }
    }
    nc.store(out, result);
}
