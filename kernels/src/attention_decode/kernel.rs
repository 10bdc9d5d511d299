//! Attention of a few new tokens over a cache of keys and values.

use super::cache::Cache;
use super::seen::Rule;
use super::sequence::{Constants, Extra, New, Sizes, finish, scores, softmax, weighted};
use crate::share::Share;
use nki::f8e4m3;
use nki::prelude::*;

/// What `attention_decode` computes, and how it reads the cache.
#[derive(Clone, Debug, KernelConfig)]
pub struct AttentionDecodeConfig {
    /// What the products of queries and keys are multiplied by, more than 0; `1 / √d` unless given.
    #[config(default = None)]
    pub scale: Option<f32>,
    /// A token sees only the last so many keys up to itself.
    #[config(default = None)]
    pub window: Option<usize>,
    /// Only the first so many slots of the cache are looked at; all unless given. No sequence may be longer.
    #[config(default = None)]
    pub bucket: Option<usize>,
    /// Keys that are loaded together, a multiple of 128.
    #[config(default = 4096, tune = [1024, 2048, 4096, 8192])]
    pub keys: usize,
}

/// `out[b, a, h, :] = Σ_j softmax_j(scale · q[b, a, h, :] · key_j) · value_j` over the keys that token `a` of sequence `b` sees: the
/// first `lengths[b]` slots of the cache, then the new tokens up to and including `a`.
///
/// `q` and the result are `[batch, tokens, heads, d]`, `k` and `v` of the new tokens `[batch, tokens, kv_heads, d]`; `k_cache` is
/// `[batch, kv_heads, d, slots]`, `v_cache` `[batch, kv_heads, slots, d]`; `lengths` `[batch]`. `heads / kv_heads` consecutive heads
/// share keys and values. At most 128 heads times tokens, `d` at most 128. `sink`, `[heads]`, is a logit that takes part in the
/// normalisation and has no value. Slots that no token sees may hold anything, NaN included.
///
/// Sums, maxima and exponentials are f32; the exponentials are rounded to `T` before the product with the values.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<T>,
    v_cache: Hbm<T>,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    let (cache, slots) = in_slots(nc, k_cache, v_cache, k.dims(), false);
    let rule = Rule::Lengths { lengths, window: cfg.window };
    attend(nc, [q, k, v], cache, slots, rule, Extra { sink, scales: None }, &cfg)
}

/// As [`attention_decode()`] with keys cached as rows, like the values: `k_cache` is `[batch, kv_heads, slots, d]`, as `kv_update_rows` writes
/// it.
///
/// Keys are turned on chip, 128 slots at a time.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode_rows<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<T>,
    v_cache: Hbm<T>,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    let (cache, slots) = in_slots(nc, k_cache, v_cache, k.dims(), true);
    let rule = Rule::Lengths { lengths, window: cfg.window };
    attend(nc, [q, k, v], cache, slots, rule, Extra { sink, scales: None }, &cfg)
}

/// As [`attention_decode()`] with the caller's masks in place of lengths: token `a` of sequence `b` sees slot `j` with head `h` where
/// `mask[b, j, a, h]` is not 0.
///
/// `mask` is `[batch, slots, tokens, heads]`, or `[batch, slots, tokens, 1]` for all heads alike. `new_mask`, `[batch, tokens, tokens, heads
/// or 1]`, says which new keys (second axis) a new token (third axis) sees; without it those up to itself. A token that sees nothing at all, with
/// no sink either, gives zeros. Slots and new keys that nobody sees may hold anything, NaN included; a value that some token sees is
/// multiplied by 0 for those that do not, and must be finite.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode_masked<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<T>,
    v_cache: Hbm<T>,
    mask: Hbm<u8>,
    new_mask: Option<Hbm<u8>>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    let [batch, tokens, heads, _] = q.dims();
    let (cache, slots) = in_slots(nc, k_cache, v_cache, k.dims(), false);
    ensure!(nc, cfg.window.is_none(), "a mask says all: leave the keys outside of the window out of it");
    let fits = |m: Hbm<u8>, keys| [heads, 1].iter().any(|&h| m.shape() == [batch, keys, tokens, h]);
    ensure!(nc, fits(mask, slots), "a mask is [batch, slots, tokens, heads or 1]");
    ensure!(
        nc,
        new_mask.is_none_or(|m| fits(m, tokens)),
        "that of new keys is [batch, tokens, tokens, heads or 1]"
    );
    let rule = Rule::Mask { mask, new: new_mask };
    attend(nc, [q, k, v], cache, slots, rule, Extra { sink, scales: None }, &cfg)
}

/// As [`attention_decode()`] over caches of 8-bit floats, as `kv_update_fp8` writes them: a cached key is `k_scale[0]` times what the cache
/// holds, a value `v_scale[0]` times.
///
/// Queries are multiplied by the scale of keys, and new values divided by that of values, in `T`.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode_fp8<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<f8e4m3>,
    v_cache: Hbm<f8e4m3>,
    k_scale: Hbm<f32>,
    v_scale: Hbm<f32>,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    let (cache, slots) = in_slots(nc, k_cache, v_cache, k.dims(), false);
    ensure!(
        nc,
        k_scale.shape() == [1] && v_scale.shape() == [1],
        "one scale for all keys, one for all values"
    );
    let extra = Extra { sink, scales: Some([k_scale, v_scale]) };
    let rule = Rule::Lengths { lengths, window: cfg.window };
    attend(nc, [q, k, v], cache, slots, rule, extra, &cfg)
}

/// How a cache of blocks is cut.
#[derive(Clone, Debug, KernelConfig)]
pub struct BlocksConfig {
    /// Slots of a block.
    #[config(default = 16)]
    pub length: usize,
}

/// As [`attention_decode()`] over a cache of blocks: `table[b, i]` is the block with the slots from `i · length` on of sequence `b`.
///
/// `k_cache` and `v_cache` are `[blocks · length, kv_heads, d]`, rows as `kv_update_blocks` writes them; `table` is `[batch, n]`. Blocks that
/// a sequence does not have yet are negative numbers: they lie past its length. Rows of such a block, or of one beyond the cache, are zeros.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode_blocks<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<T>,
    v_cache: Hbm<T>,
    table: Hbm<i32>,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    blocks: BlocksConfig,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    let extra = Extra { sink, scales: None };
    over_blocks(nc, [q, k, v], [k_cache, v_cache], table, lengths, extra, (blocks.length, &cfg))
}

/// As [`attention_decode_blocks()`] over blocks of 8-bit floats, as `kv_update_blocks_fp8` writes them: a cached key is `k_scale[0]` times what
/// the cache holds, a value `v_scale[0]` times.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn attention_decode_blocks_fp8<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_cache: Hbm<f8e4m3>,
    v_cache: Hbm<f8e4m3>,
    k_scale: Hbm<f32>,
    v_scale: Hbm<f32>,
    table: Hbm<i32>,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    blocks: BlocksConfig,
    cfg: AttentionDecodeConfig,
) -> Hbm<T> {
    ensure!(
        nc,
        k_scale.shape() == [1] && v_scale.shape() == [1],
        "one scale for all keys, one for all values"
    );
    let extra = Extra { sink, scales: Some([k_scale, v_scale]) };
    over_blocks(nc, [q, k, v], [k_cache, v_cache], table, lengths, extra, (blocks.length, &cfg))
}

/// Attention over blocks of `length` slots.
#[nki::kernel]
fn over_blocks<T: Float, C: Elem>(
    nc: Nc,
    [q, k, v]: [Hbm<T>; 3],
    [k_cache, v_cache]: [Hbm<C>; 2],
    table: Hbm<i32>,
    lengths: Hbm<i32>,
    extra: Extra,
    (length, cfg): (usize, &AttentionDecodeConfig),
) -> Hbm<T> {
    let [batch, _, kv_heads, d]: [usize; 4] = k.dims();
    let [rows, _, _] = k_cache.dims();
    let (keys_dims, values_dims): ([usize; 3], [usize; 3]) = (k_cache.dims(), v_cache.dims());
    let [sequences, n] = table.dims();
    ensure!(nc, keys_dims == [rows, kv_heads, d] && values_dims == keys_dims);
    ensure!(nc, sequences == batch && n > 0, "a row of the table for each sequence");
    ensure!(nc, rows > 0 && length > 0 && rows % length == 0, "the cache has whole blocks");
    ensure!(nc, rows <= 1 << 24, "the number of a row is exact in f32");
    let numbers = super::cache::numbers(nc, table, length);
    attend(
        nc,
        [q, k, v],
        Cache::Blocks { keys: k_cache, values: v_cache, numbers },
        n * length,
        Rule::Lengths { lengths, window: cfg.window },
        extra,
        cfg,
    )
}

/// A cache of slots for new keys `[batch, tokens, kv_heads, d]`, which are `rows` or columns, and how many slots it has.
#[nki::kernel]
fn in_slots<C: Elem>(
    nc: Nc,
    keys: Hbm<C>,
    values: Hbm<C>,
    [batch, _, kv_heads, d]: [usize; 4],
    rows: bool,
) -> (Cache<C>, usize) {
    let [_, _, slots, _]: [usize; 4] = values.dims();
    ensure!(nc, values.shape() == [batch, kv_heads, slots, d], "values are [batch, kv_heads, slots, d]");
    if rows {
        ensure!(nc, keys.shape() == values.shape(), "keys are [batch, kv_heads, slots, d]");
    } else {
        ensure!(nc, keys.shape() == [batch, kv_heads, d, slots], "keys are [batch, kv_heads, d, slots]");
    }
    (Cache::Slots { keys, values, rows }, slots)
}

/// All sequences, each over a cache of `slots`.
#[nki::kernel]
fn attend<T: Float, C: Elem>(
    nc: Nc,
    [q, k, v]: [Hbm<T>; 3],
    cache: Cache<C>,
    slots: usize,
    rule: Rule,
    extra: Extra,
    cfg: &AttentionDecodeConfig,
) -> Hbm<T> {
    let [batch, tokens, heads, d] = q.dims();
    let [_, _, kv_heads, _]: [usize; 4] = k.dims();
    ensure!(nc, k.shape() == [batch, tokens, kv_heads, d] && v.shape() == k.shape());
    ensure!(nc, d > 0 && d <= 128 && kv_heads > 0 && tokens > 0);
    ensure!(nc, heads % kv_heads == 0 && heads > 0, "every key head serves the same number of query heads");
    ensure!(nc, heads * tokens <= 128, "a query of every head stands on a partition of its own");
    ensure!(nc, cfg.keys > 0 && cfg.keys % 128 == 0);
    ensure!(nc, cfg.scale.is_none_or(|s| s > 0.0), "the scale is positive");
    ensure!(nc, cfg.window.is_none_or(|w| w > 0), "a token sees at least itself");
    let used = cfg.bucket.unwrap_or(slots);
    ensure!(nc, used <= slots, "the bucket is a part of the cache");
    ensure!(nc, extra.sink.is_none_or(|s| s.shape() == [heads]));
    if let Rule::Lengths { lengths, .. } = rule {
        ensure!(nc, lengths.shape() == [batch], "a length for each sequence");
    }
    let out = nc.hbm([batch, tokens, heads, d]);
    // Two programs share sequences, or the key heads of a single token.
    let by_head = match cache {
        Cache::Slots { .. } if batch * tokens == 1 => Share::new(nc, kv_heads, 1),
        _ => Share::whole(kv_heads),
    };
    let queries = by_head.times(heads / kv_heads);
    let ([q, to], [k, v]) = ([q, out].map(|x| queries.of(x, 2)), [k, v].map(|x| by_head.of(x, 2)));
    let (cache, rule) = (cache.heads(&by_head), rule.heads(&queries));
    let extra = Extra { sink: extra.sink.map(|s| queries.of(s, 0)), ..extra };
    let sizes = Sizes { tokens, heads: queries.len(), kv_heads: by_head.len(), d };
    let constants = Constants::new(nc, &sizes, used, &rule, extra, cfg);
    let lengths = rule.lengths(nc);
    let mine = Share::new(nc, batch, 1);
    for b in nc.range(mine.len()) {
        let b = b + mine.range().start;
        let seen = constants.seen(nc, &sizes, &rule, lengths.map(|all| all.at((.., b..b + 1))), b);
        let cache = cache.of(b, seen.cache.map(|c| c.any));
        let own = [q, k, v].map(|x| x.at((b, .., .., ..)));
        let new = New::<T>::load(nc, &sizes, &constants, own, &seen);
        let scores = scores(nc, &sizes, &constants, &new, &cache, &seen);
        let (weights, share) = softmax::<T>(nc, &sizes, &constants, scores);
        let sums = weighted(nc, &sizes, &constants, &new, weights, &cache);
        finish(nc, to.at((b, .., .., ..)).merge(0, 2), sums, share.at((0..d, ..)));
    }
    out
}
