//! Gradients of attention.

use crate::strip::strip;
use nki::prelude::*;
use std::ops::Range;

/// What `attention_backward` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct AttentionBackwardConfig {
    /// Query `i` sees key `j` only if `j <= i`; there are as many queries as keys.
    #[config(default = false)]
    pub causal: bool,
    /// Query `i` sees only the last so many keys up to `i`. Needs `causal`.
    #[config(default = None)]
    pub window: Option<usize>,
    /// What the products of queries and keys were multiplied by, more than 0; `1 / √d` unless given.
    #[config(default = None)]
    pub scale: Option<f32>,
    /// Keys of one tile of scores: 128, 256, 384 or 512.
    #[config(default = 512, tune = [128, 256, 512])]
    pub keys: usize,
}

/// The gradients of [`attention`](fn@crate::attention::attention) by `q`, `k` and `v`, given its result `o`, the gradient of that, `dy`, and for
/// every query the logarithm of the sum of exponentials of its scores, `lse`:
///
/// ```text
/// p = exp(scale · q kᵀ - lse)     dv = pᵀ dy     ds = p ∘ (dy vᵀ - Σ dy ∘ o)     dq = scale · ds k     dk = scale · dsᵀ q
/// ```
///
/// `q`, `o`, `dy` and `dq` are `[heads, queries, d]`, `k`, `v`, `dk` and `dv` `[kv_heads, keys, d]`, with `d` at most 128; `lse` is
/// `[heads, queries]`. `heads / kv_heads` consecutive heads share keys and values, whose gradients they add up. Sums are f32; `p` and `ds`
/// are rounded to `T` before the products that follow.
///
/// With `sink`, `[heads]`, logits that took part in `lse` and have no value, their gradient is one more result, `[heads]` in f32:
/// `-Σ_i exp(sink - lse_i) · (Σ dy ∘ o)_i`.
#[nki::kernel]
#[allow(clippy::too_many_arguments)] // What the forward pass had and gave.
pub fn attention_backward<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    o: Hbm<T>,
    dy: Hbm<T>,
    lse: Hbm<f32>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionBackwardConfig,
) -> (Hbm<T>, Hbm<T>, Hbm<T>, Option<Hbm<f32>>) {
    let ([heads, queries, d], [kv_heads, keys, k_d]) = (q.dims(), k.dims());
    let (v_shape, o_shape, dy_shape): ([usize; 3], [usize; 3], [usize; 3]) = (v.dims(), o.dims(), dy.dims());
    let sums: [usize; 2] = lse.dims();
    ensure!(nc, k_d == d && v_shape == [kv_heads, keys, d]);
    ensure!(nc, o_shape == [heads, queries, d] && dy_shape == o_shape && sums == [heads, queries]);
    ensure!(nc, d > 0 && d <= 128 && keys > 0 && queries > 0 && kv_heads > 0);
    ensure!(nc, heads % kv_heads == 0, "every key head serves the same number of query heads");
    ensure!(nc, !cfg.causal || queries == keys, "causal attention has as many queries as keys");
    ensure!(
        nc,
        cfg.window.is_none_or(|w| cfg.causal && w > 0),
        "a window needs `causal`, and at least one key"
    );
    ensure!(nc, sink.is_none_or(|s| s.shape() == [heads]), "a sink for each head");
    ensure!(nc, cfg.scale.is_none_or(|s| s > 0.0), "the scale is positive");
    ensure!(nc, cfg.keys > 0 && cfg.keys <= 512 && cfg.keys % 128 == 0);
    let scale = cfg.scale.unwrap_or(1.0 / (d as f32).sqrt());
    let group = heads / kv_heads;
    let (dq, dk, dv) =
        (nc.hbm([heads, queries, d]), nc.hbm([kv_heads, keys, d]), nc.hbm([kv_heads, keys, d]));
    let sink_grad = sink.map(|_| nc.hbm::<f32>([heads]));
    let sinks = sink.zip(sink_grad).map(|both| <[_; 2]>::from(both).map(|s| s.reshape([kv_heads, group, 1])));
    let rule = Rule { causal: cfg.causal, window: cfg.window, scale };
    let of_head = |x: Hbm<T>| x.split(0, &[kv_heads, group]);
    let (q, o, dy, q_grad, lse) =
        (of_head(q), of_head(o), of_head(dy), of_head(dq), lse.split(0, &[kv_heads, group]));
    for h in nc.range(kv_heads) {
        let (k, v) = (operand(nc, k.at((h, .., ..))), operand(nc, v.at((h, .., ..))));
        let sums = [zeros(nc, keys, d), zeros(nc, keys, d)];
        for g in nc.range(group) {
            let rows = Queries {
                q: operand(nc, q.at((h, g, .., ..))),
                dy: operand(nc, dy.at((h, g, .., ..))),
                o: strip(nc, o.at((h, g, .., ..))),
                neg_lse: column(nc, lse.at((h, g, ..))),
                dq: zeros(nc, queries, d),
            };
            let dots = dots(nc, &rows, queries);
            for first in (0..keys).step_by(cfg.keys) {
                let part = first..(first + cfg.keys).min(keys);
                keys_part(nc, &rows, [&k, &v], dots, sums, part, rule);
            }
            write(nc, q_grad.at((h, g, .., ..)), rows.dq, scale);
            if let Some([sink, grad]) = sinks.map(|both| both.map(|s| s.at((h, g..g + 1, ..)))) {
                of_sink(nc, grad, sink, &rows, dots, queries);
            }
        }
        write(nc, dk.at((h, .., ..)), sums[0], scale);
        write(nc, dv.at((h, .., ..)), sums[1], 1.0);
    }
    (dq, dk, dv, sink_grad)
}

/// Which keys a query sees, and by what scores were multiplied.
#[derive(Clone, Copy)]
struct Rule {
    causal: bool,
    window: Option<usize>,
    scale: f32,
}

impl Rule {
    /// The queries of which some may see some of `keys`, from the start of a tile on.
    fn queries(self, keys: &Range<usize>, queries: usize) -> Range<usize> {
        if !self.causal {
            return 0..queries;
        }
        keys.start..self.window.map_or(queries, |w| (keys.end - 1).saturating_add(w).min(queries))
    }
    /// The part of `keys`, in whole tiles, of which `queries` see some.
    fn keys(self, keys: &Range<usize>, queries: &Range<usize>) -> Range<usize> {
        if !self.causal {
            return keys.clone();
        }
        let oldest = self.window.map_or(0, |w| (queries.start + 1).saturating_sub(w));
        keys.start + oldest.saturating_sub(keys.start) / 128 * 128..keys.end.min(queries.end)
    }
}

/// A matrix `[n, d]` as strip, and transposed.
struct Both<T: Float> {
    rows: Tile<T>,
    turned: Tile<T>,
}

#[nki::kernel]
fn operand<T: Float>(nc: Nc, x: Hbm<T>) -> Both<T> {
    let [n, d] = x.dims();
    let (rows, turned) = (strip(nc, x), nc.sbuf::<T>([d, n]));
    for r in nc.tiles(n, 128) {
        let block = nc.psum_of::<T>([d, r.len()]);
        nc.nc_transpose(block, rows.at((0..r.len(), r.index(), ..)));
        nc.tensor_copy(turned.at((.., r)), block);
    }
    Both { rows, turned }
}

/// What belongs to the queries of a head.
struct Queries<T: Float> {
    q: Both<T>,
    dy: Both<T>,
    o: Tile<T>,
    neg_lse: Tile<f32>,
    dq: Tile<f32>,
}

/// A strip of zeros.
#[nki::kernel]
fn zeros(nc: Nc, rows: usize, d: usize) -> Tile<f32> {
    nc.zeros([rows.min(128), rows.div_ceil(128), d])
}

/// A vector, negated, as the columns of a tile: element `i` on partition `i % 128`.
#[nki::kernel]
fn column(nc: Nc, x: Hbm<f32>) -> Tile<f32> {
    let n = x.dim(0);
    let (tile, negated) =
        (nc.zeros::<f32>([n.min(128), n.div_ceil(128)]), nc.sbuf([n.min(128), n.div_ceil(128)]));
    for r in nc.tiles(n, 128) {
        nc.dma_copy(tile.at((0..r.len(), r.index()..r.index() + 1)), x.at((r,)).reshape([r.len(), 1]));
    }
    nc.tensor_scalar(negated, tile, Alu::Multiply, -1.0);
    negated
}

/// `Σ_d dy ∘ o` of every query, as columns.
#[nki::kernel]
fn dots<T: Float>(nc: Nc, rows: &Queries<T>, queries: usize) -> Tile<f32> {
    let d = rows.o.dim(2);
    let dots = nc.sbuf::<f32>([queries.min(128), queries.div_ceil(128)]);
    for r in nc.tiles(queries, 128) {
        let of = |strip: Tile<T>| strip.at((0..r.len(), r.index(), ..));
        let products = nc.sbuf::<f32>([r.len(), d]);
        nc.tensor_tensor(products, of(rows.dy.rows), of(rows.o), Alu::Multiply);
        nc.tensor_reduce(dots.at((0..r.len(), r.index()..r.index() + 1)), Alu::Add, products);
    }
    dots
}

/// The gradient by the sink of a head, `[1, 1]`.
#[nki::kernel]
fn of_sink<T: Float>(
    nc: Nc,
    to: Hbm<f32>,
    sink: Hbm<f32>,
    rows: &Queries<T>,
    dots: Tile<f32>,
    queries: usize,
) {
    let [lanes, tiles] = rows.neg_lse.dims();
    let terms = nc.zeros::<f32>([lanes, tiles]);
    let sink = nc.load(sink.broadcast(0, lanes));
    for r in nc.tiles(queries, 128) {
        let of = |all: Tile<f32>| all.at((0..r.len(), r.index()..r.index() + 1));
        let p = nc.sbuf::<f32>([r.len(), 1]);
        nc.activation(p, Act::Exp, of(rows.neg_lse)).bias(sink.at((0..r.len(), ..)));
        nc.tensor_tensor(of(terms), p, of(dots), Alu::Multiply);
    }
    let partial = nc.sbuf::<f32>([lanes, 1]);
    nc.tensor_reduce(partial, Alu::Add, terms);
    let total = nc.psum([1, 1]);
    nc.nc_matmul(total, partial, nc.ones::<f32>([lanes, 1]));
    let negated = nc.sbuf::<f32>([1, 1]);
    nc.tensor_scalar(negated, total, Alu::Multiply, -1.0);
    nc.store(to, negated);
}

/// What the keys `part` contribute, over all queries: to `dq`, and to the sums `dk` and `dv` of these keys.
#[nki::kernel]
fn keys_part<T: Float>(
    nc: Nc,
    rows: &Queries<T>,
    [k, v]: [&Both<T>; 2],
    dots: Tile<f32>,
    sums: [Tile<f32>; 2],
    part: Range<usize>,
    rule: Rule,
) {
    let [d, queries] = rows.q.turned.dims();
    let blocks = part.len().div_ceil(128);
    let (dk, dv) = (nc.psum([128, blocks, d]), nc.psum([128, blocks, d]));
    let all = rule.queries(&part, queries);
    for first in all.clone().step_by(128) {
        let (t, range) = (first / 128, first..(first + 128).min(queries));
        let (n, seen) = (range.len(), rule.keys(&part, &range));
        let (scores, dp) = (nc.psum([n, seen.len()]), nc.psum([n, seen.len()]));
        nc.nc_matmul(scores, rows.q.turned.at((.., range.clone())), k.turned.at((.., seen.clone())));
        nc.nc_matmul(dp, rows.dy.turned.at((.., range.clone())), v.turned.at((.., seen.clone())));
        let p = nc.sbuf::<T>([n, seen.len()]);
        nc.activation(p, Act::Exp, scores).scale(rule.scale).bias(rows.neg_lse.at((0..n, t..t + 1)));
        hide(nc, p, &range, &seen, rule);
        let ds = nc.sbuf::<T>([n, seen.len()]);
        let dot = dots.at((0..n, t..t + 1));
        nc.scalar_tensor_tensor(ds, dp, Alu::Subtract, dot, Alu::Multiply, p);
        let turned = nc.psum_of::<T>([128, blocks, n]);
        let ds_t = nc.sbuf::<T>([128, blocks, n]);
        // Blocks of keys: which one of the part, and its columns among those that are seen.
        let block = |at: usize| ((seen.start - part.start + at) / 128, at..(at + 128).min(seen.len()));
        for (j, columns) in (0..seen.len()).step_by(128).map(block) {
            let len = columns.len();
            // The first queries that see a block of keys overwrite what an earlier part left.
            let adds = first > if rule.causal { part.start + 128 * j } else { 0 };
            nc.nc_matmul(dv.at((0..len, j, ..)), p.at((.., columns.clone())), rows.dy.rows.at((0..n, t, ..)))
                .accumulate(adds);
            nc.nc_matmul(dk.at((0..len, j, ..)), ds.at((.., columns.clone())), rows.q.rows.at((0..n, t, ..)))
                .accumulate(adds);
            nc.nc_transpose(turned.at((0..len, j, ..)), ds.at((.., columns)));
            nc.tensor_copy(ds_t.at((0..len, j, ..)), turned.at((0..len, j, ..)));
        }
        let dq = nc.psum([n, d]);
        for (j, columns) in (0..seen.len()).step_by(128).map(block) {
            let keys = k.rows.at((0..columns.len(), part.start / 128 + j, ..));
            nc.nc_matmul(dq, ds_t.at((0..columns.len(), j, ..)), keys).accumulate(columns.start > 0);
        }
        let total = rows.dq.at((0..n, t, ..));
        nc.tensor_tensor(total, total, dq, Alu::Add);
    }
    for (j, at) in (0..part.len()).step_by(128).enumerate() {
        let len = 128.min(part.len() - at);
        for (sum, acc) in sums.into_iter().zip([dk, dv]) {
            let total = sum.at((0..len, part.start / 128 + j, ..));
            nc.tensor_tensor(total, total, acc.at((0..len, j, ..)), Alu::Add);
        }
    }
}

/// Zeros in `p`, `[queries, keys]`, where a query does not see a key.
#[nki::kernel]
fn hide<T: Float>(nc: Nc, p: Tile<T>, queries: &Range<usize>, keys: &Range<usize>, rule: Rule) {
    let (columns, ahead) = (keys.len() as i64, queries.start as i64 - keys.start as i64);
    if rule.causal && keys.end > queries.start + 1 {
        // Query - key is at least 0 ..
        nc.affine_select(p, p, 0.0, &[[-1, columns]])
            .offset(ahead)
            .channel_multiplier(1)
            .cmp_op(Alu::GreaterEqual);
    }
    if let Some(window) = rule.window.filter(|w| queries.end > keys.start + w) {
        // .. and less than the window.
        nc.affine_select(p, p, 0.0, &[[1, columns]])
            .offset(window as i64 - ahead)
            .channel_multiplier(-1)
            .cmp_op(Alu::Greater);
    }
}

/// A strip, scaled, as the rows of a matrix.
#[nki::kernel]
fn write<T: Float>(nc: Nc, to: Hbm<T>, strip: Tile<f32>, scale: f32) {
    let [n, d] = to.dims();
    for r in nc.tiles(n, 128) {
        let tile = nc.sbuf::<T>([r.len(), d]);
        nc.activation(tile, Act::Copy, strip.at((0..r.len(), r.index(), ..))).scale(scale);
        nc.store(to.at((r, ..)), tile);
    }
}
