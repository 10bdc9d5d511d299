//! GpSimdE's reductions across partitions, gathers and searches, against models that index by isa.md's formulas.

use super::elementwise::alu_model;
use super::harness::*;
use crate::sem::State;
use crate::{AluOp, Attr, Code, DType, Op};
use proptest::prelude::*;

fn small_int(x: i64) -> Attr {
    Attr::Int(x)
}

fn unsigned(dtype: DType, bits: Vec<Vec<u32>>) -> Tile {
    Tile { dtype, bits }
}

/// Bits of ids: few values, so that runs occur, and padding of both signs.
fn ids(dtype: DType, n: usize) -> impl Strategy<Value = Tile> {
    let id = match dtype {
        DType::F32 => prop::sample::select(vec![0.0f32, -0.0, 1.0, 1.0, 2.0, -3.0, f32::NAN, 1e-45])
            .prop_map(f32::to_bits)
            .boxed(),
        _ => prop::sample::select(vec![0u32, 0, 1, 1, 1, 2, 0x8000_0000, u32::MAX]).boxed(),
    };
    prop::collection::vec(id, n).prop_map(move |row| unsigned(dtype, vec![row]))
}

fn id_value(dtype: DType, bits: u32) -> f64 {
    if dtype == DType::F32 { f32::from_bits(bits).into() } else { (bits as i32).into() }
}

/// The bits of a whole number.
fn number(dtype: DType, x: i64) -> u32 {
    if dtype == DType::F32 { (x as f32).to_bits() } else { x as i32 as u32 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn tensor_partition_reduce(
        (data, dst, op) in ((1usize..40, 1usize..12), any_dtype(), any_dtype(),
            prop::sample::select(vec![AluOp::Add, AluOp::Average, AluOp::Maximum]))
            .prop_flat_map(|((p, n), s, d, op)| (tile(s, p, n), tile(d, 1, n), Just(op))),
        layouts in five_layouts(),
    ) {
        let rows = data.floats();
        let step = if op == AluOp::Average { AluOp::Add } else { op };
        let want = dst.map(dst.dtype, |_, f, _| {
            let sum = rows[1..].iter().fold(rows[0][f], |a, row| alu_model(step, a, row[f]));
            // Correctly rounded: the quotient in float64 has more than twice float32's digits.
            if op == AluOp::Average { (f64::from(sum) / rows.len() as f64) as f32 } else { sum }
        });
        let got = Case::new(Op::TensorPartitionReduce, dst).operand(&data).alu("op", op).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    #[test]
    fn tensor_partition_reduce_of_bits(
        (data, dst) in ((1usize..40, 1usize..12), integer_dtype())
            .prop_flat_map(|((p, n), t)| (tile(t, p, n), tile(t, 1, n))),
        and: bool,
        layouts in five_layouts(),
    ) {
        let op = if and { AluOp::BitwiseAnd } else { AluOp::BitwiseOr };
        let column = |f: usize| data.bits.iter().map(move |row| row[f]);
        let fold = |f: usize| if and { column(f).fold(u32::MAX, |a, b| a & b) } else { column(f).fold(0, |a, b| a | b) };
        let want = unsigned(dst.dtype, vec![(0..dst.n()).map(fold).collect()]);
        let got = Case::new(Op::TensorPartitionReduce, dst).operand(&data).alu("op", op).layouts(layouts).run();
        prop_assert_eq!(got, Ok(want));
    }

    /// The run of an element, found by looking left and right from it.
    #[test]
    fn sequence_bounds(
        (source, dst) in (1usize..40, prop::sample::select(vec![DType::F32, DType::I32]), prop::sample::select(vec![DType::F32, DType::I32]))
            .prop_flat_map(|(n, s, d)| (ids(s, n), tile(d, 1, 2 * n))),
        layouts in five_layouts(),
    ) {
        let id: Vec<f64> = source.bits[0].iter().map(|b| id_value(source.dtype, *b)).collect();
        let n = id.len();
        let bounds = |i: usize| {
            if id[i] == 0.0 {
                return (n as i64, -1);
            }
            let mut begin = i;
            while begin > 0 && id[begin - 1] == id[i] {
                begin -= 1;
            }
            let mut end = i + 1;
            while end < n && id[end] == id[i] {
                end += 1;
            }
            (begin as i64, end as i64)
        };
        let begins = (0..n).map(|i| number(dst.dtype, bounds(i).0));
        let ends = (0..n).map(|i| number(dst.dtype, bounds(i).1));
        let want = unsigned(dst.dtype, vec![begins.chain(ends).collect()]);
        prop_assert_eq!(Case::new(Op::SequenceBounds, dst).operand(&source).layouts(layouts).run(), Ok(want));
    }

    #[test]
    fn local_gather(
        (src, index, dst, each, valid) in
            (1usize..3, 1usize..4, 0u32..4, any_dtype(), 8usize..20, any::<prop::sample::Index>(), any::<bool>())
            .prop_flat_map(|(groups, k, e, t, width, valid, all)| {
                let (p, e) = (16 * groups, 1usize << e);
                let valid = if all { 16 * k } else { 1 + valid.index(16 * k) };
                let places = prop::collection::vec(prop::collection::vec(0u32..=(width - e) as u32, k), p);
                let index = places.prop_map(|bits| unsigned(DType::U16, bits));
                (tile(t, p, width), index, tile(t, p, valid * e), Just(e), Just(valid))
            }),
        layouts in five_layouts(),
    ) {
        let mut want = dst.clone();
        for p in 0..src.parts() {
            for t in 0..valid {
                let start = index.bits[p / 16 * 16 + t % 16][t / 16] as usize;
                for j in 0..each {
                    want.bits[p][t * each + j] = src.bits[p][start + j];
                }
            }
        }
        let case = |index: &Tile| Case::new(Op::LocalGather, dst.clone()).operand(&src).operand(index)
            .attr("num_elem_per_idx", small_int(each as i64)).layouts(layouts)
            .attr("num_valid_indices", small_int(if valid == 16 * index.n() { -1 } else { valid as i64 }));
        prop_assert_eq!(case(&index).run(), Ok(want));
        let mut outside = index.clone();
        outside.bits[0][0] = (src.n() - each + 1) as u32;
        prop_assert_eq!(case(&outside).run(), Err(Code::RuntimeIndex));
    }

    #[test]
    fn nc_n_gather(
        (data, indices, dst) in ((1usize..6, 1usize..12, 1usize..20), any_dtype())
            .prop_flat_map(|((p, n, k), t)| {
                let places = prop::collection::vec(prop::collection::vec(0u32..n as u32, k), p);
                (tile(t, p, n), places.prop_map(|bits| unsigned(DType::U32, bits)), tile(t, p, k))
            }),
        layouts in five_layouts(),
        beyond in 0u32..3,
    ) {
        let rows = data.bits.iter().zip(&indices.bits);
        let want = unsigned(data.dtype, rows.map(|(row, list)| list.iter().map(|i| row[*i as usize]).collect()).collect());
        let case = |list: &Tile| Case::new(Op::NcNGather, dst.clone()).operand(&data).operand(list).layouts(layouts);
        prop_assert_eq!(case(&indices).run(), Ok(want));
        let mut outside = indices.clone();
        outside.bits[0][0] = data.n() as u32 + beyond;
        prop_assert_eq!(case(&outside).run(), Err(Code::RuntimeIndex));
    }

    #[test]
    fn nonzero_with_count(
        (src, dst) in ((1usize..40, 1usize..12), prop::sample::select(vec![DType::F32, DType::I32]))
            .prop_flat_map(|((p, n), t)| (
                prop::collection::vec(prop::collection::vec(prop_oneof![2 => Just(0u32), 1 => Just(0x8000_0000), 2 => bits(t)], n), p)
                    .prop_map(move |bits| unsigned(t, bits)),
                tile(DType::I32, p, n + 1),
            )),
        (offset, padding) in (any::<i32>(), any::<i32>()),
        layouts in five_layouts(),
    ) {
        let mut want = dst.clone();
        for p in (0..src.parts()).step_by(16) {
            let nonzero = |f: &usize| id_value(src.dtype, src.bits[p][*f]) != 0.0;
            let found: Vec<usize> = (0..src.n()).filter(nonzero).collect();
            for f in 0..src.n() {
                want.bits[p][f] = found.get(f).map_or(padding, |f| offset.wrapping_add(*f as i32)) as u32;
            }
            want.bits[p][src.n()] = found.len() as u32;
        }
        let case = Case::new(Op::NonzeroWithCount, dst).operand(&src).layouts(layouts);
        let case = case.attr("index_offset", small_int(offset.into())).attr("padding_val", small_int(padding.into()));
        prop_assert_eq!(case.run(), Ok(want));
    }

    /// An element is among the K largest if fewer than K others beat it; its place is the number of found ones below it.
    #[test]
    fn topk(
        (src, k, n) in (1usize..3, 1usize..4, any::<[prop::sample::Index; 2]>()).prop_flat_map(|(groups, x, [n, k])| {
            let n = 8 + n.index(16 * x - 7);
            (tile(DType::BF16, 16 * groups, x), Just(1 + k.index(n)), Just(n))
        }),
        layouts in five_layouts(),
    ) {
        let value = |group: usize, i: usize| src.bits[16 * group + i % 16][i / 16];
        let key = |bits: u32| {
            let x = f32::from_bits(bits << 16);
            if x.is_nan() { f64::NEG_INFINITY } else if x == f32::NEG_INFINITY { f64::MIN } else { f64::from(x) }
        };
        let (mut values, mut places) = (vec![], vec![]);
        for group in 0..src.parts() / 16 {
            let v = |i: usize| key(value(group, i));
            let beats = |a: usize, b: usize| v(a) > v(b) || v(a) == v(b) && a < b;
            let found: Vec<usize> = (0..n).filter(|&i| (0..n).filter(|&j| j != i && beats(j, i)).count() < k).collect();
            let mut row = vec![usize::MAX; k];
            for &i in &found {
                let below = |j: usize| v(j) < v(i) || v(j) == v(i) && j < i;
                row[found.iter().filter(|&&j| below(j)).count()] = i;
            }
            for _ in 0..16 {
                values.push(row.iter().map(|i| value(group, *i)).collect());
                places.push(row.iter().map(|i| *i as u32).collect());
            }
        }
        let blank = |t| Tile::filled(t, src.parts(), k, 1);
        let case = Case::new(Op::Topk, blank(DType::BF16)).operand(&blank(DType::U32)).operand(&src);
        let case = case.attr("n", small_int(n as i64)).layouts(layouts);
        let got = case.run_on(&mut State::default()).map_err(|f| TestCaseError::fail(f.message))?;
        prop_assert_eq!(&got[0], &unsigned(DType::BF16, values));
        prop_assert_eq!(&got[1], &unsigned(DType::U32, places));
    }
}

/// The examples of isa.md 9.4.4 and 9.4.7.
#[test]
fn examples_of_the_specification() {
    let row = |values: &[i32]| unsigned(DType::I32, vec![values.iter().map(|x| *x as u32).collect()]);
    let blank = |n| Tile::filled(DType::I32, 1, n, 77);
    let bounds = Case::new(Op::SequenceBounds, blank(8)).operand(&row(&[0, 1, 1, 2])).run();
    assert_eq!(bounds, Ok(row(&[4, 1, 1, 3, -1, 3, 3, 4])));
    let positions = Case::new(Op::NonzeroWithCount, blank(5)).operand(&row(&[0, 7, 0, -1])).run();
    assert_eq!(positions, Ok(row(&[1, 3, -1, -1, 2])));
}

#[test]
fn misfits_are_faults() {
    let t = |d, p, n| Tile::filled(d, p, n, 0);
    let gather = |dst: Tile, src: Tile, index: Tile| {
        Case::new(Op::LocalGather, dst).operand(&src).operand(&index).run()
    };
    let (u, f) = (DType::U16, DType::F32);
    assert_eq!(gather(t(f, 16, 16), t(f, 16, 4), t(u, 16, 1)), Ok(t(f, 16, 16)));
    assert_eq!(gather(t(f, 16, 15), t(f, 16, 4), t(u, 16, 1)), Err(Code::Shape));
    assert_eq!(gather(t(f, 8, 16), t(f, 8, 4), t(u, 8, 1)), Err(Code::Shape));
    assert_eq!(gather(t(f, 16, 16), t(f, 16, 4), t(DType::I16, 16, 1)), Err(Code::Dtype));
    assert_eq!(gather(t(f, 16, 16), t(u, 16, 4), t(u, 16, 1)), Err(Code::Dtype));
    let topk = |n: i64| {
        Case::new(Op::Topk, t(DType::BF16, 16, 4))
            .operand(&t(DType::U32, 16, 4))
            .operand(&t(DType::BF16, 16, 1))
            .attr("n", small_int(n))
            .run()
    };
    assert!(topk(16).is_ok());
    for n in [3, 17, -1] {
        assert_eq!(topk(n), Err(Code::Shape), "{n}");
    }
    let reduce = |dst: Tile| {
        Case::new(Op::TensorPartitionReduce, dst).operand(&t(f, 4, 3)).alu("op", AluOp::Add).run()
    };
    assert_eq!(reduce(t(f, 2, 3)), Err(Code::Shape));
    assert_eq!(reduce(t(f, 1, 2)), Err(Code::Shape));
}
