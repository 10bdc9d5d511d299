//! Attention of one sequence's new tokens.

use super::cache::OfSequence;
use super::kernel::AttentionDecodeConfig;
use super::seen::{Rule, Seen, among_new, clear};
use crate::strip::multiply;
use nki::prelude::*;
use std::ops::Range;

/// Extents that everything here needs.
pub(super) struct Sizes {
    pub tokens: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
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
    pub at: usize,
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
pub(super) struct Constants {
    pub chunks: Vec<Chunk>,
    /// Tiles of keys in the cache; the new tokens' keys follow as one more.
    pub tiles: usize,
    /// The slot that each place of the scores belongs to, `[128, tiles]`; none where the cache has no slots, or masks are given.
    pub slots: Option<Tile<f32>>,
    /// What a new token sees of the others, `[tokens, tokens, 1, 1]`: key, query; itself and those before, as far as the window goes.
    pub new: Tile<u8>,
    identity: Tile<f32>,
    ones: Tile<f32>,
    /// The sink of every column, on every partition.
    sink: Option<Tile<f32>>,
    scale: f32,
    /// Whether a token may see nothing at all.
    may_be_blind: bool,
    scales: Option<Scales>,
}

/// What not every kernel takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Extra {
    /// A logit without value for each head.
    pub sink: Option<Hbm<f32>>,
    /// Of cached keys and values, `[1]` each.
    pub scales: Option<[Hbm<f32>; 2]>,
}

/// What an element of a cached key and value stands for, `[128, 1]` each.
struct Scales {
    key: Tile<f32>,
    value: Tile<f32>,
    one_by_value: Tile<f32>,
}

/// A score far below any other, and finite, so that a difference of two is not NaN.
const HIDDEN: f32 = -1e30;

impl Constants {
    #[track_caller]
    pub fn new(
        nc: Nc,
        sizes: &Sizes,
        used: usize,
        rule: &Rule,
        extra: Extra,
        cfg: &AttentionDecodeConfig,
    ) -> Constants {
        let (chunks, columns) = (chunks(used, cfg.keys), sizes.columns());
        let tiles = chunks.iter().map(|c| c.tiles).sum();
        let masked = matches!(rule, Rule::Mask { .. });
        let slots = (tiles > 0 && !masked).then(|| {
            let slots = nc.sbuf::<f32>([128, tiles]);
            for c in &chunks {
                let here = slots.at((.., c.at..c.at + c.tiles));
                nc.iota(here, &[[1, c.tiles as i64]])
                    .offset(c.keys.start as i64)
                    .channel_multiplier(if c.lanes == 128 { c.tiles as i64 } else { 1 });
            }
            slots
        });
        let sink = extra.sink.map(|s| {
            let each = nc.sbuf::<f32>([128, sizes.tokens, sizes.heads]);
            let row = s.reshape([1, 1, sizes.heads]).broadcast(0, 128).broadcast(1, sizes.tokens);
            nc.dma_copy(each, row);
            each.merge(1, 3)
        });
        Constants {
            chunks,
            tiles,
            slots,
            new: among_new(nc, sizes.tokens, cfg.window),
            identity: nc.identity::<f32>(columns),
            ones: nc.ones::<f32>([128, 128]),
            may_be_blind: masked && sink.is_none(),
            sink,
            scales: extra.scales.map(|both| {
                let [key, value] = both.map(|s| nc.load(s.reshape([1, 1]).broadcast(0, 128)));
                Scales { key, value, one_by_value: value.reciprocal() }
            }),
            scale: cfg.scale.unwrap_or(1.0 / (sizes.d as f32).sqrt()),
        }
    }
}

/// The new tokens of a sequence.
pub(super) struct New<T: Float> {
    /// Queries, `[d, columns]`, for the new keys.
    q_t: Tile<T>,
    /// Queries for the cache, times the scale of its keys. Below each other where several key heads are packed: column `c` is nonzero in the rows of its key head only.
    /// `[packed · d, columns]`.
    q_packed: Tile<T>,
    /// Keys, `[d, tokens · kv_heads]`.
    k_t: Tile<T>,
    /// Values by the scale of the cache's, `[tokens, kv_heads, d]`.
    v: Tile<T>,
}

impl<T: Float> New<T> {
    #[track_caller]
    pub fn load(nc: Nc, sizes: &Sizes, constants: &Constants, [q, k, v]: [Hbm<T>; 3], seen: &Seen) -> New<T> {
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
        let q_scaled = match &constants.scales {
            None => q_t,
            Some(scales) => {
                let q_scaled = nc.sbuf::<T>(q_t.shape());
                nc.tensor_scalar(q_scaled, q_t, Alu::Multiply, scales.key.at((0..d, ..)));
                q_scaled
            }
        };
        let (packed, group) = (sizes.packed(), sizes.group());
        let q_packed = match packed {
            1 => q_scaled,
            _ => {
                let all = nc.zeros::<T>([packed * d, sizes.columns()]);
                let by_lane = &[tokens, kv_heads / packed, packed, group];
                for lane in 0..packed {
                    let rows = all.at((lane * d..(lane + 1) * d, ..)).split(1, by_lane);
                    nc.tensor_copy(
                        rows.at((.., .., .., lane, ..)),
                        q_scaled.split(1, by_lane).at((.., .., .., lane, ..)),
                    );
                }
                all
            }
        };
        let v = nc.load(v);
        if let Some(any) = seen.any_new {
            clear(nc, v.merge(1, 3), any);
        }
        if let Some(scales) = &constants.scales {
            // The sums are of what the cache holds, and scaled at the end.
            nc.tensor_scalar(v, v, Alu::Multiply, scales.one_by_value.at((0..tokens, ..)));
        }
        New { q_t, q_packed, k_t: turned(k).copy(), v }
    }
}

/// The scores of all keys, `[128, tokens, heads, tiles + 1]`, not scaled yet: keys on partitions. What is not seen is not written: whatever
/// a slot holds, its score stays far below all others.
#[nki::kernel]
pub(super) fn scores<T: Float, C: Elem>(
    nc: Nc,
    sizes: &Sizes,
    constants: &Constants,
    new: &New<T>,
    cache: &OfSequence<C>,
    seen: &Seen,
) -> Tile<f32> {
    let Sizes { tokens, heads, kv_heads, d } = *sizes;
    let (packed, group) = (sizes.packed(), sizes.group());
    let all = nc.sbuf::<f32>([128, tokens, heads, constants.tiles + 1]);
    nc.memset(all, (HIDDEN / constants.scale).max(f32::MIN).into());
    // Tiles whose scores fit into a bank.
    let fit = (512 / (tokens * packed * group)).max(1);
    let whole = cache.all_keys(nc, &constants.chunks);
    for first in (0..kv_heads).step_by(packed) {
        let columns = first * group..(first + packed) * group;
        let q = new.q_packed.split(1, &[tokens, heads]).at((.., .., columns.clone()));
        for (c, whole) in constants.chunks.iter().zip(&whole) {
            let by_lane = cache.columns(nc, first..first + packed, c, *whole);
            for tiles in (0..c.tiles).step_by(fit).map(|t| t..(t + fit).min(c.tiles)) {
                let bank = nc.psum([c.lanes, tokens, packed * group, tiles.len()]);
                for t in tiles.clone() {
                    multiply(nc, bank.at((.., .., .., t - tiles.start)), by_lane.at((.., .., t)), q);
                }
                let here = c.at + tiles.start..c.at + tiles.end;
                let to = all.at((0..c.lanes, .., columns.clone(), here.clone()));
                let Some(seen) = &seen.cache else { continue };
                let shown = Seen::of(seen.each.at((0..c.lanes, .., .., here)), tokens, columns.clone());
                nc.tensor_copy_predicated(to, bank, shown);
            }
        }
    }
    // The new tokens' own keys.
    let bank = nc.psum([tokens, tokens, heads, 1]);
    for j in 0..kv_heads {
        let columns = j * group..(j + 1) * group;
        let k = new.k_t.split(1, &[tokens, kv_heads]).at((0..d, .., j));
        let q = new.q_t.split(1, &[tokens, heads]).at((.., .., columns.clone()));
        nc.nc_matmul(bank.at((.., .., columns, 0)), k, q);
    }
    let own = all.at((0..tokens, .., .., constants.tiles..));
    nc.tensor_copy_predicated(own, bank, Seen::of(seen.new, tokens, 0..heads));
    all
}

/// The exponentials of the scaled scores relative to their column's maximum, and for every column, on every partition, what the sum over
/// all keys is to be multiplied by.
#[nki::kernel]
pub(super) fn softmax<T: Float>(
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
        Some(sink) => {
            nc.scalar_tensor_tensor(max, everywhere, Alu::Multiply, constants.scale, Alu::Maximum, sink);
        }
        // Where nothing is seen, hidden scores remain far below.
        None => drop(
            nc.tensor_scalar(max, everywhere, Alu::Multiply, constants.scale)
                .then(Alu::Maximum, HIDDEN / 2.0),
        ),
    }
    let max_of_each = max.expand(2).broadcast(2, tiles);
    nc.scalar_tensor_tensor(by_column, by_column, Alu::Multiply, constants.scale, Alu::Subtract, max_of_each);
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
        None if constants.may_be_blind => {
            // The largest exponential is 1: a smaller sum is 0.
            nc.tensor_scalar(share, total, Alu::Maximum, 0.5);
            nc.reciprocal(share, share);
        }
        None => drop(nc.reciprocal(share, total)),
    }
    if let Some(scales) = &constants.scales {
        nc.tensor_scalar(share, share, Alu::Multiply, scales.value);
    }
    (weights, share)
}

/// `Σ weight · value` over all keys, `[d, tokens, heads]`.
#[nki::kernel]
pub(super) fn weighted<T: Float, C: Elem>(
    nc: Nc,
    sizes: &Sizes,
    constants: &Constants,
    new: &New<T>,
    weights: Tile<T>,
    cache: &OfSequence<C>,
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
                    multiply(nc, sums.at((.., .., columns.clone())), loaded.at((.., lane, t, ..)), p);
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
pub(super) fn finish<T: Float>(nc: Nc, out: Hbm<T>, sums: Acc, share: Tile<f32>) {
    let [columns, d] = out.dims();
    let result_t = nc.sbuf::<T>([d, columns]);
    nc.tensor_tensor(result_t, sums.merge(1, 3), share, Alu::Multiply);
    let turned = nc.psum_of::<T>([columns, d]);
    nc.nc_transpose(turned, result_t);
    nc.store(out, turned.copy());
}
