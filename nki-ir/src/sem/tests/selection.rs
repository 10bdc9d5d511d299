//! Selections, exponentials and the scalar engine's other forms against the equations of isa.md 9.2 and 9.3.

// Indices as in the equations.
#![allow(clippy::needless_range_loop)]

use super::elementwise::alu_model;
use super::harness::*;
use crate::op::ReduceCmd;
use crate::sem::{State, cast};
use crate::target::Gen;
use crate::{ActFn, AluOp, Attr, Code, DType, Op};
use proptest::prelude::*;

fn mask_dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(vec![DType::U8, DType::U16, DType::U32])
}

/// Functions that float64 gives exactly.
const EXACT: [ActFn; 6] = [ActFn::Copy, ActFn::Square, ActFn::Abs, ActFn::Sign, ActFn::Relu, ActFn::Prelu];

fn exact_model(f: ActFn, x: f32, slope: f32) -> f32 {
    match f {
        ActFn::Copy => x,
        ActFn::Square => alu_model(AluOp::Multiply, x, x),
        ActFn::Abs => alu_model(AluOp::Abs, x, 0.0),
        ActFn::Relu => alu_model(AluOp::Relu, x, 0.0),
        ActFn::Prelu if x > 0.0 => x,
        ActFn::Prelu => alu_model(AluOp::Multiply, slope, x),
        _ if x.is_nan() => f32::NAN,
        _ if x == 0.0 => 0.0,
        _ => x.signum(),
    }
}

proptest! {
    /// isa.md 9.3.9, bit by bit, from a tile and from a constant.
    #[test]
    fn tensor_copy_predicated(
        (dst, src, mask) in (small_shape(), any_dtype(), mask_dtype())
            .prop_flat_map(|((p, n), d, m)| (tile(d, p, n), tile(d, p, n), tile(m, p, n))),
        reverse: bool,
        imm in -100i64..100,
        layouts in five_layouts(),
    ) {
        let constant = cast::down(dst.dtype, imm as f32);
        for from_tile in [false, true] {
            let mut want = dst.clone();
            for p in 0..dst.parts() {
                for f in 0..dst.n() {
                    if (mask.bits[p][f] != 0) != reverse {
                        want.bits[p][f] = if from_tile { src.bits[p][f] } else { constant };
                    }
                }
            }
            let value = if from_tile { Operand::from(&src) } else { Operand::Int(imm) };
            let case = Case::new(Op::TensorCopyPredicated, dst.clone()).operand(value).operand(&mask);
            prop_assert_eq!(case.flag("reverse_pred", reverse).layouts(layouts).run(), Ok(want));
        }
    }

    /// isa.md 9.3.14.
    #[test]
    fn range_select(
        (dst, data, b0, b1) in (small_shape(), any_dtype(), any_dtype()).prop_flat_map(|((p, n), d, s)| {
            let bound = || prop::collection::vec(prop_oneof![(-3i32..25).prop_map(|x| x as f32), Just(f32::NAN)], p);
            (tile(d, p, n), tile(s, p, n), bound(), bound())
        }),
        ops in prop::array::uniform2(prop::sample::select(vec![
            AluOp::Equal, AluOp::Less, AluOp::LessEqual, AluOp::Greater, AluOp::GreaterEqual,
        ])),
        start in -4i64..10,
    ) {
        let rows = data.floats();
        let mut want = rows.clone();
        let mut top = Vec::new();
        for (p, row) in want.iter_mut().enumerate() {
            for (f, x) in row.iter_mut().enumerate() {
                let i = (start + f as i64) as f32;
                if alu_model(ops[0], i, b0[p]) * alu_model(ops[1], i, b1[p]) != 1.0 {
                    *x = f32::from_bits(0xFF7F_FFFF);
                }
            }
            let max = row.iter().fold(f32::NEG_INFINITY, |a, x| alu_model(AluOp::Maximum, a, *x));
            top.push(vec![max]);
        }
        let column = |b: &[f32]| Tile::rounded(DType::F32, &b.iter().map(|x| vec![*x]).collect::<Vec<_>>());
        let case = Case::new(Op::RangeSelect, dst.clone()).operand(&data).operand(&column(&b0)).operand(&column(&b1));
        let case = case.operand(&Tile::filled(DType::F32, dst.parts(), 1, 0));
        let case = case.alu("comp_op0", ops[0]).alu("comp_op1", ops[1]).attr("range_start", Attr::Int(start));
        let got = case.run_on(&mut State::default()).expect("legal");
        prop_assert_eq!(&got[0], &Tile::rounded(dst.dtype, &want));
        prop_assert_eq!(&got[4], &Tile::rounded(DType::F32, &top));
    }

    /// isa.md 9.3.15, over two instructions.
    #[test]
    fn select_reduce(
        (dst, data, mask, other) in (small_shape(), any_dtype(), any_dtype(), prop::sample::select(vec![DType::U8, DType::I8, DType::I16, DType::U16]))
            .prop_flat_map(|((p, n), d, s, m)| (tile(d, p, n), tile(s, p, n), tile(m, p, n), tile(DType::F32, p, 1))),
        reverse: bool,
    ) {
        let mut want = data.floats();
        let other_values = other.floats();
        for p in 0..dst.parts() {
            for f in 0..dst.n() {
                if (mask.bits[p][f] != 0) == reverse {
                    want[p][f] = other_values[p][0];
                }
            }
        }
        let mut state = State::default();
        let mut top = vec![f32::NEG_INFINITY; dst.parts()];
        for cmd in [ReduceCmd::ResetReduce, ReduceCmd::Reduce] {
            let case = Case::new(Op::SelectReduce, dst.clone()).operand(&mask).operand(&data).operand(&other);
            let case = case.operand(&Tile::filled(DType::F32, dst.parts(), 1, 0)).flag("reverse_pred", reverse);
            let got = case.attr("reduce_cmd", Attr::ReduceCmd(cmd)).run_on(&mut state).expect("legal");
            prop_assert_eq!(&got[0], &Tile::rounded(dst.dtype, &want));
            for (t, row) in top.iter_mut().zip(&want) {
                *t = row.iter().fold(*t, |a, x| alu_model(AluOp::Maximum, a, *x));
            }
            let top: Vec<Vec<f32>> = top.iter().map(|x| vec![*x]).collect();
            prop_assert_eq!(&got[4], &Tile::rounded(DType::F32, &top));
        }
    }

    /// isa.md 9.3.11: within a unit in the last place of the float64 function; the sum is exactly the sum of the results.
    #[test]
    fn exponential(
        (src, max) in (small_shape(), any_dtype()).prop_flat_map(|((p, n), s)| (tile(s, p, n), tile(DType::F32, p, 1))),
        load: bool,
    ) {
        let (rows, max_values) = (src.floats(), max.floats());
        let blank = Tile::filled(DType::F32, src.parts(), src.n(), 0);
        let sum = Tile::filled(DType::F32, src.parts(), 1, 0);
        let init = if load { Operand::Imm(2.5) } else { Operand::Absent };
        let cmd = if load { ReduceCmd::LoadReduce } else { ReduceCmd::ResetReduce };
        let case = Case::new(Op::Exponential, blank).operand(&src).operand(&max).operand(&sum).operand(init);
        let case = case.attr("reduce_cmd", Attr::ReduceCmd(cmd)).generation(Gen::Gen4);
        let got = case.run_on(&mut State::default()).expect("legal");
        let y = got[0].floats();
        for p in 0..src.parts() {
            for f in 0..src.n() {
                let t = alu_model(AluOp::Subtract, rows[p][f], max_values[p][0]);
                let want = f64::from(t).exp();
                let near = (f64::from(y[p][f]) - want).abs() <= want.abs() * 1.2e-7 + 1e-45;
                let same = y[p][f] == want as f32 || (y[p][f].is_nan() && want.is_nan());
                prop_assert!(near || same, "exp({t}) is {}", y[p][f]);
            }
            let start = if load { 2.5 } else { 0.0 };
            let total = y[p].iter().fold(start, |a, x| alu_model(AluOp::Add, a, *x));
            prop_assert_eq!(got[3].bits[p][0], cast::down(DType::F32, total));
        }
    }

    /// isa.md 9.2.2: what activation computes, and its sum.
    #[test]
    fn activation_reduce(
        (dst, src, bias, scale) in (small_shape(), any_dtype(), any_dtype()).prop_flat_map(|((p, n), d, s)| {
            (tile(d, p, n), tile(s, p, n), tile(DType::BF16, p, 1), tile(DType::F32, p, 1))
        }),
        func in prop::sample::select(&EXACT[..5]),
    ) {
        let (rows, b, s) = (src.floats(), bias.floats(), scale.floats());
        let y: Vec<Vec<f32>> = rows.iter().enumerate().map(|(p, row)| {
            row.iter().map(|x| {
                let t = alu_model(AluOp::Add, alu_model(AluOp::Multiply, *x, s[p][0]), b[p][0]);
                exact_model(func, t, 0.0)
            }).collect()
        }).collect();
        let sums: Vec<Vec<f32>> =
            y.iter().map(|r| vec![r.iter().fold(0.0, |a, x| alu_model(AluOp::Add, a, *x))]).collect();
        let case = Case::new(Op::ActivationReduce, dst.clone()).operand(&src).operand(&bias).operand(&scale);
        let case = case.operand(&Tile::filled(DType::F32, dst.parts(), 1, 0));
        let case = case.attr("op", Attr::Act(func)).alu("reduce_op", AluOp::Add);
        let got = case.run_on(&mut State::default()).expect("legal");
        prop_assert_eq!(&got[0], &Tile::rounded(dst.dtype, &y));
        prop_assert_eq!(&got[4], &Tile::rounded(DType::F32, &sums));
    }

    /// isa.md 9.2.3.
    #[test]
    fn activate2(
        (dst, src, imm0) in (small_shape(), any_dtype(), any_dtype())
            .prop_flat_map(|((p, n), d, s)| (tile(d, p, n), tile(s, p, n), tile(DType::F32, p, 1))),
        (func, slope, imm1) in (prop::sample::select(&EXACT[..]), bits(DType::F32), bits(DType::F32)),
        ops in prop::sample::select(vec![
            (AluOp::Multiply, AluOp::Add), (AluOp::Multiply, AluOp::Subtract), (AluOp::Multiply, AluOp::Bypass),
            (AluOp::Add, AluOp::Bypass), (AluOp::Subtract, AluOp::Bypass), (AluOp::Bypass, AluOp::Bypass),
        ]),
        (r0, r1) in (any::<bool>(), any::<bool>()),
        reduce in prop::sample::select(vec![AluOp::Add, AluOp::Maximum, AluOp::Minimum, AluOp::AbsMax, AluOp::AbsMin]),
    ) {
        let (slope, imm1) = (f32::from_bits(slope), f32::from_bits(imm1));
        let stage = |op, x, imm, reversed| match (op, reversed) {
            (AluOp::Bypass, _) => x,
            (op, false) => alu_model(op, x, imm),
            (op, true) => alu_model(op, imm, x),
        };
        let column = imm0.floats();
        let y: Vec<Vec<f32>> = src.floats().iter().enumerate().map(|(p, row)| {
            row.iter().map(|x| {
                let t = stage(ops.1, stage(ops.0, *x, column[p][0], r0), imm1, r1);
                exact_model(func, t, slope)
            }).collect()
        }).collect();
        let identity = match reduce {
            AluOp::Maximum => f32::NEG_INFINITY,
            AluOp::Minimum | AluOp::AbsMin => f32::INFINITY,
            _ => 0.0,
        };
        let reduced: Vec<Vec<f32>> =
            y.iter().map(|r| vec![r.iter().fold(identity, |a, x| alu_model(reduce, a, *x))]).collect();
        let case = Case::new(Op::Activate2, dst.clone()).operand(&src).operand(&imm0).operand(Operand::Imm(imm1));
        let case = case.operand(Operand::Imm(slope)).operand(&Tile::filled(DType::F32, dst.parts(), 1, 0));
        let case = case.alu("op0", ops.0).alu("op1", ops.1).flag("reverse0", r0).flag("reverse1", r1);
        let case = case.attr("op", Attr::Act(func)).alu("reduce_op", reduce).generation(Gen::Gen4);
        let got = case.attr("reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce)).run_on(&mut State::default());
        let got = got.expect("legal");
        prop_assert_eq!(&got[0], &Tile::rounded(dst.dtype, &y));
        let last = got.last().expect("reduce_res");
        prop_assert_eq!(last, &Tile::rounded(DType::F32, &reduced));
    }
}

/// isa.md section 6 item 1: an idle instruction of the vector engine leaves nothing to go on with.
#[test]
fn idle_disturbs_the_vector_registers() {
    let (x, m) = (Tile::filled(DType::F32, 1, 4, 0), Tile::filled(DType::U8, 1, 4, 1));
    let mut state = State::default();
    let mut step = |cmd| {
        let case = Case::new(Op::SelectReduce, x.clone()).operand(&m).operand(&x).operand(Operand::Imm(0.0));
        case.attr("reduce_cmd", Attr::ReduceCmd(cmd)).run_on(&mut state).map(|_| ()).map_err(|f| f.code)
    };
    assert_eq!(step(ReduceCmd::Reduce), Err(Code::ReduceCmd));
    assert_eq!(step(ReduceCmd::ResetReduce), Ok(()));
    assert_eq!(step(ReduceCmd::Reduce), Ok(()));
    assert_eq!(step(ReduceCmd::Idle), Ok(()));
    assert_eq!(step(ReduceCmd::Reduce), Err(Code::ReduceCmd));
}
