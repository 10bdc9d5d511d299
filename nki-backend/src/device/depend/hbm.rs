//! Dependences through HBM tensors that the kernel writes. Tensors are cut into a grid of tiles as large as the first access,
//! so that tiled stores and loads meet only their own cell; slices are compared axis by axis.

use super::{Edge, Kind, Program};
use crate::device::depend::footprint::patterns_meet;
use crate::device::expand::{ItemAccess, writes};
use crate::device::legalise::ViewForm;
use crate::device::numbers::NumberMap;
use nki_ir::Space;
use nki_ir::entity::Entity;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::Range;

/// An access to a tensor.
#[derive(Clone, Debug)]
struct Entry {
    item: u32,
    view: u8,
    /// Bytes relative to the tensor.
    lo: i64,
    hi: i64,
    offset: i64,
    /// First and behind-last index on each axis of the tensor, if it is a slice.
    sides: SmallVec<[(u32, u32); 4]>,
    /// The slice skips no index.
    solid: bool,
    /// Its position depends on registers.
    vague: bool,
}

/// Positions in [`HbmCells::entries`].
#[derive(Debug, Default)]
struct Cell {
    writers: SmallVec<[u32; 4]>,
    readers: SmallVec<[u32; 4]>,
}

/// Accesses to one tensor instance.
#[derive(Debug, Default)]
struct Grid {
    /// Rows (of axis 0) and bytes of a cell.
    cell: Option<(i64, i64)>,
    cells: NumberMap<u64, Cell>,
    /// Accesses that span too many cells.
    wide: Cell,
}

/// An access that would touch more cells than this is kept aside.
const MAX_CELLS: i64 = 256;

/// All tensors that the block writes; others cannot cause a dependence.
pub(super) struct HbmCells {
    written: Vec<bool>,
    grids: HashMap<u32, Grid>,
    /// Every access so far.
    entries: Vec<Entry>,
}

impl HbmCells {
    pub fn new(p: &Program<'_>, items: Range<u32>) -> Self {
        let mut used = vec![false; p.templates.len()];
        for i in items {
            used[p.stream.items[i as usize].template as usize] = true;
        }
        let mut written = vec![false; p.kernel.bufs.len()];
        for (t, _) in p.templates.iter().zip(&used).filter(|x| *x.1) {
            for v in t.views().filter(|v| v.space == Space::Hbm && writes(v)) {
                written[v.buf.index()] = true;
            }
        }
        HbmCells { written, grids: HashMap::new(), entries: Vec::new() }
    }

    /// Edges from earlier accesses to this one.
    pub fn look(
        &mut self,
        p: &Program<'_>,
        item: u32,
        v: &ViewForm,
        a: ItemAccess,
        write: bool,
        found: &mut Vec<Edge>,
    ) {
        if !self.written[v.buf.index()] {
            return;
        }
        let entry = entry(p, item, v, a);
        let row = row_bytes(p, v);
        let all = &self.entries;
        let grid = self.grids.entry(object(p, a)).or_default();
        match grid.span(&entry, row) {
            // Edges are sorted before anything depends on their order.
            None => grid.cells.values().for_each(|cell| check(p, all, cell, &entry, v, write, found)),
            Some(span) => {
                for key in keys(span) {
                    if let Some(cell) = grid.cells.get(&key) {
                        check(p, all, cell, &entry, v, write, found);
                    }
                }
            }
        }
        check(p, all, &grid.wide, &entry, v, write, found);
    }

    /// Remembers this access.
    pub fn enter(&mut self, p: &Program<'_>, item: u32, v: &ViewForm, a: ItemAccess, write: bool) {
        if !self.written[v.buf.index()] {
            return;
        }
        let entry = entry(p, item, v, a);
        let row = row_bytes(p, v);
        let grid = self.grids.entry(object(p, a)).or_default();
        let span = grid.span(&entry, row);
        let new = self.entries.len() as u32;
        self.entries.push(entry);
        match span {
            None => grid.wide.add(&self.entries, new, write),
            Some(span) => {
                for key in keys(span) {
                    grid.cells.entry(key).or_default().add(&self.entries, new, write);
                }
            }
        }
    }
}

impl Cell {
    fn add(&mut self, all: &[Entry], new: u32, write: bool) {
        if !write {
            self.readers.push(new);
            return;
        }
        let entry = &all[new as usize];
        if entry.solid {
            self.writers.retain(|e| !entry.covers(&all[*e as usize]));
            self.readers.retain(|e| !entry.covers(&all[*e as usize]));
        }
        self.writers.push(new);
    }
}

impl Grid {
    /// Cells that an access touches: rows and byte columns, both as first and last index.
    fn span(&mut self, e: &Entry, row: i64) -> Option<[i64; 4]> {
        if e.vague || e.hi <= e.lo {
            return None;
        }
        let (r0, r1) = (e.lo / row, (e.hi - 1) / row);
        let (c0, c1) = if r0 == r1 {
            (e.lo % row, (e.hi - 1) % row)
        } else if e.sides.is_empty() {
            (0, row - 1)
        } else {
            // The first and last element of a slice are its corners.
            ((e.lo % row).min((e.hi - 1) % row), (e.lo % row).max((e.hi - 1) % row))
        };
        let (h, w) = *self.cell.get_or_insert(((r1 - r0 + 1).max(1), (c1 - c0 + 1).max(64)));
        let span = [r0 / h, r1 / h, c0 / w, c1 / w];
        ((span[1] - span[0] + 1).saturating_mul(span[3] - span[2] + 1) <= MAX_CELLS).then_some(span)
    }
}

/// One number per cell. Were two to share one, their accesses would only be compared with more others.
fn keys(s: [i64; 4]) -> impl Iterator<Item = u64> {
    let key = |r: i64, c: i64| (r as u64).rotate_left(32) ^ c as u64;
    (s[0]..=s[1]).flat_map(move |r| (s[2]..=s[3]).map(move |c| key(r, c)))
}

fn check(
    p: &Program<'_>,
    all: &[Entry],
    cell: &Cell,
    e: &Entry,
    v: &ViewForm,
    write: bool,
    found: &mut Vec<Edge>,
) {
    let meeting = |list: &[u32]| {
        let entries = list.iter().map(|&k| &all[k as usize]);
        entries.filter(|w| w.meets(e, p, v)).map(|w| w.item).collect::<SmallVec<[u32; 8]>>()
    };
    for item in meeting(&cell.writers) {
        let kind = if write { Kind::WriteAfterWrite } else { Kind::ReadAfterWrite };
        found.push(Edge { item, kind });
    }
    if write {
        let after = |item| Edge { item, kind: Kind::WriteAfterRead };
        found.extend(meeting(&cell.readers).into_iter().map(after));
    }
}

impl Entry {
    fn meets(&self, other: &Entry, p: &Program<'_>, v: &ViewForm) -> bool {
        if self.vague || other.vague {
            return true;
        }
        if self.hi <= other.lo || other.hi <= self.lo {
            return false;
        }
        if !self.sides.is_empty() && self.sides.len() == other.sides.len() {
            let apart = self.sides.iter().zip(&other.sides).any(|(a, b)| a.1 <= b.0 || b.1 <= a.0);
            if apart || (self.solid && other.solid) {
                return !apart;
            }
        }
        let mine = &p.templates[p.stream.items[self.item as usize].template as usize];
        match mine.views().nth(self.view.into()) {
            Some(a) => patterns_meet(a, self.offset, v, other.offset),
            None => true,
        }
    }

    fn covers(&self, e: &Entry) -> bool {
        !e.vague
            && !self.sides.is_empty()
            && self.sides.len() == e.sides.len()
            && self.sides.iter().zip(&e.sides).all(|(a, b)| a.0 <= b.0 && b.1 <= a.1)
    }
}

fn object(p: &Program<'_>, a: ItemAccess) -> u32 {
    p.allocation.places[a.instance as usize].object
}

/// Bytes of one index of axis 0.
fn row_bytes(p: &Program<'_>, v: &ViewForm) -> i64 {
    let data = &p.kernel.bufs[v.buf];
    let rows = data.shape.first().copied().unwrap_or(1).max(1);
    (data.row_bytes() as i64 / i64::from(rows)).max(1)
}

fn entry(p: &Program<'_>, item: u32, v: &ViewForm, a: ItemAccess) -> Entry {
    let moving = p.stream.loops_around(item).iter().any(|l| v.offset.coefficient(l.var) != 0);
    let vague = moving || v.index.is_some();
    let t = &p.templates[p.stream.items[item as usize].template as usize];
    let view = t.views().position(|x| std::ptr::eq(x, v)).unwrap_or(0) as u8;
    let mut sides = SmallVec::new();
    let mut solid = false;
    if let (Some(axes), false) = (&v.axes, vague) {
        let data = &p.kernel.bufs[v.buf];
        let mut rest = a.offset / v.dtype.bytes() as i64;
        let mut below: i64 = data.shape.iter().map(|&n| i64::from(n)).product();
        solid = true;
        for (axis, &n) in axes.iter().zip(&data.shape) {
            below /= i64::from(n.max(1));
            // Starts are inside their axis, so the linear offset has them as digits.
            let start = (rest / below.max(1)) as u32;
            rest %= below.max(1);
            sides.push((start, start + (axis.count.max(1) - 1) * axis.step + 1));
            solid &= axis.step == 1 || axis.count == 1;
        }
    }
    Entry {
        item,
        view,
        lo: a.offset + v.extent.0,
        hi: a.offset + v.extent.1,
        offset: a.offset,
        sides,
        solid,
        vague,
    }
}
