//! Attention over a whole sequence.

use super::visible::{KeyBlock, Visible};
use crate::share::Share;
use crate::strip::strip;
use nki::prelude::*;
use std::ops::Range;

/// What `attention` computes, and how it cuts it.
#[derive(Clone, Debug, KernelConfig)]
pub struct AttentionConfig {
    /// Query `i` sees key `j` only if `j <= i + offset`.
    #[config(default = false)]
    pub causal: bool,
    /// Query `i` sees only the last so many keys up to `i + offset`. Needs `causal`.
    #[config(default = None)]
    pub window: Option<usize>,
    /// Position of the first query among the keys: how many keys came before.
    #[config(default = 0)]
    pub offset: usize,
    /// What the products of queries and keys are multiplied by, more than 0; `1 / √d` unless given.
    #[config(default = None)]
    pub scale: Option<f32>,
    /// Keys of one tile of scores, a multiple of 128.
    #[config(default = 512, tune = [256, 512, 1024])]
    pub keys: usize,
    /// Keys that are on chip at a time, a multiple of `keys`.
    #[config(default = 8192)]
    pub section: usize,
}

/// Queries of a group: they share what is loaded of a section of keys.
const GROUP: usize = 2048;

/// Tiles of queries that advance together: while one waits for its maximum, the other has work for every engine.
const LANES: usize = 4;

/// `out[h, i, :] = Σ_j softmax_j(scale · q[h, i, :] · k[h / g, j, :]) · v[h / g, j, :]` over the keys `j` that query `i` sees.
///
/// `q` and `out` are `[heads, queries, d]`, `k` and `v` `[kv_heads, keys, d]`, with `d` at most 128; `g = heads / kv_heads`
/// consecutive heads share keys and values. `sink`, `[heads]`, is a logit that takes part in the normalisation and has no value.
/// Sums, maxima and exponentials are f32; the exponentials are rounded to `T` before the product with `v`.
#[nki::kernel]
pub fn attention<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionConfig,
) -> Hbm<T> {
    let [heads, queries, d] = q.dims();
    let [kv_heads, keys, k_d] = k.dims();
    let v_dims: [usize; 3] = v.dims();
    ensure!(nc, k_d == d && v_dims == [kv_heads, keys, d]);
    ensure!(nc, d > 0 && d <= 128 && keys > 0 && kv_heads > 0);
    ensure!(nc, heads % kv_heads == 0, "every key head serves the same number of query heads");
    check(nc, &cfg, queries, keys);
    let out = nc.hbm([heads, queries, d]);
    let by_group = |x: Hbm<T>| x.split(0, &[kv_heads, heads / kv_heads]);
    let q = Vectors::Rows(by_group(q));
    whole(nc, q, Vectors::Rows(k), v, sink, Results::of(by_group(out)), &cfg);
    out
}

/// As [`attention()`] over what a cache holds: the queries' own keys, the last of them, have been written to it.
///
/// `q` and the result are `[queries, heads, d]`, as `qkv` gives and a projection takes them; `k_cache` is `[kv_heads, d, slots]`,
/// `v_cache` `[kv_heads, slots, d]`, of which the first `offset + queries` slots are the keys.
#[nki::kernel]
pub fn attention_cached<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k_cache: Hbm<T>,
    v_cache: Hbm<T>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionConfig,
) -> Hbm<T> {
    let [queries, heads, d] = q.dims();
    let [kv_heads, k_d, slots] = k_cache.dims();
    let v_dims: [usize; 3] = v_cache.dims();
    ensure!(nc, k_d == d && v_dims == [kv_heads, slots, d]);
    ensure!(nc, d > 0 && d <= 128 && kv_heads > 0);
    ensure!(nc, heads % kv_heads == 0, "every key head serves the same number of query heads");
    let keys = cfg.offset + queries;
    ensure!(nc, keys > 0 && keys <= slots, "the queries' own keys are in the cache");
    check(nc, &cfg, queries, keys);
    let out = nc.hbm([queries, heads, d]);
    let by_group = |x: Hbm<T>| x.split(1, &[kv_heads, heads / kv_heads]).permute(&[1, 2, 0, 3]);
    let (k, v) = (k_cache.at((.., .., 0..keys)), v_cache.at((.., 0..keys, ..)));
    let q = Vectors::Rows(by_group(q));
    whole(nc, q, Vectors::Columns(k), v, sink, Results::of(by_group(out)), &cfg);
    out
}

/// Which way round the tensors of `attention_cte` are, and what it returns.
#[derive(Clone, Debug, KernelConfig)]
pub struct CteConfig {
    /// Queries are `[heads, queries, d]` and turned on chip, else `[heads, d, queries]`.
    #[config(default = true)]
    pub tp_q: bool,
    /// Keys are `[kv_heads, keys, d]` and turned on chip, else `[kv_heads, d, keys]`.
    #[config(default = true)]
    pub tp_k: bool,
    /// The result is `[heads, d, queries]`, else `[heads, queries, d]`.
    #[config(default = false)]
    pub tp_out: bool,
    /// Returns the statistics of the softmax too, for which the queries are a multiple of 128.
    #[config(default = false)]
    pub cache_softmax: bool,
}

/// As [`attention()`] with queries, keys and result either way round, and with the statistics that its gradient needs.
///
/// With `cache_softmax` the second result is the maximum of each query's scaled scores, negated, the third one divided by the sum of the
/// exponentials relative to it: `[heads, 128, queries / 128]` in f32, query `i` at `[.., i % 128, i / 128]`. A sink takes part in both.
#[nki::kernel]
pub fn attention_cte<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    sink: Option<Hbm<f32>>,
    layout: CteConfig,
    cfg: AttentionConfig,
) -> (Hbm<T>, Option<Hbm<f32>>, Option<Hbm<f32>>) {
    let ([heads, _, _], [kv_heads, keys, d]) = (q.dims::<3>(), v.dims());
    let queries = q.dim(if layout.tp_q { 1 } else { 2 });
    let shape = |n, length, rows: bool| if rows { [n, length, d] } else { [n, d, length] };
    ensure!(nc, q.shape() == shape(heads, queries, layout.tp_q), "`d` of queries and of values differ");
    ensure!(nc, k.shape() == shape(kv_heads, keys, layout.tp_k), "a key for each value");
    ensure!(nc, d > 0 && d <= 128 && keys > 0 && kv_heads > 0);
    ensure!(nc, heads % kv_heads == 0, "every key head serves the same number of query heads");
    ensure!(
        nc,
        !layout.cache_softmax || queries.is_multiple_of(128),
        "{queries} queries do not fill their statistics"
    );
    check(nc, &cfg, queries, keys);
    let out = nc.hbm(shape(heads, queries, !layout.tp_out));
    let statistic = || nc.hbm::<f32>([heads, 128, queries / 128]);
    let statistics = layout.cache_softmax.then(|| [statistic(), statistic()]);
    let by_group = |x: Hbm<T>| x.split(0, &[kv_heads, heads / kv_heads]);
    let vectors = |x: Hbm<T>, rows: bool| if rows { Vectors::Rows(x) } else { Vectors::Columns(x) };
    let results = Results {
        out: vectors(by_group(out), !layout.tp_out),
        statistics: statistics.map(|all| all.map(|x| x.split(0, &[kv_heads, heads / kv_heads]))),
    };
    whole(nc, vectors(by_group(q), layout.tp_q), vectors(k, layout.tp_k), v, sink, results, &cfg);
    (out, statistics.map(|[neg_max, _]| neg_max), statistics.map(|[_, one_by_sum]| one_by_sum))
}

/// What a configuration must keep to.
#[nki::kernel]
fn check(nc: Nc, cfg: &AttentionConfig, queries: usize, keys: usize) {
    ensure!(nc, cfg.keys > 0 && cfg.keys % 128 == 0 && cfg.section > 0 && cfg.section % cfg.keys == 0);
    ensure!(nc, cfg.scale.is_none_or(|s| s > 0.0), "the scale is positive");
    if let Some(window) = cfg.window {
        ensure!(nc, cfg.causal && window > 0, "a window needs `causal`, and at least one key");
        ensure!(nc, queries + cfg.offset <= keys, "with a window every query's own key must exist");
    }
}

/// Vectors of `d` elements, after what axes there are for heads.
#[derive(Clone, Copy)]
enum Vectors<T: Float> {
    /// `[.., n, d]`.
    Rows(Hbm<T>),
    /// `[.., d, n]`.
    Columns(Hbm<T>),
}

impl<T: Float> Vectors<T> {
    /// Another view of the same, with the axis that counts the vectors.
    #[track_caller]
    fn map(self, f: impl FnOnce(Hbm<T>, usize) -> Hbm<T>) -> Vectors<T> {
        match self {
            Vectors::Rows(x) => Vectors::Rows(f(x, x.rank() - 2)),
            Vectors::Columns(x) => Vectors::Columns(f(x, x.rank() - 1)),
        }
    }
    /// Those of a program.
    #[track_caller]
    fn part(self, by_key_head: &Share, by_head: &Share, by_query: &Share) -> Vectors<T> {
        self.map(|x, axis| by_query.of(by_head.of(by_key_head.of(x, 0), 1), axis))
    }
    /// Those of key head `h` and the head `g` that shares it.
    #[track_caller]
    fn head(self, h: Idx, g: Idx) -> Vectors<T> {
        self.map(|x, _| x.at((h, g, .., ..)))
    }
    /// Some of them.
    #[track_caller]
    fn some(self, range: Range<usize>) -> Vectors<T> {
        self.map(|x, axis| if axis == 0 { x.at((range, ..)) } else { x.at((.., range)) })
    }
}

/// Where the results go, `[kv_heads, group, ..]` each.
#[derive(Clone, Copy)]
struct Results<T: Float> {
    out: Vectors<T>,
    /// Negated maxima, and one divided by the sums: `[.., 128, queries / 128]`.
    statistics: Option<[Hbm<f32>; 2]>,
}

impl<T: Float> Results<T> {
    /// Nothing but rows.
    fn of(out: Hbm<T>) -> Results<T> {
        Results { out: Vectors::Rows(out), statistics: None }
    }
}

/// All heads; `q` and the results begin with `[kv_heads, group, ..]`.
#[nki::kernel]
fn whole<T: Float>(
    nc: Nc,
    q: Vectors<T>,
    k: Vectors<T>,
    v: Hbm<T>,
    sink: Option<Hbm<f32>>,
    results: Results<T>,
    cfg: &AttentionConfig,
) {
    let ([kv_heads, keys, d], (group, queries)) = (
        v.dims(),
        match q {
            Vectors::Rows(q) => (q.dim(1), q.dim(2)),
            Vectors::Columns(q) => (q.dim(1), q.dim(3)),
        },
    );
    // Two programs share key heads, or the heads of one, or the queries of a head.
    let by_key_head = if kv_heads > 1 { Share::new(nc, kv_heads, 1) } else { Share::whole(kv_heads) };
    let by_head = if kv_heads > 1 { Share::whole(group) } else { Share::new(nc, group, 1) };
    let one = kv_heads * group == 1 && queries > 128;
    let by_query = if one { Share::new(nc, queries, 128) } else { Share::whole(queries) };
    let q = q.part(&by_key_head, &by_head, &by_query);
    let out = results.out.part(&by_key_head, &by_head, &by_query);
    let statistics = results.statistics.map(|all| all.map(|x| by_head.of(by_key_head.of(x, 0), 1)));
    let (k, v) = (k.map(|k, _| by_key_head.of(k, 0)), by_key_head.of(v, 0));
    let offset = cfg.offset + by_query.range().start;
    let visible = Visible { causal: cfg.causal, window: cfg.window, offset, keys };
    let scale = cfg.scale.unwrap_or(1.0 / (d as f32).sqrt());
    let sink = sink.map(|s| by_head.of(by_key_head.of(s.reshape([kv_heads, group, 1]), 0), 1));
    let (kv_heads, group, queries) = (by_key_head.len(), by_head.len(), by_query.len());
    let masks: Vec<Mask> = visible.masks(queries).into_iter().map(|b| mask(nc, b, cfg.window)).collect();
    let unit = (!masks.is_empty()).then(|| unit(nc));
    let scores = Scores { visible, scale, keys: cfg.keys, masks, unit };
    for h in nc.range(kv_heads) {
        let (k, v) = (k.map(|k, _| k.at((h, .., ..))), v.at((h, .., ..)));
        // Keys that all fit on chip are loaded once for all the queries of all heads that share them.
        let whole = (keys <= cfg.section).then(|| section(nc, k, v, 0..keys));
        for g in nc.range(group) {
            let sink = sink.map(|s| s.at((h, g..g + 1, ..)));
            for first in (0..queries).step_by(GROUP) {
                let rows = first..(first + GROUP).min(queries);
                let mut states = Vec::new();
                for row in rows.clone().step_by(128) {
                    let rows = row..(row + 128).min(rows.end);
                    states.push(begin(nc, q.head(h, g).some(rows.clone()), rows, sink));
                }
                let seen = scores.visible.keys_of(rows);
                for start in (0..keys).step_by(cfg.section) {
                    let end = (start + cfg.section).min(keys);
                    if end <= seen.start || start >= seen.end {
                        continue;
                    }
                    let section = whole.clone().unwrap_or_else(|| section(nc, k, v, start..end));
                    states.chunks_mut(LANES).for_each(|lanes| attend(nc, lanes, &section, &scores));
                }
                for state in &states {
                    let tile = (by_query.range().start + state.rows.start) / 128;
                    let of_rows = |x: Hbm<f32>| x.at((h, g, 0..state.rows.len(), tile..tile + 1));
                    let statistics = statistics.map(|all| all.map(of_rows));
                    finish(nc, out.head(h, g).some(state.rows.clone()), statistics, state);
                }
            }
        }
    }
}

/// How scores are made: the rule, the scale, and the masks that the rule needs.
struct Scores {
    visible: Visible,
    scale: f32,
    keys: usize,
    masks: Vec<Mask>,
    /// The identity: its product with a mask puts the addends where the scores are summed, in PSUM. Absent without masks.
    unit: Option<Tile<bf16>>,
}

/// What is added to a block of scores: 0 where a query sees a key, and so little elsewhere that nothing is left of the
/// exponential.
struct Mask {
    behind: i64,
    hidden: Tile<bf16>,
}

/// The mask of a block whose first key is `behind` positions behind the first query's own.
#[nki::kernel]
fn mask(nc: Nc, behind: i64, window: Option<usize>) -> Mask {
    let hidden = nc.sbuf::<bf16>([128, 128]);
    nc.memset(hidden, 0.0);
    // Key - query, counted from the block's corner, is at most `behind` ..
    nc.affine_select(hidden, hidden, HIDDEN, &[[-1, 128]])
        .offset(behind)
        .channel_multiplier(1)
        .cmp_op(Alu::GreaterEqual);
    if let Some(window) = window {
        // .. and more than `behind - window`.
        nc.affine_select(hidden, hidden, HIDDEN, &[[1, 128]])
            .offset(window as i64 - behind)
            .channel_multiplier(-1)
            .cmp_op(Alu::Greater);
    }
    Mask { behind, hidden }
}

/// The identity.
#[nki::kernel]
fn unit(nc: Nc) -> Tile<bf16> {
    let unit = nc.sbuf::<bf16>([128, 128]);
    nc.memset(unit, 1.0);
    nc.affine_select(unit, unit, 0.0, &[[-1, 128]]).channel_multiplier(1).cmp_op(Alu::Equal);
    unit
}

/// Far below any score, and finite, so that a difference of two is not NaN.
const HIDDEN: f32 = -1e30;

/// Keys and values on chip: keys transposed, values as strips of 128 rows.
#[derive(Clone)]
struct Section<T: Float> {
    range: Range<usize>,
    k_t: Tile<T>,
    v: Tile<T>,
}

#[nki::kernel]
fn section<T: Float>(nc: Nc, k: Vectors<T>, v: Hbm<T>, range: Range<usize>) -> Section<T> {
    let v_rows = strip(nc, v.at((range.clone(), ..)));
    let k = match k {
        Vectors::Columns(k) => {
            let k_t = nc.load(k.at((.., range.clone())));
            return Section { range, k_t, v: v_rows };
        }
        Vectors::Rows(k) => k.at((range.clone(), ..)),
    };
    let d = k.dim(1);
    let k_t = nc.sbuf::<T>([d, range.len()]);
    for part in nc.tiles(range.len(), 512) {
        let turned = nc.psum_of::<T>([d, part.len()]);
        for block in nc.tiles(part, 128) {
            let rows = nc.load(k.at((block, ..)));
            nc.nc_transpose(turned.at((.., block.local())), rows);
        }
        nc.tensor_copy(k_t.at((.., part)), turned);
    }
    Section { range, k_t, v: v_rows }
}

/// Up to 128 queries on their way: the running maximum of their scaled scores, negated; the sum of exponentials and the
/// weighted sum of values relative to it.
struct Rows<T: Float> {
    rows: Range<usize>,
    q_t: Tile<T>,
    neg_max: Tile<f32>,
    sum: Tile<f32>,
    acc: Tile<f32>,
    started: bool,
}

#[nki::kernel]
fn begin<T: Float>(nc: Nc, q: Vectors<T>, rows: Range<usize>, sink: Option<Hbm<f32>>) -> Rows<T> {
    let q_t = match q {
        Vectors::Columns(q) => nc.load(q),
        Vectors::Rows(q) => turned(nc, nc.load(q)),
    };
    let [d, n] = q_t.dims();
    let (neg_max, sum) = (nc.sbuf::<f32>([n, 1]), nc.sbuf::<f32>([n, 1]));
    let acc = nc.sbuf::<f32>([n, d]);
    if let Some(sink) = sink {
        // As if a key with this score and a value of zero had come first.
        nc.tensor_scalar(neg_max, nc.load(sink.broadcast(0, n)), Alu::Multiply, -1.0);
        nc.memset(sum, 1.0);
        nc.memset(acc, 0.0);
    }
    Rows { rows, q_t, neg_max, sum, acc, started: sink.is_some() }
}

/// Takes the keys of a section into account.
#[nki::kernel]
fn attend<T: Float>(nc: Nc, lanes: &mut [Rows<T>], section: &Section<T>, scores: &Scores) {
    let blocks = |state: &Rows<T>| scores.visible.blocks_of(state.rows.clone(), section.range.clone());
    let blocks: Vec<Vec<KeyBlock>> = lanes.iter().map(blocks).collect();
    let most = blocks.iter().map(Vec::len).max().unwrap_or(0);
    let size = scores.keys / 128;
    for at in (0..most).step_by(size) {
        let chunks = blocks.iter().map(|b| &b[at.min(b.len())..(at + size).min(b.len())]);
        let busy: Vec<(&mut Rows<T>, &[KeyBlock])> =
            lanes.iter_mut().zip(chunks).filter(|(_, chunk)| !chunk.is_empty()).collect();
        let weights: Vec<Weights<T>> =
            busy.iter().map(|(state, chunk)| exponentials(nc, state, section, chunk, scores)).collect();
        for ((state, _), weights) in busy.into_iter().zip(weights) {
            accumulate(nc, state, section, &weights);
            state.started = true;
        }
    }
}

/// Exponentials of one tile of scores.
struct Weights<T: Float> {
    /// Position of the first key in its section.
    first: usize,
    p: Tile<T>,
    sum: Tile<f32>,
    /// The maximum that they are relative to, negated.
    neg_max: Tile<f32>,
}

/// The scores of a tile of keys, and their exponentials relative to the maximum so far.
#[nki::kernel]
fn exponentials<T: Float>(
    nc: Nc,
    state: &Rows<T>,
    section: &Section<T>,
    chunk: &[KeyBlock],
    scores: &Scores,
) -> Weights<T> {
    let n = state.q_t.dim(1);
    let keys = chunk[0].keys.start..chunk[chunk.len() - 1].keys.end;
    let first = keys.start - section.range.start;
    let s = nc.psum([n, keys.len()]);
    for at in (0..keys.len()).step_by(512) {
        let end = (at + 512).min(keys.len());
        nc.nc_matmul(s.at((.., at..end)), state.q_t, section.k_t.at((.., first + at..first + end)));
    }
    for block in chunk {
        let mask = scores.masks.iter().find(|m| Some(m.behind) == block.mask);
        let (Some(mask), Some(unit)) = (mask, scores.unit) else { continue };
        let (at, len) = (block.keys.start - keys.start, block.keys.len());
        let (unit, hidden) = (unit.at((0..n, 0..n)), mask.hidden.at((0..n, 0..len)));
        nc.nc_matmul(s.at((.., at..at + len)), unit, hidden).accumulate(true);
    }
    let neg_here = nc.sbuf::<f32>([n, 1]);
    nc.tensor_reduce(neg_here, Alu::Maximum, s).negate(true);
    let neg_max = nc.sbuf::<f32>([n, 1]);
    let scaled = nc.tensor_scalar(neg_max, neg_here, Alu::Multiply, scores.scale);
    if state.started {
        scaled.then(Alu::Minimum, state.neg_max);
    } else {
        drop(scaled);
    }
    let p = nc.sbuf::<T>([n, keys.len()]);
    let sum = nc.sbuf::<f32>([n, 1]);
    nc.activation(p, Act::Exp, s).scale(scores.scale).bias(neg_max).reduce(sum);
    Weights { first, p, sum, neg_max }
}

/// Adds a tile of keys to what was summed so far.
#[nki::kernel]
fn accumulate<T: Float>(nc: Nc, state: &Rows<T>, section: &Section<T>, weights: &Weights<T>) {
    let Weights { first, p, sum, neg_max } = weights;
    let values = weighted(nc, *p, section.v.at((.., first / 128.., ..)));
    if state.started {
        // What was summed relative to the old maximum shrinks by exp(old - new).
        let decay = nc.sbuf::<f32>([p.dim(0), 1]);
        nc.activation(decay, Act::Exp, state.neg_max).scale(-1.0).bias(*neg_max);
        nc.scalar_tensor_tensor(state.sum, state.sum, Alu::Multiply, decay, Alu::Add, *sum);
        nc.scalar_tensor_tensor(state.acc, state.acc, Alu::Multiply, decay, Alu::Add, values);
    } else {
        nc.tensor_copy(state.sum, *sum);
        nc.tensor_copy(state.acc, values);
    }
    nc.tensor_copy(state.neg_max, *neg_max);
}

/// `p · v`, where the keys are on the free axis of `p` and on the partitions of `v`.
#[nki::kernel]
fn weighted<T: Float>(nc: Nc, p: Tile<T>, v: Tile<T>) -> Acc {
    let [n, keys] = p.dims();
    let out = nc.psum([n, v.dim(2)]);
    for at in (0..keys).step_by(512) {
        let part = at..(at + 512).min(keys);
        // A ragged block has fewer partitions: it is moved by itself.
        let (full, rest) = (part.len() / 128, part.len() % 128);
        let turned = nc.sbuf::<T>([part.len().min(128), part.len().div_ceil(128), n]);
        if full > 0 {
            let psum = nc.psum_of::<T>([128, full, n]);
            for b in 0..full {
                nc.nc_transpose(psum.at((.., b, ..)), p.at((.., at + 128 * b..at + 128 * (b + 1))));
            }
            nc.tensor_copy(turned.at((.., 0..full, ..)), psum);
        }
        if rest > 0 {
            let psum = nc.psum_of::<T>([rest, n]);
            nc.nc_transpose(psum, p.at((.., at + 128 * full..part.end)));
            nc.tensor_copy(turned.at((0..rest, full, ..)), psum);
        }
        for b in 0..part.len().div_ceil(128) {
            let rows = (part.len() - 128 * b).min(128);
            nc.nc_matmul(out, turned.at((0..rows, b, ..)), v.at((0..rows, at / 128 + b, ..)));
        }
    }
    out
}

/// A tile the other way round.
#[nki::kernel]
fn turned<T: Float>(nc: Nc, x: Tile<T>) -> Tile<T> {
    let [n, d] = x.dims();
    let (psum, turned) = (nc.psum_of::<T>([d, n]), nc.sbuf::<T>([d, n]));
    nc.nc_transpose(psum, x);
    nc.tensor_copy(turned, psum);
    turned
}

/// Divides by the sum of the exponentials, which is at least 1: the term of the maximum.
#[nki::kernel]
fn finish<T: Float>(nc: Nc, out: Vectors<T>, statistics: Option<[Hbm<f32>; 2]>, state: &Rows<T>) {
    let result = nc.sbuf::<T>(state.acc.shape());
    let one_by_sum = state.sum.reciprocal();
    nc.tensor_scalar(result, state.acc, Alu::Multiply, one_by_sum);
    match out {
        Vectors::Rows(out) => nc.store(out, result),
        Vectors::Columns(out) => nc.store(out, turned(nc, result)),
    }
    if let Some([to_max, to_sum]) = statistics {
        nc.store(to_max, state.neg_max);
        nc.store(to_sum, one_by_sum);
    }
}
