//! Transfers, memory safety and stochastic rounding.

use super::harness::*;
use crate::op::Engine;
use crate::sem::{Arg, Call, Memory, Rounding, Rows, Span, State, cast, execute};
use crate::target::Gen;
use crate::{ActFn, AluOp, Attr, Builder, Code, DType, Loc, Op};
use proptest::prelude::*;

/// One-partition tiles stand for HBM tensors, others for SBUF; any two shapes of equal size pair.
fn shapes() -> impl Strategy<Value = ((usize, usize), (usize, usize))> {
    (1usize..5, 1usize..5, 1usize..5, any::<[bool; 2]>()).prop_map(|(a, b, c, [x, y])| {
        let shape = |first| if first { (a, b * c) } else { (a * b, c) };
        (shape(x), if y { (1, a * b * c) } else { shape(!x) })
    })
}

fn transfer(dst: Tile, src: &Tile, layouts: [Layout; 5]) -> Result<Tile, Code> {
    Case::new(Op::DmaCopy, dst).operand(src).layouts(layouts).run()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn dma_copy_pairs_elements_in_order(
        (src, dst) in (shapes(), any_dtype(), any_dtype(), any::<bool>()).prop_flat_map(|(((p, n), (q, m)), a, b, same)| {
            (tile(a, p, n), tile(if same { a } else { b }, q, m))
        }),
        layouts in five_layouts(),
    ) {
        let flat: Vec<u32> = src.bits.concat();
        let convert = |b: u32| if src.dtype == dst.dtype { b } else { cast::down(dst.dtype, cast::up(src.dtype, b)) };
        let mut want = dst.clone();
        want.bits.iter_mut().flatten().zip(&flat).for_each(|(w, b)| *w = convert(*b));
        prop_assert_eq!(transfer(dst, &src, layouts), Ok(want));
    }

    /// A transfer within one tensor reads everything before it writes.
    #[test]
    fn dma_copy_onto_itself(
        data in prop::collection::vec(any::<u16>(), 40),
        (from, to) in (0u64..20, 0u64..20),
        (a, b) in (1i64..3, prop::sample::select(vec![-2i64, -1, 1, 2])),
    ) {
        let n = 8u32;
        let mut mem = Flat(data.iter().flat_map(|x| x.to_le_bytes()).collect());
        let span = |base: u64, stride: i64| Span {
            mem: 0,
            base: 2 * (base + if stride < 0 { 7 * stride.unsigned_abs() } else { 0 }),
            part_stride: 0,
            parts: 1,
            dims: [(2 * stride, n)].into_iter().collect(),
            dtype: DType::BF16,
        };
        let (src, dst) = (span(from, a), span(to, b));
        let before = mem.tile(&src);
        run_dma(&mut mem, Arg::Span(dst.clone()), Arg::Span(src)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(mem.tile(&dst), before);
    }

    /// Rows at run-time positions: gathered, scattered in ascending order, skipped where there is no position.
    #[test]
    fn dma_copy_of_rows(
        table in tile(DType::I16, 1, 24),
        tile in tile(DType::I32, 4, 3),
        places in prop::collection::vec(prop::option::of(0usize..8), 4),
    ) {
        let plain = Layout { gap: 1, ..PLAIN };
        let mut mem = Flat(vec![]);
        let (t, s) = (mem.place(&table, plain, true), mem.place(&tile, plain, true));
        let row = Span { dims: [(2, 3)].into_iter().collect(), base: 0, ..t.clone() };
        let starts = places.iter().map(|p| p.map(|p| t.base + 6 * p as u64)).collect();
        let rows = Rows { row, starts };

        let mut want = tile.clone();
        for (p, place) in places.iter().enumerate() {
            if let Some(place) = place {
                for f in 0..3 {
                    want.bits[p][f] = table.bits[0][place * 3 + f] as i16 as i32 as u32;
                }
            }
        }
        run_dma(&mut mem, Arg::Span(s.clone()), Arg::Rows(rows.clone())).map_err(TestCaseError::fail)?;
        prop_assert_eq!(mem.tile(&s), want.clone());

        let mut scattered = table.clone();
        let doubled = Tile { bits: want.bits.iter().map(|r| r.iter().map(|x| x.wrapping_add(1) & 0x7f).collect()).collect(), ..want };
        let s = mem.place(&doubled, plain, true);
        for (p, place) in places.iter().enumerate() {
            if let Some(place) = place {
                scattered.bits[0][place * 3..place * 3 + 3].copy_from_slice(&doubled.bits[p]);
            }
        }
        run_dma(&mut mem, Arg::Rows(rows), Arg::Span(s)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(mem.tile(&t), scattered);
    }

    /// Arbitrary spans are executed or refused, never a panic; what is refused for its address leaves memory alone.
    #[test]
    fn no_operand_can_leave_its_memory(
        spans in prop::collection::vec(
            ((prop_oneof![9 => Just(0u32), 1 => 1u32..3], wild(0u64..200)), (wild(0u64..50), wild(0u32..3)),
             prop::collection::vec((wild(-30i64..30), wild(0u32..3)), 0..4), any_dtype()),
            5,
        ),
        op in prop::sample::select(Op::all().collect::<Vec<_>>()),
        (immediate, alu, act) in (any::<f32>(), prop::sample::select(AluOp::ALL), prop::sample::select(ActFn::ALL)),
    ) {
        let mut mem = Flat(vec![0x40; 256]);
        let row = op.row();
        let mut spans = spans.into_iter();
        let args: Vec<Arg> = row.operands.iter().map(|spec| {
            use crate::op::OperandKind::*;
            match (spec.kind, spans.next()) {
                (IntOrReg | Reg, _) => Arg::Int(3),
                (TileOrScalar, _) => Arg::Imm(immediate),
                (_, Some(((mem, base), (part_stride, parts), dims, dtype))) => {
                    Arg::Span(Span { mem, base, part_stride, parts, dims: dims.into(), dtype })
                }
                _ => Arg::None,
            }
        }).collect();
        let mut attrs = Builder::template(op, Loc(0)).attrs;
        for (attr, spec) in attrs.iter_mut().zip(row.attrs).filter(|(a, _)| **a == Attr::None) {
            use crate::op::AttrKind;
            *attr = match (spec.kind, &args[0]) {
                (AttrKind::Alu, _) => Attr::Alu(alu),
                (AttrKind::Act, _) => Attr::Act(act),
                (AttrKind::F32, _) => Attr::F32(immediate),
                (AttrKind::Pairs, Arg::Span(dst)) => Attr::Pairs(vec![[1, dst.row_elements() as i64]]),
                _ => continue,
            };
        }
        let engine = row.engines[0].0;
        let call = Call { op, engine, generation: Gen::Gen3, args: &args, attrs: &attrs, accumulate: true, salt: 0 };
        let result = execute(&call, &mut mem, &mut State::default());
        if result.is_err_and(|f| f.code == Code::OutOfBounds) {
            prop_assert!(mem.0.iter().all(|b| *b == 0x40));
        }
        prop_assert_eq!(mem.0.len(), 256);
    }
}

/// Mostly an ordinary number.
fn wild<T: Arbitrary + Clone>(ordinary: std::ops::Range<T>) -> impl Strategy<Value = T>
where
    std::ops::Range<T>: Strategy<Value = T>,
{
    prop_oneof![15 => ordinary, 1 => any::<T>()]
}

fn run_dma(mem: &mut dyn Memory, dst: Arg, src: Arg) -> Result<(), String> {
    let attrs = Builder::template(Op::DmaCopy, Loc(0)).attrs;
    let args = [dst, src];
    let call = Call {
        op: Op::DmaCopy,
        engine: Engine::Dma,
        generation: Gen::Gen3,
        args: &args,
        attrs: &attrs,
        accumulate: false,
        salt: 0,
    };
    execute(&call, mem, &mut State::default()).map_err(|f| f.message)
}

#[test]
fn misfits_are_faults() {
    let t = |dtype, p, n| Tile::filled(dtype, p, n, 0);
    let plain = [PLAIN; 5];
    assert_eq!(transfer(t(DType::F32, 2, 3), &t(DType::F32, 5, 1), plain), Err(Code::Shape));
    assert_eq!(transfer(t(DType::F32, 1, 2), &t(DType::F8E4M3FNX4, 1, 2), plain), Err(Code::Dtype));
    let mut mem = Flat(vec![0; 64]);
    let span =
        Span { mem: 0, base: 0, part_stride: 0, parts: 4, dims: Default::default(), dtype: DType::F32 };
    let src = Span { part_stride: 4, ..span.clone() };
    // Four partitions in one place are a source, but no destination of 64 bytes holds 32 elements.
    assert!(run_dma(&mut mem, Arg::Span(src.clone()), Arg::Span(span.clone())).is_ok());
    let many = Span { parts: 32, ..span };
    assert!(
        run_dma(&mut mem, Arg::Span(many.clone()), Arg::Span(many)).is_err_and(|m| m.contains("repeats"))
    );
}

/// Each element goes to one of its two neighbours, by chance, without bias; equal salts and seeds round alike.
#[test]
fn stochastic_rounding_of_an_instruction() {
    let n = 4096;
    let x = 1.0 + 0.3 / 128.0;
    let src = Tile::rounded(DType::F32, &[vec![x; n], vec![-x; n]]);
    let run = |seed| {
        let mut state = State { rounding: Rounding::Stochastic { seed }, ..State::default() };
        let case = Case::new(Op::TensorCopy, Tile::filled(DType::BF16, 2, n, 0)).operand(&src);
        case.run_on(&mut state).expect("legal").remove(0)
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let up = 1.0 + 1.0 / 128.0;
    for (row, sign) in first.floats().iter().zip([1.0, -1.0]) {
        assert!(row.iter().all(|y| *y == sign || *y == sign * up));
        let away = row.iter().filter(|y| **y == sign * up).count() as f64 / n as f64;
        // Six standard deviations of a fraction of 0.3 among 4096.
        assert!((away - 0.3).abs() < 6.0 * (0.3f64 * 0.7 / n as f64).sqrt(), "{away}");
    }
    // Integers round to nearest in every mode.
    let mut state = State { rounding: Rounding::Stochastic { seed: 1 }, ..State::default() };
    let halves = Tile::rounded(DType::F32, &[vec![2.4; 50]]);
    let got =
        Case::new(Op::TensorCopy, Tile::filled(DType::I8, 1, 50, 0)).operand(&halves).run_on(&mut state);
    assert_eq!(got.expect("legal")[0], Tile::filled(DType::I8, 1, 50, 2));
}

/// The last byte of a memory is inside, the one behind it is not.
#[test]
fn bounds_are_exact() {
    let span = |base, part_stride, parts, dims: &[(i64, u32)]| Span {
        mem: 0,
        base,
        part_stride,
        parts,
        dims: dims.iter().copied().collect(),
        dtype: DType::BF16,
    };
    for (s, end) in [
        (span(4, 0, 1, &[]), 6),
        (span(4, 10, 3, &[(2, 5)]), 34),
        (span(4, 0, 1, &[(6, 2), (2, 3)]), 16),
        (span(40, 0, 1, &[(-8, 6)]), 42),
    ] {
        assert!(s.check(end).is_ok());
        assert_eq!(s.check(end - 1).map_err(|f| f.code), Err(Code::OutOfBounds));
    }
    assert_eq!(span(39, 0, 1, &[(-8, 6)]).check(100).map_err(|f| f.code), Err(Code::OutOfBounds));
    // No elements, no address.
    assert!(span(u64::MAX, u64::MAX, 3, &[(i64::MIN, 0)]).check(0).is_ok());
}
