//! Scans, statistics, the eight largest and shuffles against the equations of isa.md 9.3.

use super::elementwise::alu_model;
use super::harness::*;
use crate::op::ReduceCmd;
use crate::sem::{State, cast};
use crate::{AluOp, Attr, Code, DType, Op};
use proptest::prelude::*;

const ARITHMETIC: [AluOp; 9] = {
    use AluOp::*;
    [Add, Subtract, Multiply, Maximum, Minimum, Less, GreaterEqual, LogicalXor, AbsMax]
};

fn op() -> impl Strategy<Value = AluOp> {
    prop::sample::select(&ARITHMETIC[..])
}

/// Tiles of one shape and any dtypes.
fn tiles<const N: usize>() -> impl Strategy<Value = [Tile; N]> {
    (small_shape(), prop::collection::vec(any_dtype(), N)).prop_flat_map(|((p, n), dtypes)| {
        let tiles: Vec<_> = dtypes.into_iter().map(|d| tile(d, p, n)).collect();
        tiles.prop_map(|t| t.try_into().expect("N tiles"))
    })
}

fn column(parts: usize) -> impl Strategy<Value = Tile> {
    tile(DType::F32, parts, 1)
}

proptest! {
    /// isa.md 9.3.3, the recurrence step by step.
    #[test]
    fn tensor_tensor_scan(
        ([dst, a, b], initial) in tiles::<3>().prop_flat_map(|t| { let p = t[0].parts(); (Just(t), column(p)) }),
        (op0, op1, r0, r1) in (op(), op(), any::<bool>(), any::<bool>()),
        layouts in five_layouts(),
    ) {
        let (x, y, init) = (a.floats(), b.floats(), initial.floats());
        let mut want = x.clone();
        for p in 0..x.len() {
            let mut s = init[p][0];
            for f in 0..x[p].len() {
                let t = if r0 { alu_model(op0, s, x[p][f]) } else { alu_model(op0, x[p][f], s) };
                s = if r1 { alu_model(op1, y[p][f], t) } else { alu_model(op1, t, y[p][f]) };
                want[p][f] = s;
            }
        }
        let want = Tile::rounded(dst.dtype, &want);
        let case = Case::new(Op::TensorTensorScan, dst).operand(&a).operand(&b).operand(&initial);
        let case = case.alu("op0", op0).alu("op1", op1).flag("reverse0", r0).flag("reverse1", r1);
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }

    /// isa.md 9.3.7: started, then gone on with; the register carries the last value from call to call.
    #[test]
    fn tensor_scalar_cumulative(
        ([dst, a, b], initial) in tiles::<3>().prop_flat_map(|t| { let p = t[0].parts(); (Just(t), column(p)) }),
        op0 in op(),
        op1 in prop::sample::select(vec![AluOp::Add, AluOp::Subtract, AluOp::Multiply, AluOp::Maximum, AluOp::Minimum]),
        imm in bits(DType::F32),
        load: bool,
        layouts in five_layouts(),
    ) {
        let imm = f32::from_bits(imm);
        let identity = match op1 {
            AluOp::Multiply => 1.0,
            AluOp::Maximum => f32::NEG_INFINITY,
            AluOp::Minimum => f32::INFINITY,
            _ => 0.0,
        };
        let mut acc: Vec<f32> =
            initial.floats().iter().map(|x| if load { x[0] } else { identity }).collect();
        let mut state = State::default();
        let first = if load { ReduceCmd::LoadReduce } else { ReduceCmd::ResetReduce };
        for (src, cmd) in [(&a, first), (&b, ReduceCmd::Reduce)] {
            let mut want = src.floats();
            for (row, acc) in want.iter_mut().zip(&mut acc) {
                for x in row.iter_mut() {
                    *acc = alu_model(op1, alu_model(op0, *x, imm), *acc);
                    *x = *acc;
                }
            }
            let case = Case::new(Op::TensorScalarCumulative, dst.clone()).operand(src).operand(Operand::Imm(imm));
            let init = if cmd == ReduceCmd::LoadReduce { Operand::from(&initial) } else { Operand::Absent };
            let case = case.operand(init).alu("op0", op0).alu("op1", op1);
            let got = case.attr("reduce_cmd", Attr::ReduceCmd(cmd)).layouts(layouts).run_on(&mut state);
            prop_assert_eq!(got.map(|t| t[0].clone()), Ok(Tile::rounded(dst.dtype, &want)));
        }
    }

    /// isa.md 9.3.17 and 9.3.18 within what float32 sums allow, against float64 formulas of another shape.
    #[test]
    fn statistics(
        (a, b) in (1usize..4, 1usize..40, 1usize..40).prop_flat_map(|(p, n, m)| {
            let values = |n| prop::collection::vec(prop::collection::vec(-8.0f32..8.0, n), p);
            (values(n), values(m))
        }),
    ) {
        let f32s = |rows: &[Vec<f32>]| Tile::rounded(DType::F32, rows);
        let stats = |rows: &[Vec<f32>]| {
            Case::new(Op::BnStats, Tile::filled(DType::F32, rows.len(), 6, 7)).operand(&f32s(rows)).run()
        };
        let (x, y) = (stats(&a).expect("legal"), stats(&b).expect("legal"));
        // The mean of squares minus the square of the mean.
        let moments = |v: &[f64]| {
            let n = v.len() as f64;
            if v.is_empty() { return [0.0; 3]; }
            let mean = v.iter().sum::<f64>() / n;
            [n, mean, v.iter().map(|x| x * x).sum::<f64>() - n * mean * mean]
        };
        for (rows, got) in [(&a, x.floats()), (&b, y.floats())] {
            for (row, got) in rows.iter().zip(got) {
                let half = |h: usize| -> Vec<f64> { row.iter().skip(h).step_by(2).map(|x| f64::from(*x)).collect() };
                let want = [moments(&half(0)), moments(&half(1))].concat();
                for (g, w) in got.iter().zip(want) {
                    prop_assert!((f64::from(*g) - w).abs() <= 1e-4 * (1.0 + w.abs()), "{got:?} {w}");
                }
            }
        }
        // Merged: the moments of all columns together.
        let both: Vec<Vec<f32>> = x.floats().iter().zip(y.floats()).map(|(a, b)| [&a[..], &b[..]].concat()).collect();
        let merged = Case::new(Op::BnAggr, Tile::filled(DType::F32, a.len(), 2, 0)).operand(&f32s(&both)).run();
        for (p, got) in merged.expect("legal").floats().iter().enumerate() {
            let all: Vec<f64> = a[p].iter().chain(&b[p]).map(|x| f64::from(*x)).collect();
            let [n, mean, m2] = moments(&all);
            prop_assert!((f64::from(got[0]) - mean).abs() <= 1e-4, "{got:?} {mean}");
            prop_assert!((f64::from(got[1]) - m2 / n).abs() <= 1e-3, "{got:?}");
        }
    }

    /// isa.md 9.3.19 to 9.3.21 by counting instead of sorting.
    #[test]
    fn eights(
        ((data, vals), idx) in (1usize..4, 8usize..40, any_dtype(), prop::sample::select(vec![DType::U16, DType::U32]))
            .prop_flat_map(|(p, n, d, idx)| ((tile(d, p, n), tile(d, p, 8)), Just(idx))),
        from_data: bool,
        imm in -3.0f32..3.0,
        layouts in five_layouts(),
    ) {
        let (parts, rows) = (data.parts(), data.floats());
        let got = Case::new(Op::Max8, Tile::filled(DType::F32, parts, 8, 3)).operand(&data).layouts(layouts).run();
        let top = got.expect("legal");
        for (row, got) in rows.iter().zip(top.floats()) {
            // Each result is an element, and as many elements lie above it as results before it, or ties.
            let above = |a: f32, b: f32| (!a.is_nan() && b.is_nan()) || a > b || (a == b && a.is_sign_positive() && b.is_sign_negative());
            for (i, g) in got.iter().enumerate() {
                let (greater, equal) = row.iter().fold((0, 0), |(x, y), v| {
                    (x + usize::from(above(*v, *g)), y + usize::from(!above(*v, *g) && !above(*g, *v)))
                });
                prop_assert!(greater <= i && i < greater + equal, "{row:?} {got:?}");
            }
        }
        // Values that occur, or any.
        let vals = if from_data {
            Tile { dtype: data.dtype, bits: data.bits.iter().map(|r| [&r[..4], &r[2..6]].concat()).collect() }
        } else {
            vals
        };
        let wanted = vals.floats();
        let none = if idx == DType::U16 { 0xffff } else { u32::MAX };
        let case = Case::new(Op::NcFindIndex8, Tile::filled(idx, parts, 8, 0)).operand(&data).operand(&vals);
        let found = case.layouts(layouts).run().expect("legal");
        for p in 0..parts {
            for i in 0..8 {
                // The k-th position of a value goes to its k-th occurrence among the wanted ones.
                let rank = (0..i).filter(|j| wanted[p][*j] == wanted[p][i]).count();
                let want = (0..data.n()).filter(|f| rows[p][*f] == wanted[p][i]).nth(rank);
                prop_assert_eq!(found.bits[p][i], want.map_or(none, |f| f as u32));
            }
        }
        let dst = Tile::filled(data.dtype, parts, data.n(), 0);
        let case = Case::new(Op::NcMatchReplace8, dst.clone()).operand(&data).operand(&vals);
        let case = case.operand(&Tile::filled(idx, parts, 8, 0)).attr("imm", Attr::F32(imm));
        let got = case.layouts(layouts).run_on(&mut State::default()).expect("legal");
        let imm = cast::down(data.dtype, imm);
        for p in 0..parts {
            let mut want = data.bits[p].clone();
            for i in 0..8 {
                // Backwards: later duplicates come first.
                let rank = (i + 1..8).filter(|j| wanted[p][*j] == wanted[p][i]).count();
                let at = (0..data.n()).filter(|f| rows[p][*f] == wanted[p][i]).nth(rank);
                prop_assert_eq!(got[3].bits[p][i], at.map_or(none, |f| f as u32));
                if let Some(f) = at { want[f] = imm; }
            }
            prop_assert_eq!(&got[0].bits[p], &want);
        }
    }

    /// isa.md 9.3.22, in place as well.
    #[test]
    fn nc_stream_shuffle(
        (src, dst) in (any_dtype(), 1usize..129, 1usize..4).prop_flat_map(|(d, p, n)| (tile(d, p, n), tile(d, p, n))),
        mask in prop::collection::vec(prop_oneof![4 => 0i64..32, 1 => Just(255i64)], 32),
        layouts in five_layouts(),
    ) {
        let parts = src.parts();
        // Only partitions that exist.
        let last = (parts - 1) % 32 + 1;
        let mask: Vec<i64> = mask.iter().map(|m| if *m == 255 { 255 } else { m % last as i64 }).collect();
        let mut want = dst.clone();
        for p in 0..parts {
            if mask[p % 32] != 255 {
                want.bits[p] = src.bits[p - p % 32 + mask[p % 32] as usize].clone();
            }
        }
        let case = Case::new(Op::NcStreamShuffle, dst).operand(&src).attr("shuffle_mask", Attr::Ints(mask));
        prop_assert_eq!(case.layouts(layouts).run(), Ok(want));
    }
}

#[test]
fn empty_halves_and_no_elements_give_zeros() {
    let t = |rows: &[Vec<f32>]| Tile::rounded(DType::F32, rows);
    let one = Case::new(Op::BnStats, Tile::filled(DType::F32, 1, 6, 9)).operand(&t(&[vec![2.5]])).run();
    assert_eq!(one.expect("legal").floats()[0], [1.0, 2.5, 0.0, 0.0, 0.0, 0.0]);
    let none = Case::new(Op::BnAggr, Tile::filled(DType::F32, 1, 2, 9)).operand(&t(&[vec![0.0; 6]])).run();
    assert_eq!(none.expect("legal").floats()[0], [0.0, 0.0]);
}

#[test]
fn misfits_are_faults() {
    let t = |d, p, n| Tile::filled(d, p, n, 0);
    let f = |p, n| t(DType::F32, p, n);
    assert_eq!(Case::new(Op::BnStats, f(2, 5)).operand(&f(2, 4)).run(), Err(Code::Shape));
    assert_eq!(Case::new(Op::BnAggr, f(2, 2)).operand(&f(2, 4)).run(), Err(Code::Shape));
    assert_eq!(Case::new(Op::Max8, f(2, 8)).operand(&f(2, 7)).run(), Err(Code::Shape));
    assert_eq!(Case::new(Op::Max8, f(1, 8)).operand(&f(2, 9)).run(), Err(Code::Shape));
    let find = Case::new(Op::NcFindIndex8, f(1, 8)).operand(&f(1, 9)).operand(&f(1, 8));
    assert_eq!(find.run(), Err(Code::Dtype));
    let shuffle = |d: Tile, s: Tile, mask: Vec<i64>| {
        Case::new(Op::NcStreamShuffle, d).operand(&s).attr("shuffle_mask", Attr::Ints(mask)).run()
    };
    assert_eq!(shuffle(f(1, 2), f(1, 3), vec![0; 32]), Err(Code::Shape));
    assert_eq!(shuffle(f(1, 2), f(1, 2), vec![0; 31]), Err(Code::Parameter));
    assert_eq!(shuffle(f(1, 2), f(1, 2), vec![1; 32]), Err(Code::Parameter));
    assert_eq!(shuffle(f(1, 2), t(DType::BF16, 1, 2), vec![0; 32]), Err(Code::Dtype));
    let scan = Case::new(Op::TensorTensorScan, f(1, 2)).operand(&f(1, 2)).operand(&f(1, 2));
    let scan = scan.operand(Operand::Imm(0.0)).alu("op0", AluOp::Add).alu("op1", AluOp::BitwiseOr);
    assert_eq!(scan.run(), Err(Code::Operator));
}
