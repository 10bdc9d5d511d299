//! Mistakes with registers and with control flow on them.

use super::Edit;
use crate::dtype::DType;
use crate::entity::{Entity, Inst, Loop};
use crate::kernel::{LoopData, Node, Operand, RegionData};
use crate::op::Op;

fn of_op(e: &Edit, ops: &[Op]) -> Vec<Inst> {
    e.places.iter().map(|p| p.inst).filter(|i| ops.contains(&e.k.insts[*i].op)).collect()
}

/// The only instruction that writes a register is taken out.
pub fn unwritten_register(e: &mut Edit) -> Option<()> {
    let writers = of_op(e, &[Op::RegisterMove, Op::RegisterLoad]);
    let dst = |e: &Edit, i: Inst| e.k.insts[i].operands.first().cloned();
    let only: Vec<Inst> = writers
        .iter()
        .copied()
        .filter(|i| writers.iter().filter(|j| dst(e, **j) == dst(e, *i)).count() == 1)
        .collect();
    let inst = e.rng.choose(&only)?;
    let region = e.places.iter().find(|p| p.inst == inst)?.region;
    e.k.regions[region].nodes.retain(|n| *n != Node::Inst(inst));
    Some(())
}

/// A constant of 41 bits.
pub fn wide_constant(e: &mut Edit) -> Option<()> {
    let moves = of_op(e, &[Op::RegisterMove]);
    let inst = e.rng.choose(&moves)?;
    *e.k.insts[inst].operands.get_mut(1)? = Operand::Int(1 << 40);
    Some(())
}

fn loops(e: &Edit, ok: impl Fn(&LoopData) -> bool) -> Vec<Loop> {
    let used: Vec<Loop> =
        e.k.regions
            .values()
            .flat_map(|r| &r.nodes)
            .filter_map(|n| match n {
                Node::Loop(l) => Some(*l),
                _ => None,
            })
            .collect();
    used.into_iter().filter(|l| ok(&e.k.loops[*l])).collect()
}

/// A condition that is a float.
pub fn float_condition(e: &mut Edit) -> Option<()> {
    let found = loops(e, |l| matches!(l, LoopData::While { .. } | LoopData::If { .. }));
    let l = e.rng.choose(&found)?;
    let (LoopData::While { cond, .. } | LoopData::If { cond, .. }) = e.k.loops[l] else { return None };
    e.k.regs[cond].dtype = DType::F32;
    Some(())
}

/// A loop or branch on a register goes into a block that keeps its order.
pub fn ordered_loop(e: &mut Edit) -> Option<()> {
    let found = loops(e, LoopData::is_dynamic);
    let l = e.rng.choose(&found)?;
    let loc = e.k.loops[l].loc();
    let body = e.k.regions.push(RegionData { nodes: vec![Node::Loop(l)] });
    let block = e.k.loops.push(LoopData::NoReorder { body, loc });
    for i in (0..e.k.regions.len()).filter(|i| *i != body.index()) {
        for node in &mut e.k.regions[crate::entity::Region::new(i)].nodes {
            if *node == Node::Loop(l) {
                *node = Node::Loop(block);
            }
        }
    }
    Some(())
}
