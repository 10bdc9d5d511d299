//! Makes a failing kernel smaller.

use crate::affine::Affine;
use crate::entity::{Entity, Loop, Region, Var};
use crate::kernel::{Accumulate, Attr, Bound, BufKind, Kernel, LoopData, Node, Operand};
use crate::text::{Step, Walk};
use crate::view::{Dynamic, Index, View};

/// The smallest kernel found by taking things out of `kernel` while `fails` holds: nodes one by one and in runs, loops in
/// favour of their first turn, arguments that nothing uses. `fails` decides what may go: it should reject what no longer
/// passes `verify`.
pub fn shrink(kernel: &Kernel, mut fails: impl FnMut(&Kernel) -> bool) -> Kernel {
    let mut best = kernel.clone();
    loop {
        let before = nodes(&best);
        // Later nodes first: what they read can go after them.
        for region in (0..best.regions.len()).rev().map(Region::new) {
            remove_runs(&mut best, region, &mut fails);
            unroll(&mut best, region, &mut fails);
        }
        if nodes(&best) == before {
            return best;
        }
    }
}

fn nodes(k: &Kernel) -> usize {
    Walk::new(k).filter(|step| matches!(step, Step::Node(_))).count()
}

/// Removes runs of nodes, of half the length each time around.
fn remove_runs(best: &mut Kernel, region: Region, fails: &mut impl FnMut(&Kernel) -> bool) {
    let mut len = best.regions[region].nodes.len();
    while len > 0 {
        let mut end = best.regions[region].nodes.len();
        while end > 0 {
            let start = end.saturating_sub(len);
            let mut smaller = best.clone();
            smaller.regions[region].nodes.drain(start..end);
            drop_unused(&mut smaller);
            if fails(&smaller) {
                *best = smaller;
            }
            end = start;
        }
        len /= 2;
    }
}

/// Takes arguments that no instruction refers to out of the signature. They stay in the table, as private buffers that are
/// never allocated, so that other buffers keep their numbers.
fn drop_unused(k: &mut Kernel) {
    let mut used = vec![false; k.bufs.len()];
    for step in Walk::new(k) {
        let Step::Node(Node::Inst(inst)) = step else { continue };
        for view in k.insts[inst].operands.iter().filter_map(Operand::view) {
            used[view.buf.index()] = true;
            if let Some(
                Dynamic::Scalar { index, .. } | Dynamic::Vector { index } | Dynamic::Indirect { index, .. },
            ) = &view.dynamic
            {
                used[index.buf.index()] = true;
            }
        }
    }
    for buf in k.bufs.keys() {
        if !used[buf.index()] {
            k.bufs[buf].kind = BufKind::Private;
        }
    }
}

/// Replaces loops and blocks in `region` by one copy of their (first) body.
fn unroll(best: &mut Kernel, region: Region, fails: &mut impl FnMut(&Kernel) -> bool) {
    let mut at = 0;
    while let Some(node) = best.regions[region].nodes.get(at).copied() {
        if let Node::Loop(l) = node {
            let mut smaller = best.clone();
            first_turn(&mut smaller, region, at, l);
            if fails(&smaller) {
                *best = smaller;
                continue;
            }
        }
        at += 1;
    }
}

fn first_turn(k: &mut Kernel, region: Region, at: usize, l: Loop) {
    let data = k.loops[l].clone();
    if let LoopData::For { var, lo: Bound::Const(lo), .. } = data {
        let inside: Vec<_> = k.insts.keys().collect();
        for inst in inside {
            let data = &mut k.insts[inst];
            for operand in &mut data.operands {
                if let Operand::View(view) = operand {
                    pin_view(view, var, lo);
                }
            }
            for attr in &mut data.attrs {
                pin_accumulate(attr, var);
            }
        }
    }
    let body = std::mem::take(&mut k.regions[data.regions()[0]].nodes);
    k.regions[region].nodes.splice(at..=at, body);
}

fn pin_view(view: &mut View, var: Var, value: i64) {
    let pin = |a: &mut Affine| {
        let c = a.coefficient(var);
        let term = Affine::var(var).scale(c.wrapping_neg());
        let pinned = term.and_then(|t| a.add(&t)?.add_constant(c.checked_mul(value)?));
        *a = pinned.unwrap_or_else(|| a.clone());
    };
    match &mut view.index {
        Index::Slice(axes) => axes.iter_mut().for_each(|a| pin(&mut a.start)),
        Index::Pattern(p) => {
            pin(&mut p.part);
            pin(&mut p.offset);
        }
    }
}

/// In the first turn of `var`'s loop, the other variables decide.
fn pin_accumulate(attr: &mut Attr, var: Var) {
    if let Attr::Accumulate(Accumulate::UnlessFirst(vars)) = attr {
        vars.retain(|v| *v != var);
        if vars.is_empty() {
            *attr = Attr::Accumulate(Accumulate::Overwrite);
        }
    }
}
