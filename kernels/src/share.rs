//! Work that the two programs of a logical core share (`.programs(2)`): each does its part of an axis that nothing is summed over, so that
//! the results are those of one program, bit for bit.
//!
//! In simulated time each core has its own DMA engines, and both share the bandwidth of a stack of HBM (716 GB/s on trn2).

use nki::prelude::*;
use std::ops::Range;

/// The part of an axis that is this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    part: Range<usize>,
    all: usize,
}

impl Share {
    /// Of `0..n`, cut at a multiple of `step` where both programs then have something to do. One program does everything, and so do both
    /// where there is nothing to cut.
    #[track_caller]
    pub fn new(nc: Nc, n: usize, step: usize) -> Share {
        let programs = nc.num_programs();
        let part = if programs == 1 { 0..n } else { cut(n, step, nc.program_id(0)) };
        Share { part, all: n }
    }
    /// All of `0..n`, whichever program this is.
    pub fn whole(n: usize) -> Share {
        Share { part: 0..n, all: n }
    }
    /// The part.
    pub fn range(&self) -> Range<usize> {
        self.part.clone()
    }
    /// How long it is.
    #[allow(clippy::len_without_is_empty)] // It is empty where the whole axis is.
    pub fn len(&self) -> usize {
        self.part.len()
    }
    /// The part of an axis that has `n` elements for each of this one's.
    pub fn times(&self, n: usize) -> Share {
        Share { part: self.part.start * n..self.part.end * n, all: self.all * n }
    }
    /// The part of a tensor along `axis`: the tensor itself where that is all of it.
    #[track_caller]
    pub fn of<T: Elem>(&self, x: Hbm<T>, axis: usize) -> Hbm<T> {
        if self.part.len() == self.all { x } else { x.slice(axis, self.range(), 1) }
    }
}

/// The part of program `id` of two.
fn cut(n: usize, step: usize, id: usize) -> Range<usize> {
    if n < 2 {
        return 0..n;
    }
    let half = n.div_ceil(2);
    let at = Some(half.next_multiple_of(step)).filter(|at| *at < n).unwrap_or(half);
    if id == 0 { 0..at } else { at..n }
}

#[test]
fn both_have_something_to_do_and_nothing_is_done_twice() {
    for n in 2..600 {
        for step in [1, 7, 128, 512] {
            let (first, second) = (cut(n, step, 0), cut(n, step, 1));
            assert!(!first.is_empty() && !second.is_empty());
            assert_eq!((first.start, first.end, second.end), (0, second.start, n));
            assert!(first.end % step == 0 || n <= first.end.next_multiple_of(step), "{n} {step}");
        }
    }
    assert_eq!((cut(1, 128, 0), cut(1, 128, 1), cut(0, 1, 1)), (0..1, 0..1, 0..0));
    assert_eq!((cut(4096, 128, 0), cut(300, 128, 1)), (0..2048, 256..300));
}
