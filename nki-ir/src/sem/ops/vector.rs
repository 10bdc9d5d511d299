//! VectorE and the element-wise instructions it shares with ScalarE and GpSimdE (isa.md 9.3).

use super::super::alu::{self, Other};
use super::super::exec::{Exec, Scalars};
use super::super::scratch::scratch;
use super::super::{Arg, Fault, Span, act, cast, fault};
use super::reduce::{Accumulator, readout, same_width};
use crate::diag::Code;
use crate::dtype::DType;
use crate::op::{ActFn, AluOp, Engine};

/// isa.md 9.3.2. On GpSimdE with 32-bit integers throughout the arithmetic is exact, modulo 2^32.
pub(super) fn tensor_tensor(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (a, b) = (e.pair(dst, "data1")?, e.pair(dst, "data2")?);
    let op = e.alu("op")?;
    binary(op)?;
    let n = dst.row_elements();
    if op.is_bitvec() {
        same_width(&[dst, a, b])?;
        let (mut x, mut y) = (vec![0; n], vec![0; n]);
        let width = dst.dtype.bytes();
        for p in 0..dst.parts {
            e.load_bits(a, p, &mut x);
            e.load_bits(b, p, &mut y);
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = alu::apply_bits(op, *x, *y, width));
            e.store_bits(dst, p, &x);
        }
        return Ok(());
    }
    e.castable(&[dst, a, b])?;
    if e.call.engine == Engine::GpSimd && [dst, a, b].iter().all(|s| is_int32(s.dtype)) {
        let (mut bits, mut x, mut y) = (vec![0; n], vec![0; n], vec![0; n]);
        for p in 0..dst.parts {
            e.load_int(a, p, &mut bits, &mut x);
            e.load_int(b, p, &mut bits, &mut y);
            for (o, (x, y)) in bits.iter_mut().zip(x.iter().zip(&y)) {
                *o = alu::apply_int(op, *x, *y) as u32;
            }
            e.store_bits(dst, p, &bits);
        }
        return Ok(());
    }
    let (mut x, mut y) = (scratch(n), scratch(n));
    for p in 0..dst.parts {
        e.load(a, p, &mut x);
        e.load(b, p, &mut y);
        alu::apply_row(op, &mut x, Other::Row(&y), false);
        e.store(dst, p, &x);
    }
    Ok(())
}

/// isa.md 9.3.4: float32 throughout, one rounding at the end.
pub(super) fn scalar_tensor_tensor(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (data, operand1) = (e.pair(dst, "data")?, e.pair(dst, "operand1")?);
    let operand0 = e.scalars("operand0", dst.parts)?;
    let (op0, op1) = (e.alu("op0")?, e.alu("op1")?);
    let (reverse0, reverse1) = (e.flag("reverse0")?, e.flag("reverse1")?);
    e.castable(&[dst, data, operand1])?;
    for op in [op0, op1] {
        binary(op)?;
        arithmetic(op)?;
    }
    let (mut x, mut y) = (scratch(dst.row_elements()), scratch(dst.row_elements()));
    for p in 0..dst.parts {
        e.load(data, p, &mut x);
        e.load(operand1, p, &mut y);
        alu::apply_row(op0, &mut x, Other::Scalar(e.scalar(operand0, p, 0.0)), reverse0);
        alu::apply_row(op1, &mut x, Other::Row(&y), reverse1);
        e.store(dst, p, &x);
    }
    Ok(())
}

/// One stage of a tensor_scalar.
#[derive(Clone, Copy)]
struct Stage<'a> {
    op: AluOp,
    operand: Scalars<'a>,
    reversed: bool,
}

/// isa.md 9.3.5: no rounding between the two operators. Bitvec operators work on raw bits; 32-bit integers with integer
/// immediates and add, subtract or multiply are exact on VectorE, modulo 2^32.
pub(super) fn tensor_scalar(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let stage = |op, operand, reverse| -> Result<Stage, Fault> {
        let stage =
            Stage { op: e.alu(op)?, operand: e.scalars(operand, dst.parts)?, reversed: e.flag(reverse)? };
        let absent = matches!(stage.operand, Scalars::Absent);
        if absent && !stage.op.is_unary() && stage.op != AluOp::Bypass {
            return fault(Code::Form, format!("{op} {} needs {operand}", stage.op));
        }
        Ok(stage)
    };
    let stages = [stage("op0", "operand0", "reverse0")?, stage("op1", "operand1", "reverse1")?];
    let used = if stages[1].op == AluOp::Bypass { &stages[..1] } else { &stages[..] };
    if used.iter().any(|s| s.op.is_bitvec()) {
        return tensor_scalar_bits(e, dst, data, used);
    }
    e.castable(&[dst, data])?;
    if is_address_arithmetic(e, dst, data, used) {
        return tensor_scalar_int(e, dst, data, used);
    }
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        for s in used {
            alu::apply_row(s.op, &mut row, Other::Scalar(e.scalar(s.operand, p, 0.0)), s.reversed);
        }
        e.store(dst, p, &row);
    }
    Ok(())
}

fn tensor_scalar_bits(e: &mut Exec, dst: &Span, data: &Span, stages: &[Stage]) -> Result<(), Fault> {
    same_width(&[dst, data])?;
    let width = dst.dtype.bytes();
    for s in stages {
        if !s.op.is_bitvec() {
            return fault(Code::Operator, format!("{} with a bitvec operator", s.op));
        }
        if let Scalars::Vec(span) = s.operand {
            same_width(&[dst, span])?;
        }
    }
    let mut row = vec![0; dst.row_elements()];
    for p in 0..dst.parts {
        e.load_bits(data, p, &mut row);
        for s in stages {
            let other = scalar_bits(e, s.operand, p)?;
            let f = |x: u32| match s.reversed && !s.op.is_unary() {
                false => alu::apply_bits(s.op, x, other, width),
                true => alu::apply_bits(s.op, other, x, width),
            };
            row.iter_mut().for_each(|x| *x = f(*x));
        }
        e.store_bits(dst, p, &row);
    }
    Ok(())
}

/// The raw bits of a scalar operand of a bitvec operator. A float32 immediate must be an integer.
fn scalar_bits(e: &Exec, operand: Scalars, p: u32) -> Result<u32, Fault> {
    match operand {
        Scalars::Absent => Ok(0),
        Scalars::Int(x) => Ok(x as u32),
        Scalars::Imm(x) if x.trunc() == x && x.abs() < 9.0e9 => Ok(x as i64 as u32),
        Scalars::Imm(x) => {
            fault(Code::Dtype, format!("{x} is not an integer, but the operator works on bits"))
        }
        Scalars::Vec(span) => {
            let mut x = [0];
            e.load_bits(span, p, &mut x);
            Ok(x[0])
        }
    }
}

/// The exact integer form of isa.md 9.3.5.
fn is_address_arithmetic(e: &Exec, dst: &Span, data: &Span, stages: &[Stage]) -> bool {
    e.call.engine == Engine::Vector
        && is_int32(dst.dtype)
        && is_int32(data.dtype)
        && stages.iter().all(|s| {
            matches!(s.op, AluOp::Add | AluOp::Subtract | AluOp::Multiply)
                && matches!(s.operand, Scalars::Int(_))
        })
}

fn tensor_scalar_int(e: &mut Exec, dst: &Span, data: &Span, stages: &[Stage]) -> Result<(), Fault> {
    let mut row = vec![0; dst.row_elements()];
    for p in 0..dst.parts {
        e.load_bits(data, p, &mut row);
        for s in stages {
            let Scalars::Int(other) = s.operand else { continue };
            let f = |x: u32| match s.reversed {
                false => alu::apply_int(s.op, x.into(), other) as u32,
                true => alu::apply_int(s.op, other, x.into()) as u32,
            };
            row.iter_mut().for_each(|x| *x = f(*x));
        }
        e.store_bits(dst, p, &row);
    }
    Ok(())
}

/// isa.md 9.3.6: the results before rounding feed VectorE's reduce registers.
pub(super) fn tensor_scalar_reduce(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let (operand0, init) = (e.scalars("operand0", dst.parts)?, e.scalars("reduce_init", dst.parts)?);
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let (op0, reduce_op) = (e.alu("op0")?, e.alu("reduce_op")?);
    let (reversed, negate) = (e.flag("reverse0")?, e.flag("reduce_res_negate")?);
    e.castable(&[dst, data])?;
    for op in [op0, reduce_op] {
        arithmetic(op)?;
    }
    let mut reduction = Accumulator::begin(*e.cmd_ref("reduce_cmd")?, reduce_op);
    reduction.rows(e, [dst, data], init, |e, p, row| {
        alu::apply_row(op0, row, Other::Scalar(e.scalar(operand0, p, 0.0)), reversed);
    })?;
    readout(e, reduce_res, negate)
}

/// isa.md 9.3.8: bit-exact between equal dtypes, else `down(up(src))`.
pub(super) fn tensor_copy(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let src = e.pair(dst, "src")?;
    if src.dtype == dst.dtype {
        let mut row = vec![0; dst.row_elements() * dst.dtype.bytes()];
        (0..dst.parts).for_each(|p| e.copy_row(src, dst, p, &mut row));
        return Ok(());
    }
    e.castable(&[dst, src])?;
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(src, p, &mut row);
        e.store(dst, p, &row);
    }
    Ok(())
}

/// isa.md 9.3.10. Integers beyond the destination's range saturate. The constant is converted at compile time: nearest even in any rounding mode.
pub(super) fn memset(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let bits = constant(dst, e.any("value")?)?;
    let row = vec![bits; dst.row_elements()];
    for p in 0..dst.parts {
        e.store_bits(dst, p, &row);
    }
    Ok(())
}

/// The bits of a constant in the dtype of `dst`.
pub(super) fn constant(dst: &Span, value: &Arg) -> Result<u32, Fault> {
    Ok(match *value {
        Arg::Int(0) => 0,
        Arg::Imm(0.0) if !cast::is_castable(dst.dtype) => 0,
        _ if !cast::is_castable(dst.dtype) => {
            return fault(Code::Parameter, format!("{} can only be set to 0", dst.dtype));
        }
        Arg::Imm(x) => cast::down(dst.dtype, x),
        Arg::Int(x) if dst.dtype == DType::U32 => x.clamp(0, u32::MAX.into()) as u32,
        Arg::Int(x) if dst.dtype.is_int() => {
            cast::from_int(dst.dtype, x.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
        }
        Arg::Int(x) => i32::try_from(x)
            .map_or_else(|_| cast::down(dst.dtype, x as f32), |x| cast::from_int(dst.dtype, x)),
        _ => return fault(Code::Form, "not a constant"),
    })
}

/// isa.md 9.3.12: correctly rounded.
pub(super) fn reciprocal(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    e.castable(&[dst, data])?;
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        alu::apply_row(AluOp::Reciprocal, &mut row, Other::Scalar(0.0), false);
        e.store(dst, p, &row);
    }
    Ok(())
}

/// isa.md 9.3.11: `exp(src - max_value)`, and its sum before rounding in VectorE's reduce registers.
pub(super) fn exponential(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let src = e.pair(dst, "src")?;
    let (max, init) = (e.scalars("max_value", dst.parts)?, e.scalars("reduce_init", dst.parts)?);
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    e.castable(&[dst, src])?;
    let mut sum = Accumulator::begin(*e.cmd_ref("reduce_cmd")?, AluOp::Add);
    sum.rows(e, [dst, src], init, |e, p, row| {
        alu::apply_row(AluOp::Subtract, row, Other::Scalar(e.scalar(max, p, 0.0)), false);
        act::apply_row(ActFn::Exp, row, 0.0);
    })?;
    readout(e, reduce_res, false)
}

fn is_int32(dtype: DType) -> bool {
    matches!(dtype, DType::I32 | DType::U32)
}

pub(super) fn binary(op: AluOp) -> Result<(), Fault> {
    match op.is_unary() || matches!(op, AluOp::Average | AluOp::Bypass) {
        true => fault(Code::Operator, format!("{op} is not a binary operator")),
        false => Ok(()),
    }
}

pub(super) fn arithmetic(op: AluOp) -> Result<(), Fault> {
    match op.is_bitvec() {
        true => fault(Code::Operator, format!("{op} works on raw bits, which this instruction does not")),
        false => Ok(()),
    }
}
