//! Device loops as iterators. The body is recorded once; when the iterator is asked for the next element, the region is
//! closed and, where a ragged tail is left, the body is recorded once more for it.

use crate::idx::{Block, Idx};
use crate::nc::Nc;
use crate::trace::{self, Place, error};
use nki_ir::kernel::Bound;
use nki_ir::{Affine, Code, Loop, Var};
use std::marker::PhantomData;
use std::panic::Location;

/// What [`Nc::tiles`] runs over: a length, or a [`Block`] of an outer loop.
pub trait Extent {
    #[doc(hidden)]
    fn __extent(self) -> (usize, Option<Idx>);
}
impl Extent for usize {
    fn __extent(self) -> (usize, Option<Idx>) {
        (self, None)
    }
}
impl Extent for Block {
    fn __extent(self) -> (usize, Option<Idx>) {
        (self.len, Some(self.start))
    }
}

impl Nc {
    /// `0..n` in blocks of `size`: one device loop over the whole blocks, then the ragged rest, if any, by recording the
    /// body once more with a shorter [`Block`]. A single block needs no loop.
    ///
    /// `n` may also be a block of an outer loop; positions are then within what that loop runs over, and
    /// [`Block::local`] counts from the outer block's start.
    #[track_caller]
    pub fn tiles(self, n: impl Extent, size: usize) -> Tiles {
        let place = Location::caller();
        let (total, base) = n.__extent();
        if let Some(base) = base {
            trace::same(self.trace, base.trace, place);
        }
        if size == 0 {
            trace::fail(
                self.trace,
                place,
                error(Code::Parameter, "`tiles` with blocks of size 0")
                    .help("use a block size of at least 1"),
            );
        }
        Tiles { nc: self, place, total, size, base }
    }

    /// A device loop of `n` turns, `0..n`. One turn needs no loop.
    #[track_caller]
    pub fn range(self, n: usize) -> DeviceRange {
        DeviceRange { nc: self, place: Location::caller(), n }
    }
}

/// See [`Nc::tiles`]. Deliberately not an `Iterator`: adaptors such as `zip` or `rev` would act on recordings of the body, not
/// on turns of the loop.
#[derive(Clone, Copy)]
#[must_use = "a device loop does nothing unless a `for` runs over it"]
pub struct Tiles {
    nc: Nc,
    place: Place,
    total: usize,
    size: usize,
    base: Option<Idx>,
}

/// See [`Nc::range`].
#[derive(Clone, Copy)]
#[must_use = "a device loop does nothing unless a `for` runs over it"]
pub struct DeviceRange {
    nc: Nc,
    place: Place,
    n: usize,
}

impl Tiles {
    /// With the number of the block, which is [`Block::index`] too.
    pub fn enumerate(self) -> EnumeratedTiles {
        EnumeratedTiles(self)
    }
}

/// See [`Tiles::enumerate`].
#[derive(Clone, Copy)]
#[must_use = "a device loop does nothing unless a `for` runs over it"]
pub struct EnumeratedTiles(Tiles);

impl IntoIterator for EnumeratedTiles {
    type Item = (Idx, Block);
    type IntoIter = std::iter::Map<TilesIter, fn(Block) -> (Idx, Block)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|b| (b.index, b))
    }
}

impl IntoIterator for Tiles {
    type Item = Block;
    type IntoIter = TilesIter;
    fn into_iter(self) -> TilesIter {
        let tail = usize::from(!self.total.is_multiple_of(self.size));
        TilesIter {
            whole: Turns::new(self.nc, self.place, self.total / self.size),
            tail: Turns::new(self.nc, self.place, tail),
            tiles: self,
        }
    }
}

impl IntoIterator for DeviceRange {
    type Item = Idx;
    type IntoIter = RangeIter;
    fn into_iter(self) -> RangeIter {
        RangeIter(Turns::new(self.nc, self.place, self.n))
    }
}

/// Iterator of [`Tiles`].
pub struct TilesIter {
    tiles: Tiles,
    whole: Turns,
    /// The ragged rest: one turn or none.
    tail: Turns,
}

impl Iterator for TilesIter {
    type Item = Block;
    fn next(&mut self) -> Option<Block> {
        let Tiles { nc, place, total, size, base } = self.tiles;
        if let Some(index) = self.whole.next() {
            return Some(block(nc, place, index, size, size, base));
        }
        self.tail.next()?;
        let index = Affine::constant((total / size) as i64);
        Some(block(nc, place, index, size, total % size, base))
    }
}

/// Iterator of [`DeviceRange`].
pub struct RangeIter(pub(crate) Turns);

impl Iterator for RangeIter {
    type Item = Idx;
    fn next(&mut self) -> Option<Idx> {
        let (nc, place) = (self.0.nc, self.0.place);
        let index = self.0.next()?;
        Some(trace::with(nc.trace, place, |s| Idx::new(nc.trace, s, index)))
    }
}

fn block(nc: Nc, place: Place, index: Affine, size: usize, len: usize, base: Option<Idx>) -> Block {
    trace::with(nc.trace, place, |s| {
        let local = i64::try_from(size).ok().and_then(|k| index.scale(k));
        let start = local.as_ref().and_then(|l| match base {
            Some(base) => l.add(&base.affine(s)),
            None => Some(l.clone()),
        });
        let (local, start) = local.zip(start).unwrap_or_else(|| {
            s.report(place, error(Code::Limit, "the positions of this loop leave 64 bits"));
            Default::default()
        });
        Block {
            start: Idx::new(nc.trace, s, start),
            local: Idx::new(nc.trace, s, local),
            index: Idx::new(nc.trace, s, index),
            len,
        }
    })
}

/// The turns of one device loop: hands out the induction variable once, and closes the loop when asked again.
pub(crate) struct Turns {
    nc: Nc,
    place: Place,
    lo: Bound,
    hi: Bound,
    step: i64,
    state: State,
    not_send: PhantomData<*const ()>,
}

enum State {
    Before,
    /// Inside the loop; the number of regions that were open around it.
    Inside {
        depth: usize,
    },
    /// Inside the only turn of a loop that needs none.
    Straight {
        depth: usize,
    },
    /// Inside a turn of a loop that runs on data.
    Eager {
        value: i64,
        hi: i64,
    },
    After,
}

impl Turns {
    fn new(nc: Nc, place: Place, n: usize) -> Turns {
        Turns::between(nc, place, Bound::Const(0), Bound::Const(i64::try_from(n).unwrap_or(i64::MAX)), 1)
    }
    /// The turns of `lo..hi` by `step`, which is positive.
    pub(crate) fn between(nc: Nc, place: Place, lo: Bound, hi: Bound, step: i64) -> Turns {
        Turns { nc, place, lo, hi, step, state: State::Before, not_send: PhantomData }
    }

    fn next(&mut self) -> Option<Affine> {
        match self.state {
            State::Before => self.begin(),
            State::Inside { depth } => {
                self.state = State::After;
                trace::with(self.nc.trace, self.place, |s| s.close_to(depth));
                None
            }
            State::Eager { value, hi } => {
                let next = value.checked_add(self.step).filter(|v| *v < hi);
                trace::with(self.nc.trace, self.place, |s| s.end_turn(next.is_some()));
                self.state = next.map_or(State::After, |value| State::Eager { value, hi });
                next.map(Affine::constant)
            }
            State::Straight { .. } | State::After => {
                self.state = State::After;
                None
            }
        }
    }

    fn begin(&mut self) -> Option<Affine> {
        let (bounds, step, place) = ([self.lo, self.hi], self.step, self.place);
        let (state, first) = trace::with(self.nc.trace, place, |s| {
            let depth = s.builder.open_regions().len();
            if s.eager.is_some() {
                let (lo, hi) = (s.read_bound(bounds[0], true, place), s.read_bound(bounds[1], false, place));
                return match (lo, hi) {
                    (Some(value), Some(hi)) if value < hi => {
                        s.begin_turn();
                        (State::Eager { value, hi }, Some(Affine::constant(value)))
                    }
                    _ => (State::After, None),
                };
            }
            match bounds {
                [Bound::Const(lo), Bound::Const(hi)] if hi <= lo => (State::After, None),
                [Bound::Const(lo), Bound::Const(hi)] if hi - lo <= step => {
                    (State::Straight { depth }, Some(Affine::constant(lo)))
                }
                _ => {
                    let (_, var) = s.begin_for(bounds, step, place);
                    (State::Inside { depth }, Some(Affine::var(var)))
                }
            }
        });
        self.state = state;
        first
    }
}

impl Drop for Turns {
    /// A `for` that runs to its end leaves the loop closed. One that is left early has recorded half a body.
    fn drop(&mut self) {
        let place = self.place;
        trace::try_with(self.nc.trace, |s| {
            match self.state {
                State::Inside { depth } | State::Straight { depth } => s.close_to(depth),
                State::Eager { .. } => s.end_turn(false),
                State::Before | State::After => return,
            }
            if !std::thread::panicking() {
                let d = error(Code::ControlFlow, "a device loop is left by `break`, `return` or `?`")
                    .note("its body is recorded once, for all turns, so that leaving it has no meaning on the device")
                    .help("use a plain `for i in 0..n`, which unrolls, or `nc.when(..)` on a register");
                s.report(place, d);
            }
        });
    }
}

/// The loop whose induction variable `index` is, if it is exactly one.
pub(crate) fn loop_of(s: &crate::trace::Session, index: &Affine) -> Option<Loop> {
    match index.terms() {
        [(Var(v), 1)] => s.builder.kernel().vars.get(Var(*v)).map(|v| v.owner),
        _ => None,
    }
}
