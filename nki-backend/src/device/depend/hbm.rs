//! Dependences through HBM tensors that the kernel writes. Tensors are cut into a grid of tiles as large as the first access,
//! so that tiled stores and loads meet only their own cell; slices are compared axis by axis.

use super::{Edge, Kind, Program};
use crate::device::depend::footprint::patterns_meet;
use crate::device::expand::{ItemAccess, NONE, writes};
use crate::device::legalise::ViewForm;
use crate::device::numbers::NumberMap;
use nki_ir::Space;
use nki_ir::entity::Entity;
use std::collections::HashMap;
use std::ops::Range;

/// An access to a tensor.
#[derive(Clone, Copy, Debug)]
struct Entry {
    item: u32,
    /// Where in [`Accesses::sides`] its sides begin.
    sides: u32,
    /// Bytes relative to the tensor.
    lo: i64,
    hi: i64,
    view: u8,
    /// Number of sides: axes of the tensor, if it is a slice; else 0.
    axes: u8,
    /// The slice skips no index.
    solid: bool,
    /// Its position depends on registers.
    vague: bool,
}

/// Every access so far.
#[derive(Debug, Default)]
struct Accesses {
    entries: Vec<Entry>,
    /// First and behind-last index on each axis of the tensor, of slices.
    sides: Vec<(u32, u32)>,
}

/// Positions in [`Accesses::entries`], as lists in [`Lists`]. There are as many cells as tiles of a tensor: most of them hold
/// a write or two, and none needs memory of its own.
#[derive(Clone, Copy, Debug)]
struct Cell {
    writers: u32,
    readers: u32,
}

const EMPTY: Cell = Cell { writers: NONE, readers: NONE };

/// Linked lists of entries, each node with the next.
#[derive(Debug, Default)]
struct Lists(Vec<(u32, u32)>);

/// The cells of a tensor by number: all of them where most will be used, else those that are.
#[derive(Debug)]
enum Cells {
    All { width: i64, cells: Vec<Cell> },
    Used(NumberMap<u64, Cell>),
}

/// Accesses to one tensor instance.
#[derive(Debug)]
struct Grid {
    /// Rows (of axis 0) and bytes of a cell.
    cell: (i64, i64),
    /// Cells down and across.
    size: (i64, i64),
    cells: Cells,
    /// Accesses that span too many cells.
    wide: Cell,
}

/// An access that would touch more cells than this is kept aside.
const MAX_CELLS: i64 = 256;

/// All tensors that the block writes; others cannot cause a dependence.
pub(super) struct HbmCells {
    written: Vec<bool>,
    /// Items of the block.
    items: usize,
    grids: HashMap<u32, Grid>,
    all: Accesses,
    lists: Lists,
    /// Accesses of the item at hand: tensor, position in `all`, whether it writes.
    seen: Vec<(u32, u32, bool, Option<[i64; 4]>)>,
}

impl HbmCells {
    pub fn new(p: &Program<'_>, items: Range<u32>) -> Self {
        let count = items.len();
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
        HbmCells {
            written,
            items: count,
            grids: HashMap::new(),
            all: Accesses::default(),
            lists: Lists::default(),
            seen: Vec::new(),
        }
    }

    /// Edges from the accesses of earlier items to this one, of an item and its view of this number.
    pub fn look(
        &mut self,
        p: &Program<'_>,
        (item, view): (u32, u8),
        v: &ViewForm,
        a: ItemAccess,
        write: bool,
        found: &mut Vec<Edge>,
    ) {
        if !self.written[v.buf.index()] {
            return;
        }
        let entry = self.all.entry(p, (item, view), v, a);
        let tensor = p.allocation.places[a.instance as usize].object;
        let (rows, row) = rows(p, v);
        let grid = self.grids.entry(tensor).or_insert_with(|| Grid::new(&entry, rows, row, self.items));
        let span = grid.span(&entry, row);
        let meeting = Meeting { p, all: &self.all, lists: &self.lists, e: &entry, v, write };
        match span {
            // Edges are sorted before anything depends on their order.
            None => grid.cells.each(|cell| meeting.check(cell, found)),
            Some(span) => grid.cells.of(span, |cell| meeting.check(cell, found)),
        }
        meeting.check(grid.wide, found);
        self.all.entries.push(entry);
        self.seen.push((tensor, self.all.entries.len() as u32 - 1, write, span));
    }

    /// Remembers the accesses that have looked, for later items.
    pub fn enter_seen(&mut self) {
        for (tensor, new, write, span) in self.seen.drain(..) {
            let Some(grid) = self.grids.get_mut(&tensor) else { continue };
            let mut add = |cell: &mut Cell| cell.add(&self.all, &mut self.lists, new, write);
            match span {
                None => add(&mut grid.wide),
                Some(span) => grid.cells.enter(span, add),
            }
        }
    }
}

impl Lists {
    fn of(&self, head: u32) -> impl Iterator<Item = u32> + '_ {
        let node = move |at: u32| self.0.get(at as usize).copied();
        std::iter::successors(node(head), move |n| node(n.1)).map(|n| n.0)
    }

    fn push(&mut self, head: &mut u32, entry: u32) {
        self.0.push((entry, *head));
        *head = self.0.len() as u32 - 1;
    }

    /// Takes nodes out of a list; they are not used again.
    fn retain(&mut self, head: &mut u32, keep: impl Fn(u32) -> bool) {
        let (mut at, mut last) = (*head, NONE);
        while let Some(&(entry, next)) = self.0.get(at as usize) {
            match (keep(entry), last) {
                (true, _) => last = at,
                (false, NONE) => *head = next,
                (false, before) => self.0[before as usize].1 = next,
            }
            at = next;
        }
    }
}

impl Cell {
    fn add(&mut self, all: &Accesses, lists: &mut Lists, new: u32, write: bool) {
        if !write {
            return lists.push(&mut self.readers, new);
        }
        if all.entries[new as usize].solid {
            lists.retain(&mut self.writers, |e| !all.covers(new, e));
            lists.retain(&mut self.readers, |e| !all.covers(new, e));
        }
        lists.push(&mut self.writers, new);
    }
}

impl Cells {
    fn each(&self, look: impl FnMut(Cell)) {
        match self {
            Cells::All { cells, .. } => cells.iter().copied().for_each(look),
            Cells::Used(cells) => cells.values().copied().for_each(look),
        }
    }

    fn of(&self, span: [i64; 4], look: impl FnMut(Cell)) {
        match self {
            Cells::All { width, cells } => {
                let at = |(r, c): (i64, i64)| cells.get((r * width + c) as usize).copied();
                places(span).filter_map(at).for_each(look);
            }
            Cells::Used(cells) => {
                places(span).filter_map(|at| cells.get(&key(at)).copied()).for_each(look);
            }
        }
    }

    fn enter(&mut self, span: [i64; 4], mut add: impl FnMut(&mut Cell)) {
        for (r, c) in places(span) {
            match self {
                Cells::All { width, cells } => add(&mut cells[(r * *width + c) as usize]),
                Cells::Used(cells) => add(cells.entry(key((r, c))).or_insert(EMPTY)),
            }
        }
    }
}

fn places(s: [i64; 4]) -> impl Iterator<Item = (i64, i64)> {
    (s[0]..=s[1]).flat_map(move |r| (s[2]..=s[3]).map(move |c| (r, c)))
}

/// One number per cell. Were two to share one, their accesses would only be compared with more others.
fn key((r, c): (i64, i64)) -> u64 {
    (r as u64).rotate_left(32) ^ c as u64
}

/// Rows and columns of bytes that an access touches, both as first and last index.
fn corners(e: &Entry, row: i64) -> [i64; 4] {
    let (r0, r1) = (e.lo / row, (e.hi - 1) / row);
    let (c0, c1) = if r0 == r1 {
        (e.lo % row, (e.hi - 1) % row)
    } else if e.axes == 0 {
        (0, row - 1)
    } else {
        // The first and last element of a slice are its corners.
        ((e.lo % row).min((e.hi - 1) % row), (e.lo % row).max((e.hi - 1) % row))
    };
    [r0, r1, c0, c1]
}

fn placeless(e: &Entry) -> bool {
    e.vague || e.hi <= e.lo
}

impl Grid {
    /// The grid of a tensor of so many rows of so many bytes, cut as its first access is.
    fn new(first: &Entry, rows: i64, row: i64, items: usize) -> Grid {
        let cell = match placeless(first) {
            true => (1, row.max(64)),
            false => {
                let [r0, r1, c0, c1] = corners(first, row);
                ((r1 - r0 + 1).max(1), (c1 - c0 + 1).max(64))
            }
        };
        let (height, width) = ((rows - 1) / cell.0 + 1, (row - 1) / cell.1 + 1);
        let dense = height.checked_mul(width).filter(|&n| n as u64 <= 2 * items as u64);
        let cells = match dense {
            Some(n) => Cells::All { width, cells: vec![EMPTY; n as usize] },
            None => Cells::Used(NumberMap::default()),
        };
        Grid { cell, size: (height, width), cells, wide: EMPTY }
    }

    /// Cells that an access touches: rows and columns, both as first and last index.
    fn span(&self, e: &Entry, row: i64) -> Option<[i64; 4]> {
        if placeless(e) {
            return None;
        }
        let ([r0, r1, c0, c1], (h, w)) = (corners(e, row), self.cell);
        let span = [r0 / h, r1 / h, c0 / w, c1 / w];
        let inside = span[0] >= 0 && span[2] >= 0 && span[1] < self.size.0 && span[3] < self.size.1;
        let few = (span[1] - span[0] + 1).saturating_mul(span[3] - span[2] + 1) <= MAX_CELLS;
        (inside && few).then_some(span)
    }
}

/// An access that looks for those before it.
struct Meeting<'a> {
    p: &'a Program<'a>,
    all: &'a Accesses,
    lists: &'a Lists,
    e: &'a Entry,
    v: &'a ViewForm,
    write: bool,
}

impl Meeting<'_> {
    fn check(&self, cell: Cell, found: &mut Vec<Edge>) {
        let meeting = |head: u32| {
            let entries = self.lists.of(head).map(|k| &self.all.entries[k as usize]);
            // Those of the item itself are not entered yet.
            entries.filter(|w| self.meets(w)).map(|w| w.item)
        };
        let kind = if self.write { Kind::WriteAfterWrite } else { Kind::ReadAfterWrite };
        found.extend(meeting(cell.writers).map(|item| Edge { item, kind }));
        if self.write {
            let after = |item| Edge { item, kind: Kind::WriteAfterRead };
            found.extend(meeting(cell.readers).map(after));
        }
    }

    fn meets(&self, before: &Entry) -> bool {
        let e = self.e;
        if before.vague || e.vague {
            return true;
        }
        if before.hi <= e.lo || e.hi <= before.lo {
            return false;
        }
        if before.axes != 0 && before.axes == e.axes {
            let mut sides = self.all.sides(before).iter().zip(self.all.sides(e));
            let apart = sides.any(|(a, b)| a.1 <= b.0 || b.1 <= a.0);
            if apart || (before.solid && e.solid) {
                return !apart;
            }
        }
        let template = &self.p.templates[self.p.stream.items[before.item as usize].template as usize];
        match template.views().nth(before.view.into()) {
            Some(a) => patterns_meet(a, before.lo - a.extent.0, self.v, e.lo - self.v.extent.0),
            None => true,
        }
    }
}

impl Accesses {
    fn sides(&self, e: &Entry) -> &[(u32, u32)] {
        &self.sides[e.sides as usize..e.sides as usize + usize::from(e.axes)]
    }

    /// Whether the access `new` touches all that `old` does.
    fn covers(&self, new: u32, old: u32) -> bool {
        let (new, old) = (&self.entries[new as usize], &self.entries[old as usize]);
        !old.vague
            && new.axes != 0
            && new.axes == old.axes
            && self.sides(new).iter().zip(self.sides(old)).all(|(a, b)| a.0 <= b.0 && b.1 <= a.1)
    }

    /// The entry of an access, whose sides are kept.
    fn entry(&mut self, p: &Program<'_>, (item, view): (u32, u8), v: &ViewForm, a: ItemAccess) -> Entry {
        let moving = p.stream.loops_around(item).iter().any(|l| v.offset.coefficient(l.var) != 0);
        let vague = moving || v.index.is_some();
        let first = self.sides.len();
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
                self.sides.push((start, start + (axis.count.max(1) - 1) * axis.step + 1));
                solid &= axis.step == 1 || axis.count == 1;
            }
        }
        let (lo, hi) = (a.offset + v.extent.0, a.offset + v.extent.1);
        let axes = (self.sides.len() - first) as u8;
        Entry { item, sides: first as u32, lo, hi, view, axes, solid, vague }
    }
}

/// Indices of axis 0, and bytes of one.
fn rows(p: &Program<'_>, v: &ViewForm) -> (i64, i64) {
    let data = &p.kernel.bufs[v.buf];
    let rows = i64::from(data.shape.first().copied().unwrap_or(1).max(1));
    (rows, (data.row_bytes() as i64 / rows).max(1))
}
