//! New keys and values into their caches, in place.

use nki::ir::op::OobMode;
use nki::prelude::*;

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
    let [batch, tokens, kv_heads, d] = k.dims();
    let [_, _, _, slots] = k_cache.dims();
    let (k_dims, v_dims): ([usize; 4], [usize; 4]) = (k_cache.dims(), v_cache.dims());
    let (new_dims, n_positions): ([usize; 4], [usize; 1]) = (v.dims(), positions.dims());
    ensure!(nc, k_dims == [batch, kv_heads, d, slots] && v_dims == [batch, kv_heads, slots, d]);
    ensure!(nc, new_dims == [batch, tokens, kv_heads, d] && n_positions == [batch]);
    ensure!(nc, tokens > 0 && tokens <= slots, "the new tokens fit into the cache");
    ensure!(nc, d > 0 && d <= 128 && kv_heads > 0);
    let positions = first_slots(nc, positions, cfg.skip);
    let mode = if cfg.skip { OobMode::Skip } else { OobMode::Error };
    for b in nc.range(batch) {
        let at = positions.at((.., b..b + 1));
        let rows = v.at((b, .., .., ..)).permute(&[1, 0, 2]);
        nc.dma_copy(v_cache.at((b, .., ds(at, tokens), ..)), rows).oob_mode(mode);
        let columns = k_cache.at((b, .., .., ds(at, tokens)));
        if tokens == 1 {
            nc.dma_copy(columns, k.at((b, .., .., ..)).permute(&[1, 2, 0])).oob_mode(mode);
        } else {
            for h in nc.range(kv_heads) {
                let turned = nc.sbuf::<T>([d, tokens]);
                for t in nc.tiles(tokens, 128) {
                    let bank = nc.psum_of::<T>([d, t.len()]);
                    nc.nc_transpose(bank, nc.load(k.at((b, t, h, ..))));
                    nc.tensor_copy(turned.at((.., t)), bank);
                }
                nc.dma_copy(columns.at((h, .., ..)), turned).oob_mode(mode);
            }
        }
    }
}

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
