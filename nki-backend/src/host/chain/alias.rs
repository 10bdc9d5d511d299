//! Which operands of a chain need no tile: those that a transfer fills from a tensor, or empties into one.

use crate::host::layout::Place;
use crate::host::poison;
use crate::host::step::{Fast, Step, StepArg, Tile};
use nki_ir::entity::{Entity, Region};
use nki_ir::kernel::{BufKind, InstData, Node, Operand};
use nki_ir::op::{Effect, Op};
use nki_ir::view::{Dynamic, View};
use nki_ir::{Buf, Inst, Kernel};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// Results of this size are not in the caches when somebody reads them.
const LARGE: u64 = 16 << 20;

/// How the buffers of a kernel are used.
pub struct Uses {
    /// Operands that name a buffer.
    count: Vec<usize>,
    /// The one instruction that writes a buffer.
    writer: Vec<Writer>,
    /// Whether a buffer is poisoned when it is allocated.
    poisoned: Vec<bool>,
    /// Place of each instruction in the text, and the regions around it, outermost first.
    order: Vec<usize>,
    around: Vec<SmallVec<[Region; 4]>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Nobody,
    One(Inst),
    Several,
}

impl Uses {
    pub fn of(kernel: &Kernel) -> Uses {
        let mut uses = Uses {
            count: vec![0; kernel.bufs.len()],
            writer: vec![Writer::Nobody; kernel.bufs.len()],
            poisoned: poison::needed(kernel),
            order: vec![0; kernel.insts.len()],
            around: vec![SmallVec::new(); kernel.insts.len()],
        };
        let mut next = 0;
        // (region, next node, regions around it)
        let mut open = vec![(kernel.body, 0usize, 0usize)];
        let mut path: Vec<Region> = Vec::new();
        while let Some((region, at, depth)) = open.pop() {
            let Some(node) = kernel.regions[region].nodes.get(at) else { continue };
            open.push((region, at + 1, depth));
            path.truncate(depth);
            path.push(region);
            match *node {
                Node::Alloc(_) => {}
                Node::Inst(inst) => {
                    uses.order[inst.index()] = next;
                    uses.around[inst.index()] = path.iter().copied().collect();
                    next += 1;
                    uses.note(inst, &kernel.insts[inst]);
                }
                Node::Loop(l) => {
                    open.extend(kernel.loops[l].regions().into_iter().rev().map(|r| (r, 0, depth + 1)));
                }
            }
        }
        uses
    }

    fn note(&mut self, inst: Inst, data: &InstData) {
        for (spec, operand) in data.op.row().operands.iter().zip(&data.operands) {
            let Operand::View(view) = operand else { continue };
            let at = view.buf.index();
            self.count[at] += 1;
            // Buffers of run-time positions are left alone.
            if view.dynamic.is_some() {
                self.writer[at] = Writer::Several;
                continue;
            }
            if spec.effect != Effect::Read {
                self.writer[at] =
                    if self.writer[at] == Writer::Nobody { Writer::One(inst) } else { Writer::Several };
            }
        }
        let index = |view: &View| match &view.dynamic {
            Some(
                Dynamic::Scalar { index, .. } | Dynamic::Vector { index } | Dynamic::Indirect { index, .. },
            ) => Some(index.buf),
            Some(Dynamic::Register { .. }) | None => None,
        };
        for buf in data.operands.iter().filter_map(Operand::view).filter_map(index) {
            self.count[buf.index()] += 1;
        }
    }

    /// Whether `before` has run whenever `inst` runs, in the same turns of all loops around it.
    fn precedes(&self, before: Inst, inst: Inst) -> bool {
        let around = &self.around[before.index()];
        self.order[before.index()] < self.order[inst.index()] && self.around[inst.index()].starts_with(around)
    }
}

/// An operand in memory of the caller.
pub struct Alias {
    /// Rows of a tensor as partitions.
    pub tile: Tile,
    /// Large, and nobody reads it soon.
    pub streams: bool,
}

/// What a chain does without.
#[derive(Default)]
pub struct Aliases {
    operands: BTreeMap<(Inst, usize), Alias>,
    /// Transfers with nothing left to do.
    pub dropped: BTreeSet<Inst>,
    /// Tiles that only the chain uses, written before they are read.
    pub local: BTreeSet<Buf>,
}

impl Aliases {
    pub fn of(&self, inst: Inst, operand: usize) -> Option<&Alias> {
        self.operands.get(&(inst, operand))
    }

    /// What the chain of `insts` on `parts` partitions can do without.
    pub fn find(kernel: &Kernel, steps: &[Step], uses: &Uses, insts: &[Inst], parts: u32) -> Aliases {
        let chain = ChainUses::of(kernel, steps, insts);
        let mut found = Aliases::default();
        for (&buf, places) in &chain.tiles {
            if places.len() == uses.count[buf.index()] && !uses.poisoned[buf.index()] {
                found.local.insert(buf);
            }
        }
        for (&buf, places) in &chain.tiles {
            if found.load(kernel, steps, uses, (buf, places), insts[0]).is_none() {
                found.store(kernel, steps, (buf, places), parts);
            }
        }
        found
    }

    /// Reads a tile from the tensor that it was loaded from.
    fn load(
        &mut self,
        kernel: &Kernel,
        steps: &[Step],
        uses: &Uses,
        (buf, places): (Buf, &[(Inst, usize)]),
        first: Inst,
    ) -> Option<()> {
        let Writer::One(load) = uses.writer[buf.index()] else { return None };
        let (dst, src) = transfer(&steps[load.index()])?;
        let inside = places.contains(&(load, 0));
        // The chain has not written the tensor (`Touched`); what it was loaded from before must be constant.
        let tensor = kernel.insts[load].operands[1].view()?.buf;
        if !inside && (kernel.bufs[tensor].kind != BufKind::Input || !uses.precedes(load, first)) {
            return None;
        }
        let mut left = 0;
        for &(inst, operand) in places.iter().filter(|p| p.0 != load) {
            let StepArg::Tile(tile) = &steps[inst.index()].args[operand] else { return None };
            let same =
                tile.base == dst.base && tile.span.dims == dst.span.dims && tile.span.dtype == dst.span.dtype;
            let rows = (same && tile.lead == 0 && tile.span.parts <= dst.span.parts)
                .then(|| as_rows(src, dst, tile.span.parts));
            // Rows of tensors are read by what works on rows; the others would only copy them.
            match (rows.flatten(), &steps[inst.index()].fast) {
                (Some(tile), Fast::Rows(_) | Fast::Copy(_)) => {
                    self.operands.insert((inst, operand), Alias { tile, streams: false });
                }
                _ => left += 1,
            }
        }
        if inside && left == 0 && self.local.contains(&buf) {
            self.dropped.insert(load);
        }
        Some(())
    }

    /// Writes a tile to the tensor that it is stored to.
    fn store(
        &mut self,
        kernel: &Kernel,
        steps: &[Step],
        (buf, places): (Buf, &[(Inst, usize)]),
        parts: u32,
    ) -> Option<()> {
        if !self.local.contains(&buf) {
            return None;
        }
        let (Some(&(store, 1)), Some(&(writer, 0))) = (places.last(), places.first()) else { return None };
        let (dst, src) = transfer(&steps[store.index()])?;
        let Fast::Rows(_) = &steps[writer.index()].fast else { return None };
        let tile = as_rows(dst, src, parts)?;
        // Rows apart.
        let row = tile.span.row_elements() * tile.span.dtype.bytes();
        if !matches!(tile.place, Place::Param(_)) || (tile.span.part_stride as usize) < row {
            return None;
        }
        for &(inst, operand) in places {
            let StepArg::Tile(t) = &steps[inst.index()].args[operand] else { return None };
            let writes = kernel.insts[inst].op.row().operands[operand].effect != Effect::Read;
            let same = t.base == src.base && t.span == src.span && t.lead == 0;
            if !same || writes != (inst == writer && operand == 0) {
                return None;
            }
        }
        let tensor = kernel.insts[store].operands[0].view()?.buf;
        let streams = kernel.bufs[tensor].row_bytes() >= LARGE && places.len() == 2;
        for &(inst, operand) in places.iter().filter(|p| p.0 != store) {
            self.operands.insert((inst, operand), Alias { tile: tile.clone(), streams });
        }
        self.dropped.insert(store);
        Some(())
    }
}

/// Where a chain uses tiles, in order.
struct ChainUses {
    tiles: BTreeMap<Buf, Vec<(Inst, usize)>>,
}

impl ChainUses {
    fn of(kernel: &Kernel, steps: &[Step], insts: &[Inst]) -> ChainUses {
        let mut tiles: BTreeMap<Buf, Vec<(Inst, usize)>> = BTreeMap::new();
        for &inst in insts {
            for (i, operand) in kernel.insts[inst].operands.iter().enumerate() {
                let (Some(view), StepArg::Tile(tile)) = (operand.view(), &steps[inst.index()].args[i]) else {
                    continue;
                };
                if matches!(tile.place, Place::Scratch(_)) && kernel.bufs[view.buf].space.on_chip() {
                    tiles.entry(view.buf).or_default().push((inst, i));
                }
            }
        }
        ChainUses { tiles }
    }
}

/// The operands of a plain transfer between a tile and a tensor: written and read.
fn transfer(step: &Step) -> Option<(&Tile, &Tile)> {
    match (step.op, &step.fast, &step.args[..]) {
        (Op::DmaCopy, Fast::Copy(_), [StepArg::Tile(dst), StepArg::Tile(src), ..]) => Some((dst, src)),
        _ => None,
    }
}

/// The first `parts` rows of a tensor, which are copied to or from the rows of `like`, as partitions.
fn as_rows(tensor: &Tile, like: &Tile, parts: u32) -> Option<Tile> {
    let (rows, n) = (like.span.parts, like.span.row_elements());
    let width = tensor.span.dtype.bytes();
    if !like.span.is_row_contiguous() || tensor.span.parts != 1 || tensor.lead != 0 || n == 0 || parts == 0 {
        return None;
    }
    let columns = u32::try_from(n).ok()?;
    let side = i64::try_from(width).ok()?;
    let stride = match *tensor.span.dims {
        [(step, count)]
            if step == side && count.checked_div(columns) == Some(rows) && count % columns == 0 =>
        {
            n.checked_mul(width)?
        }
        [(stride, count)] if n == 1 && count == rows => usize::try_from(stride).ok()?,
        [(stride, count), (step, inner)] if step == side && count == rows && inner == columns => {
            usize::try_from(stride).ok()?
        }
        _ => return None,
    };
    let mut tile = tensor.clone();
    tile.span.parts = parts;
    tile.span.part_stride = stride as u64;
    tile.span.dims = std::iter::once((side, columns)).filter(|d| d.1 != 1).collect();
    tile.reach = stride.checked_mul(parts as usize - 1)?.checked_add(n.checked_mul(width)?)?;
    (tile.reach <= tensor.reach).then_some(tile)
}
