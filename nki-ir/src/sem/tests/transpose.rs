//! dma_transpose and dma_compute, element by element.

use super::elementwise::alu_model;
use super::harness::*;
use crate::op::Engine;
use crate::sem::Fault;
use crate::sem::{Arg, Call, MAX_SOURCES, Rows, SOURCES, Span, State, cast, execute};
use crate::target::Gen;
use crate::{AluOp, Attr, Builder, DType, Loc, Op};
use proptest::prelude::*;

fn run(op: Op, mem: &mut Flat, args: Vec<Arg>, attrs: &[(&str, Attr)], strict: bool) -> Result<(), Fault> {
    let mut values = Builder::template(op, Loc(0)).attrs;
    for (name, value) in attrs {
        values[op.row().attr(name).expect("an attribute of the row")] = value.clone();
    }
    let mut args = args;
    args.resize(op.row().operands.len(), Arg::None);
    let call = Call {
        op,
        engine: Engine::Dma,
        generation: Gen::Gen3,
        args: &args,
        attrs: &values,
        accumulate: false,
        salt: 0,
    };
    execute(&call, mem, &mut State { check_claims: strict, ..State::default() })
}

fn any_dtype_or_packed() -> impl Strategy<Value = DType> {
    prop::sample::select(DType::all().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// `dst[l, b, c, a] = src[a, b, c, l]`: with one, two or no axes between the first and the last.
    #[test]
    fn dma_transpose(
        (shape, t) in (prop::collection::vec(1usize..5, 2..5), any_dtype_or_packed()),
        seed in prop::collection::vec(any::<u32>(), 256),
        (on_chip, outer) in (any::<bool>(), any::<bool>()),
        layouts in five_layouts(),
    ) {
        let (first, last) = (shape[0], shape[shape.len() - 1]);
        let middle: usize = shape[1..shape.len() - 1].iter().product();
        let mask = u32::MAX >> (32 - 8 * t.bytes() as u32);
        let element = |a: usize, m: usize, l: usize| seed[(a * middle + m) * last + l] & mask;
        let flat = |a: usize| (0..middle).flat_map(move |m| (0..last).map(move |l| (a, m, l)));
        let src = if on_chip {
            let row = |a| flat(a).map(|(a, m, l)| element(a, m, l)).collect();
            Tile { dtype: t, bits: (0..first).map(row).collect() }
        } else {
            Tile { dtype: t, bits: vec![(0..first).flat_map(flat).map(|(a, m, l)| element(a, m, l)).collect()] }
        };
        let row = |l| (0..middle).flat_map(|m| (0..first).map(move |a| (a, m))).map(|(a, m)| element(a, m, l)).collect();
        let want = Tile { dtype: t, bits: (0..last).map(row).collect() };
        let mut mem = Flat(vec![]);
        let (d, s) = (mem.place(&Tile::filled(t, last, middle * first, 0), layouts[0], true), mem.place(&src, layouts[1], true));
        let rows = if shape.len() == 2 && outer { 0 } else { first as i64 };
        let done = run(Op::DmaTranspose, &mut mem, vec![Arg::Span(d.clone()), Arg::Span(s)], &[("rows", Attr::Int(rows))], true);
        prop_assert_eq!(done, Ok(()));
        prop_assert_eq!(mem.tile(&d), want);
    }

    /// Rows at run-time positions become columns; those that are skipped leave theirs alone.
    #[test]
    fn dma_transpose_of_rows(
        (table, dst, places) in (1usize..5, 1usize..6, 1usize..8).prop_flat_map(|(last, middle, first)| (
            tile(DType::I16, 8, middle * last), tile(DType::I16, last, middle * first),
            prop::collection::vec(prop::option::of(0usize..8), first),
        )),
        layouts in five_layouts(),
    ) {
        let (first, last) = (places.len(), dst.parts());
        let middle = dst.n() / first;
        let mut mem = Flat(vec![]);
        let (t, d) = (mem.place(&table, PLAIN, true), mem.place(&dst, layouts[0], true));
        let n = (middle * last) as u32;
        let row = Span { parts: 1, dims: if n == 1 { Default::default() } else { [(2, n)].into_iter().collect() }, ..t.clone() };
        let starts = places.iter().map(|p| p.map(|p| t.base + 2 * u64::from(n) * p as u64)).collect();
        let mut want = dst.clone();
        for (a, place) in places.iter().enumerate() {
            for (m, l) in (0..middle).flat_map(|m| (0..last).map(move |l| (m, l))) {
                if let Some(place) = place {
                    want.bits[l][m * first + a] = table.bits[*place][m * last + l];
                }
            }
        }
        let args = vec![Arg::Span(d.clone()), Arg::Rows(Rows { row, starts })];
        prop_assert_eq!(run(Op::DmaTranspose, &mut mem, args, &[("rows", Attr::Int(first as i64))], true), Ok(()));
        prop_assert_eq!(mem.tile(&d), want);
    }

    #[test]
    fn dma_compute(
        (dst, sources) in ((1usize..4, 1usize..9), any_dtype(), prop::collection::vec(any_dtype(), 1..MAX_SOURCES + 1))
            .prop_flat_map(|((p, n), t, s)| (tile(t, p, n), s.into_iter().map(|t| tile(t, p, n)).collect::<Vec<_>>())),
        in_place: bool,
        layouts in five_layouts(),
    ) {
        let mut mem = Flat(vec![]);
        let d = mem.place(&dst, layouts[0], true);
        let mut spans: Vec<Span> = sources.iter().enumerate().map(|(i, s)| mem.place(s, layouts[i % 5], true)).collect();
        let mut terms: Vec<Vec<Vec<f32>>> = sources.iter().map(Tile::floats).collect();
        if in_place {
            *spans.last_mut().expect("one source") = d.clone();
            *terms.last_mut().expect("one source") = dst.floats();
        }
        let want = dst.map(dst.dtype, |p, f, _| terms[1..].iter().fold(terms[0][p][f], |a, t| alu_model(AluOp::Add, a, t[p][f])));
        let args = std::iter::once(d.clone()).chain(spans).map(Arg::Span).collect();
        prop_assert_eq!(run(Op::DmaCompute, &mut mem, args, &[], true), Ok(()));
        prop_assert_eq!(mem.tile(&d), want);
    }

    /// Rows of a table changed in place, and gathered into a tile: in ascending order, skipped where there is no position.
    #[test]
    fn dma_compute_of_rows(
        table in tile(DType::F32, 8, 3),
        update in tile(DType::BF16, 4, 3),
        places in prop::collection::vec(prop::option::of(0usize..8), 4),
        (gathers, table_first) in (any::<bool>(), any::<bool>()),
    ) {
        let mut mem = Flat(vec![]);
        let (t, s) = (mem.place(&table, PLAIN, true), mem.place(&update, Layout { gap: 3, ..PLAIN }, true));
        let row = Span { parts: 1, ..t.clone() };
        let rows = Rows { row, starts: places.iter().map(|p| p.map(|p| t.base + 12 * p as u64)).collect() };
        let (mut tables, mut updates) = (table.clone(), update.clone());
        for (p, place) in places.iter().enumerate() {
            let Some(place) = place else { continue };
            for f in 0..3 {
                let (x, y) = (tables.floats()[*place][f], updates.floats()[p][f]);
                let sum = if table_first { alu_model(AluOp::Add, x, y) } else { alu_model(AluOp::Add, y, x) };
                if gathers {
                    updates.bits[p][f] = cast::down(DType::BF16, sum);
                } else {
                    tables.bits[*place][f] = cast::down(DType::F32, sum);
                }
            }
        }
        let operand = |table: bool| if table { Arg::Rows(rows.clone()) } else { Arg::Span(s.clone()) };
        let args = vec![operand(!gathers), operand(table_first), operand(!table_first)];
        prop_assert_eq!(run(Op::DmaCompute, &mut mem, args.clone(), &[], false), Ok(()));
        prop_assert_eq!(mem.tile(&t), tables);
        prop_assert_eq!(mem.tile(&s), updates);

        // The promise of unique indices is checked in strict mode.
        let mut taken: Vec<usize> = places.iter().flatten().copied().collect();
        let all = taken.len();
        taken.sort_unstable();
        taken.dedup();
        prop_assert_eq!(run(Op::DmaCompute, &mut mem, args, &[], true).is_ok(), taken.len() == all);
    }
}

#[test]
fn misfits_are_faults() {
    let mut mem = Flat(vec![0; 4096]);
    let span = |parts, n, dtype: DType| Span {
        mem: 0,
        base: 0,
        part_stride: 64,
        parts,
        dims: [(dtype.bytes() as i64, n)].into_iter().collect(),
        dtype,
    };
    let mut done = |op, d: Span, s: Span, rows| {
        let attrs = [("rows", Attr::Int(rows))];
        let attrs = if op == Op::DmaTranspose { &attrs[..] } else { &[] };
        run(op, &mut mem, vec![Arg::Span(d), Arg::Span(s)], attrs, true).map_err(|f| f.code)
    };
    use crate::Code;
    let f = DType::F32;
    assert_eq!(done(Op::DmaTranspose, span(3, 4, f), span(4, 3, f), 0), Ok(()));
    assert_eq!(done(Op::DmaTranspose, span(3, 4, f), span(4, 3, f), 3), Err(Code::Shape));
    assert_eq!(done(Op::DmaTranspose, span(3, 4, f), span(4, 2, f), 0), Err(Code::Shape));
    assert_eq!(done(Op::DmaTranspose, span(3, 4, f), span(4, 3, DType::I16), 0), Err(Code::Dtype));
    assert_eq!(done(Op::DmaCompute, span(3, 4, f), span(3, 3, f), 0), Err(Code::Shape));
    assert_eq!(done(Op::DmaCompute, span(3, 4, f), span(3, 4, DType::F8E5M2X4), 0), Err(Code::Dtype));
    assert_eq!(SOURCES.len(), Op::DmaCompute.row().operands.len() - 1);
}
