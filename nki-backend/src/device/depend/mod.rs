//! Dependences: which item must wait for which, from the overlap of physical accesses in program order. Working on addresses
//! makes reuse of a slot by a later instance an ordinary write-after-read, and the result correct whatever the allocator did.
//!
//! Near-linear: each memory is cut into cells that remember the accesses still visible through later writes.

mod footprint;
mod hbm;

use crate::device::allocate::Allocation;
use crate::device::expand::{NONE, Stream, reads, writes};
use crate::device::legalise::Template;
use footprint::{Footprint, on_chip};
use hbm::HbmCells;
use nki_ir::entity::Entity;
use nki_ir::op::{ReduceCmd, reduce_command};
use nki_ir::target::{PSUM_BANK_BYTES, PSUM_BANKS};
use nki_ir::{Engine, Kernel, Op, Space};
use std::ops::Range;

/// Why an item waits, weakest first: a stronger reason replaces a weaker one between the same two items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Matmuls that add into one PSUM region: order matters, the wait does not (machine.md 13.1).
    Accumulate,
    /// The reduce register of an engine.
    Register,
    WriteAfterRead,
    WriteAfterWrite,
    ReadAfterWrite,
    /// Asked for by the author.
    Order,
}

/// An edge to an earlier item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub item: u32,
    pub kind: Kind,
}

/// The dependences of one straight block.
#[derive(Debug)]
pub struct Dependences {
    pub items: Range<u32>,
    offsets: Vec<u32>,
    edges: Vec<Edge>,
}

impl Dependences {
    /// Edges of item `i` of the stream, ascending by predecessor.
    pub fn of(&self, i: u32) -> &[Edge] {
        let k = (i - self.items.start) as usize;
        &self.edges[self.offsets[k] as usize..self.offsets[k + 1] as usize]
    }
    /// Number of edges.
    pub fn count(&self) -> usize {
        self.edges.len()
    }
}

/// SBUF cells are this long. Small tiles share a cell, large ones span many.
const SBUF_CELL: u32 = 1024;

/// An access that later ones may have to wait for.
#[derive(Clone, Copy, Debug)]
struct Entry {
    item: u32,
    print: Footprint,
}

/// Accesses to one rectangle of bytes.
#[derive(Debug)]
struct Track {
    print: Footprint,
    writers: Vec<Entry>,
    readers: Vec<Entry>,
}

/// Accesses to some bytes that no later write hides, by rectangle: what is read by everyone is not looked at again whenever its
/// neighbour is written.
#[derive(Debug, Default)]
struct Cell {
    tracks: Vec<Track>,
}

/// What the analysis needs to look at.
pub struct Program<'a> {
    pub kernel: &'a Kernel,
    pub templates: &'a [Template],
    pub stream: &'a Stream,
    pub allocation: &'a Allocation,
}

/// Finds the dependences of a straight block.
pub fn dependences(program: &Program<'_>, items: Range<u32>) -> Dependences {
    let mut sbuf: Vec<Cell> = Vec::new();
    let mut psum: Vec<Cell> = Vec::new();
    sbuf.resize_with((program.allocation.sbuf_peak / SBUF_CELL + 1) as usize, Cell::default);
    psum.resize_with(PSUM_BANKS as usize, Cell::default);
    let mut hbm = HbmCells::new(program, items.clone());
    let chains = reduce_chains(program, items.clone());
    let mut out = Dependences { items: items.clone(), offsets: vec![0], edges: Vec::new() };
    let mut found: Vec<Edge> = Vec::new();
    let mut prints: Vec<(Footprint, bool, Space)> = Vec::new();
    let mut last_in_group = (NONE, NONE);
    // What a schedule orders: the last item that wrote each buffer that others come after.
    let ordered = program.kernel.bufs.values().any(|b| b.after.is_some());
    let mut last_writer = vec![NONE; if ordered { program.kernel.bufs.len() } else { 0 }];
    // Prints and assertions keep their order.
    let mut last_told = NONE;
    for i in items {
        let item = &program.stream.items[i as usize];
        let t = &program.templates[item.template as usize];
        let accesses = program.stream.accesses_of(i as usize);
        // All reads look before any write is entered: an item does not wait for itself.
        for (n, (v, a)) in t.views().zip(accesses).enumerate() {
            let (read, write) = (reads(v, item), writes(v));
            match v.space {
                Space::Hbm => hbm.look(program, (i, n as u8), v, *a, write, &mut found),
                space => {
                    let print = on_chip(program, i, v, *a, n as u8);
                    let (cells, size) = memory(&mut sbuf, &mut psum, space);
                    for c in print.cells(size) {
                        look(program, &cells[c], &print, read, write, t, &mut found);
                    }
                    prints.push((print, write, space));
                }
            }
        }
        hbm.enter_seen();
        for (print, write, space) in prints.drain(..) {
            let (cells, size) = memory(&mut sbuf, &mut psum, space);
            for c in print.cells(size) {
                let bounds = (c as i64 * i64::from(size), (c as i64 + 1) * i64::from(size));
                enter(&mut cells[c], Entry { item: i, print }, write, bounds);
            }
        }
        chains.edges_of(i, &mut found);
        if matches!(t.op, Op::DevicePrint | Op::DeviceAssert | Op::CoreBarrier | Op::Sendrecv) {
            if last_told != NONE {
                found.push(Edge { item: last_told, kind: Kind::Order });
            }
            last_told = i;
        }
        if item.group != NONE {
            if last_in_group.0 == item.group {
                found.push(Edge { item: last_in_group.1, kind: Kind::Order });
            }
            last_in_group = (item.group, i);
        }
        if ordered {
            for v in t.views().filter(|v| writes(v)) {
                let before = program.kernel.bufs[v.buf].after.map_or(NONE, |b| last_writer[b.index()]);
                if before != NONE {
                    found.push(Edge { item: before, kind: Kind::Order });
                }
            }
            for v in t.views().filter(|v| writes(v)) {
                last_writer[v.buf.index()] = i;
            }
        }
        found.sort_unstable();
        for (k, e) in found.iter().enumerate() {
            // Sorted by item, then kind: the last of a run is the strongest.
            if e.item != i && found.get(k + 1).is_none_or(|n| n.item != e.item) {
                out.edges.push(*e);
            }
        }
        found.clear();
        out.offsets.push(out.edges.len() as u32);
    }
    out
}

fn memory<'c>(sbuf: &'c mut [Cell], psum: &'c mut [Cell], space: Space) -> (&'c mut [Cell], u32) {
    if space == Space::Psum { (psum, PSUM_BANK_BYTES) } else { (sbuf, SBUF_CELL) }
}

/// Edges from what is in a cell to a new access.
fn look(
    program: &Program<'_>,
    cell: &Cell,
    print: &Footprint,
    read: bool,
    write: bool,
    t: &Template,
    found: &mut Vec<Edge>,
) {
    for track in cell.tracks.iter().filter(|track| track.print.meets(print)) {
        look_at(program, track, print, read, write, t, found);
    }
}

fn look_at(
    program: &Program<'_>,
    track: &Track,
    print: &Footprint,
    read: bool,
    write: bool,
    t: &Template,
    found: &mut Vec<Edge>,
) {
    for w in &track.writers {
        if w.print.overlaps(print, program, w.item, t) {
            let pe = |t: &Template| matches!(t.op, Op::NcMatmul | Op::NcMatmulMx);
            let before = &program.templates[program.stream.items[w.item as usize].template as usize];
            let kind = match (read, write) {
                (true, true) if pe(before) && pe(t) => Kind::Accumulate,
                (true, _) => Kind::ReadAfterWrite,
                _ => Kind::WriteAfterWrite,
            };
            found.push(Edge { item: w.item, kind });
        }
    }
    if write {
        for r in &track.readers {
            if r.print.overlaps(print, program, r.item, t) {
                found.push(Edge { item: r.item, kind: Kind::WriteAfterRead });
            }
        }
    }
}

/// Adds an access to a cell; a write hides what it covers within the cell's bytes.
fn enter(cell: &mut Cell, entry: Entry, write: bool, bounds: (i64, i64)) {
    if write && entry.print.dense {
        cell.tracks.retain(|track| !entry.print.covers(&track.print, bounds));
    }
    let known = cell.tracks.iter().position(|track| track.print.same_bounds(&entry.print));
    let at = known.unwrap_or_else(|| {
        cell.tracks.push(Track { print: entry.print, writers: Vec::new(), readers: Vec::new() });
        cell.tracks.len() - 1
    });
    let track = &mut cell.tracks[at];
    if write { track.writers.push(entry) } else { track.readers.push(entry) }
}

/// Use of an engine's state. Of the reduce registers (isa.md section 6): a chain begins with a reset and goes on with `reduce`. Chains of one
/// instruction may pass each other, longer ones must not be entered by any other.
struct Chains {
    first: u32,
    /// By item of the block: predecessor through the register, [`NONE`] if none.
    before: Vec<u32>,
    /// Further predecessors: of the heads of long chains, and of users of random numbers. Sorted by the later item.
    heads: Vec<(u32, u32)>,
}

impl Chains {
    fn edges_of(&self, i: u32, found: &mut Vec<Edge>) {
        if let Some(&p) = self.before.get((i - self.first) as usize).filter(|p| **p != NONE) {
            found.push(Edge { item: p, kind: Kind::Register });
        }
        let from = self.heads.partition_point(|h| h.0 < i);
        for h in self.heads[from..].iter().take_while(|h| h.0 == i) {
            found.push(Edge { item: h.1, kind: Kind::Register });
        }
    }
}

fn reduce_chains(program: &Program<'_>, items: Range<u32>) -> Chains {
    let mut out = Chains { first: items.start, before: Vec::new(), heads: Vec::new() };
    for engine in [Engine::Scalar, Engine::Vector] {
        let mut chains: Vec<Vec<u32>> = Vec::new();
        // A chain that comes from an earlier block, and one that a later block may go on with, keep their places.
        let mut carried = (false, false);
        for i in items.clone() {
            let t = &program.templates[program.stream.items[i as usize].template as usize];
            if t.engines[0] != engine {
                continue;
            }
            let goes_on = match reduce_command(t.op, &t.attrs) {
                None => continue,
                // ScalarE keeps the register through an idle instruction, which may read it out. VectorE does not.
                Some(ReduceCmd::Idle) if engine == Engine::Scalar => {
                    let at = t.op.row().operand("reduce_res");
                    match at.is_some_and(|at| t.operands[at].view().is_some()) {
                        true => true,
                        false => continue,
                    }
                }
                Some(cmd) => cmd == ReduceCmd::Reduce,
            };
            match chains.last_mut() {
                Some(chain) if goes_on => chain.push(i),
                _ => {
                    carried.0 |= goes_on;
                    chains.push(vec![i]);
                }
            }
        }
        let whole = items.len() == program.stream.items.len();
        let goes_on = |t: &Template| reduce_command(t.op, &t.attrs) == Some(ReduceCmd::Reduce);
        carried.1 = !whole && program.templates.iter().any(goes_on);
        out.link(&chains, carried, items.len());
        out.random(program, engine, items.clone());
    }
    out.random(program, Engine::GpSimd, items);
    out.heads.sort_unstable();
    out
}

impl Chains {
    /// Instructions that draw from or set the random numbers of an engine stay in program order (isa.md 9.5).
    fn random(&mut self, program: &Program<'_>, engine: Engine, items: Range<u32>) {
        let mut last = NONE;
        for i in items {
            let t = &program.templates[program.stream.items[i as usize].template as usize];
            if t.op.uses_random() && t.engines[0] == engine {
                if last != NONE {
                    self.heads.push((i, last));
                }
                last = i;
            }
        }
    }

    fn link(&mut self, chains: &[Vec<u32>], carried: (bool, bool), items: usize) {
        let keeps = |n: usize| carried.0 && n == 0 || carried.1 && n + 1 == chains.len();
        if chains.iter().enumerate().all(|(n, c)| c.len() == 1 && !keeps(n)) {
            return;
        }
        self.before.resize(items, NONE);
        let mut barrier = NONE;
        let mut singles: Vec<u32> = Vec::new();
        for (n, c) in chains.iter().enumerate() {
            self.before[(c[0] - self.first) as usize] = barrier;
            if let (&[single], false) = (c.as_slice(), keeps(n)) {
                singles.push(single);
                continue;
            }
            self.heads.extend(singles.drain(..).map(|s| (c[0], s)));
            for pair in c.windows(2) {
                self.before[(pair[1] - self.first) as usize] = pair[0];
            }
            barrier = c[c.len() - 1];
        }
    }
}
