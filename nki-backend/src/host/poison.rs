//! Which tiles must be poisoned when they are allocated: those whose first use is not a write of the whole tile. Storage never
//! written then reads as the reference says (isa.md 3.4), and the common case costs nothing.

use nki_ir::entity::{Entity, Region};
use nki_ir::kernel::{Accumulate, Attr, BufKind, LoopData, Node, Operand};
use nki_ir::op::Effect;
use nki_ir::{Buf, Index, InstData, Kernel, View};

/// One flag per buffer.
pub fn needed(kernel: &Kernel) -> Vec<bool> {
    let mut flags: Vec<bool> = kernel.bufs.values().map(|b| b.kind == BufKind::Private).collect();
    let mut seen = vec![false; kernel.bufs.len()];
    // (region, next node, whether the region certainly runs when the one around it does)
    let mut open: Vec<(Region, usize, bool)> = vec![(kernel.body, 0, true)];
    while let Some((region, next, certain)) = open.pop() {
        let Some(node) = kernel.regions[region].nodes.get(next) else { continue };
        open.push((region, next + 1, certain));
        match *node {
            Node::Alloc(_) => {}
            Node::Inst(i) => first_use(kernel, &kernel.insts[i], certain, &mut seen, &mut flags),
            Node::Loop(l) => {
                let data = &kernel.loops[l];
                let runs = match data {
                    LoopData::For { .. } => data.trip_count().is_some_and(|n| n > 0),
                    LoopData::NoReorder { .. } => true,
                    LoopData::While { .. } | LoopData::If { .. } => false,
                };
                for region in data.regions().into_iter().rev() {
                    open.push((region, 0, certain && runs));
                }
            }
        }
    }
    flags
}

/// Notes the first use of each buffer of an instruction. A use in a region that may not run decides against the buffer, unless
/// the buffer is allocated in that region; telling the two apart is not worth it: poisoning is always right.
fn first_use(kernel: &Kernel, inst: &InstData, certain: bool, seen: &mut [bool], flags: &mut [bool]) {
    let adds = inst.attrs.iter().any(|a| matches!(a, Attr::Accumulate(Accumulate::Add | Accumulate::Auto)));
    let mut uses: Vec<(Buf, bool)> = Vec::new();
    for (i, operand) in inst.operands.iter().enumerate() {
        let Operand::View(view) = operand else { continue };
        let writes = match inst.op.row().effect(i, &inst.attrs) {
            Effect::Read | Effect::Update => false,
            Effect::Write => true,
            Effect::ReadWrite => !adds,
        };
        uses.push((
            view.buf,
            writes && certain && !inst.op.row().operands[i].kind.is_partial() && covers(kernel, view),
        ));
        if view.dynamic.is_some() {
            uses.iter_mut().for_each(|u| u.1 = false);
        }
    }
    for &(buf, covered) in &uses {
        if !std::mem::replace(&mut seen[buf.index()], true) {
            let only = uses.iter().filter(|u| u.0 == buf).all(|u| u.1);
            flags[buf.index()] &= !(covered && only);
        }
    }
}

fn covers(kernel: &Kernel, view: &View) -> bool {
    let buf = &kernel.bufs[view.buf];
    match &view.index {
        Index::Slice(axes) => axes
            .iter()
            .zip(&buf.shape)
            .all(|(a, &n)| a.start.as_constant() == Some(0) && a.count == n && a.step == 1),
        Index::Pattern(_) => false,
    }
}
