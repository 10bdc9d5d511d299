//! Recurrences along the free axis, written element by element (isa.md 9.3.3 and 9.3.7).

use super::super::alu::{self, Other};
use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, fault};
use super::reduce::Accumulator;
use super::vector::{arithmetic, binary};
use crate::diag::Code;
use crate::op::{AluOp, ReduceCmd};

/// isa.md 9.3.3: `s = op1(op0(data0, s), data1)`. The carried state stays float32; only what is written is rounded.
pub(super) fn tensor_tensor_scan(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (data0, data1) = (e.pair(dst, "data0")?, e.pair(dst, "data1")?);
    let initial = e.scalars("initial", dst.parts)?;
    let (op0, op1) = (e.alu("op0")?, e.alu("op1")?);
    let (reverse0, reverse1) = (e.flag("reverse0")?, e.flag("reverse1")?);
    e.castable(&[dst, data0, data1])?;
    for op in [op0, op1] {
        binary(op)?;
        arithmetic(op)?;
    }
    let apply = |op, a, b, reversed| if reversed { alu::apply(op, b, a) } else { alu::apply(op, a, b) };
    let n = dst.row_elements();
    let (mut x, mut y) = (scratch(n), scratch(n));
    for p in 0..dst.parts {
        e.load(data0, p, &mut x);
        e.load(data1, p, &mut y);
        let mut s = e.scalar(initial, p, 0.0);
        for (x, &y) in x.iter_mut().zip(y.iter()) {
            s = apply(op1, apply(op0, *x, s, reverse0), y, reverse1);
            *x = s;
        }
        e.store(dst, p, &x);
    }
    Ok(())
}

/// isa.md 9.3.7: `acc = op1(op0(src, imm0), acc)`, the new value being the left operand. VectorE's reduce registers keep
/// the last value.
pub(super) fn tensor_scalar_cumulative(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let src = e.pair(dst, "src")?;
    let (imm0, imm1) = (e.scalars("imm0", dst.parts)?, e.scalars("imm1", dst.parts)?);
    let (op0, op1) = (e.alu("op0")?, e.alu("op1")?);
    e.castable(&[dst, src])?;
    binary(op0)?;
    arithmetic(op0)?;
    use AluOp::{Add, Maximum, Minimum, Multiply, Subtract};
    if !matches!(op1, Add | Subtract | Multiply | Maximum | Minimum) {
        return fault(Code::Operator, format!("op1 {op1}"));
    }
    let cmd = *e.cmd_ref("reduce_cmd")?;
    if matches!(cmd, ReduceCmd::Idle | ReduceCmd::Reset) {
        return fault(Code::ReduceCmd, format!("reduce_cmd {cmd}"));
    }
    let register = Accumulator::begin(cmd, op1);
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(src, p, &mut row);
        alu::apply_row(op0, &mut row, Other::Scalar(e.scalar(imm0, p, 0.0)), false);
        let init = e.scalar(imm1, p, 0.0);
        let Some(mut acc) = register.start(e, p, init)? else { continue };
        for x in row.iter_mut() {
            acc = alu::apply(op1, *x, acc);
            *x = acc;
        }
        register.keep(e, p, acc)?;
        e.store(dst, p, &row);
    }
    Ok(())
}
