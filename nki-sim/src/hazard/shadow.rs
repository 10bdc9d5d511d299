//! Who touched which bytes last: an interval map per memory.

use super::clock::Who;
use super::pattern::{Pattern, meet};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// An access by an execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub who: Who,
    /// Instruction of the program.
    pub inst: u32,
    /// Index of the pattern in the tracker's table.
    pub pattern: u32,
    /// Byte within the partition (device memory: address).
    pub base: i64,
    pub part: u8,
    pub parts: u8,
    pub write: bool,
    /// Where it is depends on data; this is all of where it can be.
    pub vague: bool,
}

impl Touch {
    fn parts_meet(&self, other: &Touch) -> bool {
        let end = |t: &Touch| u32::from(t.part) + u32::from(t.parts);
        u32::from(self.part) < end(other) && u32::from(other.part) < end(self)
    }
    fn parts_cover(&self, other: &Touch) -> bool {
        self.part <= other.part
            && u32::from(self.part) + u32::from(self.parts) >= u32::from(other.part) + u32::from(other.parts)
    }
    fn same_bytes(&self, other: &Touch) -> bool {
        (self.pattern, self.base, self.part, self.parts)
            == (other.pattern, other.base, other.part, other.parts)
    }
}

/// Touches whose bytes may lie in an interval.
#[derive(Clone, Debug)]
struct Cell {
    end: i64,
    touches: SmallVec<[Touch; 2]>,
}

/// One memory.
#[derive(Default)]
pub(crate) struct Shadow {
    cells: BTreeMap<i64, Cell>,
    /// A cell has become too long to keep; later answers are incomplete.
    pub overflowed: bool,
}

/// Most touches kept of one interval.
const MAX_TOUCHES: usize = 4096;

impl Shadow {
    /// Makes `at` a boundary between cells.
    fn split(&mut self, at: i64) {
        if let Some((&start, cell)) = self.cells.range_mut(..at).next_back()
            && cell.end > at
        {
            let upper = cell.clone();
            cell.end = at;
            debug_assert!(start < at);
            self.cells.insert(at, upper);
        }
    }

    /// Adds a touch; `ordered` tells whether an earlier one happens before it in every timing. Returns the first that
    /// conflicts and is not ordered.
    pub fn touch(
        &mut self,
        t: &Touch,
        patterns: &[Pattern],
        ordered: &dyn Fn(&Touch) -> bool,
    ) -> Option<Touch> {
        let pattern = &patterns[t.pattern as usize];
        let mut race = None;
        for &(lo, hi) in &pattern.ranges {
            let (lo, hi) = (t.base + lo, t.base + hi);
            let exact_write = t.write && pattern.exact && !t.vague;
            if exact_write {
                self.split(lo);
                self.split(hi);
            }
            let first = self.cells.range(..=lo).next_back().filter(|(_, c)| c.end > lo).map_or(lo, |c| *c.0);
            let mut gaps: SmallVec<[(i64, i64); 4]> = SmallVec::new();
            let mut reached = lo;
            for (&start, cell) in self.cells.range_mut(first..hi) {
                if start > reached {
                    gaps.push((reached, start));
                }
                reached = cell.end;
                let covers = pattern.exact && !t.vague && lo <= start && cell.end <= hi;
                race = race.or_else(|| conflict(cell, t, patterns, ordered));
                update(cell, t, covers, ordered);
                self.overflowed |= cell.touches.len() > MAX_TOUCHES;
            }
            if reached < hi {
                gaps.push((reached, hi));
            }
            for (start, end) in gaps {
                self.cells.insert(start, Cell { end, touches: SmallVec::from_slice(&[*t]) });
            }
        }
        race
    }
}

fn conflict(cell: &Cell, t: &Touch, patterns: &[Pattern], ordered: &dyn Fn(&Touch) -> bool) -> Option<Touch> {
    let races = |e: &&Touch| {
        (e.write || t.write)
            && e.parts_meet(t)
            && e.who != t.who
            && !ordered(e)
            && meet(&patterns[e.pattern as usize], e.base, &patterns[t.pattern as usize], t.base)
    };
    cell.touches.iter().find(races).copied()
}

/// Keeps what a later access may conflict with. An access that is ordered after `t` is ordered after everything that `t` is
/// ordered after, so `t` replaces the touches that it covers.
fn update(cell: &mut Cell, t: &Touch, covers: bool, ordered: &dyn Fn(&Touch) -> bool) {
    if covers && t.write {
        cell.touches.retain(|e| !t.parts_cover(e));
    } else if covers {
        cell.touches.retain(|e| e.write || !t.parts_cover(e) || !ordered(e));
    } else {
        // The same bytes again, by the same kind of access, later.
        cell.touches.retain(|e| e.write != t.write || !t.same_bytes(e) || !ordered(e));
    }
    cell.touches.push(*t);
}
