//! Spill: when asked for, tiles for which SBUF has no room wait in device memory. Where more would be live than fits, the tile
//! whose next use is farthest away is stored, and loaded again before that use; a tile that has not changed since it was
//! loaded back is not stored again, and one that holds what a transfer brought from an argument is loaded from there again
//! and never stored. Bits are copied as they are.
//!
//! Tiles of all sizes may go, or only those of the size of which most is live: these then take turns in slots of their own, and room is
//! not scattered between tiles of other sizes. Both are tried, with less room and more for buffering, and the fastest is taken by estimated time.
//!
//! Only tiles that are completely written by then can go, and only in programs without hardware loops.

use crate::device::expand::{Block, Instance, Item, ItemAccess, NONE, Stream, writes};
use crate::device::legalise::{self, Template, ViewForm};
use nki_ir::entity::Entity;
use nki_ir::op::Effect;
use nki_ir::{Buf, BufData, BufKind, Builder, Diagnostics, Kernel, Op, Operand, Space, Target, View};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// How many instructions before its use a tile is brought back: the tile that makes room for it was often used just now.
const AHEAD: usize = 64;

/// What was spilled of one buffer of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillReport {
    pub name: String,
    /// Where it is allocated: file, line and column.
    pub place: String,
    pub stores: u64,
    /// From its copy or, when the kernel loaded it from an argument, from there again.
    pub loads: u64,
    /// Bytes of one of these transfers.
    pub bytes: u64,
}

/// A program whose tiles fit.
pub struct Spilled {
    pub kernel: Kernel,
    pub templates: Vec<Template>,
    pub stream: Stream,
    pub report: Vec<SpillReport>,
}

fn in_sbuf(kernel: &Kernel, buf: Buf) -> bool {
    kernel.bufs[buf].space == Space::Sbuf
}

fn bytes_of(kernel: &Kernel, buf: Buf) -> u64 {
    kernel.bufs[buf].row_bytes().next_multiple_of(4)
}

/// Which tiles may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those of this many bytes per partition: what one leaves is room for another, whatever lies beside it.
    Of(u64),
}

/// The size of which most is live at once, and how much of the other sizes is live at once, each at its own time: what is left beside
/// that is room for tiles of the one size, in slots that never change. In bytes per partition.
pub fn largest(kernel: &Kernel, stream: &Stream) -> Option<(Which, u64)> {
    // By size: by item, bytes that begin to live there or have ended before it.
    let mut changes: BTreeMap<u64, BTreeMap<u32, i64>> = BTreeMap::new();
    for i in stream.instances.iter().filter(|i| i.first != NONE && in_sbuf(kernel, i.buf)) {
        let bytes = bytes_of(kernel, i.buf);
        let at = changes.entry(bytes).or_default();
        *at.entry(i.first).or_default() += bytes as i64;
        *at.entry(i.last + 1).or_default() -= bytes as i64;
    }
    let peak = |at: &BTreeMap<u32, i64>| {
        let live = at.values().scan(0, |live, change| {
            *live += change;
            Some(*live)
        });
        live.max().unwrap_or(0) as u64
    };
    let peaks: Vec<(u64, u64)> = changes.iter().map(|(bytes, at)| (peak(at), *bytes)).collect();
    let (most, bytes) = *peaks.iter().max()?;
    Some((Which::Of(bytes), peaks.iter().map(|p| p.0).sum::<u64>() - most))
}

/// Spills so that at most `limit` bytes per partition of the tiles that may go are live. `None`: not every tile that would have to go
/// can.
///
/// # Errors
/// What legalising a transfer reports.
pub fn spill(
    kernel: &Kernel,
    target: Target,
    templates: &[Template],
    stream: &Stream,
    which: Which,
    limit: u64,
) -> Result<Option<Spilled>, Diagnostics> {
    if !stream.is_straight() {
        return Ok(None);
    }
    let mut s = Spiller {
        target,
        which,
        limit,
        old: stream,
        uses: uses(stream),
        tiles: vec![Tile::default(); stream.instances.len()],
        resident: Vec::new(),
        live: 0,
        kernel: kernel.clone(),
        templates: templates.to_vec(),
        copies: BTreeMap::new(),
        out: Stream { nests: stream.nests.clone(), ..Stream::default() },
        counts: BTreeMap::new(),
    };
    for n in 0..stream.items.len() {
        if n + AHEAD < stream.items.len() {
            s.bring_back(n, n + AHEAD)?;
        }
        if s.item(n)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(s.finish()))
}

/// By instance: the items that use it, ascending.
fn uses(stream: &Stream) -> Vec<Vec<u32>> {
    let mut out: Vec<Vec<u32>> = vec![Vec::new(); stream.instances.len()];
    for n in 0..stream.items.len() {
        for a in stream.accesses_of(n) {
            let list = &mut out[a.instance as usize];
            if list.last() != Some(&(n as u32)) {
                list.push(n as u32);
            }
        }
    }
    out
}

/// Where an instance of the old stream is.
#[derive(Clone, Debug)]
struct Tile {
    /// Its instance in the new stream, [`NONE`] while it is not on chip.
    now: u32,
    /// Its copy in device memory, if there is one, and whether the tile has changed since.
    copy: u32,
    changed: bool,
    /// The transfer that filled it from an argument that only is read, if nothing has changed it since, else [`NONE`].
    origin: u32,
    /// Uses before this position of its list are past.
    past: usize,
    /// Bytes that have been written in all partitions.
    written: SmallVec<[(i64, i64); 2]>,
}

impl Default for Tile {
    fn default() -> Self {
        Tile { now: NONE, copy: NONE, changed: false, origin: NONE, past: 0, written: SmallVec::new() }
    }
}

struct Spiller<'a> {
    target: Target,
    which: Which,
    limit: u64,
    old: &'a Stream,
    uses: Vec<Vec<u32>>,
    tiles: Vec<Tile>,
    /// Instances of the old stream that are on chip.
    resident: Vec<u32>,
    /// Their bytes per partition.
    live: u64,
    kernel: Kernel,
    templates: Vec<Template>,
    /// By buffer: its buffer in device memory, and the templates that store to it and load from it.
    copies: BTreeMap<Buf, (Buf, u32, u32)>,
    out: Stream,
    counts: BTreeMap<Buf, (u64, u64)>,
}

impl Spiller<'_> {
    /// Whether a tile counts and may go.
    fn counts(&self, buf: Buf) -> bool {
        let of_size = match self.which {
            Which::All => true,
            Which::Of(bytes) => bytes_of(&self.kernel, buf) == bytes,
        };
        in_sbuf(&self.kernel, buf) && of_size
    }

    /// Before item `n`, loads back what item `ahead` needs, if that displaces nothing that is used before it.
    fn bring_back(&mut self, n: usize, ahead: usize) -> Result<(), Diagnostics> {
        for a in self.old.accesses_of(ahead) {
            let Tile { now, copy, origin, .. } = self.tiles[a.instance as usize];
            if now != NONE || (copy == NONE && origin == NONE) {
                continue;
            }
            let buf = self.old.instances[a.instance as usize].buf;
            let bytes = bytes_of(&self.kernel, buf);
            while self.live + bytes > self.limit {
                match self.farthest(n as u32, &[]) {
                    Some((victim, next)) if next > ahead as u32 => self.evict(victim)?,
                    _ => return Ok(()),
                }
            }
            self.live += bytes;
            self.resident.push(a.instance);
            self.tiles[a.instance as usize].now = self.instance(buf);
            self.load_back(a.instance)?;
        }
        Ok(())
    }

    /// Repeats an item of the old stream, with what it needs on chip. `None` if there is no room.
    fn item(&mut self, n: usize) -> Result<Option<()>, Diagnostics> {
        let old = self.old;
        let item = old.items[n];
        let accesses = old.accesses_of(n);
        let needed: SmallVec<[u32; 4]> = accesses.iter().map(|a| a.instance).collect();
        for &i in &needed {
            if self.tiles[i as usize].now != NONE {
                continue;
            }
            let buf = old.instances[i as usize].buf;
            if self.counts(buf) {
                let bytes = bytes_of(&self.kernel, buf);
                while self.live + bytes > self.limit {
                    let Some((victim, _)) = self.farthest(n as u32, &needed) else { return Ok(None) };
                    self.evict(victim)?;
                }
                self.live += bytes;
                self.resident.push(i);
            }
            self.tiles[i as usize].now = self.instance(buf);
            if self.tiles[i as usize].copy != NONE || self.tiles[i as usize].origin != NONE {
                self.load_back(i)?;
            }
        }
        let at = self.out.accesses.len() as u32;
        self.out.items.push(Item { accesses: at, ..item });
        for a in accesses {
            self.out.accesses.push(ItemAccess { instance: self.tiles[a.instance as usize].now, ..*a });
        }
        self.note_writes(n);
        for &i in &needed {
            let tile = &mut self.tiles[i as usize];
            while self.uses[i as usize].get(tile.past).is_some_and(|&u| u <= n as u32) {
                tile.past += 1;
            }
            if tile.past == self.uses[i as usize].len()
                && let Some(at) = self.resident.iter().position(|r| *r == i)
            {
                self.resident.swap_remove(at);
                self.live -= bytes_of(&self.kernel, self.old.instances[i as usize].buf);
            }
        }
        Ok(Some(()))
    }

    fn note_writes(&mut self, n: usize) {
        let t = &self.templates[self.old.items[n].template as usize];
        for (v, a) in t.views().zip(self.old.accesses_of(n)).filter(|(v, _)| writes(v)) {
            let origin = if self.loads_whole(t, v, *a) { n as u32 } else { NONE };
            let tile = &mut self.tiles[a.instance as usize];
            (tile.changed, tile.origin) = (true, origin);
            if covers_partitions(&self.kernel, v, *a) {
                add(&mut tile.written, (a.offset + v.extent.0, a.offset + v.extent.1));
            }
        }
    }

    /// Whether a transfer fills the whole tile that it writes at `v` from an argument that only is read, and can be repeated.
    fn loads_whole(&self, t: &Template, v: &ViewForm, a: ItemAccess) -> bool {
        let row = self.kernel.bufs[v.buf].row_bytes() as i64;
        let whole = a.offset + v.extent.0 == 0 && a.offset + v.extent.1 == row;
        let views: SmallVec<[&ViewForm; 2]> = t.views().collect();
        t.op == Op::DmaCopy
            && t.registers().next().is_none()
            && matches!(*views, [dst, src] if dst.effect == Effect::Write && src.index.is_none()
                && self.kernel.bufs[src.buf].kind == BufKind::Input)
            && whole
            && covers_partitions(&self.kernel, v, a)
    }

    fn instance(&mut self, buf: Buf) -> u32 {
        self.out.instances.push(Instance { buf, first: NONE, last: NONE });
        self.out.instances.len() as u32 - 1
    }

    /// The tile on chip that can go and, from item `n` on, is used again last, and where.
    fn farthest(&self, n: u32, needed: &[u32]) -> Option<(u32, u32)> {
        let next = |i: u32| {
            let tile = &self.tiles[i as usize];
            self.uses[i as usize][tile.past..].iter().find(|u| **u >= n).copied().unwrap_or(NONE)
        };
        let can_go = |i: &u32| {
            let data = &self.kernel.bufs[self.old.instances[*i as usize].buf];
            let whole = [(0, data.row_bytes() as i64)];
            let free = data.address.is_none() && data.kind == BufKind::Private;
            free && !needed.contains(i) && self.tiles[*i as usize].written.as_slice() == whole
        };
        let all = self.resident.iter().copied().filter(can_go);
        all.map(|i| (next(i), i)).max().map(|(next, i)| (i, next))
    }

    fn evict(&mut self, i: u32) -> Result<(), Diagnostics> {
        let buf = self.old.instances[i as usize].buf;
        let tile = &self.tiles[i as usize];
        if tile.origin == NONE && (tile.changed || tile.copy == NONE) {
            let (copy, store, _) = self.copy_of(buf)?;
            if self.tiles[i as usize].copy == NONE {
                self.tiles[i as usize].copy = self.instance(copy);
            }
            let tile = &self.tiles[i as usize];
            let (there, here) = (tile.copy, tile.now);
            self.transfer(store, there, here);
            self.counts.entry(buf).or_default().0 += 1;
        }
        let tile = &mut self.tiles[i as usize];
        (tile.now, tile.changed) = (NONE, false);
        self.resident.retain(|r| *r != i);
        self.live -= bytes_of(&self.kernel, buf);
        Ok(())
    }

    fn load_back(&mut self, i: u32) -> Result<(), Diagnostics> {
        let buf = self.old.instances[i as usize].buf;
        let Tile { now, copy, origin, .. } = self.tiles[i as usize];
        if origin == NONE {
            let (_, _, load) = self.copy_of(buf)?;
            self.transfer(load, now, copy);
        } else {
            let (old, item) = (self.old, self.old.items[origin as usize]);
            let accesses = self.out.accesses.len() as u32;
            self.out.items.push(Item { accesses, group: NONE, ..item });
            for a in old.accesses_of(origin as usize) {
                let instance = if a.instance == i { now } else { self.tiles[a.instance as usize].now };
                self.out.accesses.push(ItemAccess { instance, ..*a });
            }
        }
        self.counts.entry(buf).or_default().1 += 1;
        Ok(())
    }

    /// A transfer of whole tiles: destination, source.
    fn transfer(&mut self, template: u32, dst: u32, src: u32) {
        let accesses = self.out.accesses.len() as u32;
        self.out.items.push(Item {
            template,
            accesses,
            group: NONE,
            adds: false,
            conditional: false,
            nest: 0,
        });
        for instance in [dst, src] {
            self.out.accesses.push(ItemAccess { instance, part: 0, offset: 0 });
        }
    }

    /// The buffer in device memory for copies of `buf`, and the transfers there and back.
    fn copy_of(&mut self, buf: Buf) -> Result<(Buf, u32, u32), Diagnostics> {
        if let Some(&known) = self.copies.get(&buf) {
            return Ok(known);
        }
        let data = self.kernel.bufs[buf].clone();
        let name = format!("{} (spilled)", data.name);
        let private = BufKind::Private;
        let copy = self.kernel.bufs.push(BufData::new(
            &name,
            Space::Hbm,
            data.dtype,
            &data.shape,
            private,
            data.loc,
        ));
        let whole = |kernel: &Kernel, b: Buf| Operand::View(View::full(b, &kernel.bufs[b]));
        let mut both = [0u32; 2];
        for (template, (dst, src)) in both.iter_mut().zip([(copy, buf), (buf, copy)]) {
            let mut inst = Builder::template(Op::DmaCopy, data.loc);
            for (operand, b) in [("dst", dst), ("src", src)] {
                let at = inst.op.row().operand(operand).expect("transfers have two sides");
                inst.operands[at] = whole(&self.kernel, b);
            }
            let number = self.kernel.insts.push(inst.clone());
            *template = number.index() as u32;
            self.templates
                .push(legalise::template(&self.kernel, self.target, number, &inst).map_err(|d| *d)?);
        }
        let found = (copy, both[0], both[1]);
        self.copies.insert(buf, found);
        Ok(found)
    }

    fn finish(mut self) -> Spilled {
        let end = self.out.items.len() as u32;
        let mut lives = vec![(NONE, NONE); self.out.instances.len()];
        for n in 0..self.out.items.len() {
            for a in self.out.accesses_of(n) {
                let life = &mut lives[a.instance as usize];
                *life = (life.0.min(n as u32), n as u32);
            }
        }
        for (i, life) in self.out.instances.iter_mut().zip(lives) {
            (i.first, i.last) = life;
        }
        for i in &mut self.out.instances {
            if self.kernel.bufs[i.buf].kind != BufKind::Private {
                (i.first, i.last) = (0, end.saturating_sub(1));
            }
        }
        self.signature();
        self.out.blocks = vec![Block::Straight(0..end)];
        let row = |(&buf, &(stores, loads)): (&Buf, &(u64, u64))| {
            let data = &self.kernel.bufs[buf];
            let place = self.kernel.locs.resolve(data.loc).map_or(String::new(), |l| l.to_string());
            let bytes = data.row_bytes() * u64::from(data.partitions());
            SpillReport { name: data.name.clone(), place, stores, loads, bytes }
        };
        let report = self.counts.iter().map(row).collect();
        Spilled { kernel: self.kernel, templates: self.templates, stream: self.out, report }
    }

    /// Tensors of the signature that nothing uses have a place, too.
    fn signature(&mut self) {
        let end = self.out.items.len().saturating_sub(1) as u32;
        let known: Vec<Buf> = self.out.instances.iter().map(|i| i.buf).collect();
        for (buf, data) in self.kernel.bufs.iter() {
            if data.kind != BufKind::Private && !known.contains(&buf) {
                self.out.instances.push(Instance { buf, first: 0, last: end });
            }
        }
    }
}

/// Whether a write touches every partition of the tile, and every byte between its first and its last.
fn covers_partitions(kernel: &Kernel, v: &ViewForm, a: ItemAccess) -> bool {
    a.part == 0 && v.parts == kernel.bufs[v.buf].partitions() && v.dense && v.index.is_none()
}

/// Adds an interval to disjoint ones, joining those that touch.
fn add(all: &mut SmallVec<[(i64, i64); 2]>, mut new: (i64, i64)) {
    all.retain(|old| {
        let meets = old.0 <= new.1 && new.0 <= old.1;
        if meets {
            new = (old.0.min(new.0), old.1.max(new.1));
        }
        !meets
    });
    all.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_join_where_they_touch() {
        let mut all = SmallVec::new();
        for new in [(8, 12), (0, 4), (20, 24), (4, 8)] {
            add(&mut all, new);
        }
        all.sort_unstable();
        assert_eq!(all.as_slice(), [(0, 12), (20, 24)]);
        add(&mut all, (1, 21));
        assert_eq!(all.as_slice(), [(0, 24)]);
    }
}
