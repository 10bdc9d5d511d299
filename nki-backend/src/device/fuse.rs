//! Fuse: two element-wise instructions in a row, of which the second reads all that the first wrote and nothing else does,
//! become one of the fused forms of the ISA, where that takes less engine time and provably the same bits:
//!
//! | first | second | fused |
//! |---|---|---|
//! | `tensor_scalar` | `tensor_scalar` | `tensor_scalar` with two operators (isa.md 9.3.5) |
//! | `tensor_scalar` | `tensor_tensor` | `scalar_tensor_tensor` (isa.md 9.3.4) |
//! | `tensor_scalar` by a factor | `activation` | `activation` with that scale (isa.md 9.2.1) |
//! | `tensor_scalar`, factor and addend | `activation` of a function that is the same of `-0` and `0` | with scale and bias |
//!
//! The tile between them is f32, the dtype of the arithmetic, so that no rounding disappears; the operators are the same and in
//! the same order. Nothing of it is fused if the author has asked for an engine or a place.

use crate::device::cost::CostModel;
use crate::device::legalise::{Form, Template, ViewForm};
use nki_ir::entity::Entity;
use nki_ir::kernel::{BufKind, LoopData, Node};
use nki_ir::target::Gen;
use nki_ir::{ActFn, AluOp, Attr, DType, Engine, Inst, Kernel, Op, Target};
use smallvec::{SmallVec, smallvec};

/// Fuses what it can; the first of each pair is marked [`Template::fused`]. Returns the number of pairs.
pub fn fuse(kernel: &Kernel, target: Target, templates: &mut [Template], costs: &dyn CostModel) -> usize {
    let candidates = between(kernel, templates);
    let mut keep_order = vec![false; kernel.regions.len()];
    for data in kernel.loops.values() {
        if let LoopData::NoReorder { body, .. } = data {
            keep_order[body.index()] = true;
        }
    }
    let mut count = 0;
    for (_, region) in kernel.regions.iter().filter(|(r, _)| !keep_order[r.index()]) {
        let mut first: Option<Inst> = None;
        for node in &region.nodes {
            match *node {
                Node::Alloc(_) => {}
                Node::Loop(_) => first = None,
                Node::Inst(second) => {
                    if let Some(first) = first
                        && let Some(t) = fused(kernel, target, templates, (first, second), &candidates)
                        && gains(templates, (first, second), &t, costs)
                    {
                        templates[second.index()] = t;
                        templates[first.index()].fused = true;
                        count += 1;
                    }
                    first = Some(second);
                }
            }
        }
    }
    count
}

/// By buffer: written once and read once in the source, local, f32, without wishes of the author.
fn between(kernel: &Kernel, templates: &[Template]) -> Vec<bool> {
    let mut uses = vec![0u32; kernel.bufs.len()];
    for t in templates {
        t.views().for_each(|v| uses[v.buf.index()] += 1);
    }
    let mut out: Vec<bool> = kernel
        .bufs
        .values()
        .zip(&uses)
        .map(|(b, &uses)| {
            let wishes = b.address.is_some() || b.buffers.is_some() || b.queue.is_some() || b.after.is_some();
            let local = b.kind == BufKind::Private && b.space.on_chip();
            uses == 2 && local && b.dtype == DType::F32 && !wishes
        })
        .collect();
    for before in kernel.bufs.values().filter_map(|b| b.after) {
        out[before.index()] = false;
    }
    out
}

fn gains(templates: &[Template], (a, b): (Inst, Inst), t: &Template, costs: &dyn CostModel) -> bool {
    let time = |t: &Template| costs.compute(t, t.engines[0]).occupancy;
    time(t) < time(&templates[a.index()]) + time(&templates[b.index()])
}

/// A `tensor_scalar` on the vector engine, taken apart.
struct Scaled<'t> {
    data: &'t ViewForm,
    stages: SmallVec<[Stage; 2]>,
}

#[derive(Clone)]
struct Stage {
    op: AluOp,
    operand: Form,
    reversed: bool,
}

fn fused(
    kernel: &Kernel,
    target: Target,
    templates: &[Template],
    (first, second): (Inst, Inst),
    candidates: &[bool],
) -> Option<Template> {
    let (a, b) = (&templates[first.index()], &templates[second.index()]);
    let free = |i: Inst| kernel.insts[i].engine == Engine::Unknown;
    if a.op != Op::TensorScalar || !free(first) || !free(second) {
        return None;
    }
    let (between, dst) = (a.operands[0].view()?, b.operands[0].view()?);
    let scaled = scaled(a)?;
    // Writing the result while the first's operands are read is only right element by element.
    let apart = a.operands[1..].iter().filter_map(Form::view).all(|v| v.buf != dst.buf);
    if !candidates[between.buf.index()] || !(apart || same(scaled.data, dst)) || a.accumulate != b.accumulate
    {
        return None;
    }
    let in_place_vectors = scaled.stages.iter().filter_map(|s| s.operand.view()).any(|v| v.buf == dst.buf);
    if in_place_vectors || !floats(b) {
        return None;
    }
    match b.op {
        Op::TensorScalar => two_operators(target, scaled, between, b),
        Op::TensorTensor => scalar_tensor(scaled, between, b),
        Op::Activation => activation(scaled, between, b),
        _ => None,
    }
}

/// The data of all operands are floats.
fn floats(t: &Template) -> bool {
    t.views().all(|v| v.dtype.is_float() && v.index.is_none())
}

/// The same elements in the same order.
fn same(a: &ViewForm, b: &ViewForm) -> bool {
    (a.buf, a.dtype, a.parts) == (b.buf, b.dtype, b.parts)
        && a.part == b.part
        && a.offset == b.offset
        && a.dims == b.dims
}

fn attr<'t>(t: &'t Template, name: &str) -> Option<&'t Attr> {
    t.op.row().attr(name).and_then(|i| t.attrs.get(i))
}

fn alu(t: &Template, name: &str) -> Option<AluOp> {
    match attr(t, name)? {
        // What every fused form has, and what is one rounding of an exact result.
        Attr::Alu(
            op @ (AluOp::Add | AluOp::Subtract | AluOp::Multiply | AluOp::Maximum | AluOp::Minimum),
        ) => Some(*op),
        _ => None,
    }
}

fn flag(t: &Template, name: &str) -> bool {
    matches!(attr(t, name), Some(Attr::Bool(true)))
}

fn operand<'t>(t: &'t Template, name: &str) -> Option<&'t Form> {
    t.op.row().operand(name).and_then(|i| t.operands.get(i))
}

fn scaled(t: &Template) -> Option<Scaled<'_>> {
    if t.op != Op::TensorScalar || t.engines[0] != Engine::Vector || !floats(t) {
        return None;
    }
    let stage = |op, operand_name, reverse| {
        let form = operand(t, operand_name)?.clone();
        let there = matches!(form, Form::Imm(_) | Form::View(_));
        there.then_some(())?;
        Some(Stage { op: alu(t, op)?, operand: form, reversed: flag(t, reverse) })
    };
    let mut stages = smallvec![stage("op0", "operand0", "reverse0")?];
    if !matches!(attr(t, "op1"), Some(Attr::Alu(AluOp::Bypass))) {
        stages.push(stage("op1", "operand1", "reverse1")?);
    }
    Some(Scaled { data: operand(t, "data")?.view()?, stages })
}

fn set(t: &mut Template, name: &str, value: Attr) {
    if let Some(i) = t.op.row().attr(name) {
        t.attrs[i] = value;
    }
}

fn two_operators(target: Target, first: Scaled<'_>, between: &ViewForm, b: &Template) -> Option<Template> {
    let second = scaled(b)?;
    let ([one], [two]) = (first.stages.as_slice(), second.stages.as_slice()) else { return None };
    if !same(second.data, between) || two.operand.view().is_some_and(|v| v.buf == between.buf) {
        return None;
    }
    let mut t = b.clone();
    let view = |v: &ViewForm| Form::View(Box::new(v.clone()));
    t.operands = smallvec![b.operands[0].clone(), view(first.data), one.operand.clone(), two.operand.clone()];
    for (s, op, reverse) in [(one, "op0", "reverse0"), (two, "op1", "reverse1")] {
        set(&mut t, op, Attr::Alu(s.op));
        set(&mut t, reverse, Attr::Bool(s.reversed));
    }
    // The pair that the scalar engine has (isa.md 9.3.5).
    let pair = (one.op, two.op) == (AluOp::Multiply, AluOp::Add);
    let on_scalar = target.generation() >= Gen::Gen3 && pair && !one.reversed && !two.reversed;
    t.engines = if on_scalar { smallvec![Engine::Vector, Engine::Scalar] } else { smallvec![Engine::Vector] };
    Some(t)
}

fn scalar_tensor(first: Scaled<'_>, between: &ViewForm, b: &Template) -> Option<Template> {
    let [one] = first.stages.as_slice() else { return None };
    if b.engines[0] != Engine::Vector {
        return None;
    }
    let op1 = alu(b, "op")?;
    let (x, y) = (operand(b, "data1")?.view()?, operand(b, "data2")?.view()?);
    let (other, reversed) = match (same(x, between), same(y, between)) {
        (true, false) => (y, false),
        (false, true) => (x, true),
        _ => return None,
    };
    let row = Op::ScalarTensorTensor.row();
    let mut t = b.clone();
    t.op = Op::ScalarTensorTensor;
    t.engines = smallvec![Engine::Vector];
    let view = |v: &ViewForm| Form::View(Box::new(v.clone()));
    t.operands = smallvec![b.operands[0].clone(), view(first.data), one.operand.clone(), view(other)];
    t.attrs = row.attrs.iter().map(|a| a.default.map_or(Attr::None, |d| d())).collect();
    set(&mut t, "op0", Attr::Alu(one.op));
    set(&mut t, "op1", Attr::Alu(op1));
    set(&mut t, "reverse0", Attr::Bool(one.reversed));
    set(&mut t, "reverse1", Attr::Bool(reversed));
    Some(t)
}

fn activation(first: Scaled<'_>, between: &ViewForm, b: &Template) -> Option<Template> {
    let read = operand(b, "data")?.view()?;
    let uses = b.views().filter(|v| v.buf == between.buf).count();
    let absent = |name| matches!(operand(b, name), Some(Form::None));
    if !same(read, between) || uses != 1 || !absent("scale") || first.stages.iter().any(|s| s.reversed) {
        return None;
    }
    let (scale, bias) = match first.stages.as_slice() {
        [s] if s.op == AluOp::Multiply => (Some(s), None),
        [s] if s.op == AluOp::Add => (None, Some(s)),
        [s, c] if (s.op, c.op) == (AluOp::Multiply, AluOp::Add) => (Some(s), Some(c)),
        _ => return None,
    };
    // Unfused, a bias of 0 is added to the sum, which makes 0 of -0.
    let sign_of_zero = matches!(attr(b, "op"), Some(Attr::Act(ActFn::Exp | ActFn::Sigmoid)));
    if bias.is_some() && !(absent("bias") && sign_of_zero) {
        return None;
    }
    let row = b.op.row();
    let mut t = b.clone();
    t.operands[row.operand("data")?] = Form::View(Box::new(first.data.clone()));
    if let Some(s) = scale {
        t.operands[row.operand("scale")?] = s.operand.clone();
    }
    if let Some(c) = bias {
        t.operands[row.operand("bias")?] = c.operand.clone();
    }
    Some(t)
}
