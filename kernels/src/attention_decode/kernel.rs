//! Attention of a few new tokens over a cache of keys and values.

use super::cache::Cache;
use nki::prelude::*;
use std::ops::Range;

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
/// normalisation and has no value. Slots past a sequence's length may hold anything finite.
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
    let [batch, _, kv_heads, d]: [usize; 4] = k.dims();
    let [_, _, _, slots] = k_cache.dims();
    let (keys_dims, values_dims): ([usize; 4], [usize; 4]) = (k_cache.dims(), v_cache.dims());
    ensure!(nc, keys_dims == [batch, kv_heads, d, slots] && values_dims == [batch, kv_heads, slots, d]);
    attend(nc, [q, k, v], Cache::Slots { keys: k_cache, values: v_cache }, slots, lengths, sink, &cfg)
}

/// How a cache of blocks is cut.
#[derive(Clone, Debug, KernelConfig)]
pub struct BlocksConfig {
    /// Slots of a block.
    #[config(default = 16)]
    pub length: usize,
}

/// As [`attention_decode`] over a cache of blocks: `table[b, i]` is the block with the slots from `i · length` on of sequence `b`.
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
    let [batch, _, kv_heads, d]: [usize; 4] = k.dims();
    let (length, [rows, _, _]) = (blocks.length, k_cache.dims());
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
        lengths,
        sink,
        &cfg,
    )
}

/// All sequences, each over a cache of `slots`.
#[nki::kernel]
fn attend<T: Float>(
    nc: Nc,
    [q, k, v]: [Hbm<T>; 3],
    cache: Cache<T>,
    slots: usize,
    lengths: Hbm<i32>,
    sink: Option<Hbm<f32>>,
    cfg: &AttentionDecodeConfig,
) -> Hbm<T> {
    let [batch, tokens, heads, d] = q.dims();
    let [_, _, kv_heads, _]: [usize; 4] = k.dims();
    let (k_dims, v_dims, n_lengths): ([usize; 4], [usize; 4], [usize; 1]) =
        (k.dims(), v.dims(), lengths.dims());
    ensure!(nc, k_dims == [batch, tokens, kv_heads, d] && v_dims == k_dims && n_lengths == [batch]);
    ensure!(nc, d > 0 && d <= 128 && kv_heads > 0 && tokens > 0);
    ensure!(nc, heads % kv_heads == 0 && heads > 0, "every key head serves the same number of query heads");
    ensure!(nc, heads * tokens <= 128, "a query of every head stands on a partition of its own");
    ensure!(nc, cfg.keys > 0 && cfg.keys % 128 == 0);
    ensure!(nc, cfg.scale.is_none_or(|s| s > 0.0), "the scale is positive");
    ensure!(nc, cfg.window.is_none_or(|w| w > 0), "a token sees at least itself");
    let used = cfg.bucket.unwrap_or(slots);
    ensure!(nc, used <= slots, "the bucket is a part of the cache");
    if let Some(sink) = sink {
        let shape: [usize; 1] = sink.dims();
        ensure!(nc, shape == [heads]);
    }
    let sizes = Sizes { tokens, heads, kv_heads, d };
    let scale = cfg.scale.unwrap_or(1.0 / (d as f32).sqrt());
    let constants = Constants::new(nc, &sizes, used, sink, cfg, scale);
    let out = nc.hbm([batch, tokens, heads, d]);
    let known = nc.load(lengths.reshape([1, batch]).broadcast(0, 128)).to::<f32>();
    for b in nc.range(batch) {
        let cache = cache.of(b);
        let new =
            New::<T>::load(nc, &sizes, q.at((b, .., .., ..)), k.at((b, .., .., ..)), v.at((b, .., .., ..)));
        let hidden = hidden(nc, &constants, known.at((.., b..b + 1)), tokens, cfg.window);
        let scores = scores(nc, &sizes, &constants, &new, &cache, &hidden);
        let (weights, share) = softmax::<T>(nc, &sizes, &constants, scores);
        let sums = weighted(nc, &sizes, &constants, &new, weights, &cache);
        finish(nc, out.at((b, .., .., ..)).merge(0, 2), sums, share.at((0..d, ..)));
    }
    out
}

/// Extents that everything here needs.
struct Sizes {
    tokens: usize,
    heads: usize,
    kv_heads: usize,
    d: usize,
}

impl Sizes {
    /// A column of scores for each query: tokens outside, heads inside.
    fn columns(&self) -> usize {
        self.tokens * self.heads
    }
    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
    /// Key heads that fill the 128 partitions together, so that all DMA engines load them, and one product serves them all.
    fn packed(&self) -> usize {
        match self.d {
            32 | 64 if self.kv_heads.is_multiple_of(128 / self.d) => 128 / self.d,
            _ => 1,
        }
    }
}

/// Keys that are loaded together. Partition `p` of the values holds `tiles` neighbouring keys, from `first + p · tiles` on: a
/// partition then reads one long run. The columns of keys are taken in the same order.
#[derive(Clone)]
pub(super) struct Chunk {
    pub keys: Range<usize>,
    /// Tiles of keys, and the partitions that each fills.
    pub tiles: usize,
    pub lanes: usize,
    /// Position of the first tile among all.
    at: usize,
}

fn chunks(slots: usize, keys: usize) -> Vec<Chunk> {
    let (mut all, mut first, mut at) = (Vec::new(), 0, 0);
    while first < slots {
        let left = slots - first;
        let (tiles, lanes) = if left >= 128 { (left.min(keys) / 128, 128) } else { (1, left) };
        all.push(Chunk { keys: first..first + tiles * lanes, tiles, lanes, at });
        (first, at) = (first + tiles * lanes, at + tiles);
    }
    all
}

/// What is the same for all sequences.
struct Constants {
    chunks: Vec<Chunk>,
    /// Tiles of keys in the cache; the new tokens' keys follow as one more.
    tiles: usize,
    /// The slot that each place of the scores belongs to, `[128, tiles]`; none where the cache has no slots.
    slots: Option<Tile<f32>>,
    /// The mask among new tokens, `[tokens, tokens]`: key, query.
    new: Tile<f32>,
    identity: Tile<f32>,
    ones: Tile<f32>,
    /// The sink of every column, on every partition.
    sink: Option<Tile<f32>>,
    scale: f32,
}

/// Far below any score, and finite, so that a difference of two is not NaN.
const HIDDEN: f32 = -1e30;

impl Constants {
    #[track_caller]
    fn new(
        nc: Nc,
        sizes: &Sizes,
        used: usize,
        sink: Option<Hbm<f32>>,
        cfg: &AttentionDecodeConfig,
        scale: f32,
    ) -> Constants {
        let (chunks, columns) = (chunks(used, cfg.keys), sizes.columns());
        let tiles = chunks.iter().map(|c| c.tiles).sum();
        let slots = (tiles > 0).then(|| {
            let slots = nc.sbuf::<f32>([128, tiles]);
            for c in &chunks {
                let here = slots.at((.., c.at..c.at + c.tiles));
                nc.iota(here, &[[1, c.tiles as i64]])
                    .offset(c.keys.start as i64)
                    .channel_multiplier(if c.lanes == 128 { c.tiles as i64 } else { 1 });
            }
            slots
        });
        let new = nc.sbuf::<f32>([sizes.tokens, sizes.tokens]);
        nc.memset(new, 0.0);
        // Key - query is at most 0 ..
        nc.affine_select(new, new, HIDDEN, &[[1, sizes.tokens as i64]])
            .channel_multiplier(-1)
            .cmp_op(Alu::GreaterEqual);
        if let Some(window) = cfg.window {
            // .. and more than -window.
            nc.affine_select(new, new, HIDDEN, &[[-1, sizes.tokens as i64]])
                .offset(window as i64)
                .channel_multiplier(1)
                .cmp_op(Alu::Greater);
        }
        let sink = sink.map(|s| {
            let each = nc.sbuf::<f32>([128, sizes.tokens, sizes.heads]);
            let row = s.reshape([1, 1, sizes.heads]).broadcast(0, 128).broadcast(1, sizes.tokens);
            nc.dma_copy(each, row);
            each.merge(1, 3)
        });
        let identity = nc.identity::<f32>(columns);
        Constants { chunks, tiles, slots, new, identity, ones: nc.ones::<f32>([128, 128]), sink, scale }
    }
}

/// The new tokens of a sequence.
struct New<T: Float> {
    /// Queries, `[d, columns]`.
    q_t: Tile<T>,
    /// Queries below each other where several key heads are packed: column `c` is nonzero in the rows of its key head only.
    /// `[packed · d, columns]`.
    q_packed: Tile<T>,
    /// Keys, `[d, tokens · kv_heads]`.
    k_t: Tile<T>,
    /// Values, `[tokens, kv_heads, d]`.
    v: Tile<T>,
}

impl<T: Float> New<T> {
    #[track_caller]
    fn load(nc: Nc, sizes: &Sizes, q: Hbm<T>, k: Hbm<T>, v: Hbm<T>) -> New<T> {
        let Sizes { tokens, kv_heads, d, .. } = *sizes;
        let turned = |rows: Hbm<T>| {
            let rows = rows.merge(0, 2);
            let n = rows.dim(0);
            let turned = nc.psum_of::<T>([d, n]);
            nc.nc_transpose(turned, nc.load(rows));
            turned
        };
        let q = turned(q);
        let q_t = q.copy();
        let (packed, group) = (sizes.packed(), sizes.group());
        let q_packed = match packed {
            1 => q_t,
            _ => {
                let all = nc.zeros::<T>([packed * d, sizes.columns()]);
                let by_lane = &[tokens, kv_heads / packed, packed, group];
                for lane in 0..packed {
                    let rows = all.at((lane * d..(lane + 1) * d, ..)).split(1, by_lane);
                    nc.tensor_copy(
                        rows.at((.., .., .., lane, ..)),
                        q_t.split(1, by_lane).at((.., .., .., lane, ..)),
                    );
                }
                all
            }
        };
        New { q_t, q_packed, k_t: turned(k).copy(), v: nc.load(v) }
    }
}

/// What is added to the scores of the cache, `[128, tokens or 1, tiles]`: 0, or [`HIDDEN`] for a slot that a token does not see.
#[nki::kernel]
fn hidden(
    nc: Nc,
    constants: &Constants,
    length: Tile<f32>,
    tokens: usize,
    window: Option<usize>,
) -> Option<Tile<f32>> {
    let slots = constants.slots?;
    let after = nc.sbuf::<f32>([128, constants.tiles]);
    nc.tensor_scalar(after, slots, Alu::GreaterEqual, length).then(Alu::Multiply, HIDDEN);
    let Some(window) = window else { return Some(after.expand(1)) };
    let all = nc.sbuf::<f32>([128, tokens, constants.tiles]);
    // Distance from the first new token, which is 0 for the slot before it, and negative further back.
    let behind = nc.sbuf::<f32>([128, constants.tiles]);
    nc.tensor_scalar(behind, slots, Alu::Subtract, length);
    for a in 0..tokens {
        let before = nc.sbuf::<f32>([128, constants.tiles]);
        let oldest = a as f32 - window as f32;
        nc.tensor_scalar(before, behind, Alu::LessEqual, oldest).then(Alu::Multiply, HIDDEN);
        nc.tensor_tensor(all.at((.., a, ..)), before, after, Alu::Add);
    }
    Some(all)
}

/// The scaled scores of all keys, `[128, tokens, heads, tiles + 1]`: keys on partitions.
#[nki::kernel]
fn scores<T: Float>(
    nc: Nc,
    sizes: &Sizes,
    constants: &Constants,
    new: &New<T>,
    cache: &Cache<T>,
    hidden: &Option<Tile<f32>>,
) -> Tile<f32> {
    let Sizes { tokens, heads, kv_heads, d } = *sizes;
    let (packed, group) = (sizes.packed(), sizes.group());
    let all = nc.sbuf::<f32>([128, tokens, heads, constants.tiles + 1]);
    // Tiles whose scores fit into a bank.
    let fit = (512 / (tokens * packed * group)).max(1);
    let whole = cache.all_keys(nc, &constants.chunks);
    for first in (0..kv_heads).step_by(packed) {
        let columns = first * group..(first + packed) * group;
        let q = new.q_packed.split(1, &[tokens, heads]).at((.., .., columns.clone()));
        for (c, whole) in constants.chunks.iter().zip(&whole) {
            if c.lanes < 128 {
                nc.memset(all.at((.., .., columns.clone(), c.at)), HIDDEN.into());
            }
            let by_lane = cache.columns(nc, first..first + packed, c, *whole);
            for tiles in (0..c.tiles).step_by(fit).map(|t| t..(t + fit).min(c.tiles)) {
                let bank = nc.psum([c.lanes, tokens, packed * group, tiles.len()]);
                for t in tiles.clone() {
                    nc.nc_matmul(bank.at((.., .., .., t - tiles.start)), by_lane.at((.., .., t)), q);
                }
                let here = c.at + tiles.start..c.at + tiles.end;
                let to = all.at((0..c.lanes, .., columns.clone(), here.clone()));
                let Some(hidden) = hidden else { continue };
                let mask = hidden.at((0..c.lanes, .., here)).expand(2).broadcast(2, packed * group);
                let mask = if mask.dim(1) == tokens { mask } else { mask.broadcast(1, tokens) };
                nc.scalar_tensor_tensor(to, bank, Alu::Multiply, constants.scale, Alu::Add, mask);
            }
        }
    }
    // The new tokens' own keys.
    nc.memset(all.at((.., .., .., constants.tiles)), HIDDEN.into());
    let bank = nc.psum([tokens, tokens, heads]);
    for j in 0..kv_heads {
        let columns = j * group..(j + 1) * group;
        let k = new.k_t.split(1, &[tokens, kv_heads]).at((0..d, .., j));
        let q = new.q_t.split(1, &[tokens, heads]).at((.., .., columns.clone()));
        nc.nc_matmul(bank.at((.., .., columns)), k, q);
    }
    let own = all.at((0..tokens, .., .., constants.tiles));
    let mask = constants.new.expand(2).broadcast(2, heads);
    nc.scalar_tensor_tensor(own, bank, Alu::Multiply, constants.scale, Alu::Add, mask);
    all
}

/// The exponentials of the scores relative to their column's maximum, and for every column, on every partition, what the sum over
/// all keys is to be multiplied by.
#[nki::kernel]
fn softmax<T: Float>(
    nc: Nc,
    sizes: &Sizes,
    constants: &Constants,
    scores: Tile<f32>,
) -> (Tile<T>, Tile<f32>) {
    let (columns, tiles) = (sizes.columns(), constants.tiles + 1);
    let by_column = scores.merge(1, 3);
    let largest = nc.sbuf::<f32>([128, columns]);
    nc.tensor_reduce(largest, Alu::Maximum, by_column);
    // Across partitions: turned, reduced, and given back to all of them by a product that selects.
    let turned = nc.psum([columns, 128]);
    nc.nc_transpose(turned, largest);
    let most = nc.sbuf::<f32>([columns, 1]);
    nc.tensor_reduce(most, Alu::Maximum, turned);
    let everywhere = nc.psum([128, columns]);
    nc.nc_matmul(everywhere, most.broadcast(1, 128), constants.identity);
    let max = nc.sbuf::<f32>([128, columns]);
    match constants.sink {
        Some(sink) => drop(nc.tensor_tensor(max, everywhere, sink, Alu::Maximum)),
        None => drop(nc.tensor_copy(max, everywhere)),
    }
    nc.tensor_tensor(by_column, by_column, max.expand(2).broadcast(2, tiles), Alu::Subtract);
    let weights = nc.sbuf::<T>([128, sizes.tokens, sizes.heads, tiles]);
    nc.activation(weights.merge(1, 3), Act::Exp, by_column);
    let partial = nc.sbuf::<f32>([128, columns]);
    nc.tensor_reduce(partial, Alu::Add, weights.merge(1, 3));
    let total = nc.psum([128, columns]);
    nc.nc_matmul(total, constants.ones, partial);
    let share = nc.sbuf::<f32>([128, columns]);
    match constants.sink {
        Some(sink) => {
            let rest = nc.sbuf::<f32>([128, columns]);
            nc.tensor_tensor(rest, sink, max, Alu::Subtract);
            nc.activation(rest, Act::Exp, rest);
            nc.tensor_tensor(rest, total, rest, Alu::Add);
            nc.reciprocal(share, rest);
        }
        None => drop(nc.reciprocal(share, total)),
    }
    (weights, share)
}

/// `Σ weight · value` over all keys, `[d, tokens, heads]`.
#[nki::kernel]
fn weighted<T: Float>(
    nc: Nc,
    sizes: &Sizes,
    constants: &Constants,
    new: &New<T>,
    weights: Tile<T>,
    cache: &Cache<T>,
) -> Acc {
    let Sizes { tokens, heads, kv_heads, d } = *sizes;
    let (packed, group) = (sizes.packed(), sizes.group());
    let sums = nc.psum([d, tokens, heads]);
    let columns = |j: usize| j * group..(j + 1) * group;
    let whole = cache.all_values(nc, &constants.chunks);
    for first in (0..kv_heads).step_by(packed) {
        for (c, whole) in constants.chunks.iter().zip(&whole) {
            let loaded = cache.rows(nc, first..first + packed, c, *whole);
            for lane in 0..packed {
                let columns = columns(first + lane);
                for t in 0..c.tiles {
                    let p = weights.at((0..c.lanes, .., columns.clone(), c.at + t));
                    nc.nc_matmul(sums.at((.., .., columns.clone())), loaded.at((.., lane, t, ..)), p);
                }
            }
        }
    }
    for j in 0..kv_heads {
        let p = weights.at((0..tokens, .., columns(j), constants.tiles));
        nc.nc_matmul(sums.at((.., .., columns(j))), new.v.at((.., j, ..)), p);
    }
    sums
}

/// Normalises, and stores a row for each query.
#[nki::kernel]
fn finish<T: Float>(nc: Nc, out: Hbm<T>, sums: Acc, share: Tile<f32>) {
    let [columns, d] = out.dims();
    let result_t = nc.sbuf::<T>([d, columns]);
    nc.tensor_tensor(result_t, sums.merge(1, 3), share, Alu::Multiply);
    let turned = nc.psum_of::<T>([columns, d]);
    nc.nc_transpose(turned, result_t);
    nc.store(out, turned.copy());
}
