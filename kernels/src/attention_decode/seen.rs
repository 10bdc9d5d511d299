//! Which keys a token sees.

use super::sequence::{Constants, Sizes};
use crate::share::Share;
use nki::prelude::*;
use std::ops::Range;

/// How it is decided what a token sees.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// The first `lengths[b]` slots of sequence `b` and the new tokens up to itself, the last `window` of all these.
    Lengths { lengths: Hbm<i32>, window: Option<usize> },
    /// What is not 0 in `mask`, `[batch, slots, tokens, heads or 1]`, and among new tokens in `new`, `[batch, key, token, heads or 1]`.
    Mask { mask: Hbm<u8>, new: Option<Hbm<u8>> },
}

impl Rule {
    /// That of some query heads.
    #[track_caller]
    pub fn heads(self, part: &Share) -> Rule {
        // A mask for all heads alike has one.
        let of = |m: Hbm<u8>| if m.dim(3) == 1 { m } else { part.of(m, 3) };
        match self {
            Rule::Mask { mask, new } => Rule::Mask { mask: of(mask), new: new.map(of) },
            lengths @ Rule::Lengths { .. } => lengths,
        }
    }
    /// All lengths, on every partition.
    #[track_caller]
    pub fn lengths(&self, nc: Nc) -> Option<Tile<f32>> {
        let Rule::Lengths { lengths, .. } = *self else { return None };
        let batch = lengths.dim(0);
        Some(nc.load(lengths.reshape([1, batch]).broadcast(0, 128)).to::<f32>())
    }
}

/// What the tokens of a sequence see: 0 where they do not.
pub(super) struct Seen {
    /// Of the cache, if it has slots.
    pub cache: Option<SeenSlots>,
    /// Of the new keys, `[tokens, tokens, heads or 1, 1]`: key, query.
    pub new: Tile<u8>,
    /// Which new keys anybody sees, `[tokens, 1]`; `None`: all.
    pub any_new: Option<Tile<i32>>,
}

/// What is seen of a cache, keys on partitions.
#[derive(Clone, Copy)]
pub(super) struct SeenSlots {
    /// By each query, `[128, tokens or 1, heads or 1, tiles]`.
    pub each: Tile<u8>,
    /// By any of them, `[128, tiles]`: 1, else 0.
    pub any: Tile<i32>,
}

impl Seen {
    /// `each` for all tokens and for some heads.
    #[track_caller]
    pub fn of(each: Tile<u8>, tokens: usize, heads: Range<usize>) -> Tile<u8> {
        let each = if each.dim(1) == tokens { each } else { each.broadcast(1, tokens) };
        if each.dim(2) == 1 { each.broadcast(2, heads.len()) } else { each.at((.., .., heads, ..)) }
    }
}

impl Constants {
    /// What the tokens of sequence `b` see, which has `length` tokens so far where lengths decide.
    #[track_caller]
    pub fn seen(&self, nc: Nc, sizes: &Sizes, rule: &Rule, length: Option<Tile<f32>>, b: Idx) -> Seen {
        let tokens = sizes.tokens;
        match *rule {
            Rule::Lengths { window, .. } => {
                let cache = self.slots.zip(length);
                let cache = cache.map(|(slots, length)| by_length(nc, slots, length, tokens, window));
                Seen { cache, new: self.new, any_new: None }
            }
            Rule::Mask { mask, new } => {
                let cache = (self.tiles > 0).then(|| by_mask(nc, self, mask.at((b, .., .., ..))));
                let given = new.map(|new| nc.load(new.at((b, .., .., ..))));
                let any_new = given.map(|given| any(nc, given.merge(1, 3).expand(1)));
                Seen { cache, new: given.map_or(self.new, |given| given.expand(3)), any_new }
            }
        }
    }
}

/// The slots before `length`, as far back as the window of each token goes.
#[nki::kernel]
fn by_length(nc: Nc, slots: Tile<f32>, length: Tile<f32>, tokens: usize, window: Option<usize>) -> SeenSlots {
    let tiles = slots.dim(1);
    let before = nc.sbuf::<u8>([128, tiles]);
    nc.tensor_scalar(before, slots, Alu::Less, length);
    let Some(window) = window else {
        return SeenSlots { each: before.expand(1).expand(1), any: any(nc, before.expand(2)) };
    };
    // Distance from the first new token: -1 for the slot before it.
    let distance = nc.sbuf::<f32>([128, tiles]);
    nc.tensor_scalar(distance, slots, Alu::Subtract, length);
    let each = nc.sbuf::<u8>([128, tokens, tiles]);
    for a in 0..tokens {
        let oldest = a as f32 - window as f32;
        nc.scalar_tensor_tensor(each.at((.., a, ..)), distance, Alu::Greater, oldest, Alu::Multiply, before);
    }
    // The first token looks back farthest.
    SeenSlots { each: each.expand(2), any: any(nc, each.at((.., 0, ..)).expand(2)) }
}

/// What the caller shows, in the order of the chunks.
#[nki::kernel]
fn by_mask(nc: Nc, constants: &Constants, mask: Hbm<u8>) -> SeenSlots {
    let [_, tokens, heads] = mask.dims();
    let all = nc.zeros::<u8>([128, constants.tiles, tokens, heads]);
    for c in &constants.chunks {
        let here = mask.at((c.keys.clone(), .., ..)).split(0, &[c.lanes, c.tiles]);
        nc.dma_copy(all.at((0..c.lanes, c.at..c.at + c.tiles, .., ..)), here);
    }
    SeenSlots { each: all.permute(&[0, 2, 3, 1]), any: any(nc, all.merge(2, 4)) }
}

/// 1 where anything of the last axis of `[p, n, m]` is not 0, else 0.
#[nki::kernel]
fn any(nc: Nc, shown: Tile<u8>) -> Tile<i32> {
    let most = match shown.dim(2) {
        1 => shown.at((.., .., 0)),
        _ => {
            let most = nc.sbuf::<u8>([shown.dim(0), shown.dim(1)]);
            nc.tensor_reduce(most, Alu::Maximum, shown);
            most
        }
    };
    let any = nc.sbuf::<i32>(most.shape());
    nc.tensor_scalar(any, most, Alu::NotEqual, 0.0);
    any
}

/// What a new token sees of the others, `[tokens, tokens, 1, 1]`: key, query.
#[nki::kernel]
pub(super) fn among_new(nc: Nc, tokens: usize, window: Option<usize>) -> Tile<u8> {
    let new = nc.ones::<u8>([tokens, tokens]);
    // Key - query is at most 0 ..
    nc.affine_select(new, new, 0.0, &[[1, tokens as i64]]).channel_multiplier(-1).cmp_op(Alu::GreaterEqual);
    if let Some(window) = window {
        // .. and more than -window.
        nc.affine_select(new, new, 0.0, &[[-1, tokens as i64]])
            .offset(window as i64)
            .channel_multiplier(1)
            .cmp_op(Alu::Greater);
    }
    new.expand(2).expand(3)
}

/// Zeros for the rows `[lanes, heads, tiles, d]`, or `[lanes, n]` with one tile, of keys that nobody sees, `seen` being `[lanes, tiles]`: a weight of 0 does not hide a NaN
/// from a sum. Rows are integers here, as wide as a row allows, and multiplied by 0 or 1 on GpSimd, whose integers are exact (isa.md 3.5) and
/// which has nothing else to do.
#[nki::kernel]
pub(super) fn clear<C: Elem>(nc: Nc, rows: Tile<C>, seen: Tile<i32>) {
    match rows.shape().last().unwrap_or(&1) * C::DTYPE.bytes() % 4 {
        0 => clear_words(nc, rows.bitcast::<i32>(), seen),
        2 => clear_words(nc, rows.bitcast::<i16>(), seen.to::<i16>()),
        _ => clear_words(nc, rows.bitcast::<i8>(), seen.to::<i8>()),
    }
}

#[nki::kernel]
fn clear_words<W: Elem>(nc: Nc, rows: Tile<W>, seen: Tile<W>) {
    let seen = match *rows.shape() {
        [_, heads, _, words] => seen.expand(1).broadcast(1, heads).expand(3).broadcast(3, words),
        _ => seen.broadcast(1, rows.dim(1)),
    };
    nc.tensor_tensor(rows, rows, seen, Alu::Multiply).engine(Engine::GpSimd);
}
