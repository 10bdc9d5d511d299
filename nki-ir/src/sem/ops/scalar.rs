//! ScalarE: activation functions (isa.md 9.2).

use super::super::alu::{Other, apply_row};
use super::super::exec::{Exec, Scalars};
use super::super::scratch::scratch;
use super::super::state::Outside;
use super::super::{Arg, Fault, act, fault};
use super::reduce::{Accumulator, readout};
use crate::diag::Code;
use crate::op::{ActFn, AluOp, ReduceCmd};

/// isa.md 9.2.1: `dst = func(data · scale + bias)`, multiply and add rounding separately, and the running sum of the
/// float32 results in ScalarE's reduce registers.
pub(super) fn activation(e: &mut Exec) -> Result<(), Fault> {
    let cmd = *e.cmd_ref("reduce_cmd")?;
    let op = match e.alu("reduce_op")? {
        AluOp::Bypass if cmd == ReduceCmd::Idle && matches!(e.any("reduce_res")?, Arg::None) => AluOp::Add,
        op => op,
    };
    summed_activation(e, cmd, op)
}

/// isa.md 9.2.2: the activation with the command reset_reduce.
pub(super) fn activation_reduce(e: &mut Exec) -> Result<(), Fault> {
    let op = e.alu("reduce_op")?;
    summed_activation(e, ReduceCmd::ResetReduce, op)
}

fn summed_activation(e: &mut Exec, cmd: ReduceCmd, reduce_op: AluOp) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let (bias, scale) = (e.scalars("bias", dst.parts)?, e.scalars("scale", dst.parts)?);
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let func = *e.act_ref("op")?;
    e.castable(&[dst, data])?;
    if func == ActFn::Prelu {
        return fault(Code::Operator, "prelu has no slope operand here");
    }
    without_load(cmd)?;
    if reduce_op != AluOp::Add {
        return fault(Code::Operator, format!("reduce_op {reduce_op}"));
    }
    let mut sum = Accumulator::begin(cmd, reduce_op);
    let mut watch = Watch::new(func);
    sum.rows(e, [dst, data], Scalars::Absent, |e, p, row| {
        let (scale, bias) = (e.scalar(scale, p, 1.0), e.scalar(bias, p, 0.0));
        watch.look(row, |x| x * scale + bias);
        act::apply_affine(func, row, [scale, bias]);
    })?;
    e.state.outside = watch.found;
    readout(e, reduce_res, false)
}

/// Looks for an argument outside the function's valid range.
struct Watch {
    function: ActFn,
    range: Option<act::Range>,
    found: Option<Outside>,
}

impl Watch {
    fn new(function: ActFn) -> Watch {
        Watch { function, range: act::valid_range(function), found: None }
    }
    fn look(&mut self, row: &[f32], argument: impl Fn(f32) -> f32) {
        if let (Some(range), None) = (self.range, self.found) {
            let outside = row.iter().map(|x| argument(*x)).find(|x| !range.contains(*x));
            let function = self.function;
            self.found = outside.map(|argument| Outside { function, argument, range: range.text });
        }
    }
}

fn without_load(cmd: ReduceCmd) -> Result<(), Fault> {
    match cmd {
        ReduceCmd::LoadReduce => fault(Code::ReduceCmd, "load_reduce has no initial value here"),
        _ => Ok(()),
    }
}

/// isa.md 9.2.3: `func(op1(op0(data, imm0), imm1))` in float32, each step rounding; `relu_param` is prelu's slope.
pub(super) fn activate2(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let imms = [e.scalars("imm0", dst.parts)?, e.scalars("imm1", dst.parts)?];
    let slope = e.scalars("relu_param", dst.parts)?;
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let func = *e.act_ref("op")?;
    let ops = [e.alu("op0")?, e.alu("op1")?];
    let reversed = [e.flag("reverse0")?, e.flag("reverse1")?];
    e.castable(&[dst, data])?;
    if let Some(op) = ops.iter().find(|op| op.is_bitvec()) {
        return fault(Code::Operator, format!("{op} works on raw bits"));
    }
    let cmd = *e.cmd_ref("reduce_cmd")?;
    without_load(cmd)?;
    let reduce_op = match e.alu("reduce_op")? {
        AluOp::Bypass if cmd == ReduceCmd::Idle && reduce_res.is_none() => AluOp::Add,
        op @ (AluOp::Add | AluOp::Maximum | AluOp::Minimum | AluOp::AbsMax | AluOp::AbsMin) => op,
        op => return fault(Code::Operator, format!("reduce_op {op}")),
    };
    let mut reduction = Accumulator::begin(cmd, reduce_op);
    let mut watch = Watch::new(func);
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        for i in 0..2 {
            if ops[i] != AluOp::Bypass {
                apply_row(ops[i], &mut row, Other::Scalar(e.scalar(imms[i], p, 0.0)), reversed[i]);
            }
        }
        watch.look(&row, |x| x);
        act::apply_row(func, &mut row, e.scalar(slope, p, 0.0));
        reduction.row(e, p, 0.0, &row)?;
        e.store(dst, p, &row);
    }
    e.state.outside = watch.found;
    readout(e, reduce_res, false)
}
