//! New keys and values into their caches, in place.

use crate::share::Share;
use nki::ir::op::OobMode;
use nki::prelude::*;
use nki::space::OnChip;
use nki::{Tensor, f8e4m3};

/// What `kv_update` does with a position that is not in the cache.
#[derive(Clone, Debug, KernelConfig)]
pub struct KvUpdateConfig {
    /// A sequence whose position is negative keeps its cache as it is, instead of ending the run.
    #[config(default = false)]
    pub skip: bool,
}

/// Writes the keys and values of new tokens behind those that sequences have: slot `positions[b] + i` of sequence `b` takes token `i`.
///
/// `k_cache` is `[batch, kv_heads, d, slots]`, `v_cache` `[batch, kv_heads, slots, d]`, both updated in place; `k` and `v` are
/// `[batch, tokens, kv_heads, d]`, `positions` `[batch]`. Tokens beyond the last slot end the run (`nki::runtime_index`).
#[nki::kernel]
pub fn kv_update<T: Float>(
    nc: Nc,
    #[inout] k_cache: Hbm<T>,
    #[inout] v_cache: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    positions: Hbm<i32>,
    cfg: KvUpdateConfig,
) {
    let sizes = Sizes::new(nc, k_cache, v_cache, k, v, positions);
    let at = first_slots(nc, positions, cfg.skip);
    let mine = Share::new(nc, sizes.batch, 1);
    for b in nc.range(mine.len()) {
        let b = b + mine.range().start;
        let at = at.at((.., b..b + 1));
        values(nc, v_cache.at((b, .., .., ..)), v.at((b, .., .., ..)), at, &cfg);
        let (k, columns) = (k.at((b, .., .., ..)), k_cache.at((b, .., .., ds(at, sizes.tokens))));
        if sizes.tokens == 1 {
            nc.dma_copy(columns, k.permute(&[1, 2, 0])).oob_mode(cfg.mode());
        } else {
            let copy = |to, keys| drop(nc.tensor_copy(to, keys));
            several(nc, columns, k, copy, &cfg);
        }
    }
}

/// As [`kv_update()`] with keys cached as rows, like the values: `k_cache` is `[batch, kv_heads, slots, d]`.
#[nki::kernel]
pub fn kv_update_rows<T: Float>(
    nc: Nc,
    #[inout] k_cache: Hbm<T>,
    #[inout] v_cache: Hbm<T>,
    k: Hbm<T>,
    v: Hbm<T>,
    positions: Hbm<i32>,
    cfg: KvUpdateConfig,
) {
    let sizes = Sizes::new(nc, k_cache.permute(&[0, 1, 3, 2]), v_cache, k, v, positions);
    let at = first_slots(nc, positions, cfg.skip);
    let mine = Share::new(nc, sizes.batch, 1);
    for b in nc.range(mine.len()) {
        let b = b + mine.range().start;
        for (cache, new) in [(k_cache, k), (v_cache, v)] {
            values(nc, cache.at((b, .., .., ..)), new.at((b, .., .., ..)), at.at((.., b..b + 1)), &cfg);
        }
    }
}

/// As [`kv_update()`] for caches of 8-bit floats: an element is `clip(x / scale, ±240)`, rounded to f8e4m3.
///
/// `k_scale` and `v_scale`, `[1]`, are positive, and what `attention_decode_fp8` multiplies by.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn kv_update_fp8<T: Float>(
    nc: Nc,
    #[inout] k_cache: Hbm<f8e4m3>,
    #[inout] v_cache: Hbm<f8e4m3>,
    k: Hbm<T>,
    v: Hbm<T>,
    k_scale: Hbm<f32>,
    v_scale: Hbm<f32>,
    positions: Hbm<i32>,
    cfg: KvUpdateConfig,
) {
    let sizes = Sizes::new(nc, k_cache, v_cache, k, v, positions);
    ensure!(
        nc,
        k_scale.shape() == [1] && v_scale.shape() == [1],
        "one scale for all keys, one for all values"
    );
    let inverse = |scale: Hbm<f32>| nc.load(scale.reshape([1, 1]).broadcast(0, 128)).reciprocal();
    let [k_inverse, v_inverse] = [k_scale, v_scale].map(inverse);
    let at = first_slots(nc, positions, cfg.skip);
    // Elements of keys are written one by one, which HBM does with all engines: what is rounded goes there first.
    let v = rounded(nc, v, v_inverse);
    let rounded_k = (sizes.tokens == 1).then(|| rounded(nc, k, k_inverse));
    let mine = Share::new(nc, sizes.batch, 1);
    for b in nc.range(mine.len()) {
        let b = b + mine.range().start;
        let at = at.at((.., b..b + 1));
        values(nc, v_cache.at((b, .., .., ..)), v.at((b, .., .., ..)), at, &cfg);
        let columns = k_cache.at((b, .., .., ds(at, sizes.tokens)));
        match rounded_k {
            Some(k) => {
                drop(nc.dma_copy(columns, k.at((b, .., .., ..)).permute(&[1, 2, 0])).oob_mode(cfg.mode()))
            }
            None => {
                let round = |to, keys| quantise(nc, to, keys, k_inverse.at((0..sizes.d, ..)));
                several(nc, columns, k.at((b, .., .., ..)), round, &cfg);
            }
        }
    }
}

impl KvUpdateConfig {
    fn mode(&self) -> OobMode {
        if self.skip { OobMode::Skip } else { OobMode::Error }
    }
}

/// Extents of an update.
struct Sizes {
    batch: usize,
    tokens: usize,
    d: usize,
}

impl Sizes {
    /// Those of tensors that fit together.
    #[track_caller]
    fn new<C: Elem, T: Elem>(
        nc: Nc,
        k_cache: Hbm<C>,
        v_cache: Hbm<C>,
        k: Hbm<T>,
        v: Hbm<T>,
        positions: Hbm<i32>,
    ) -> Sizes {
        let [batch, tokens, kv_heads, d] = k.dims();
        let [_, _, _, slots]: [usize; 4] = k_cache.dims();
        ensure!(nc, k_cache.shape() == [batch, kv_heads, d, slots]);
        ensure!(nc, v_cache.shape() == [batch, kv_heads, slots, d]);
        ensure!(nc, v.shape() == k.shape() && positions.shape() == [batch]);
        ensure!(nc, tokens > 0 && tokens <= slots, "the new tokens fit into the cache");
        ensure!(nc, d > 0 && d <= 128 && kv_heads > 0);
        Sizes { batch, tokens, d }
    }
}

/// The values of a sequence's tokens, `[tokens, kv_heads, d]`, into its cache, `[kv_heads, slots, d]`.
#[nki::kernel]
fn values<C: Elem>(nc: Nc, cache: Hbm<C>, new: Hbm<C>, at: Tile<i32>, cfg: &KvUpdateConfig) {
    let slots = cache.at((.., ds(at, new.dim(0)), ..));
    nc.dma_copy(slots, new.permute(&[1, 0, 2])).oob_mode(cfg.mode());
}

/// The keys of several tokens, `[tokens, kv_heads, d]`, into columns of the cache, `[kv_heads, d, tokens]`: turned, then `put` into tiles of
/// its dtype.
#[nki::kernel]
fn several<T: Float, C: Elem>(
    nc: Nc,
    columns: Hbm<C>,
    new: Hbm<T>,
    put: impl Fn(Tile<C>, Acc<T>),
    cfg: &KvUpdateConfig,
) {
    let [tokens, kv_heads, d] = new.dims();
    for h in nc.range(kv_heads) {
        let turned = nc.sbuf::<C>([d, tokens]);
        for t in nc.tiles(tokens, 128) {
            let bank = nc.psum_of::<T>([d, t.len()]);
            nc.nc_transpose(bank, nc.load(new.at((t, h, ..))));
            put(turned.at((.., t)), bank);
        }
        nc.dma_copy(columns.at((h, .., ..)), turned).oob_mode(cfg.mode());
    }
}

/// `x / scale` in 8 bits, in HBM.
#[nki::kernel]
fn rounded<T: Float>(nc: Nc, x: Hbm<T>, inverse: Tile<f32>) -> Hbm<f8e4m3> {
    let out = nc.hbm::<f8e4m3>(x.shape());
    let (x, rows) = (x.merge(0, 2).merge(1, 3), out.merge(0, 2).merge(1, 3));
    for t in nc.tiles(x.dim(0), 128) {
        let q = nc.sbuf::<f8e4m3>([t.len(), x.dim(1)]);
        quantise(nc, q, nc.load(x.at((t, ..))), inverse.at((0..t.len(), ..)));
        nc.store(rows.at((t, ..)), q);
    }
    out
}

/// `clip(x · inverse, ±240)`, rounded to 8 bits; `inverse` is a column.
#[nki::kernel]
pub(crate) fn quantise<T: Elem, M: OnChip>(nc: Nc, q: Tile<f8e4m3>, x: Tensor<T, M>, inverse: Tile<f32>) {
    let values = nc.sbuf::<f32>(q.shape());
    nc.tensor_scalar(values, x, Alu::Multiply, inverse).then(Alu::Minimum, LARGEST);
    nc.tensor_scalar(q, values, Alu::Maximum, -LARGEST);
}

/// The largest finite f8e4m3.
const LARGEST: f32 = 240.0;

/// The positions on chip, `[1, batch]`. A negative one that is skipped moves far before the cache, so that none of its tokens
/// reaches it.
#[nki::kernel]
fn first_slots(nc: Nc, positions: Hbm<i32>, skip: bool) -> Tile<i32> {
    let n = positions.elements();
    let given = nc.load(positions.reshape([1, n]));
    if !skip {
        return given;
    }
    let moved = nc.sbuf::<f32>([1, n]);
    nc.tensor_scalar(moved, given, Alu::Less, 0.0).then(Alu::Multiply, -1e9);
    let first = nc.sbuf::<i32>([1, n]);
    nc.tensor_tensor(first, given, moved, Alu::Add);
    first
}

/// Writes new rows into a cache of blocks, in place: `cache[slots[t], :] = new[t, :]`.
///
/// `cache` is `[blocks · length, width]`, blocks below each other, so that row `r` of block `n` is slot `n · length + r`; `new` is
/// `[tokens, width]`, a row all heads of a token; `slots` is `[tokens]`. A negative slot is skipped. Two tokens with the same slot
/// leave either's row.
#[nki::kernel]
pub fn kv_update_blocks<T: Float>(nc: Nc, #[inout] cache: Hbm<T>, new: Hbm<T>, slots: Hbm<i32>) {
    let [_, width] = cache.dims();
    let [tokens, new_width] = new.dims();
    let [n_slots] = slots.dims();
    ensure!(nc, new_width == width && n_slots == tokens && width > 0);
    let slots = slots.reshape([tokens, 1]);
    for t in nc.tiles(tokens, 128) {
        let chosen = nc.load(slots.at((t, ..)));
        let rows = nc.load(new.at((t, ..)));
        nc.dma_copy(cache.vector_select(chosen), rows).oob_mode(OobMode::Skip);
    }
}

/// As [`kv_update_blocks()`] for a cache of 8-bit floats: an element is `clip(x / scale[0], ±240)`, rounded to f8e4m3.
///
/// `scale`, `[1]`, is positive, and what `attention_decode_blocks_fp8` multiplies by.
#[nki::kernel]
pub fn kv_update_blocks_fp8<T: Float>(
    nc: Nc,
    #[inout] cache: Hbm<f8e4m3>,
    new: Hbm<T>,
    scale: Hbm<f32>,
    slots: Hbm<i32>,
) {
    let [_, width] = cache.dims();
    let [tokens, new_width] = new.dims();
    let [n_slots] = slots.dims();
    ensure!(nc, new_width == width && n_slots == tokens && width > 0);
    ensure!(nc, scale.shape() == [1], "one scale for the whole cache");
    let inverse = nc.load(scale.reshape([1, 1]).broadcast(0, 128)).reciprocal();
    let slots = slots.reshape([tokens, 1]);
    for t in nc.tiles(tokens, 128) {
        let (chosen, rows) = (nc.load(slots.at((t, ..))), nc.sbuf::<f8e4m3>([t.len(), width]));
        quantise(nc, rows, nc.load(new.at((t, ..))), inverse.at((0..t.len(), ..)));
        nc.dma_copy(cache.vector_select(chosen), rows).oob_mode(OobMode::Skip);
    }
}
