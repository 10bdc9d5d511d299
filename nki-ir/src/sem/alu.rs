//! ALU operators (isa.md section 4): on float32, on raw bits, and on exact 32-bit integers.

use crate::op::AluOp;
use nki_rt::{Activation, Binary, MatRef, Operand, Reduction, Tier};

/// `op(a, b)` of an arithmetic operator in float32, one rounding. Unary operators ignore `b`; bitvec operators and
/// `average`, which have no float32 form, return `a` like `bypass`.
///
/// Choices of isa.md section 4: maximum and minimum propagate NaN and order -0 below +0; comparisons are IEEE 754's and
/// give 1 or 0; logical operators take NaN as true; abs_max and abs_min return the signed operand, `b` on ties.
pub fn apply(op: AluOp, a: f32, b: f32) -> f32 {
    match op {
        AluOp::Add => a + b,
        AluOp::Subtract => a - b,
        AluOp::Multiply => a * b,
        _ => {
            let mut row = [a];
            apply_row(op, &mut row, Other::Scalar(b), false);
            row[0]
        }
    }
}

/// The larger operand; NaN if either is; +0 above -0.
pub fn maximum(a: f32, b: f32) -> f32 {
    apply(AluOp::Maximum, a, b)
}

/// The other operand of a row.
#[derive(Clone, Copy)]
pub(crate) enum Other<'a> {
    Scalar(f32),
    Row(&'a [f32]),
}

/// `row = op(row, other)`, or `op(other, row)` if `reversed`.
pub(crate) fn apply_row(op: AluOp, row: &mut [f32], other: Other, reversed: bool) {
    if let Some(binary) = row_operation(op) {
        let other = match other {
            Other::Scalar(x) => Operand::Scalar(x),
            Other::Row(row) => Operand::Row(row),
        };
        return nki_rt::binary_in_place(Tier::best(), binary, row, other, reversed);
    }
    use AluOp::*;
    let function = match op {
        Power => return each(row, other, reversed, |a, b| libm::pow(a.into(), b.into()) as f32),
        Abs => Activation::Abs,
        Square => Activation::Square,
        Relu => Activation::Relu,
        Rsqrt => Activation::Rsqrt,
        Reciprocal => Activation::Reciprocal,
        _ => return,
    };
    nki_rt::activate_in_place(Tier::best(), function, row);
}

/// The row operation of a binary arithmetic operator, if there is one.
pub fn row_operation(op: AluOp) -> Option<Binary> {
    use AluOp::*;
    Some(match op {
        Add => Binary::Add,
        Subtract => Binary::Subtract,
        Multiply => Binary::Multiply,
        Maximum => Binary::Maximum,
        Minimum => Binary::Minimum,
        Equal => Binary::Equal,
        NotEqual => Binary::NotEqual,
        Less => Binary::Less,
        LessEqual => Binary::LessEqual,
        Greater => Binary::Greater,
        GreaterEqual => Binary::GreaterEqual,
        LogicalAnd => Binary::LogicalAnd,
        LogicalOr => Binary::LogicalOr,
        LogicalXor => Binary::LogicalXor,
        AbsMax => Binary::AbsMax,
        AbsMin => Binary::AbsMin,
        Power | Abs | Square | Relu | Rsqrt | Reciprocal | Average | Bypass => return None,
        Invert | BitwiseAnd | BitwiseOr | BitwiseXor | LeftShift | RightShift => return None,
    })
}

#[inline(always)]
fn each(row: &mut [f32], other: Other, reversed: bool, f: impl Fn(f32, f32) -> f32) {
    match (other, reversed) {
        (Other::Scalar(b), false) => row.iter_mut().for_each(|x| *x = f(*x, b)),
        (Other::Scalar(a), true) => row.iter_mut().for_each(|x| *x = f(a, *x)),
        (Other::Row(other), false) => row.iter_mut().zip(other).for_each(|(x, b)| *x = f(*x, *b)),
        (Other::Row(other), true) => row.iter_mut().zip(other).for_each(|(x, a)| *x = f(*a, *x)),
    }
}

/// Folds `values` into `acc` in ascending order: `acc = op(acc, v)`.
pub(crate) fn fold(op: AluOp, acc: f32, values: &[f32]) -> f32 {
    use AluOp::*;
    let over = |f: fn(f32, f32) -> f32| values.iter().fold(acc, |a, &v| f(a, v));
    match op {
        Add => values.iter().fold(acc, |a, v| a + v),
        Subtract => values.iter().fold(acc, |a, v| a - v),
        Multiply => values.iter().fold(acc, |a, v| a * v),
        // Associative and commutative to the last bit but for a NaN's payload, which never reaches memory.
        Maximum => nki_rt::fold(Tier::best(), Reduction::Maximum, acc, values),
        Minimum => nki_rt::fold(Tier::best(), Reduction::Minimum, acc, values),
        LogicalAnd => over(|a, v| apply(LogicalAnd, a, v)),
        LogicalOr => over(|a, v| apply(LogicalOr, a, v)),
        LogicalXor => over(|a, v| apply(LogicalXor, a, v)),
        AbsMax => over(|a, v| apply(AbsMax, a, v)),
        AbsMin => over(|a, v| apply(AbsMin, a, v)),
        _ => values.iter().fold(acc, |a, &v| apply(op, a, v)),
    }
}

/// [`fold`]s each row of `n` values into its own total. Rows advance side by side, so that sums do not wait for each other.
pub(crate) fn fold_rows(op: AluOp, totals: &mut [f32], values: &[f32], n: usize) {
    let reduction = match op {
        AluOp::Add => Reduction::Add,
        AluOp::Multiply => Reduction::Multiply,
        AluOp::Maximum => Reduction::Maximum,
        AluOp::Minimum => Reduction::Minimum,
        _ => {
            for (total, row) in totals.iter_mut().zip(values.chunks_exact(n.max(1))) {
                *total = fold(op, *total, row);
            }
            return;
        }
    };
    nki_rt::fold_rows(Tier::best(), reduction, MatRef::dense(values, totals.len(), n), totals);
}

/// A bitvec operator on raw bits of `width` bytes, zero-extended. Shifts are logical; counts of the width or more give 0.
/// Other operators return `a`.
pub fn apply_bits(op: AluOp, a: u32, b: u32, width: usize) -> u32 {
    use AluOp::*;
    let mask = u32::MAX >> (32 - 8 * width.clamp(1, 4) as u32);
    let in_range = b < 8 * width as u32;
    let r = match op {
        Invert => !a,
        BitwiseAnd => a & b,
        BitwiseOr => a | b,
        BitwiseXor => a ^ b,
        LeftShift if in_range => a << b,
        RightShift if in_range => (a & mask) >> b,
        LeftShift | RightShift => 0,
        _ => a,
    };
    r & mask
}

/// An arithmetic operator on 32-bit integers as GpSimdE computes it, modulo 2^32 (isa.md section 4 rule 1). Operands are
/// the values of int32 or uint32 elements. A negative power is the float32 result, rounded and saturated.
pub fn apply_int(op: AluOp, a: i64, b: i64) -> i64 {
    use AluOp::*;
    let signed_by_magnitude = |first: bool| if first { a } else { b };
    match op {
        Add => a.wrapping_add(b),
        Subtract => a.wrapping_sub(b),
        Multiply => a.wrapping_mul(b),
        Maximum => a.max(b),
        Minimum => a.min(b),
        Equal => (a == b).into(),
        NotEqual => (a != b).into(),
        Less => (a < b).into(),
        LessEqual => (a <= b).into(),
        Greater => (a > b).into(),
        GreaterEqual => (a >= b).into(),
        LogicalAnd => (a != 0 && b != 0).into(),
        LogicalOr => (a != 0 || b != 0).into(),
        LogicalXor => ((a != 0) != (b != 0)).into(),
        Power => match u32::try_from(b) {
            Ok(b) => a.wrapping_pow(b),
            Err(_) => super::cast::nearest(apply(Power, a as f32, b as f32)) as i32 as i64,
        },
        AbsMax => signed_by_magnitude(a.abs() > b.abs()),
        AbsMin => signed_by_magnitude(a.abs() < b.abs()),
        Abs => a.abs(),
        Square => a.wrapping_mul(a),
        Relu => a.max(0),
        Rsqrt | Reciprocal | Average | Bypass => a,
        Invert | BitwiseAnd | BitwiseOr | BitwiseXor | LeftShift | RightShift => a,
    }
}
