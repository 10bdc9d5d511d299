//! ScalarE: activation functions (isa.md 9.2).

use super::super::alu::{Other, apply_row};
use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, act, fault};
use super::reduce::{Accumulator, readout};
use crate::diag::Code;
use crate::op::{ActFn, AluOp, ReduceCmd};

/// isa.md 9.2.1: `dst = func(data · scale + bias)`, multiply and add rounding separately, and the running sum of the
/// float32 results in ScalarE's reduce registers.
pub(super) fn activation(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let (bias, scale) = (e.scalars("bias", dst.parts)?, e.scalars("scale", dst.parts)?);
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let func = *e.act_ref("op")?;
    e.castable(&[dst, data])?;
    if func == ActFn::Prelu {
        return fault(Code::Operator, "prelu has no slope operand here");
    }
    let cmd = *e.cmd_ref("reduce_cmd")?;
    if cmd == ReduceCmd::LoadReduce {
        return fault(Code::ReduceCmd, "load_reduce has no initial value here");
    }
    let op = match e.alu("reduce_op")? {
        AluOp::Bypass if cmd == ReduceCmd::Idle && reduce_res.is_none() => AluOp::Add,
        AluOp::Add => AluOp::Add,
        op => return fault(Code::Operator, format!("reduce_op {op}")),
    };
    let mut sum = Accumulator::begin(cmd, op);
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        apply_row(AluOp::Multiply, &mut row, Other::Scalar(e.scalar(scale, p, 1.0)), false);
        apply_row(AluOp::Add, &mut row, Other::Scalar(e.scalar(bias, p, 0.0)), false);
        act::apply_row(func, &mut row, 0.0);
        sum.row(e, p, 0.0, &row)?;
        e.store(dst, p, &row);
    }
    readout(e, reduce_res, false)
}
