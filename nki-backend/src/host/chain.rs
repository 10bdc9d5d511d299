//! Chains of instructions that work partition by partition, run on a few partitions at a time: what one instruction leaves of
//! them is still in the second cache when the next one reads it. Nothing else changes, so the bits are the same.

use super::layout::{Layout, Place};
use super::nest::Nests;
use super::step::{Step, StepArg, Tile, choose};
use nki_ir::affine::Affine;
use nki_ir::entity::Entity;
use nki_ir::kernel::{Attr, InstData, Node, Operand};
use nki_ir::op::{Effect, Op, ReduceCmd};
use nki_ir::{Buf, Inst, Kernel};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Partitions at a time; as many rows as reductions take side by side.
const BLOCK: u32 = 8;
/// Most instructions of a chain, and most operands of each.
pub const MOST: usize = 16;
pub const OPERANDS: usize = 8;
/// Chains whose tiles are all in the second cache anyway gain nothing.
const WORTHWHILE: usize = 192 << 10;

/// An instruction on a block of partitions.
#[derive(Clone, Debug)]
pub struct Link {
    pub step: Step,
    /// Bytes by which each operand moves from block to block.
    pub advance: SmallVec<[i64; 4]>,
}

/// A chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Instructions, of which the generated code stores the offsets.
    pub insts: Vec<Inst>,
    /// How many nodes of the region it stands for.
    pub nodes: usize,
    pub links: Vec<Link>,
    pub blocks: u32,
    /// The same for the partitions that are left.
    pub rest: Vec<Link>,
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
                    Node::Inst(_) => chain(kernel, layout, steps, nests, &nodes[at..]),
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
        if !by_partition(inst.op) || inst.operands.len() > OPERANDS {
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

/// The longest chain that begins with the first node.
fn chain(kernel: &Kernel, layout: &Layout, steps: &[Step], nests: &Nests, nodes: &[Node]) -> Option<Chain> {
    let mut touched =
        Touched { kernel, parts: 0, tiles: BTreeMap::new(), read: Vec::new(), written: Vec::new() };
    let (mut insts, mut count) = (Vec::new(), 0);
    for (i, node) in nodes.iter().enumerate() {
        match *node {
            Node::Alloc(_) if nests.get(*node).is_none() => {}
            Node::Inst(inst) if insts.len() < MOST && touched.add(&kernel.insts[inst]).is_some() => {
                insts.push(inst);
                count = i + 1;
            }
            _ => break,
        }
    }
    let parts = touched.parts;
    let bytes: usize = touched.tiles.keys().map(|b| layout.row_stride(*b) * parts as usize).sum();
    if insts.len() < 2 || parts < 2 * BLOCK || bytes < WORTHWHILE {
        return None;
    }
    let links = |count: u32| -> Option<Vec<Link>> {
        insts.iter().map(|i| link(&kernel.insts[*i], &steps[i.index()], parts, count)).collect()
    };
    let rest = parts % BLOCK;
    Some(Chain {
        links: links(BLOCK)?,
        rest: if rest > 0 { links(rest)? } else { Vec::new() },
        blocks: parts / BLOCK,
        insts,
        nodes: count,
    })
}

/// An instruction on `count` of its `parts` partitions. It advances by whole blocks.
fn link(data: &InstData, step: &Step, parts: u32, count: u32) -> Option<Link> {
    let mut step = step.clone();
    let mut advance = SmallVec::new();
    for arg in &mut step.args {
        advance.push(match arg {
            StepArg::Tile(tile) => rows(tile, parts, count)?,
            StepArg::None | StepArg::Imm(_) | StepArg::Int(_) => 0,
            _ => return None,
        });
    }
    step.fast = choose(data, &step.args);
    Some(Link { step, advance })
}

/// Cuts an operand to its first `count` of `parts` partitions; returns the bytes from block to block.
fn rows(tile: &mut Tile, parts: u32, count: u32) -> Option<i64> {
    let cut = (parts - count) as usize;
    if let (Place::Scratch(_), true) = (tile.place, tile.span.parts == parts) {
        let stride = tile.span.part_stride;
        tile.span.parts = count;
        tile.reach = tile.reach.checked_sub(cut.checked_mul(stride as usize)?)?;
        return i64::try_from(stride).ok()?.checked_mul(BLOCK.into());
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
    bytes.checked_mul(BLOCK.into())
}

#[cfg(test)]
mod tests;
