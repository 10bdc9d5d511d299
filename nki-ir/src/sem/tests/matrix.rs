//! TensorE and reductions against exact models.

use super::elementwise::alu_model;
use super::harness::*;
use crate::op::{Engine, MatmulPerf, ReduceCmd};
use crate::sem::{State, cast};
use crate::target::Gen;
use crate::{ActFn, AluOp, Attr, Code, DType, Op};
use proptest::prelude::*;

/// `a · b + s` with one rounding to float32. The product is exact in float64; the sum is rounded to odd there, after which
/// rounding to float32 is as good as rounding the exact sum (Boldo and Melquiond).
fn fma_model(a: f32, b: f32, s: f32) -> f32 {
    let (p, s) = (f64::from(a) * f64::from(b), f64::from(s));
    let sum = p + s;
    if !sum.is_finite() || sum == 0.0 {
        return sum as f32;
    }
    // Knuth's exact error of the sum.
    let t = sum - p;
    let error = (p - (sum - t)) + (s - t);
    let bits = sum.to_bits();
    let odd = if error == 0.0 || bits & 1 == 1 {
        sum
    } else if (error > 0.0) == (sum > 0.0) {
        f64::from_bits(bits + 1)
    } else {
        f64::from_bits(bits - 1)
    };
    odd as f32
}

fn product_model(a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let (m, n) = (a[0].len(), b[0].len());
    let sum = |i: usize, j: usize| a.iter().zip(b).fold(0.0, |s, (x, y)| fma_model(x[i], y[j], s));
    (0..m).map(|i| (0..n).map(|j| sum(i, j)).collect()).collect()
}

fn matmul_dtype() -> impl Strategy<Value = DType> {
    use DType::*;
    prop::sample::select(vec![F32, TF32, BF16, F16, F8E4M3, F8E5M2, F8E4M3FN])
}

/// Values of ordinary size, so that sums do not drown in infinities.
fn moderate(dtype: DType, parts: usize, n: usize) -> impl Strategy<Value = Tile> {
    let value = (-1.0f32..1.0, -6i32..6).prop_map(move |(m, e)| cast::down(dtype, m * 2f32.powi(e)));
    prop::collection::vec(prop::collection::vec(value, n), parts).prop_map(move |bits| Tile { dtype, bits })
}

fn operand(dtype: DType, parts: usize, n: usize) -> impl Strategy<Value = Tile> {
    prop_oneof![3 => moderate(dtype, parts, n).boxed(), 1 => tile(dtype, parts, n).boxed()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nc_matmul(
        (a, b, dst) in ((1usize..24, 1usize..9, 1usize..20), matmul_dtype(), matmul_dtype(), any::<bool>())
            .prop_flat_map(|((k, m, n), ta, tb, narrow)| {
                let out = if narrow { DType::BF16 } else { DType::F32 };
                (operand(ta, k, m), operand(tb, k, n), operand(out, m, n))
            }),
        accumulate: bool,
        layouts in five_layouts(),
    ) {
        let sums = product_model(&a.floats(), &b.floats());
        let want = dst.map(dst.dtype, |p, f, old| {
            if accumulate { alu_model(AluOp::Add, old, sums[p][f]) } else { sums[p][f] }
        });
        let case = Case { accumulate, ..Case::new(Op::NcMatmul, dst) };
        let got = case.operand(&a).operand(&b).generation(Gen::Gen4).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    /// Operands (K, 2, M) and (K, 2, N): the contraction runs over both halves, the first one first.
    #[test]
    fn nc_matmul_double_row(
        (a, b, dst) in ((1usize..9, 1usize..6, 1usize..6), prop::sample::select(vec![DType::F8E4M3, DType::F8E5M2]))
            .prop_flat_map(|((k, m, n), t)| (operand(t, k, 2 * m), operand(t, k, 2 * n), operand(DType::F32, m, n))),
        layouts in five_layouts(),
    ) {
        let unfold = |t: &Tile| -> Vec<Vec<f32>> {
            let (rows, half) = (t.floats(), t.n() / 2);
            (0..2).flat_map(|j| rows.iter().map(move |r| r[j * half..(j + 1) * half].to_vec()).collect::<Vec<_>>()).collect()
        };
        let want = Tile::rounded(DType::F32, &product_model(&unfold(&a), &unfold(&b)));
        let case = Case::new(Op::NcMatmul, dst).operand(&a).operand(&b).layouts(layouts);
        let case = case.attr("perf_mode", Attr::MatmulPerf(MatmulPerf::DoubleRow));
        prop_assert_eq!(case.run(), Ok(want));
    }

    /// In transpose mode of gen3 and later bits move, whatever they mean; gen2 multiplies.
    #[test]
    fn transposes(
        (data, vector) in ((1usize..20, 1usize..20), any_dtype())
            .prop_flat_map(|((p, n), t)| (operand(t, p, n), Just(t))),
        layouts in five_layouts(),
    ) {
        let (p, n) = (data.parts(), data.n());
        let bits = |f: usize| (0..p).map(|i| data.bits[i][f]).collect::<Vec<_>>();
        let turned = Tile { dtype: vector, bits: (0..n).map(bits).collect() };
        let blank = Tile::filled(data.dtype, n, p, cast::down(data.dtype, 1.0));
        let case = |engine| Case::new(Op::NcTranspose, blank.clone()).operand(&data).layouts(layouts).engine(engine);
        prop_assert_eq!(case(Engine::Vector).run(), Ok(turned.clone()));
        prop_assert_eq!(case(Engine::Tensor).run(), Ok(turned.clone()));
        prop_assert_eq!(case(Engine::Vector).generation(Gen::Gen2).run(), Ok(turned.clone()));

        let mut identity = Tile::filled(data.dtype, p, p, cast::down(data.dtype, 0.0));
        (0..p).for_each(|i| identity.bits[i][i] = cast::down(data.dtype, 1.0));
        let mode = |dst: Tile| Case { accumulate: true, ..Case::new(Op::NcMatmul, dst) }
            .operand(&data).operand(&identity).flag("is_transpose", true).layouts(layouts);
        prop_assert_eq!(mode(blank.clone()).run(), Ok(turned.clone()));
        if data.dtype.bytes() == 1 {
            // FP8 lands in 16-bit slots.
            let slots = Tile { dtype: DType::F16, ..turned };
            prop_assert_eq!(mode(Tile { dtype: DType::F16, ..blank.clone() }).run(), Ok(slots));
        }
        let sums = product_model(&data.floats(), &identity.floats());
        let multiplied = Tile::rounded(DType::F32, &sums);
        let wide = Tile::filled(DType::F32, n, p, 0x3f80_0000);
        prop_assert_eq!(mode(wide.clone()).generation(Gen::Gen2).run(), Ok(multiplied.clone()));
        if data.dtype != DType::F8E8M0 {
            let case = Case::new(Op::NcTranspose, wide).operand(&data).layouts(layouts).engine(Engine::Tensor);
            prop_assert_eq!(case.generation(Gen::Gen2).run(), Ok(multiplied));
        }
    }

    #[test]
    fn tensor_reduce(
        (data, dst, r) in ((1usize..4, 1usize..5, 1usize..8), any_dtype(), any_dtype())
            .prop_flat_map(|((p, a, r), s, d)| (operand(s, p, a * r), operand(d, p, a), Just(r))),
        op in prop::sample::select(vec![
            AluOp::Add, AluOp::Subtract, AluOp::Multiply, AluOp::Maximum, AluOp::Minimum,
            AluOp::LogicalAnd, AluOp::LogicalOr, AluOp::LogicalXor,
        ]),
        negate: bool,
        layouts in five_layouts(),
    ) {
        let rows = data.floats();
        let want = dst.map(dst.dtype, |p, a, _| {
            let group = &rows[p][a * r..(a + 1) * r];
            let x = group[1..].iter().fold(group[0], |x, y| alu_model(op, x, *y));
            if negate { -x } else { x }
        });
        let case = Case::new(Op::TensorReduce, dst).operand(&data).alu("op", op).flag("negate", negate);
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }

    #[test]
    fn tensor_reduce_bits(
        (data, dst, r) in ((1usize..4, 1usize..5, 1usize..8), integer_dtype())
            .prop_flat_map(|((p, a, r), s)| (tile(s, p, a * r), tile(s, p, a), Just(r))),
        op in prop::sample::select(vec![AluOp::BitwiseAnd, AluOp::BitwiseOr, AluOp::BitwiseXor]),
    ) {
        let mut want = dst.clone();
        for (p, row) in want.bits.iter_mut().enumerate() {
            for (a, x) in row.iter_mut().enumerate() {
                let group = &data.bits[p][a * r..(a + 1) * r];
                *x = group[1..].iter().fold(group[0], |x, y| match op {
                    AluOp::BitwiseAnd => x & y,
                    AluOp::BitwiseOr => x | y,
                    _ => x ^ y,
                });
            }
        }
        prop_assert_eq!(Case::new(Op::TensorReduce, dst).operand(&data).alu("op", op).run(), Ok(want));
    }

    /// A chain of commands on the registers of both engines, against the table of isa.md section 6.
    #[test]
    fn reduce_registers(
        tiles in (1usize..4, 1usize..7).prop_flat_map(|(p, n)| prop::collection::vec(operand(DType::F32, p, n), 1..6)),
        steps in prop::collection::vec((0usize..5, any::<bool>(), any::<bool>()), 6),
        op in prop::sample::select(vec![AluOp::Add, AluOp::Multiply, AluOp::Maximum, AluOp::Minimum]),
        init in bits(DType::F32),
        on_scalar: bool,
    ) {
        let op = if on_scalar { AluOp::Add } else { op };
        use ReduceCmd::*;
        let commands = [Idle, Reset, Reduce, ResetReduce, LoadReduce];
        let identity = match op {
            AluOp::Add => 0.0,
            AluOp::Multiply => 1.0,
            AluOp::Maximum => f32::NEG_INFINITY,
            _ => f32::INFINITY,
        };
        let parts = tiles[0].parts();
        let mut acc: Option<Vec<f32>> = None;
        let mut state = State::default();
        for (data, (command, read, negate)) in tiles.iter().zip(&steps) {
            // ScalarE has no load_reduce.
            let (cmd, rows) = (commands[if on_scalar { command % 4 } else { *command }], data.floats());
            // The instruction's own results: squares on ScalarE, halves on VectorE.
            let y: Vec<Vec<f32>> = rows.iter().map(|r| {
                r.iter().map(|x| if on_scalar { (x * 1.0 + 0.0) * (x * 1.0 + 0.0) } else { x * 0.5 }).collect()
            }).collect();
            let fold = |start: Vec<f32>| -> Vec<f32> {
                start.iter().zip(&y).map(|(s, row)| row.iter().fold(*s, |a, v| alu_model(op, a, *v))).collect()
            };
            let mut broken = false;
            acc = match (cmd, acc) {
                (Idle, old) => if on_scalar { old } else { None },
                (Reset, _) => Some(vec![identity; parts]),
                (ResetReduce, _) => Some(fold(vec![identity; parts])),
                (LoadReduce, _) => Some(fold(vec![f32::from_bits(init); parts])),
                (Reduce, Some(old)) => Some(fold(old)),
                (Reduce, None) => { broken = true; None }
            };
            broken |= *read && acc.is_none();
            let res = Tile::filled(DType::F32, parts, 1, 77);
            let reduce_res = if *read { Operand::Tile(res) } else { Operand::Absent };
            let blank = Tile::filled(DType::F32, parts, data.n(), 0);
            let case = if on_scalar {
                Case::new(Op::Activation, blank).operand(data).operand(Operand::Absent).operand(Operand::Absent)
                    .operand(reduce_res).attr("op", Attr::Act(ActFn::Square)).alu("reduce_op", op)
            } else {
                Case::new(Op::TensorScalarReduce, blank).operand(data).operand(Operand::Imm(0.5)).operand(reduce_res)
                    .operand(Operand::Imm(f32::from_bits(init))).alu("op0", AluOp::Multiply).alu("reduce_op", op)
                    .flag("reduce_res_negate", *negate)
            };
            let got = case.attr("reduce_cmd", Attr::ReduceCmd(cmd)).run_on(&mut state);
            if broken {
                prop_assert_eq!(got.map_err(|f| f.code), Err(Code::ReduceCmd));
                return Ok(());
            }
            let got = got.map_err(|f| TestCaseError::fail(f.message))?;
            prop_assert_eq!(&got[0], &Tile::rounded(DType::F32, &y));
            if let (true, Some(acc)) = (*read, &acc) {
                let signed = |x: f32| if *negate && !on_scalar { -x } else { x };
                let want: Vec<Vec<f32>> = acc.iter().map(|x| vec![signed(*x)]).collect();
                prop_assert_eq!(&got[2], &Tile::rounded(DType::F32, &want));
            }
        }
    }
}

/// NaN and infinity of one column poison an output row on gen2 and nothing on gen3 (isa.md 9.1.1).
#[test]
fn gen2_transposes_spread_infinities() {
    let data = Tile::rounded(DType::BF16, &[vec![1.0, f32::INFINITY], vec![2.0, 3.0]]);
    let case =
        Case::new(Op::NcTranspose, Tile::filled(DType::BF16, 2, 2, 0)).operand(&data).engine(Engine::Tensor);
    let got = case.generation(Gen::Gen2).run().expect("legal").floats();
    assert_eq!(got[0], [1.0, 2.0]);
    assert_eq!((got[1][0], got[1][1].is_nan()), (f32::INFINITY, true));
}

/// Hints about operands are checked on request (isa.md 9.1.1).
#[test]
fn claims_are_checked_in_strict_mode() {
    let strict = || State { check_claims: true, ..State::default() };
    let t = |rows: &[Vec<f32>]| Tile::rounded(DType::F32, rows);
    let (half, ones) = (t(&[vec![0.5]]), t(&[vec![1.0]]));
    let case =
        |a: &Tile, flag| Case::new(Op::NcMatmul, ones.clone()).operand(a).operand(&ones).flag(flag, true);
    for (a, flag, ok) in [
        (&half, "is_stationary_onezero", false),
        (&half, "is_moving_onezero", true),
        (&ones, "is_stationary_onezero", true),
    ] {
        assert_eq!(case(a, flag).run_on(&mut strict()).is_ok(), ok);
        assert!(case(a, flag).run_on(&mut State::default()).is_ok());
    }
    let square = t(&[vec![1.0, 2.0], vec![3.0, 4.0]]);
    let transpose = |moving: &Tile| {
        let case = Case::new(Op::NcMatmul, square.clone()).operand(&square).operand(moving);
        case.flag("is_transpose", true).run_on(&mut strict()).map_err(|f| f.code)
    };
    assert!(transpose(&t(&[vec![1.0, 0.0], vec![0.0, 1.0]])).is_ok());
    assert_eq!(transpose(&square).map(|_| ()), Err(Code::Parameter));
}

#[test]
fn misfits_are_faults() {
    let t = |p, n| Tile::filled(DType::F32, p, n, 0);
    let mm = |a: Tile, b: Tile, c: Tile| Case::new(Op::NcMatmul, c).operand(&a).operand(&b);
    assert_eq!(mm(t(3, 2), t(4, 5), t(2, 5)).run(), Err(Code::Shape));
    assert_eq!(mm(t(3, 2), t(3, 5), t(5, 2)).run(), Err(Code::Shape));
    let odd = mm(t(3, 3), t(3, 4), t(1, 2)).attr("perf_mode", Attr::MatmulPerf(MatmulPerf::DoubleRow));
    assert_eq!(odd.run(), Err(Code::Shape));
    assert_eq!(Case::new(Op::NcTranspose, t(2, 3)).operand(&t(2, 3)).run(), Err(Code::Shape));
    let bits = Case::new(Op::NcTranspose, Tile::filled(DType::F32, 3, 2, 0));
    assert_eq!(bits.operand(&Tile::filled(DType::BF16, 2, 3, 0)).run(), Err(Code::Dtype));
    let reduce = |d: Tile, s: Tile, op| Case::new(Op::TensorReduce, d).operand(&s).alu("op", op).run();
    assert_eq!(reduce(t(2, 2), t(2, 3), AluOp::Add), Err(Code::Shape));
    assert_eq!(reduce(t(1, 1), t(2, 1), AluOp::Add), Err(Code::Shape));
    assert_eq!(reduce(t(1, 1), t(1, 2), AluOp::Power), Err(Code::Operator));
    assert_eq!(reduce(t(1, 1), t(1, 2), AluOp::BitwiseOr), Err(Code::Dtype));
}
