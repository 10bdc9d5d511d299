//! Chains of instructions that work partition by partition, run on a few partitions at a time: what one instruction leaves of
//! them is still in the caches when the next one reads it. Tiles that only the chain uses have room for these few partitions
//! alone; what is loaded is read from its tensor, and what is stored is written to it, without a copy in between
//! ([`alias`](mod@alias)). The instructions compute the same, so the bits are the same.

mod alias;

use super::layout::Layout;
use super::nest::Nests;
use super::step::{Fast, Step, StepArg, Tile, choose};
use alias::{Aliases, Uses};
use nki_ir::affine::Affine;
use nki_ir::entity::Entity;
use nki_ir::kernel::{Attr, InstData, Node, Operand};
use nki_ir::op::{Effect, Op, ReduceCmd};
use nki_ir::{Buf, Inst, Kernel};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Most partitions at a time: as many rows as reductions take side by side.
const BLOCK: u32 = 8;
/// Numbers of a partition of all tiles at a time that are enough to make the calls worth it.
const ENOUGH: usize = 16 << 10;
/// Most instructions of a chain.
const MOST: usize = 16;
/// Most offsets that the generated code passes.
const OFFSETS: usize = 96;
/// Chains whose tiles are all in the second cache anyway gain nothing.
const WORTHWHILE: usize = 192 << 10;

/// An instruction on a block of partitions.
#[derive(Clone, Debug)]
pub struct Link {
    pub step: Step,
    /// Of each operand: which offset it begins at, and the bytes by which it moves from block to block.
    pub operands: SmallVec<[(usize, i64); 4]>,
}

/// A chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Byte offsets of operands in their buffers, evaluated by the generated code.
    pub offsets: Vec<Affine>,
    /// How many nodes of the region it stands for.
    pub nodes: usize,
    pub links: Vec<Link>,
    pub blocks: u32,
    /// The same for the partitions that are left.
    pub rest: Vec<Link>,
    /// Results are written past the caches.
    pub streams: bool,
}

/// The chains of a kernel, by their first instruction.
#[derive(Debug, Default)]
pub struct Chains {
    pub all: Vec<Chain>,
    first: BTreeMap<Inst, usize>,
}

impl Chains {
    /// Finds the chains outside of products.
    pub fn find(kernel: &Kernel, layout: &Layout, steps: &[Step], nests: &Nests) -> Chains {
        let mut chains = Chains::default();
        if !kernel.insts.values().all(keeps_no_register) {
            return chains;
        }
        let finder = Finder { kernel, layout, steps, nests, uses: Uses::of(kernel) };
        let mut open = vec![kernel.body];
        while let Some(region) = open.pop() {
            let nodes = &kernel.regions[region].nodes;
            let mut at = 0;
            while let Some(&node) = nodes.get(at) {
                let chain = match node {
                    _ if nests.get(node).is_some() => {
                        at += nests.get(node).map_or(1, |f| f.nodes);
                        continue;
                    }
                    Node::Loop(l) => {
                        open.extend(kernel.loops[l].regions());
                        None
                    }
                    Node::Inst(_) => finder.chain(&nodes[at..]),
                    Node::Alloc(_) => None,
                };
                at += chain.as_ref().map_or(1, |c| c.nodes);
                if let (Some(chain), Node::Inst(first)) = (chain, node) {
                    chains.first.insert(first, chains.all.len());
                    chains.all.push(chain);
                }
            }
        }
        chains
    }

    /// The chain that begins with an instruction.
    pub fn at(&self, first: Inst) -> Option<(usize, &Chain)> {
        let index = *self.first.get(&first)?;
        Some((index, self.all.get(index)?))
    }
}

/// Reduce registers count lanes from the first partition of an operand, so a block would leave its sums in other lanes: nobody
/// may read what an earlier instruction left.
fn keeps_no_register(inst: &InstData) -> bool {
    let row = inst.op.row();
    let operand = row.operand("reduce_res").and_then(|i| inst.operands.get(i));
    inst.attrs.iter().all(|a| match a {
        Attr::ReduceCmd(ReduceCmd::Idle) => operand.is_none_or(|o| *o == Operand::None),
        Attr::ReduceCmd(ReduceCmd::ResetReduce | ReduceCmd::LoadReduce) => true,
        Attr::ReduceCmd(_) => false,
        _ => true,
    })
}

/// Each partition of the result depends on the same partition of the operands alone.
fn by_partition(op: Op) -> bool {
    matches!(
        op,
        Op::DmaCopy
            | Op::Activation
            | Op::TensorReduce
            | Op::TensorTensor
            | Op::ScalarTensorTensor
            | Op::TensorScalar
            | Op::TensorScalarReduce
            | Op::TensorCopy
            | Op::Memset
            | Op::Reciprocal
    )
}

/// What the instructions so far have touched.
struct Touched<'a> {
    kernel: &'a Kernel,
    parts: u32,
    /// The partition that each tile begins at.
    tiles: BTreeMap<Buf, Affine>,
    read: Vec<Buf>,
    written: Vec<Buf>,
}

impl Touched<'_> {
    /// Adds an instruction, if it fits those before it.
    fn add(&mut self, inst: &InstData) -> Option<()> {
        if !by_partition(inst.op) {
            return None;
        }
        for (spec, operand) in inst.op.row().operands.iter().zip(&inst.operands) {
            let view = match operand {
                Operand::View(v) if v.dynamic.is_none() => v,
                Operand::None | Operand::Imm(_) | Operand::Int(_) => continue,
                _ => return None,
            };
            let data = &self.kernel.bufs[view.buf];
            if !data.space.on_chip() {
                let written = spec.effect != Effect::Read;
                if self.written.contains(&view.buf) || written && self.read.contains(&view.buf) {
                    return None;
                }
                if written { &mut self.written } else { &mut self.read }.push(view.buf);
                continue;
            }
            let pattern = view.pattern(data)?;
            if self.parts == 0 {
                self.parts = pattern.parts;
            }
            let start = self.tiles.entry(view.buf).or_insert_with(|| pattern.part.clone());
            if pattern.parts != self.parts || *start != pattern.part {
                return None;
            }
        }
        Some(())
    }
}

/// What chains are made from.
struct Finder<'a> {
    kernel: &'a Kernel,
    layout: &'a Layout,
    steps: &'a [Step],
    nests: &'a Nests,
    uses: Uses,
}

impl Finder<'_> {
    /// The longest chain that begins with the first node.
    fn chain(&self, nodes: &[Node]) -> Option<Chain> {
        let kernel = self.kernel;
        let mut touched =
            Touched { kernel, parts: 0, tiles: BTreeMap::new(), read: Vec::new(), written: Vec::new() };
        let (mut insts, mut count) = (Vec::new(), 0);
        for (i, node) in nodes.iter().enumerate() {
            match *node {
                Node::Alloc(_) if self.nests.get(*node).is_none() => {}
                Node::Inst(inst) if insts.len() < MOST && touched.add(&kernel.insts[inst]).is_some() => {
                    insts.push(inst);
                    count = i + 1;
                }
                _ => break,
            }
        }
        let parts = touched.parts;
        let bytes: usize = touched.tiles.keys().map(|b| self.layout.row_stride(*b) * parts as usize).sum();
        if insts.len() < 2 || parts < 2 * BLOCK || bytes < WORTHWHILE {
            return None;
        }
        let aliases = Aliases::find(kernel, self.steps, &self.uses, &insts, parts);
        let mut cut = Cut { finder: self, aliases, parts, insts: &insts, block: BLOCK, offsets: Vec::new() };
        if !insts.iter().any(|i| matches!(&self.steps[i.index()].fast, Fast::Rows(plan) if plan.folds())) {
            let row: usize = touched.tiles.keys().map(|b| self.layout.row_stride(*b) / 4).sum();
            cut.block = (ENOUGH / row.max(1)).clamp(1, BLOCK as usize) as u32;
        }
        let rest = parts % cut.block;
        let links = cut.links(cut.block)?;
        let rest = if rest > 0 { cut.links(rest)? } else { Vec::new() };
        let streams = |l: &Link| matches!(&l.step.fast, Fast::Rows(plan) if plan.streams);
        Some(Chain {
            streams: links.iter().any(streams),
            blocks: parts / cut.block,
            links,
            rest,
            offsets: (cut.offsets.len() <= OFFSETS).then_some(cut.offsets)?,
            nodes: count,
        })
    }
}

/// Cuts the instructions of a chain to blocks of partitions.
struct Cut<'a> {
    finder: &'a Finder<'a>,
    aliases: Aliases,
    parts: u32,
    insts: &'a [Inst],
    /// Partitions at a time.
    block: u32,
    offsets: Vec<Affine>,
}

impl Cut<'_> {
    /// The instructions on `count` partitions. They advance by whole blocks.
    fn links(&mut self, count: u32) -> Option<Vec<Link>> {
        let insts = self.insts.iter().filter(|i| !self.aliases.dropped.contains(i)).copied();
        insts.collect::<Vec<_>>().into_iter().map(|i| self.link(i, count)).collect()
    }

    fn link(&mut self, inst: Inst, count: u32) -> Option<Link> {
        let data = &self.finder.kernel.insts[inst];
        let mut step = self.finder.steps[inst.index()].clone();
        let mut operands = SmallVec::new();
        let mut streams = false;
        for (i, arg) in step.args.iter_mut().enumerate() {
            operands.push(match arg {
                StepArg::Tile(tile) => {
                    let alias = self.aliases.of(inst, i);
                    let local = data.operands[i].view().is_some_and(|v| self.aliases.local.contains(&v.buf));
                    if let Some(alias) = alias {
                        *tile = alias.tile.clone();
                        streams |= alias.streams && i == 0;
                    }
                    // A block of partitions of a tile that nobody else sees takes the place of the one before.
                    let own = local && alias.is_none();
                    let advance = self.rows(tile, count)?;
                    let advance = if own { 0 } else { advance };
                    (self.offset(&tile.base), advance)
                }
                StepArg::None | StepArg::Imm(_) | StepArg::Int(_) => (0, 0),
                _ => return None,
            });
        }
        step.fast = choose(data, step.engine, &step.args);
        if let (Fast::Rows(plan), Some(StepArg::Tile(dst))) = (&mut step.fast, step.args.first()) {
            plan.streams = streams && plan.can_stream(dst);
        }
        Some(Link { step, operands })
    }

    fn offset(&mut self, base: &Affine) -> usize {
        let found = self.offsets.iter().position(|o| o == base);
        found.unwrap_or_else(|| {
            self.offsets.push(base.clone());
            self.offsets.len() - 1
        })
    }

    /// Cuts an operand to its first `count` partitions; returns the bytes from block to block.
    fn rows(&self, tile: &mut Tile, count: u32) -> Option<i64> {
        let parts = self.parts;
        let cut = (parts - count) as usize;
        if tile.span.parts == parts {
            let stride = tile.span.part_stride;
            tile.span.parts = count;
            tile.reach = tile.reach.checked_sub(cut.checked_mul(stride as usize)?)?;
            return i64::try_from(stride).ok()?.checked_mul(self.block.into());
        }
        // A tensor: as many of its outermost rows as belong to a partition.
        let (stride, n) = tile.span.dims.first_mut().map(|d| (d.0, &mut d.1))?;
        if tile.span.parts != 1 || stride < 0 || *n % parts != 0 {
            return None;
        }
        let each = *n / parts;
        *n = each * count;
        let bytes = stride.checked_mul(each.into())?;
        tile.reach = tile.reach.checked_sub(cut.checked_mul(usize::try_from(bytes).ok()?)?)?;
        bytes.checked_mul(self.block.into())
    }
}

#[cfg(test)]
mod tests;
