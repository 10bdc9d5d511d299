//! ALU operators (isa.md section 4): on float32, on raw bits, and on exact 32-bit integers.

use crate::op::AluOp;

/// `op(a, b)` of an arithmetic operator in float32, one rounding. Unary operators ignore `b`; bitvec operators and
/// `average`, which have no float32 form, return `a` like `bypass`.
///
/// Choices of isa.md section 4: maximum and minimum propagate NaN and order -0 below +0; comparisons are IEEE 754's and
/// give 1 or 0; logical operators take NaN as true; abs_max and abs_min return the signed operand, `b` on ties.
pub fn apply(op: AluOp, a: f32, b: f32) -> f32 {
    let mut row = [a];
    apply_row(op, &mut row, Other::Scalar(b), false);
    row[0]
}

/// The other operand of a row.
#[derive(Clone, Copy)]
pub(crate) enum Other<'a> {
    Scalar(f32),
    Row(&'a [f32]),
}

/// `row = op(row, other)`, or `op(other, row)` if `reversed`.
pub(crate) fn apply_row(op: AluOp, row: &mut [f32], other: Other, reversed: bool) {
    use AluOp::*;
    match op {
        Add => each(row, other, reversed, |a, b| a + b),
        Subtract => each(row, other, reversed, |a, b| a - b),
        Multiply => each(row, other, reversed, |a, b| a * b),
        Maximum => each(row, other, reversed, maximum),
        Minimum => each(row, other, reversed, minimum),
        Equal => each(row, other, reversed, |a, b| truth(a == b)),
        NotEqual => each(row, other, reversed, |a, b| truth(a != b)),
        Less => each(row, other, reversed, |a, b| truth(a < b)),
        LessEqual => each(row, other, reversed, |a, b| truth(a <= b)),
        Greater => each(row, other, reversed, |a, b| truth(a > b)),
        GreaterEqual => each(row, other, reversed, |a, b| truth(a >= b)),
        LogicalAnd => each(row, other, reversed, |a, b| truth((a != 0.0) & (b != 0.0))),
        LogicalOr => each(row, other, reversed, |a, b| truth((a != 0.0) | (b != 0.0))),
        LogicalXor => each(row, other, reversed, |a, b| truth((a != 0.0) ^ (b != 0.0))),
        Power => each(row, other, reversed, |a, b| libm::pow(a.into(), b.into()) as f32),
        AbsMax => each(row, other, reversed, |a, b| by_magnitude(a, b, |x, y| x > y)),
        AbsMin => each(row, other, reversed, |a, b| by_magnitude(a, b, |x, y| x < y)),
        Abs => row.iter_mut().for_each(|x| *x = x.abs()),
        Square => row.iter_mut().for_each(|x| *x *= *x),
        Relu => row.iter_mut().for_each(|x| *x = maximum(*x, 0.0)),
        Rsqrt => row.iter_mut().for_each(|x| *x = rsqrt(*x)),
        Reciprocal => row.iter_mut().for_each(|x| *x = 1.0 / *x),
        Invert | BitwiseAnd | BitwiseOr | BitwiseXor | LeftShift | RightShift | Average | Bypass => {}
    }
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
        Maximum => extreme(acc, values, maximum),
        Minimum => extreme(acc, values, minimum),
        LogicalAnd => over(|a, v| apply(LogicalAnd, a, v)),
        LogicalOr => over(|a, v| apply(LogicalOr, a, v)),
        LogicalXor => over(|a, v| apply(LogicalXor, a, v)),
        AbsMax => over(|a, v| apply(AbsMax, a, v)),
        AbsMin => over(|a, v| apply(AbsMin, a, v)),
        _ => values.iter().fold(acc, |a, &v| apply(op, a, v)),
    }
}

/// A fold whose order does not matter, in independent lanes.
#[inline(always)]
fn extreme(acc: f32, values: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut lanes = [acc; 16];
    for chunk in chunks {
        for (l, v) in lanes.iter_mut().zip(chunk) {
            *l = f(*l, *v);
        }
    }
    lanes.iter().chain(rest).fold(acc, |a, &v| f(a, v))
}

#[inline(always)]
fn truth(b: bool) -> f32 {
    f32::from(u8::from(b))
}

/// The larger operand; NaN if either is; +0 above -0.
#[inline(always)]
pub(crate) fn maximum(a: f32, b: f32) -> f32 {
    // Equal operands differ at most in the sign of zero.
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    pick(a, b, a > b, equal)
}

/// The smaller operand; NaN if either is; -0 below +0.
#[inline(always)]
pub(crate) fn minimum(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    pick(a, b, a < b, equal)
}

#[inline(always)]
fn pick(a: f32, b: f32, first: bool, equal: f32) -> f32 {
    let ordered = if first { a } else { b };
    let ordered = if a == b { equal } else { ordered };
    if a.is_nan() | b.is_nan() { f32::NAN } else { ordered }
}

#[inline(always)]
fn by_magnitude(a: f32, b: f32, first: impl Fn(f32, f32) -> bool) -> f32 {
    let chosen = if first(a.abs(), b.abs()) { a } else { b };
    if a.is_nan() | b.is_nan() { f32::NAN } else { chosen }
}

/// 1/sqrt(x), computed in float64 and rounded once.
#[inline(always)]
pub(crate) fn rsqrt(x: f32) -> f32 {
    (1.0 / f64::from(x).sqrt()) as f32
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
