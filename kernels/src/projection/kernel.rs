//! A linear layer: product with a weight, bias, residual.

use crate::kv_update::quantise;
use crate::share::Share;
use crate::strip::{product, strip, transposed};
use nki::f8e4m3;
use nki::prelude::*;

/// How `projection` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct ProjectionConfig {
    /// Tokens at a time, for which the weight is read once.
    #[config(default = 512)]
    pub tokens: usize,
    /// Columns of the weight at a time, at most 512.
    #[config(default = 512)]
    pub columns: usize,
}

/// `out = x · weight + bias + residual`, bias and residual where present; added in f32 and rounded once.
///
/// `x` is `[tokens, hidden]`, `weight` is `[hidden, columns]`, `bias` is `[columns]`, `residual` like the result `[tokens, columns]`:
/// the projections to queries, keys and values, that of the attention's result, and the last one to a vocabulary.
#[nki::kernel]
pub fn projection<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: ProjectionConfig,
) -> Hbm<T> {
    project(nc, x, weight, None, bias, residual, &cfg, |x_t| x_t)
}

/// As [`projection()`] with a weight of 8-bit floats: each is `scale[0]` times what `weight` holds.
///
/// With `x_scale`, positive, tokens are rounded to 8 bits as well, `clip(x / x_scale[0], ±240)`; without it they keep their dtype. Sums are
/// scaled in f32.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn projection_fp8<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    weight: Hbm<f8e4m3>,
    scale: Hbm<f32>,
    x_scale: Option<Hbm<f32>>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: ProjectionConfig,
) -> Hbm<T> {
    ensure!(nc, scale.shape() == [1], "one scale for the whole weight");
    ensure!(nc, x_scale.is_none_or(|s| s.shape() == [1]), "one scale for all tokens");
    let everywhere = |scale: Hbm<f32>| nc.load(scale.reshape([1, 1]).broadcast(0, 128));
    let of_weight = everywhere(scale);
    let Some(x_scale) = x_scale.map(everywhere) else {
        return project(nc, x, weight, Some(of_weight), bias, residual, &cfg, |x_t| x_t);
    };
    let (inverse, hidden) = (x_scale.reciprocal(), x.dim(1));
    project(nc, x, weight, Some(of_weight * x_scale), bias, residual, &cfg, |x_t| {
        eight_bits(nc, x_t, hidden, inverse)
    })
}

/// Transposed tokens of `hidden` elements in 8 bits.
#[nki::kernel]
fn eight_bits<T: Float>(nc: Nc, x_t: Tile<T>, hidden: usize, inverse: Tile<f32>) -> Tile<f8e4m3> {
    let rounded = nc.sbuf::<f8e4m3>(x_t.shape());
    for h in nc.tiles(hidden, 128) {
        let part = (0..h.len(), h.index(), ..);
        quantise(nc, rounded.at(part.clone()), x_t.at(part), inverse.at((0..h.len(), ..)));
    }
    rounded
}

/// The product with whatever is added to it; `of` is what becomes of the tokens, transposed, before it.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
fn project<T: Float, X: Elem, W: Elem>(
    nc: Nc,
    x: Hbm<T>,
    weight: Hbm<W>,
    scale: Option<Tile<f32>>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: &ProjectionConfig,
    of: impl Fn(Tile<T>) -> Tile<X>,
) -> Hbm<T> {
    let [tokens, hidden] = x.dims();
    let [rows, columns] = weight.dims();
    ensure!(nc, rows == hidden && hidden > 0);
    ensure!(nc, cfg.columns <= 512, "a bank of PSUM has 512 columns");
    ensure!(nc, bias.is_none_or(|b| b.shape() == [columns]));
    ensure!(nc, residual.is_none_or(|r| r.shape() == [tokens, columns]));
    let out = nc.hbm([tokens, columns]);
    // Tokens that fill the tensor engine, or else columns: few tokens take the time that the weight does.
    let (of_tokens, of_columns) = match tokens {
        ..=128 => (Share::whole(tokens), Share::new(nc, columns, cfg.columns)),
        _ => (Share::new(nc, tokens, 128), Share::whole(columns)),
    };
    let both = |m: Hbm<T>| of_columns.of(of_tokens.of(m, 0), 1);
    let (to, residual) = (both(out), residual.map(both));
    let (x, weight) = (of_tokens.of(x, 0), of_columns.of(weight, 1));
    let bias = bias.map(|b| of_columns.of(b, 0));
    let (tokens, columns) = (of_tokens.len(), of_columns.len());
    for t in nc.tiles(tokens, cfg.tokens) {
        let x_t = of(transposed(nc, x.at((t, ..))));
        for c in nc.tiles(columns, cfg.columns) {
            let strip = strip(nc, weight.at((.., c)));
            let bias =
                bias.map(|b| nc.load(b.reshape([1, columns]).at((.., c)).broadcast(0, t.len().min(128))));
            for s in nc.tiles(t, 128) {
                let y = product(nc, x_t.at((.., .., s.local())), strip, hidden);
                let residual = residual.map(|r| nc.load(r.at((s, c))));
                let part = |rows: Tile<T>| rows.at((0..s.len(), ..));
                let result = nc.sbuf::<T>([s.len(), c.len()]);
                settle(nc, result, y, scale.map(|x| x.at((0..s.len(), ..))), [residual, bias.map(part)]);
                nc.store(to.at((s, c)), result);
            }
        }
    }
    out
}

/// `result = scale · y + added`, where they are given, rounded once; `scale` is a column.
#[nki::kernel]
pub(crate) fn settle<T: Float>(
    nc: Nc,
    result: Tile<T>,
    y: Acc,
    scale: Option<Tile<f32>>,
    added: [Option<Tile<T>>; 2],
) {
    let (first, second) = match added {
        [Some(first), second] => (Some(first), second),
        [None, second] => (second, None),
    };
    let Some(second) = second else { return last(nc, result, y, scale, first) };
    let sum = nc.sbuf::<f32>(result.shape());
    last(nc, sum, y, scale, first);
    nc.tensor_tensor(result, sum, second, Alu::Add);
}

/// `result = scale · y + added`.
#[nki::kernel]
fn last<D: Float, T: Float>(
    nc: Nc,
    result: Tile<D>,
    y: Acc,
    scale: Option<Tile<f32>>,
    added: Option<Tile<T>>,
) {
    match (scale, added) {
        (None, None) => drop(nc.tensor_copy(result, y)),
        (None, Some(added)) => drop(nc.tensor_tensor(result, y, added, Alu::Add)),
        (Some(scale), None) => drop(nc.tensor_scalar(result, y, Alu::Multiply, scale)),
        (Some(scale), Some(added)) => {
            drop(nc.scalar_tensor_tensor(result, y, Alu::Multiply, scale, Alu::Add, added));
        }
    }
}

/// Which element of a token the place `(p, j)` of a transposed result holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Order {
    /// Element `p · columns / 128 + j`: neighbours on one partition, as weights of the next projection are read in long runs.
    Strided,
    /// Element `j · 128 + p`.
    Consecutive,
}

/// How `projection_transposed` orders its result.
#[derive(Clone, Debug, KernelConfig)]
pub struct TransposedConfig {
    #[config(default = Order::Strided)]
    pub order: Order,
}

/// [`projection()`] of at most 128 tokens, its result with tokens innermost, `[128, columns / 128, tokens]`: what the next kernel of a decoder takes
/// without a transpose.
///
/// `x` is `[tokens, hidden]`, `weight` `[hidden, columns]` with `columns` a multiple of 128, `bias` `[columns]`.
#[nki::kernel]
pub fn projection_transposed<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    cfg: TransposedConfig,
) -> Hbm<T> {
    let ([tokens, hidden], [rows, columns]) = (x.dims(), weight.dims());
    ensure!(nc, rows == hidden && hidden > 0);
    ensure!(nc, tokens > 0 && tokens <= 128, "the decode form takes 1 to 128 tokens, not {tokens}");
    ensure!(nc, columns > 0 && columns % 128 == 0, "{columns} columns do not fill 128 partitions");
    ensure!(nc, bias.is_none_or(|b| b.shape() == [columns]));
    let per_lane = columns / 128;
    let out = nc.hbm([128, per_lane, tokens]);
    // As they lie on partitions: a view, `[hidden, 128, per_lane]`, and that of the bias.
    let places = |m: Hbm<T>, axis: usize| match cfg.order {
        Order::Strided => m.split(axis, &[128, per_lane]),
        Order::Consecutive => m.split(axis, &[per_lane, 128]),
    };
    let (weight, x_t) = (places(weight, 1), transposed(nc, x));
    let bias = bias.map(|b| {
        let b = places(b, 0);
        let lanes = nc.load(if cfg.order == Order::Strided { b } else { b.permute(&[1, 0]) });
        lanes.expand(2).broadcast(2, tokens)
    });
    // Rows of a bank are padded to a power of two, so that none lies in two banks; four banks, while four others are emptied.
    let padded = tokens.next_power_of_two();
    for j in nc.tiles(per_lane, 4 * 512 / padded) {
        let sums = nc.psum([128, j.len(), padded]);
        for k in nc.tiles(hidden, 128) {
            let part = match cfg.order {
                Order::Strided => nc.load(weight.at((k, .., j))).permute(&[0, 2, 1]),
                Order::Consecutive => nc.load(weight.at((k, j, ..))),
            };
            for i in 0..j.len() {
                nc.nc_matmul(
                    sums.at((.., i, 0..tokens)),
                    part.at((.., i, ..)),
                    x_t.at((0..k.len(), k.index(), ..)),
                );
            }
        }
        let (result, sums) = (nc.sbuf::<T>([128, j.len(), tokens]), sums.at((.., .., 0..tokens)));
        match bias {
            Some(bias) => drop(nc.tensor_tensor(result, sums, bias.at((.., j, ..)), Alu::Add)),
            None => drop(nc.tensor_copy(result, sums)),
        }
        nc.store(out.at((.., j, ..)), result);
    }
    out
}
