//! The bytes an access touches in SBUF or PSUM, and exact overlap of strided patterns.

use super::Program;
use crate::device::expand::ItemAccess;
use crate::device::legalise::{Template, ViewForm};
use nki_ir::target::PARTITIONS;
use smallvec::SmallVec;

/// A rectangle of partitions and bytes, absolute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    partition: u32,
    partition_end: u32,
    lo: i64,
    hi: i64,
    /// Every byte of the rectangle is touched.
    pub dense: bool,
    /// The exact pattern is not known (it depends on registers): the rectangle bounds it.
    vague: bool,
    /// Which view of its template it is.
    view: u8,
    /// Bytes from the start of the memory to the pattern's offset.
    offset: i64,
}

/// The footprint of an on-chip access.
pub(super) fn on_chip(p: &Program<'_>, item: u32, v: &ViewForm, a: ItemAccess, view: u8) -> Footprint {
    let place = &p.allocation.places[a.instance as usize];
    let offset = place.offset as i64 + a.offset;
    let mut loops = p.stream.loops_around(item).iter();
    let moving = loops.any(|l| v.offset.coefficient(l.var) != 0 || v.part.coefficient(l.var) != 0);
    if moving || v.index.is_some() {
        let data = &p.kernel.bufs[v.buf];
        return Footprint {
            partition: place.partition,
            partition_end: (place.partition + data.partitions()).min(PARTITIONS),
            lo: place.offset as i64,
            hi: place.offset as i64 + data.row_bytes() as i64,
            dense: false,
            vague: true,
            view,
            offset,
        };
    }
    Footprint {
        partition: place.partition + a.part,
        partition_end: place.partition + a.part + v.parts,
        lo: offset + v.extent.0,
        hi: offset + v.extent.1,
        dense: v.dense,
        vague: false,
        view,
        offset,
    }
}

impl Footprint {
    /// The cells of `size` bytes that it touches.
    pub fn cells(&self, size: u32) -> std::ops::Range<usize> {
        if self.hi <= self.lo {
            return 0..0;
        }
        (self.lo / i64::from(size)) as usize..((self.hi - 1) / i64::from(size) + 1) as usize
    }

    /// Whether the rectangles meet.
    pub fn meets(&self, other: &Footprint) -> bool {
        self.lo < other.hi
            && other.lo < self.hi
            && self.partition < other.partition_end
            && other.partition < self.partition_end
    }

    /// Whether the rectangles are the same.
    pub fn same_bounds(&self, other: &Footprint) -> bool {
        (self.lo, self.hi, self.partition, self.partition_end)
            == (other.lo, other.hi, other.partition, other.partition_end)
    }

    /// Whether any byte is touched by both: `self` of item `item`, `other` of an item made from `t`.
    pub fn overlaps(&self, other: &Footprint, p: &Program<'_>, item: u32, t: &Template) -> bool {
        if !self.meets(other) {
            return false;
        }
        if (self.dense && other.dense) || self.vague || other.vague {
            return true;
        }
        let mine = &p.templates[p.stream.items[item as usize].template as usize];
        let (Some(a), Some(b)) = (mine.views().nth(self.view.into()), t.views().nth(other.view.into()))
        else {
            return true;
        };
        patterns_meet(a, self.offset, b, other.offset)
    }

    /// Whether it hides `e` within the bytes `bounds`.
    pub fn covers(&self, e: &Footprint, bounds: (i64, i64)) -> bool {
        self.partition <= e.partition
            && e.partition_end <= self.partition_end
            && self.lo <= e.lo.max(bounds.0)
            && e.hi.min(bounds.1) <= self.hi
    }
}

/// More runs than this are not enumerated; the patterns then count as overlapping.
const MAX_RUNS: u64 = 1024;

/// Whether two patterns in one memory share a byte. Exact up to [`MAX_RUNS`] runs each.
pub(super) fn patterns_meet(a: &ViewForm, a_offset: i64, b: &ViewForm, b_offset: i64) -> bool {
    let (Some(x), Some(y)) = (runs(a, a_offset), runs(b, b_offset)) else {
        return true;
    };
    let (mut i, mut j) = (0, 0);
    while let (Some(p), Some(q)) = (x.get(i), y.get(j)) {
        if p.0 < q.1 && q.0 < p.1 {
            return true;
        }
        if p.1 <= q.1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    false
}

/// The byte runs of a pattern, ascending.
fn runs(v: &ViewForm, offset: i64) -> Option<Vec<(i64, i64)>> {
    let size = v.dtype.bytes() as i64;
    let mut dims: SmallVec<[(i64, u32); 4]> =
        v.dims.iter().filter(|d| d.count > 1).map(|d| (d.stride, d.count)).collect();
    let mut length = size;
    while let Some(&(stride, count)) = dims.last() {
        if stride * size != length && stride != 0 {
            break;
        }
        if stride != 0 {
            length *= i64::from(count);
        }
        dims.pop();
    }
    let count = dims.iter().fold(1u64, |n, d| n.saturating_mul(d.1.into()));
    if count > MAX_RUNS {
        return None;
    }
    let mut starts = vec![offset];
    for (stride, count) in dims {
        let mut next = Vec::with_capacity(starts.len() * count as usize);
        for s in &starts {
            next.extend((0..i64::from(count)).map(|k| s + k * stride * size));
        }
        starts = next;
    }
    starts.sort_unstable();
    Some(starts.into_iter().map(|s| (s, s + length)).collect())
}
