//! Where the keys and values of earlier tokens are: a stretch of slots for each sequence, or blocks that sequences share.

use super::seen::clear;
use super::sequence::Chunk;
use crate::share::Share;
use nki::ir::op::OobMode;
use nki::prelude::*;
use std::ops::Range;

/// The caches of all sequences.
#[derive(Clone, Copy)]
pub(super) enum Cache<T: Elem> {
    /// Keys `[batch, kv_heads, d, slots]`, or with `rows` like the values, `[batch, kv_heads, slots, d]`.
    Slots { keys: Hbm<T>, values: Hbm<T>, rows: bool },
    /// Rows of all heads, `[rows, kv_heads, d]`, and which row each slot is, `[batch, slots]`.
    Blocks { keys: Hbm<T>, values: Hbm<T>, numbers: Hbm<i32> },
}

/// The cache of one sequence: [`Cache`] without the axis `batch`. No element of a slot that nobody sees gets to a sum.
pub(super) struct OfSequence<T: Elem> {
    cache: Cache<T>,
    /// Which slots anybody sees, `[128, tiles]`; none if there are no slots.
    seen: Option<Tile<i32>>,
}

impl<T: Elem> Cache<T> {
    /// That of some key heads; of all of them where rows of blocks hold them.
    #[track_caller]
    pub fn heads(self, part: &Share) -> Cache<T> {
        match self {
            Cache::Slots { keys, values, rows } => {
                Cache::Slots { keys: part.of(keys, 1), values: part.of(values, 1), rows }
            }
            blocks @ Cache::Blocks { .. } => blocks,
        }
    }
    /// That of sequence `b`, with what is seen of it.
    #[track_caller]
    pub fn of(self, b: Idx, seen: Option<Tile<i32>>) -> OfSequence<T> {
        let cache = match self {
            Cache::Slots { keys, values, rows } => {
                Cache::Slots { keys: keys.at((b, .., .., ..)), values: values.at((b, .., .., ..)), rows }
            }
            Cache::Blocks { keys, values, numbers } => {
                Cache::Blocks { keys, values, numbers: numbers.at((b, ..)) }
            }
        };
        OfSequence { cache, seen }
    }
}

impl<T: Elem> OfSequence<T> {
    /// Which slots of a chunk anybody sees, `[lanes, tiles]`.
    #[track_caller]
    fn seen(&self, c: &Chunk) -> Option<Tile<i32>> {
        self.seen.map(|seen| seen.at((0..c.lanes, c.at..c.at + c.tiles)))
    }

    /// The keys of every chunk with all heads, if they come by rows and there is room for all of them.
    #[track_caller]
    pub fn all_keys(&self, nc: Nc, chunks: &[Chunk]) -> Vec<Option<Tile<T>>> {
        match self.cache {
            Cache::Slots { .. } => vec![None; chunks.len()],
            Cache::Blocks { keys, numbers, .. } => self.all_heads(nc, keys, numbers, chunks),
        }
    }

    /// The values, as [`Cache::all_keys`].
    #[track_caller]
    pub fn all_values(&self, nc: Nc, chunks: &[Chunk]) -> Vec<Option<Tile<T>>> {
        match self.cache {
            Cache::Slots { .. } => vec![None; chunks.len()],
            Cache::Blocks { values, numbers, .. } => self.all_heads(nc, values, numbers, chunks),
        }
    }

    /// The keys of a chunk and of some heads below each other, `[heads · d, lanes, tiles]`; out of `all` if they are there.
    #[track_caller]
    pub fn columns(&self, nc: Nc, heads: Range<usize>, c: &Chunk, all: Option<Tile<T>>) -> Tile<T> {
        match self.cache {
            Cache::Slots { keys, rows: true, .. } => {
                let keys = keys.at((heads, c.keys.clone(), ..)).split(1, &[c.lanes, c.tiles]);
                let rows = nc.load(keys.permute(&[1, 2, 0, 3]));
                turned(nc, rows.merge(2, 4)).permute(&[0, 2, 1])
            }
            Cache::Slots { keys, .. } => {
                let columns = nc.load(keys.at((heads, .., ..)).merge(0, 2).at((.., c.keys.clone())));
                columns.split(1, &[c.lanes, c.tiles])
            }
            Cache::Blocks { keys, numbers, .. } => {
                let rows = match all {
                    Some(all) => all.at((.., .., heads, ..)),
                    None => gathered(nc, keys, numbers, heads, c, self.seen(c)),
                };
                turned(nc, rows.merge(2, 4)).permute(&[0, 2, 1])
            }
        }
    }

    /// The values of a chunk and of some heads, `[lanes, heads, tiles, d]`; out of `all` if they are there.
    #[track_caller]
    pub fn rows(&self, nc: Nc, heads: Range<usize>, c: &Chunk, all: Option<Tile<T>>) -> Tile<T> {
        match self.cache {
            Cache::Slots { values, .. } => {
                let last = heads.end == values.dim(0);
                let values = values
                    .at((heads, c.keys.clone(), ..))
                    .split(1, &[c.lanes, c.tiles])
                    .permute(&[1, 0, 2, 3]);
                let rows = nc.sbuf::<T>(values.shape());
                // The last ones in pieces: while one is cleared, the next one comes, and the end waits for little.
                for tiles in nc.tiles(c.tiles, if last { PIECE } else { c.tiles }) {
                    let piece = rows.at((.., .., tiles, ..));
                    nc.dma_copy(piece, values.at((.., .., tiles, ..)));
                    if let Some(seen) = self.seen(c) {
                        clear(nc, piece, seen.at((.., tiles)));
                    }
                }
                rows
            }
            Cache::Blocks { values, numbers, .. } => {
                let rows = match all {
                    Some(all) => all.at((.., .., heads, ..)),
                    None => gathered(nc, values, numbers, heads, c, self.seen(c)),
                };
                rows.permute(&[0, 2, 1, 3])
            }
        }
    }

    /// The rows of all chunks, whole: a transfer by numbers costs its issuer the same for one head as for all.
    #[track_caller]
    fn all_heads(&self, nc: Nc, rows: Hbm<T>, numbers: Hbm<i32>, chunks: &[Chunk]) -> Vec<Option<Tile<T>>> {
        let [_, heads, d] = rows.dims();
        let tiles: usize = chunks.iter().map(|c| c.tiles).sum();
        let fits = tiles * heads * d * T::DTYPE.bytes() <= ROOM;
        let whole = |c| gathered(nc, rows, numbers, 0..heads, c, self.seen(c));
        chunks.iter().map(|c| fits.then(|| whole(c))).collect()
    }
}

/// Tiles of the last values that come together.
const PIECE: usize = 16;

/// Bytes of a partition that the keys of all heads may take, and the values as well.
const ROOM: usize = 48 << 10;

/// The rows of a chunk's slots, `[lanes, tiles, heads, d]`; zeros where there is none, and where nobody sees it.
#[nki::kernel]
fn gathered<T: Elem>(
    nc: Nc,
    cache: Hbm<T>,
    numbers: Hbm<i32>,
    heads: Range<usize>,
    c: &Chunk,
    seen: Option<Tile<i32>>,
) -> Tile<T> {
    let rows = nc.zeros::<T>([c.lanes, c.tiles, heads.len(), cache.dim(2)]);
    let numbers = nc.load(numbers.at((c.keys.clone(),)).reshape([c.lanes, c.tiles]));
    if let Some(seen) = seen {
        // No row has this number.
        nc.tensor_copy_predicated(numbers, -1, seen.bitcast::<u32>()).reverse_pred(true);
    }
    for t in 0..c.tiles {
        let chosen = cache.vector_select(numbers.at((.., t..t + 1))).at((.., heads.clone(), ..));
        nc.dma_copy(rows.at((.., t, .., ..)), chosen).oob_mode(OobMode::Skip);
    }
    rows
}

/// `[lanes, tiles, columns]` as `[columns, tiles, lanes]`. The tensor engine does not turn bytes: 8-bit floats pass as bf16, which holds them.
#[nki::kernel]
fn turned<T: Elem>(nc: Nc, rows: Tile<T>) -> Tile<T> {
    let [lanes, tiles, columns] = rows.dims();
    let turned = nc.sbuf::<T>([columns, tiles, lanes]);
    for t in 0..tiles {
        let (tile, to) = (rows.at((.., t, ..)), turned.at((.., t, ..)));
        if T::DTYPE.bytes() == 1 {
            let bank = nc.psum_of::<bf16>([columns, lanes]);
            nc.nc_transpose(bank, tile.to::<bf16>());
            nc.tensor_copy(to, bank);
            continue;
        }
        let bank = nc.psum_of::<T>([columns, lanes]);
        nc.nc_transpose(bank, tile);
        nc.tensor_copy(to, bank);
    }
    turned
}

/// The row of every slot, `[batch, n · length]`, from the numbers of blocks, `[batch, n]`: row `r` of block `i` is `i · length + r`.
#[nki::kernel]
pub(super) fn numbers(nc: Nc, table: Hbm<i32>, length: usize) -> Hbm<i32> {
    let [batch, n] = table.dims();
    let all = nc.hbm::<i32>([batch, n * length]);
    for b in nc.tiles(batch, 128) {
        let blocks = nc.load(table.at((b, ..))).to::<f32>();
        let within = nc.sbuf::<f32>([b.len(), length]);
        nc.iota(within, &[[1, length as i64]]);
        // A few thousand slots at a time: SBUF need not hold them all.
        for i in nc.tiles(n, (4096 / length).max(1)) {
            let rows = nc.sbuf::<i32>([b.len(), i.len(), length]);
            let of_block = blocks.at((.., i)).expand(2).broadcast(2, length);
            let within = within.expand(1).broadcast(1, i.len());
            nc.scalar_tensor_tensor(rows, of_block, Alu::Multiply, length as f32, Alu::Add, within);
            nc.store(all.split(1, &[n, length]).at((b, i, ..)), rows);
        }
    }
    all
}
