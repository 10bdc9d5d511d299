//! Element-wise instructions against the equations of isa.md 9.2 to 9.4, in float64 and wide integers.

use super::harness::*;
use crate::op::Engine;
use crate::sem::cast;
use crate::{ActFn, AluOp, Attr, Code, DType, Op};
use proptest::prelude::*;

/// `op(a, b)` in float64, rounded once: float64 holds enough bits for the second rounding not to matter.
pub fn alu_model(op: AluOp, a: f32, b: f32) -> f32 {
    use AluOp::*;
    let (x, y) = (f64::from(a), f64::from(b));
    let truth = |t: bool| if t { 1.0 } else { 0.0 };
    let either_nan = a.is_nan() || b.is_nan();
    let larger_first = |swap: bool| match (either_nan, x == y) {
        (true, _) => f64::NAN,
        // +0 above -0.
        (_, true) if x == 0.0 => {
            let positive = a.is_sign_positive() || b.is_sign_positive();
            let negative = a.is_sign_negative() || b.is_sign_negative();
            if swap {
                if negative { -0.0 } else { 0.0 }
            } else if positive {
                0.0
            } else {
                -0.0
            }
        }
        _ if (x > y) != swap => x,
        _ => y,
    };
    (match op {
        Add => x + y,
        Subtract => x - y,
        Multiply => x * y,
        Maximum => larger_first(false),
        Minimum => larger_first(true),
        Equal => truth(!either_nan && x == y),
        NotEqual => truth(either_nan || x != y),
        Less => truth(x < y),
        LessEqual => truth(x <= y),
        Greater => truth(y < x),
        GreaterEqual => truth(y <= x),
        LogicalAnd => truth(x != 0.0 && y != 0.0),
        LogicalOr => truth(x != 0.0 || y != 0.0),
        LogicalXor => truth((x != 0.0) != (y != 0.0)),
        AbsMax | AbsMin if either_nan => f64::NAN,
        AbsMax => {
            if x * x.signum() > y * y.signum() {
                x
            } else {
                y
            }
        }
        AbsMin => {
            if x * x.signum() < y * y.signum() {
                x
            } else {
                y
            }
        }
        Abs => {
            if a.is_sign_negative() {
                -x
            } else {
                x
            }
        }
        Square => x * x,
        Relu => {
            if a.is_nan() {
                f64::NAN
            } else if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Reciprocal => 1.0 / x,
        Rsqrt => 1.0 / x.sqrt(),
        other => panic!("{other} has no model"),
    }) as f32
}

/// Binary arithmetic operators with an exact model.
const BINARY: [AluOp; 16] = {
    use AluOp::*;
    [
        Add,
        Subtract,
        Multiply,
        Maximum,
        Minimum,
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
        LogicalAnd,
        LogicalOr,
        LogicalXor,
        AbsMax,
        AbsMin,
    ]
};
const UNARY: [AluOp; 5] = [AluOp::Abs, AluOp::Square, AluOp::Relu, AluOp::Reciprocal, AluOp::Rsqrt];
const BITVEC: [AluOp; 5] =
    [AluOp::BitwiseAnd, AluOp::BitwiseOr, AluOp::BitwiseXor, AluOp::LeftShift, AluOp::RightShift];

/// A bitvec operator in wide integers.
fn bits_model(op: AluOp, a: u32, b: u32, width: usize) -> u32 {
    let size = 1u64 << (8 * width);
    let (x, y) = (u64::from(a), u64::from(b));
    (match op {
        AluOp::Invert => size - 1 - x,
        AluOp::BitwiseAnd => x & y,
        AluOp::BitwiseOr => x | y,
        AluOp::BitwiseXor => x ^ y,
        AluOp::LeftShift => {
            if y < 64 {
                (u128::from(x) << y) as u64 % size
            } else {
                0
            }
        }
        AluOp::RightShift => {
            if y < 64 {
                x >> y
            } else {
                0
            }
        }
        other => panic!("{other} is no bitvec operator"),
    }) as u32
}

/// Two inputs of the same shape and a destination, any dtypes.
fn three_tiles() -> impl Strategy<Value = [Tile; 3]> {
    (small_shape(), [any_dtype(), any_dtype(), any_dtype()])
        .prop_flat_map(|((p, n), [a, b, c])| [tile(a, p, n), tile(b, p, n), tile(c, p, n)])
}

/// A scalar operand: immediate, or float32 vec of the tile's partitions.
fn scalars(parts: usize) -> impl Strategy<Value = Operand> {
    prop_oneof![
        bits(DType::F32).prop_map(|b| Operand::Imm(f32::from_bits(b))),
        tile(DType::F32, parts, 1).prop_map(Operand::Tile),
    ]
}

fn scalar_at(x: &Operand, p: usize) -> f32 {
    match x {
        Operand::Imm(x) => *x,
        Operand::Int(x) => *x as f32,
        Operand::Tile(t) => cast::up(t.dtype, t.bits[p][0]),
        Operand::Absent => panic!("no scalar"),
    }
}

/// A tile, a destination of its shape, and two scalar operands.
fn with_scalars() -> impl Strategy<Value = (Tile, Tile, Operand, Operand)> {
    (small_shape(), any_dtype(), any_dtype())
        .prop_flat_map(|((p, n), a, b)| (tile(a, p, n), tile(b, p, n), scalars(p), scalars(p)))
}

fn rev(op: AluOp, a: f32, b: f32, reversed: bool) -> f32 {
    if reversed { alu_model(op, b, a) } else { alu_model(op, a, b) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tensor_tensor_arithmetic(
        [a, b, dst] in three_tiles(),
        op in prop::sample::select(&BINARY[..]),
        layouts in five_layouts(),
    ) {
        let y = b.floats();
        let want = a.map(dst.dtype, |p, f, x| alu_model(op, x, y[p][f]));
        let got = Case::new(Op::TensorTensor, dst).operand(&a).operand(&b).alu("op", op).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn tensor_tensor_bits(
        (a, b, dst) in (small_shape(), integer_dtype()).prop_flat_map(|((p, n), d)| {
            let shift = prop::collection::vec(prop::collection::vec(0u32..40, n), p);
            let b = prop_oneof![tile(d, p, n), shift.prop_map(move |bits| Tile { dtype: d, bits })];
            (tile(d, p, n), b, tile(d, p, n))
        }),
        op in prop::sample::select(&BITVEC[..]),
        layouts in five_layouts(),
    ) {
        let width = a.dtype.bytes();
        let mut want = a.clone();
        for (p, row) in want.bits.iter_mut().enumerate() {
            for (f, x) in row.iter_mut().enumerate() {
                *x = bits_model(op, *x, b.bits[p][f], width);
            }
        }
        let got = Case::new(Op::TensorTensor, dst).operand(&a).operand(&b).alu("op", op).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    /// On GpSimdE 32-bit integers wrap; signedness is each operand's own.
    #[test]
    fn tensor_tensor_integers(
        (a, b, dst) in (small_shape(), [any::<bool>(), any::<bool>(), any::<bool>()]).prop_flat_map(|((p, n), s)| {
            let d = |signed| if signed { DType::I32 } else { DType::U32 };
            (tile(d(s[0]), p, n), tile(d(s[1]), p, n), tile(d(s[2]), p, n))
        }),
        op in prop::sample::select(&BINARY[..11]),
        layouts in five_layouts(),
    ) {
        let value = |t: &Tile, p: usize, f: usize| match t.dtype {
            DType::I32 => i128::from(t.bits[p][f] as i32),
            _ => i128::from(t.bits[p][f]),
        };
        let mut want = dst.clone();
        for p in 0..a.parts() {
            for f in 0..a.n() {
                let (x, y) = (value(&a, p, f), value(&b, p, f));
                let r = match op {
                    AluOp::Add => x + y,
                    AluOp::Subtract => x - y,
                    AluOp::Multiply => x * y,
                    AluOp::Maximum => x.max(y),
                    AluOp::Minimum => x.min(y),
                    AluOp::Equal => (x == y).into(),
                    AluOp::NotEqual => (x != y).into(),
                    AluOp::Less => (x < y).into(),
                    AluOp::LessEqual => (x <= y).into(),
                    AluOp::Greater => (x > y).into(),
                    _ => (x >= y).into(),
                };
                want.bits[p][f] = r.rem_euclid(1 << 32) as u32;
            }
        }
        let case = Case::new(Op::TensorTensor, dst).operand(&a).operand(&b).alu("op", op).layouts(layouts);
        prop_assert_eq!(case.engine(Engine::GpSimd).run(), Ok(want));
    }

    #[test]
    fn scalar_tensor_tensor(
        ([a, b, dst], vec) in three_tiles().prop_flat_map(|t| { let p = t[0].parts(); (Just(t), scalars(p)) }),
        (op0, op1) in (prop::sample::select(&BINARY[..]), prop::sample::select(&BINARY[..])),
        (reverse0, reverse1) in any::<(bool, bool)>(),
        layouts in five_layouts(),
    ) {
        let y = b.floats();
        let want = a.map(dst.dtype, |p, f, x| {
            rev(op1, rev(op0, x, scalar_at(&vec, p), reverse0), y[p][f], reverse1)
        });
        let case = Case::new(Op::ScalarTensorTensor, dst).operand(&a).operand(vec).operand(&b);
        let case = case.alu("op0", op0).alu("op1", op1).flag("reverse0", reverse0).flag("reverse1", reverse1);
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }

    #[test]
    fn tensor_scalar_arithmetic(
        (data, dst, operand0, operand1) in with_scalars(),
        (op0, op1) in (prop::sample::select(&BINARY[..]), prop::option::of(prop::sample::select(&BINARY[..]))),
        unary in prop::option::of(prop::sample::select(&UNARY[..])),
        (reverse0, reverse1) in any::<(bool, bool)>(),
        layouts in five_layouts(),
    ) {
        let first = |x: f32, p: usize| match unary {
            Some(op) => alu_model(op, x, 0.0),
            None => rev(op0, x, scalar_at(&operand0, p), reverse0),
        };
        let want = data.map(dst.dtype, |p, _, x| match op1 {
            Some(op) => rev(op, first(x, p), scalar_at(&operand1, p), reverse1),
            None => first(x, p),
        });
        let mut case = Case::new(Op::TensorScalar, dst).operand(&data);
        case = match unary {
            Some(op) => case.operand(Operand::Absent).alu("op0", op),
            None => case.operand(operand0.clone()).alu("op0", op0).flag("reverse0", reverse0),
        };
        if let Some(op) = op1 {
            case = case.operand(operand1.clone()).alu("op1", op).flag("reverse1", reverse1);
        }
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }

    #[test]
    fn tensor_scalar_bits(
        (data, dst, vec) in (small_shape(), integer_dtype())
            .prop_flat_map(|((p, n), d)| (tile(d, p, n), tile(d, p, n), tile(d, p, 1))),
        (op0, op1) in (prop::sample::select(&BITVEC[..]), prop::sample::select(&BITVEC[..])),
        (immediate, invert, reverse1) in (0u32..40, any::<bool>(), any::<bool>()),
        layouts in five_layouts(),
    ) {
        let width = data.dtype.bytes();
        let mut want = data.clone();
        for (p, row) in want.bits.iter_mut().enumerate() {
            for x in row {
                let t = if invert {
                    bits_model(AluOp::Invert, *x, 0, width)
                } else {
                    bits_model(op0, *x, immediate, width)
                };
                let v = vec.bits[p][0];
                *x = if reverse1 { bits_model(op1, v, t, width) } else { bits_model(op1, t, v, width) };
            }
        }
        let case = Case::new(Op::TensorScalar, dst).operand(&data);
        let case = if invert {
            case.operand(Operand::Absent).alu("op0", AluOp::Invert)
        } else {
            case.operand(Operand::Int(immediate.into())).alu("op0", op0)
        };
        let case = case.operand(&vec).alu("op1", op1).flag("reverse1", reverse1);
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }

    /// The address form: 32-bit integers, integer immediates, add/subtract/multiply, modulo 2^32 (isa.md 9.3.5).
    #[test]
    fn tensor_scalar_addresses(
        (data, dst) in (small_shape(), any::<bool>(), any::<bool>()).prop_flat_map(|((p, n), a, b)| {
            let d = |signed| if signed { DType::I32 } else { DType::U32 };
            (tile(d(a), p, n), tile(d(b), p, n))
        }),
        (x0, x1) in any::<(i32, i32)>(),
        (r0, r1) in any::<(bool, bool)>(),
        ops in [prop::sample::select(&BINARY[..3]), prop::sample::select(&BINARY[..3])],
    ) {
        let step = |op: AluOp, a: i128, b: i128, reversed: bool| {
            let (a, b) = if reversed { (b, a) } else { (a, b) };
            match op {
                AluOp::Add => a + b,
                AluOp::Subtract => a - b,
                _ => a * b,
            }.rem_euclid(1 << 32)
        };
        let mut want = Tile { dtype: dst.dtype, ..data.clone() };
        for x in want.bits.iter_mut().flatten() {
            let t = step(ops[0], i128::from(*x), x0.into(), r0);
            *x = step(ops[1], t, x1.into(), r1) as u32;
        }
        let case = Case::new(Op::TensorScalar, dst).operand(&data);
        let case = case.operand(Operand::Int(x0.into())).operand(Operand::Int(x1.into()));
        let case = case.alu("op0", ops[0]).alu("op1", ops[1]).flag("reverse0", r0).flag("reverse1", r1);
        prop_assert_eq!(case.run(), Ok(want));
    }

    #[test]
    fn tensor_copy_converts_or_moves_bits([a, _, dst] in three_tiles(), same: bool, layouts in five_layouts()) {
        let dst = if same { Tile { dtype: a.dtype, ..a.clone() } } else { dst };
        let want = if a.dtype == dst.dtype { a.clone() } else { a.map(dst.dtype, |_, _, x| x) };
        let got = Case::new(Op::TensorCopy, dst).operand(&a).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn reciprocal([a, _, dst] in three_tiles(), layouts in five_layouts()) {
        let want = a.map(dst.dtype, |_, _, x| alu_model(AluOp::Reciprocal, x, 0.0));
        let got = Case::new(Op::Reciprocal, dst).operand(&a).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn memset([_, _, dst] in three_tiles(), x in bits(DType::F32), i in -300i64..300, layouts in five_layouts()) {
        let x = f32::from_bits(x);
        let want = dst.map(dst.dtype, |_, _, _| x);
        let got = Case::new(Op::Memset, dst.clone()).operand(Operand::Imm(x)).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
        // 9 bits or fewer: float32 holds the integer.
        let want = dst.map(dst.dtype, |_, _, _| i as f32);
        let got = Case::new(Op::Memset, dst).operand(Operand::Int(i)).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn iota_and_affine_select(
        ((src, dst), nums) in (1usize..4, prop::collection::vec(1usize..4, 1..5), any_dtype(), any_dtype())
            .prop_flat_map(|(p, nums, a, b)| {
                let n = nums.iter().product();
                ((tile(a, p, n), tile(b, p, n)), Just(nums))
            }),
        steps in prop::collection::vec(prop_oneof![-70i64..70, any::<i32>().prop_map(i64::from)], 4),
        (offset, multiplier) in prop_oneof![(-50i64..50, -9i64..9), any::<(i32, i32)>().prop_map(|(a, b)| (a.into(), b.into()))],
        cmp in prop::sample::select(&BINARY[5..11]),
        otherwise in bits(DType::F32),
        same: bool,
        layouts in five_layouts(),
    ) {
        let pattern: Vec<[i64; 2]> = nums.iter().zip(&steps).map(|(n, s)| [*s, *n as i64]).collect();
        // Digits by division, values modulo 2^32.
        let value = |p: usize, f: usize| {
            let (mut rest, mut x) = (f as i128, i128::from(offset) + p as i128 * i128::from(multiplier));
            for [step, num] in pattern.iter().rev() {
                x += rest % i128::from(*num) * i128::from(*step);
                rest /= i128::from(*num);
            }
            x as i32
        };
        let mut want = dst.clone();
        for (p, row) in want.bits.iter_mut().enumerate() {
            for (f, x) in row.iter_mut().enumerate() {
                *x = cast::from_int(dst.dtype, value(p, f));
            }
        }
        let case = Case::new(Op::Iota, dst.clone()).operand(Operand::Int(offset));
        let case = case.attr("pattern", Attr::Pairs(pattern.clone()));
        let case = case.attr("channel_multiplier", Attr::Int(multiplier)).layouts(layouts);
        prop_assert_eq!(case.run(), Ok(want));

        let dst = if same { Tile { dtype: src.dtype, ..dst } } else { dst };
        let otherwise = f32::from_bits(otherwise);
        let keep = |p, f| {
            let a = value(p, f);
            match cmp {
                AluOp::Equal => a == 0,
                AluOp::NotEqual => a != 0,
                AluOp::Less => a < 0,
                AluOp::LessEqual => a <= 0,
                AluOp::Greater => a > 0,
                _ => a >= 0,
            }
        };
        let mut want = src.map(dst.dtype, |p, f, x| if keep(p, f) { x } else { otherwise });
        if src.dtype == dst.dtype {
            for (p, row) in want.bits.iter_mut().enumerate() {
                for (f, x) in row.iter_mut().enumerate().filter(|(f, _)| keep(p, *f)) {
                    *x = src.bits[p][f];
                }
            }
        }
        let case = Case::new(Op::AffineSelect, dst).operand(&src).operand(Operand::Int(offset));
        let case = case.attr("pattern", Attr::Pairs(pattern)).attr("channel_multiplier", Attr::Int(multiplier));
        let case = case.attr("on_false_value", Attr::F32(otherwise)).alu("cmp_op", cmp).layouts(layouts);
        prop_assert_eq!(case.run(), Ok(want));
    }

    /// `func(data · scale + bias)` with two roundings, for the functions that are exact in float32.
    #[test]
    fn activation_of_exact_functions(
        (data, dst, scale, bias) in with_scalars(),
        bias_dtype in any_dtype(),
        (has_scale, has_bias) in any::<(bool, bool)>(),
        func in prop::sample::select(vec![
            ActFn::Copy, ActFn::Square, ActFn::Abs, ActFn::Sign, ActFn::Relu, ActFn::Sqrt, ActFn::Reciprocal,
        ]),
        layouts in five_layouts(),
    ) {
        let bias = match bias {
            Operand::Tile(t) => Operand::Tile(t.map(bias_dtype, |_, _, x| x)),
            other => other,
        };
        let want = data.map(dst.dtype, |p, _, x| {
            let scaled = alu_model(AluOp::Multiply, x, if has_scale { scalar_at(&scale, p) } else { 1.0 });
            let t = alu_model(AluOp::Add, scaled, if has_bias { scalar_at(&bias, p) } else { 0.0 });
            match func {
                ActFn::Copy => t,
                ActFn::Square => alu_model(AluOp::Square, t, 0.0),
                ActFn::Abs => alu_model(AluOp::Abs, t, 0.0),
                ActFn::Relu => alu_model(AluOp::Relu, t, 0.0),
                ActFn::Reciprocal => alu_model(AluOp::Reciprocal, t, 0.0),
                ActFn::Sqrt => f64::from(t).sqrt() as f32,
                _ if t.is_nan() => t,
                _ => [-1.0, 0.0, 1.0][1 + usize::from(t > 0.0) - usize::from(t < 0.0)],
            }
        });
        let absent = Operand::Absent;
        let case = Case::new(Op::Activation, dst).operand(&data);
        let case = case.operand(if has_bias { bias.clone() } else { absent.clone() });
        let case = case.operand(if has_scale { scale.clone() } else { absent });
        prop_assert_eq!(case.attr("op", Attr::Act(func)).layouts(layouts).run(), Ok(want));
    }
}

#[test]
fn misfits_are_faults() {
    let t = |dtype, p, n| Tile::filled(dtype, p, n, 0);
    let f = DType::F32;
    let add = |a: Tile, b: Tile, c: Tile| {
        Case::new(Op::TensorTensor, c).operand(&a).operand(&b).alu("op", AluOp::Add)
    };
    assert_eq!(add(t(f, 2, 3), t(f, 2, 3), t(f, 2, 4)).run(), Err(Code::Shape));
    assert_eq!(add(t(f, 2, 3), t(f, 3, 2), t(f, 2, 3)).run(), Err(Code::Shape));
    assert_eq!(add(t(f, 129, 1), t(f, 129, 1), t(f, 129, 1)).run(), Err(Code::Partition));
    let packed = DType::F8E5M2X4;
    assert_eq!(add(t(packed, 2, 3), t(f, 2, 3), t(f, 2, 3)).run(), Err(Code::Dtype));
    let and = Case::new(Op::TensorTensor, t(f, 1, 1)).operand(&t(f, 1, 1)).operand(&t(f, 1, 1));
    assert_eq!(and.alu("op", AluOp::BitwiseAnd).run(), Err(Code::Dtype));
    let mixed = Case::new(Op::TensorTensor, t(DType::U8, 1, 1)).operand(&t(DType::U16, 1, 1));
    assert_eq!(mixed.operand(&t(DType::U8, 1, 1)).alu("op", AluOp::BitwiseOr).run(), Err(Code::Dtype));
    let unary = Case::new(Op::TensorTensor, t(f, 1, 1)).operand(&t(f, 1, 1)).operand(&t(f, 1, 1));
    assert_eq!(unary.alu("op", AluOp::Abs).run(), Err(Code::Operator));
    let missing = Case::new(Op::TensorScalar, t(f, 1, 1)).operand(&t(f, 1, 1)).alu("op0", AluOp::Add);
    assert_eq!(missing.run(), Err(Code::Form));
    let wide = Case::new(Op::TensorScalar, t(f, 2, 2)).operand(&t(f, 2, 2)).operand(&t(f, 2, 2));
    assert_eq!(wide.alu("op0", AluOp::Add).run(), Err(Code::Shape));
    let fraction = Case::new(Op::TensorScalar, t(DType::I8, 1, 1)).operand(&t(DType::I8, 1, 1));
    assert_eq!(fraction.operand(Operand::Imm(0.5)).alu("op0", AluOp::BitwiseOr).run(), Err(Code::Dtype));
    let prelu =
        Case::new(Op::Activation, t(f, 1, 1)).operand(&t(f, 1, 1)).attr("op", Attr::Act(ActFn::Prelu));
    assert_eq!(prelu.run(), Err(Code::Operator));
    let one = Case::new(Op::Memset, t(packed, 1, 2)).operand(Operand::Int(1));
    assert_eq!(one.run(), Err(Code::Parameter));
    let zero = Case::new(Op::Memset, Tile::filled(packed, 1, 2, 9)).operand(Operand::Int(0));
    assert_eq!(zero.run(), Ok(t(packed, 1, 2)));
    let iota = Case::new(Op::Iota, t(f, 1, 5)).attr("pattern", Attr::Pairs(vec![[1, 2], [1, 3]]));
    assert_eq!(iota.run(), Err(Code::Shape));
}

/// The engine decides between exact integers and float32; PSUM and bitvec do not go to GpSimdE by themselves.
#[test]
fn automatic_engines() {
    use crate::kernel::Space::{self, Psum, Sbuf};
    use crate::sem::{OperandFacts, engine_of};
    let tensor_tensor = |op, dtype, space: Space| {
        let attrs = [Attr::Alu(op)];
        engine_of(Op::TensorTensor, Engine::Unknown, &attrs, |i| {
            Some(OperandFacts { dtype, space: if i == 0 { space } else { Sbuf } })
        })
    };
    assert_eq!(tensor_tensor(AluOp::Add, DType::I32, Sbuf), Engine::GpSimd);
    assert_eq!(tensor_tensor(AluOp::Add, DType::I32, Psum), Engine::Vector);
    assert_eq!(tensor_tensor(AluOp::Add, DType::F32, Sbuf), Engine::Vector);
    assert_eq!(tensor_tensor(AluOp::BitwiseAnd, DType::I32, Sbuf), Engine::Vector);
    assert_eq!(tensor_tensor(AluOp::LogicalAnd, DType::I32, Sbuf), Engine::Vector);
    assert_eq!(tensor_tensor(AluOp::Power, DType::F32, Sbuf), Engine::GpSimd);
    let transpose = |src, dst| {
        engine_of(Op::NcTranspose, Engine::Unknown, &[], |i| {
            Some(OperandFacts { dtype: DType::F32, space: if i == 0 { dst } else { src } })
        })
    };
    assert_eq!(transpose(Sbuf, Psum), Engine::Tensor);
    assert_eq!([transpose(Sbuf, Sbuf), transpose(Psum, Psum), transpose(Psum, Sbuf)], [Engine::Vector; 3]);
    let scalar = |op0| {
        let attrs = [Attr::Alu(op0), Attr::Alu(AluOp::Bypass), Attr::Bool(false), Attr::Bool(false)];
        engine_of(Op::TensorScalar, Engine::Unknown, &attrs, |_| None)
    };
    assert_eq!(scalar(AluOp::Rsqrt), Engine::GpSimd);
    assert_eq!(scalar(AluOp::Reciprocal), Engine::Vector);
    assert_eq!(engine_of(Op::DmaCopy, Engine::Unknown, &[], |_| None), Engine::Dma);
    assert_eq!(engine_of(Op::TensorCopy, Engine::Scalar, &[], |_| None), Engine::Scalar);
}
