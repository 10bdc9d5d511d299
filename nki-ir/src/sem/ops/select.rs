//! Selection by masks and by column ranges (isa.md 9.3.9, 9.3.14 and 9.3.15).

use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Arg, Fault, alu, fault};
use super::reduce::{Accumulator, readout};
use super::vector::constant;
use crate::diag::Code;
use crate::op::{AluOp, ReduceCmd};

/// isa.md 9.3.9: raw bits move; a constant is converted to the dtype of dst beforehand.
pub(super) fn tensor_copy_predicated(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let predicate = e.pair(dst, "predicate")?;
    let reversed = e.flag("reverse_pred")?;
    let src = match e.any("src")? {
        Arg::Span(_) => Some(e.pair(dst, "src")?),
        _ => None,
    };
    if let Some(src) = src.filter(|s| s.dtype != dst.dtype) {
        return fault(Code::Dtype, format!("{} into {}", src.dtype, dst.dtype));
    }
    let n = dst.row_elements();
    let mut from = match src {
        Some(_) => vec![0; n],
        None => vec![constant(dst, e.any("src")?)?; n],
    };
    let (mut mask, mut row) = (vec![0; n], vec![0; n]);
    for p in 0..dst.parts {
        e.load_bits(predicate, p, &mut mask);
        e.load_bits(dst, p, &mut row);
        if let Some(src) = src {
            e.load_bits(src, p, &mut from);
        }
        for (x, (m, y)) in row.iter_mut().zip(mask.iter().zip(&from)) {
            if (*m != 0) != reversed {
                *x = *y;
            }
        }
        e.store_bits(dst, p, &row);
    }
    Ok(())
}

/// isa.md 9.3.14: what lies outside the range becomes the smallest float32.
pub(super) fn range_select(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "on_true_tile")?;
    let bounds = [e.scalars("bound0", dst.parts)?, e.scalars("bound1", dst.parts)?];
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let ops = [e.alu("comp_op0")?, e.alu("comp_op1")?];
    let (start, other) = (*e.int_ref("range_start")?, *e.f32_ref("on_false_value")?);
    e.castable(&[dst, data])?;
    if let Some(op) = ops.iter().find(|op| !op.is_comparison()) {
        return fault(Code::Operator, format!("{op} is not a comparison"));
    }
    let mut maximum = begin(e)?;
    let mut row = scratch(dst.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        let bound = [e.scalar(bounds[0], p, 0.0), e.scalar(bounds[1], p, 0.0)];
        for (f, x) in row.iter_mut().enumerate() {
            let column = start.wrapping_add(f as i64) as f32;
            let holds = |i: usize| alu::apply(ops[i], column, bound[i]) != 0.0;
            if !(holds(0) && holds(1)) {
                *x = other;
            }
        }
        maximum.row(e, p, 0.0, &row)?;
        e.store(dst, p, &row);
    }
    readout(e, reduce_res, false)
}

/// isa.md 9.3.15.
pub(super) fn select_reduce(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (predicate, on_true) = (e.pair(dst, "predicate")?, e.pair(dst, "on_true")?);
    let on_false = e.scalars("on_false", dst.parts)?;
    let reduce_res = e.vec("reduce_res", dst.parts)?;
    let reversed = e.flag("reverse_pred")?;
    e.castable(&[dst, on_true])?;
    let mut maximum = begin(e)?;
    let n = dst.row_elements();
    let (mut mask, mut row) = (vec![0; n], scratch(n));
    for p in 0..dst.parts {
        e.load_bits(predicate, p, &mut mask);
        e.load(on_true, p, &mut row);
        let other = e.scalar(on_false, p, 0.0);
        for (x, m) in row.iter_mut().zip(&mask) {
            if (*m != 0) == reversed {
                *x = other;
            }
        }
        maximum.row(e, p, 0.0, &row)?;
        e.store(dst, p, &row);
    }
    readout(e, reduce_res, false)
}

/// The running maximum of both selections.
fn begin(e: &Exec) -> Result<Accumulator, Fault> {
    let (cmd, op) = (*e.cmd_ref("reduce_cmd")?, e.alu("reduce_op")?);
    if op != AluOp::Maximum {
        return fault(Code::Operator, format!("reduce_op {op}"));
    }
    if matches!(cmd, ReduceCmd::Reset | ReduceCmd::LoadReduce) {
        return fault(Code::ReduceCmd, format!("reduce_cmd {cmd}"));
    }
    Ok(Accumulator::begin(cmd, op))
}
