//! Which loops of a kernel's body may run their turns on several threads: those whose turns touch disjoint parts of every
//! tensor that they write, and share nothing else. The result is then the same for any number of threads.

use nki_ir::affine::Affine;
use nki_ir::entity::{Entity, Region};
use nki_ir::kernel::{Bound, LoopData, Node, Operand};
use nki_ir::op::{Effect, Op, ReduceCmd, reduce_command};
use nki_ir::{Buf, Index, InstData, Kernel, Loop, Var, View};
use std::collections::BTreeMap;

/// Whether the turns of `l` are independent.
pub fn is_parallel(kernel: &Kernel, l: Loop) -> bool {
    let LoopData::For { var, step, body, lo: Bound::Const(_), hi: Bound::Const(_), .. } = kernel.loops[l]
    else {
        return false;
    };
    let Some(content) = content(kernel, body) else { return false };
    let mut windows: BTreeMap<Buf, Vec<&View>> = BTreeMap::new();
    let mut written = vec![false; kernel.bufs.len()];
    let continued = kernel.insts.values().any(goes_on);
    for inst in &content.insts {
        // Prints keep their order, and so does what two programs do together.
        if carries(inst, continued) || matches!(inst.op, Op::DevicePrint | Op::CoreBarrier | Op::Sendrecv) {
            return false;
        }
        for (spec, operand) in inst.op.row().operands.iter().zip(&inst.operands) {
            match operand {
                Operand::View(view) if view.dynamic.is_some() => return false,
                Operand::View(view) if !content.local[view.buf.index()] => {
                    windows.entry(view.buf).or_default().push(view);
                    written[view.buf.index()] |= spec.effect != Effect::Read;
                }
                Operand::Reg(_) => return false,
                _ => {}
            }
        }
    }
    windows
        .iter()
        .filter(|(b, _)| written[b.index()])
        .all(|(&b, views)| disjoint(kernel, b, views, var, step))
}

/// A running reduction in an engine's registers may continue from one turn to the next, or behind the loop if any
/// instruction goes on with one (`continued`); random numbers do.
fn carries(inst: &InstData, continued: bool) -> bool {
    match reduce_command(inst.op, &inst.attrs) {
        Some(ReduceCmd::Reduce | ReduceCmd::Reset) => true,
        Some(ReduceCmd::ResetReduce | ReduceCmd::LoadReduce) => continued,
        Some(ReduceCmd::Idle) => goes_on(inst),
        None => inst.op.uses_random(),
    }
}

/// Whether an instruction reads what an earlier one has left in a reduce register.
fn goes_on(inst: &InstData) -> bool {
    let read_out = inst.op.row().operand("reduce_res").and_then(|i| inst.operands[i].view()).is_some();
    match reduce_command(inst.op, &inst.attrs) {
        Some(ReduceCmd::Reduce) => true,
        Some(ReduceCmd::Idle) => read_out,
        _ => false,
    }
}

struct Content<'a> {
    insts: Vec<&'a InstData>,
    /// Buffers allocated inside.
    local: Vec<bool>,
}

/// What a loop body holds; `None` if its control flow depends on data.
fn content(kernel: &Kernel, body: Region) -> Option<Content<'_>> {
    let mut out = Content { insts: Vec::new(), local: vec![false; kernel.bufs.len()] };
    let mut open = vec![body];
    while let Some(region) = open.pop() {
        for node in &kernel.regions[region].nodes {
            match *node {
                Node::Alloc(b) => out.local[b.index()] = true,
                Node::Inst(i) => out.insts.push(&kernel.insts[i]),
                Node::Loop(l) => {
                    if matches!(kernel.loops[l], LoopData::While { .. } | LoopData::If { .. }) {
                        return None;
                    }
                    open.extend(kernel.loops[l].regions());
                }
            }
        }
    }
    Some(out)
}

/// Whether there is an axis of `buf` along which each turn of `var` stays inside a window of its own in all `views`.
fn disjoint(kernel: &Kernel, buf: Buf, views: &[&View], var: Var, step: i64) -> bool {
    // On chip, outer tiles are shared storage with padded rows that fast functions may read as vectors: not split.
    if kernel.bufs[buf].space.on_chip() {
        return false;
    }
    let apart = |window: Option<(i64, i128, i128)>| {
        window.is_some_and(|(moves, lo, end)| {
            moves != 0 && end - lo <= i128::from(moves.unsigned_abs()) * i128::from(step)
        })
    };
    let by_axis = (0..kernel.bufs[buf].shape.len()).any(|axis| {
        apart(union(views, |view| {
            let Index::Slice(axes) = &view.index else { return None };
            let a = axes.get(axis)?;
            let (lo, hi) = rest_bounds(kernel, &a.start, var)?;
            let end = hi + (i128::from(a.count) - 1) * i128::from(a.step) + 1;
            Some((a.start.coefficient(var), lo, end))
        }))
    });
    // Or a piece of the tensor as it lies in memory, for views that split or merge axes.
    by_axis
        || apart(union(views, |view| {
            let pattern = view.pattern(&kernel.bufs[buf])?;
            let (lo, hi) = rest_bounds(kernel, &pattern.offset, var)?;
            let (low, high) = pattern.extent();
            (view.dtype == kernel.bufs[buf].dtype)
                .then(|| (pattern.offset.coefficient(var), lo + low, hi + high + 1))
        }))
}

/// The window that contains those of all views, if all move alike: by how much per step, where it begins and ends.
fn union(views: &[&View], window: impl Fn(&View) -> Option<(i64, i128, i128)>) -> Option<(i64, i128, i128)> {
    let mut all: Option<(i64, i128, i128)> = None;
    for view in views {
        let (moves, lo, end) = window(view)?;
        all = match all {
            None => Some((moves, lo, end)),
            Some((m, l, e)) if m == moves => Some((m, l.min(lo), e.max(end))),
            Some(_) => return None,
        };
    }
    all
}

/// Bounds of an affine position without its `var` term.
fn rest_bounds(kernel: &Kernel, a: &Affine, var: Var) -> Option<(i128, i128)> {
    let ranges: Option<Vec<_>> =
        a.terms().iter().map(|t| if t.0 == var { Some((0, 0)) } else { kernel.var_range(t.0) }).collect();
    let ranges = ranges?;
    let at = |v: Var| a.terms().iter().position(|t| t.0 == v).map_or((0, 0), |i| ranges[i]);
    Some(a.bounds(at))
}
