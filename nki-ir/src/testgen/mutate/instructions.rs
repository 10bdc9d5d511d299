//! Mistakes in dtypes, operators, engines and attributes.

use super::{Edit, on_engine};
use crate::dtype::DType;
use crate::entity::{Buf, Inst};
use crate::kernel::{Accumulate, Attr, InstData, Kernel, Operand, Space};
use crate::op::{ActFn, AluOp, AttrKind, Effect, Engine, Op, OperandKind, ReduceCmd, reduce_command};
use crate::target::Gen;
use crate::testgen::state::{attr, set};

fn buf_of(data: &InstData, name: &str) -> Option<Buf> {
    data.operands[data.op.row().operand(name)?].view().map(|v| v.buf)
}

fn value_of<'d>(data: &'d InstData, name: &str) -> Option<&'d Attr> {
    data.op.row().attr(name).map(|i| &data.attrs[i])
}

fn alu_of(data: &InstData, name: &str) -> AluOp {
    match value_of(data, name) {
        Some(Attr::Alu(op)) => *op,
        _ => AluOp::Bypass,
    }
}

pub fn mixed_matmul(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| d.op == Op::NcMatmul && buf_of(d, "stationary") != buf_of(d, "moving"))?;
    let buf = buf_of(&e.k.insts[inst], "stationary")?;
    let wide = matches!(e.k.bufs[buf].dtype, DType::F32 | DType::TF32);
    e.set_dtype(buf, if wide { DType::BF16 } else { DType::F32 });
    Some(())
}

pub fn narrow_vector(e: &mut Edit) -> Option<()> {
    let site = e.operand(|d, spec, _, _| {
        let bits = ["op0", "op1"].iter().any(|o| alu_of(d, o).is_bitvec());
        spec.kind == OperandKind::ScalarOrVec && !matches!(spec.name, "bias" | "prob") && !bits
    })?;
    let buf = e.view(site)?.buf;
    e.set_dtype(buf, DType::BF16);
    Some(())
}

pub fn float_bits(e: &mut Edit) -> Option<()> {
    let bits = |d: &InstData| ["op", "op0"].iter().any(|o| alu_of(d, o).is_bitvec());
    let site = e.operand(|d, _, _, _| bits(d))?;
    let buf = e.view(site)?.buf;
    e.set_dtype(buf, DType::F32);
    Some(())
}

pub fn float_memset(e: &mut Edit) -> Option<()> {
    let inst =
        e.inst(|k, d| d.op == Op::Memset && buf_of(d, "dst").is_some_and(|b| k.bufs[b].dtype.is_int()))?;
    set(&mut e.k.insts[inst], "value", Operand::Imm(0.5));
    Some(())
}

pub fn narrow_acc(e: &mut Edit) -> Option<()> {
    let inst =
        e.inst(|_, d| d.op == Op::NcMatmul && value_of(d, "is_transpose") == Some(&Attr::Bool(false)))?;
    let buf = buf_of(&e.k.insts[inst], "dst")?;
    let dtype = if e.generation() == Gen::Gen4 { DType::F16 } else { DType::BF16 };
    e.set_dtype(buf, dtype);
    Some(())
}

pub fn converting_transpose(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| d.op == Op::NcTranspose)?;
    let buf = buf_of(&e.k.insts[inst], "dst")?;
    let dtype = if e.k.bufs[buf].dtype == DType::F16 { DType::BF16 } else { DType::F16 };
    e.set_dtype(buf, dtype);
    Some(())
}

/// Operators that no instruction takes in the place named.
const ILLEGAL: &[(Op, &str, AluOp)] = &[
    (Op::TensorReduce, "op", AluOp::Greater),
    (Op::TensorReduce, "op", AluOp::LeftShift),
    (Op::TensorTensor, "op", AluOp::Abs),
    (Op::TensorTensor, "op", AluOp::Bypass),
    (Op::ScalarTensorTensor, "op0", AluOp::BitwiseAnd),
    (Op::ScalarTensorTensor, "op1", AluOp::Reciprocal),
    (Op::TensorScalar, "op0", AluOp::Average),
    (Op::TensorScalarReduce, "reduce_op", AluOp::Subtract),
    (Op::TensorScalarReduce, "op0", AluOp::LeftShift),
    (Op::AffineSelect, "cmp_op", AluOp::Add),
    (Op::Activation, "reduce_op", AluOp::Maximum),
];

pub fn illegal_operator(e: &mut Edit) -> Option<()> {
    let bits = |d: &InstData| ["op", "op0"].iter().any(|o| alu_of(d, o).is_bitvec());
    let inst = e.inst(|_, d| ILLEGAL.iter().any(|x| x.0 == d.op) && !bits(d))?;
    let data = &mut e.k.insts[inst];
    if data.op == Op::Activation && e.rng.percent(50) {
        attr(data, "op", Attr::Act(ActFn::Prelu));
        return Some(());
    }
    let fit: Vec<_> = ILLEGAL.iter().copied().filter(|x| x.0 == data.op).collect();
    let (_, name, op) = e.rng.choose(&fit)?;
    attr(data, name, Attr::Alu(op));
    Some(())
}

pub fn later_operator(e: &mut Edit) -> Option<()> {
    if e.generation() == Gen::Gen4 {
        return None;
    }
    let inst = e.inst(|_, d| d.op == Op::TensorTensor && !alu_of(d, "op").is_bitvec())?;
    let op = e.rng.pick(&[AluOp::AbsMax, AluOp::AbsMin]);
    attr(&mut e.k.insts[inst], "op", Attr::Alu(op));
    Some(())
}

pub fn later_dtype(e: &mut Edit) -> Option<()> {
    if e.generation() == Gen::Gen4 {
        return None;
    }
    let site = e.operand(|d, _, _, b| on_engine(d) && b.space == Space::Sbuf)?;
    let buf = e.view(site)?.buf;
    e.set_dtype(buf, DType::F8E4M3FN);
    Some(())
}

pub fn illegal_engine(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, _| true)?;
    let row = e.k.insts[inst].op.row();
    let generation = e.generation();
    let others: Vec<Engine> = Engine::ALL
        .iter()
        .copied()
        .filter(|x| *x != Engine::Unknown && !row.engines_on(generation).any(|y| y == *x))
        .collect();
    e.k.insts[inst].engine = e.rng.choose(&others)?;
    Some(())
}

pub fn missing_operand(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, _| true)?;
    let row = e.k.insts[inst].op.row();
    let required: Vec<usize> = (0..row.operands.len()).filter(|&i| !row.operands[i].optional).collect();
    let slot = e.rng.choose(&required)?;
    e.k.insts[inst].operands[slot] = Operand::None;
    Some(())
}

pub fn missing_attribute(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| !d.attrs.is_empty())?;
    let slot = e.rng.below(e.k.insts[inst].attrs.len() as u32) as usize;
    let row = e.k.insts[inst].op.row();
    // Nothing at all, or a value of another kind.
    let other = if row.attrs[slot].kind == AttrKind::Text { Attr::Int(0) } else { Attr::Text("x".into()) };
    e.k.insts[inst].attrs[slot] = if e.rng.percent(50) { Attr::None } else { other };
    Some(())
}

pub fn operand_kind(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, spec, _, _| {
        matches!(spec.kind, OperandKind::Tile | OperandKind::Free | OperandKind::Vec)
    })?;
    let value = if e.rng.percent(50) { Operand::Imm(1.0) } else { Operand::Int(1) };
    e.data(site).operands[site.slot] = value;
    Some(())
}

pub fn bad_parameter(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| {
        matches!(d.op, Op::DmaCopy | Op::Iota | Op::TensorReduce | Op::TensorScalarReduce | Op::NcMatmul)
    })?;
    let data = &mut e.k.insts[inst];
    match data.op {
        Op::DmaCopy => attr(data, "priority", Attr::Int(9)),
        Op::TensorReduce => attr(data, "axis", Attr::Ints(vec![0])),
        Op::TensorScalarReduce => attr(data, "reverse0", Attr::Bool(true)),
        Op::NcMatmul => {
            attr(data, "tile_position", Attr::Ints(vec![0, 0]));
            attr(data, "tile_size", Attr::Ints(vec![128, 96]));
        }
        _ => {
            // More pairs than the hardware nests, for the same number of elements.
            let Some(Attr::Pairs(mut pairs)) = value_of(data, "pattern").cloned() else { return None };
            pairs.resize(5, [1, 1]);
            attr(data, "pattern", Attr::Pairs(pairs));
        }
    }
    Some(())
}

pub fn illegal_reduce_cmd(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| matches!(d.op, Op::Activation | Op::TensorScalarReduce))?;
    let data = &mut e.k.insts[inst];
    let cmd = if data.op == Op::Activation { ReduceCmd::LoadReduce } else { ReduceCmd::Idle };
    attr(data, "reduce_cmd", Attr::ReduceCmd(cmd));
    Some(())
}

pub fn unset_reduce(e: &mut Edit) -> Option<()> {
    // The first instruction that uses its engine's registers.
    let op = e.rng.pick(&[Op::Activation, Op::TensorScalarReduce]);
    let engine = op.row().engines[0].0;
    let uses = |d: &InstData| {
        let cmd = reduce_command(d.op, &d.attrs);
        d.op.row().engines[0].0 == engine && cmd.is_some_and(|c| c != ReduceCmd::Idle)
    };
    let inst = e.places.iter().find(|p| p.live && uses(&e.k.insts[p.inst])).map(|p| p.inst)?;
    let data = &mut e.k.insts[inst];
    if data.op != op {
        return None;
    }
    attr(data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::Reduce));
    if op == Op::TensorScalarReduce {
        set(data, "reduce_init", Operand::None);
    }
    Some(())
}

pub fn undecided(e: &mut Edit) -> Option<()> {
    let inst = e.inst(|_, d| d.op == Op::NcMatmul)?;
    attr(&mut e.k.insts[inst], "accumulate", Attr::Accumulate(Accumulate::Auto));
    Some(())
}

pub fn add_to_nothing(e: &mut Edit) -> Option<()> {
    // A matmul that is the first to write its tile.
    let first: Vec<Inst> =
        e.places.iter().filter(|p| p.live && first_write(e, p.inst)).map(|p| p.inst).collect();
    let inst = e.rng.choose(&first)?;
    attr(&mut e.k.insts[inst], "accumulate", Attr::Accumulate(Accumulate::Add));
    Some(())
}

fn first_write(e: &Edit, inst: Inst) -> bool {
    let data = &e.k.insts[inst];
    if data.op != Op::NcMatmul || value_of(data, "is_transpose") == Some(&Attr::Bool(true)) {
        return false;
    }
    let Some(buf) = buf_of(data, "dst") else { return false };
    let first = e.places.iter().find(|p| writes(&e.k, p.inst, buf));
    first.is_some_and(|p| p.inst == inst)
}

fn writes(k: &Kernel, inst: Inst, buf: Buf) -> bool {
    let data = &k.insts[inst];
    let specs = data.op.row().operands;
    let written = data.operands.iter().zip(specs).filter(|(_, s)| s.effect != Effect::Read);
    written.filter_map(|(o, _)| o.view()).any(|v| v.buf == buf)
}
