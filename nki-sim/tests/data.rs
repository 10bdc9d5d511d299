//! What programs compute, and what is detected while they run.

mod common;

use common::*;
use nki_ir::diag::Code;
use nki_ir::interp::Uninitialized;
use nki_ir::kernel::{BufKind, Space};
use nki_ir::loc::Loc;
use nki_ir::op::{DgeMode, Engine, OobMode};
use nki_ir::{ActFn, Attr, DType, Target, Tensor};
use nki_sim::program::*;
use nki_sim::{SimOptions, SimOutput, run, verify};
use std::sync::Arc;

use DType::{F32, I32};

const A: u64 = 0;
const B: u64 = 1 << 20;
const OUT: u64 = 2 << 20;

/// `out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]` with ragged sizes, k in two tiles.
fn product(k: u32, m: u32, n: u32) -> Program {
    product_in(2, k, m, n)
}

/// [`product`] with one or two places for the tiles of k; the second tile of one place waits for the first product.
fn product_in(places: i64, k: u32, m: u32, n: u32) -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![
        tensor("lhs_t", BufKind::Input, F32, &[k, m], A),
        tensor("rhs", BufKind::Input, F32, &[k, n], B),
        tensor("out", BufKind::Output, F32, &[m, n], OUT),
    ];
    let first = k.min(128);
    let tiles = [(0, first), (first, k - first)];
    let of = |o: u32, address: u64, row: u32, rows: u32, cols: u32| {
        let mut a = hbm(F32, address + u64::from(row * cols * 4), rows, cols, cols.into());
        a.object = Some(o);
        a
    };
    let (sync, pe) = (STREAM_ENGINES.len() - 1, 0);
    for (i, (row, rows)) in tiles.into_iter().enumerate().filter(|(_, t)| t.1 > 0) {
        let place = i as i64 % places;
        let (s, mv) = (sbuf(F32, rows, place * 4096, m), sbuf(F32, rows, 16_384 + place * 4096, n));
        let sem = i as u32;
        let mut first = dma(s.clone(), of(0, A, row, rows, m), 0, DgeMode::Hwdge).signal(sem, 16);
        if place < i as i64 {
            first = first.wait(2, 1);
        }
        p.streams[sync].push(first);
        p.streams[sync].push(dma(mv.clone(), of(1, B, row, rows, n), 1, DgeMode::Hwdge).signal(sem, 16));
        p.streams[pe]
            .push(matmul(psum(F32, m, 0, n), s, mv, i > 0).wait(sem, 32).signal(2, 1).at(10 + i as u32));
    }
    let mms = p.streams[pe].len() as i64;
    let result = sbuf(F32, m, 32_768, n);
    *stream(&mut p, Engine::Scalar) =
        vec![activation(result.clone(), psum(F32, m, 0, n), ActFn::Copy).wait(2, mms).signal(3, 1)];
    let out = of(2, OUT, 0, m, n);
    stream(&mut p, Engine::Sync).push(dma(out, result, 2, DgeMode::Hwdge).wait(3, 1).signal(4, 16));
    p
}

fn pattern(shape: &[usize], seed: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let value =
        |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as f32 / 16.0 - 8.0;
    Tensor::from_f32(shape, &(0..n).map(value).collect::<Vec<_>>()).unwrap()
}
fn floats(t: &Tensor) -> Vec<f32> {
    t.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}
fn go(p: Program, inputs: &[Tensor], options: &SimOptions) -> Result<SimOutput, nki_ir::Diagnostics> {
    run(&verify(p).unwrap(), inputs, options)
}
#[track_caller]
fn fails(p: Program, inputs: &[Tensor], code: Code, words: &str) {
    let d = go(p, inputs, &SimOptions::default()).unwrap_err();
    assert_eq!(d.first_code(), Some(code), "{d}");
    assert!(d.to_string().contains(words), "{words:?} not in {d}");
}

#[test]
fn products_equal_the_reference_in_any_order_of_transfers() {
    for (k, m, n) in [(1, 1, 1), (128, 128, 512), (129, 127, 31), (255, 64, 512), (200, 1, 7)] {
        let (a, b) = (pattern(&[k, m], 1), pattern(&[k, n], 2));
        let (fa, fb) = (floats(&a), floats(&b));
        let out = go(product(k as u32, m as u32, n as u32), &[a.clone(), b.clone()], &SimOptions::default())
            .unwrap();
        let got = floats(&out.outputs[0]);
        for i in 0..m {
            for j in 0..n {
                let want: f64 = (0..k).map(|x| f64::from(fa[x * m + i]) * f64::from(fb[x * n + j])).sum();
                assert!((f64::from(got[i * n + j]) - want).abs() < 1e-3, "{k} {m} {n} at {i},{j}");
            }
        }
        for seed in 0..3 {
            let options = SimOptions { adversary: Some(seed), ..SimOptions::default() };
            let other = go(product(k as u32, m as u32, n as u32), &[a.clone(), b.clone()], &options).unwrap();
            assert_eq!(other.outputs[0].data, out.outputs[0].data);
            assert!(other.report.kernel_ns > out.report.kernel_ns);
        }
        assert!(out.warnings.is_empty(), "{:?}", out.warnings);
    }
}

#[test]
fn runs_are_deterministic() {
    let inputs = [pattern(&[200, 64], 1), pattern(&[200, 512], 2)];
    let options = SimOptions { adversary: Some(7), ..SimOptions::default() };
    let a = go(product(200, 64, 512), &inputs, &options).unwrap();
    let b = go(product(200, 64, 512), &inputs, &options).unwrap();
    assert_eq!(a.report, b.report);
}

#[test]
fn arguments_must_match() {
    let inputs = [pattern(&[200, 64], 1), pattern(&[200, 512], 2)];
    fails(
        product(200, 64, 512),
        &inputs[..1],
        Code::Argument,
        "1 tensors are given; the program takes 2: lhs_t, rhs",
    );
    fails(product(200, 64, 511), &inputs, Code::Argument, "`rhs` is f32 [200, 511]");
}

#[test]
fn uninitialised_reads_name_buffer_and_line() {
    let mut p = product(100, 64, 32);
    p.placements = vec![Placement {
        name: "weights".into(),
        space: Space::Sbuf,
        start_partition: 0,
        partitions: 128,
        offset: 16_384,
        bytes: 4096,
        loc: Loc(3),
    }];
    // The moving operand's load brings one column less.
    if let MKind::Dma { operands, .. } = &mut stream(&mut p, Engine::Sync)[1].kind {
        for o in operands.iter_mut() {
            if let MOperand::Access(a) = o {
                std::sync::Arc::make_mut(&mut a.dims).last_mut().unwrap().count = 31;
            }
        }
    }
    let inputs = [pattern(&[100, 64], 1), pattern(&[100, 32], 2)];
    let d = go(p.clone(), &inputs, &SimOptions::default()).unwrap_err();
    assert_eq!(d.first_code(), Some(Code::Uninitialized));
    let text = d.to_string();
    for words in [
        "`moving` reads `weights` (sbuf partition 0, byte 16508)",
        "k.rs:10:5",
        "k.rs:3:5: `weights` is declared",
    ] {
        assert!(text.contains(words), "{words} not in {text}");
    }
    // Not strict: poison, reported once.
    let options = SimOptions { uninitialized: Uninitialized::Warn, ..SimOptions::default() };
    let out = go(p, &inputs, &options).unwrap();
    assert_eq!(out.warnings.iter().count(), 1);
    let got = floats(&out.outputs[0]);
    assert!(got[31].is_nan() && !got[30].is_nan());
}

#[test]
fn outputs_start_poisoned() {
    let mut p = product(100, 64, 32);
    stream(&mut p, Engine::Sync).pop();
    let out = go(p, &[pattern(&[100, 64], 1), pattern(&[100, 32], 2)], &SimOptions::default()).unwrap();
    assert!(floats(&out.outputs[0]).iter().all(|x| x.is_nan()));
    assert!(out.warnings.to_string().contains("8192 of the 8192 bytes of `out` are never written"));
}

#[test]
fn accumulation_needs_a_matmul_before_it() {
    let inputs = [pattern(&[200, 64], 1), pattern(&[200, 32], 2)];
    let add = |i: &mut MInst| {
        if let MKind::Compute { accumulate, .. } = &mut i.kind {
            *accumulate = MAccumulate::Add;
        }
    };
    let mut p = product(200, 64, 32);
    add(&mut p.streams[0][0]);
    fails(p, &inputs, Code::Accumulate, "has never been written");
    // A memset is no matmul on gen3.
    let mut p = product(200, 64, 32);
    add(&mut p.streams[0][0]);
    *stream(&mut p, Engine::Vector) = vec![memset(psum(F32, 64, 0, 32), 0.0).signal(5, 1)];
    p.streams[0][0] = p.streams[0][0].clone().wait(5, 1);
    fails(p.clone(), &inputs, Code::Accumulate, "was written by something else since");
    p.target = Target::Trn3;
    assert!(go(p, &inputs, &SimOptions::default()).is_ok());
}

/// Rows of a table chosen by an index tile.
fn gather(mode: OobMode) -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![
        tensor("table", BufKind::Input, F32, &[10, 16], A),
        tensor("index", BufKind::Input, I32, &[4, 1], B),
        tensor("out", BufKind::Output, F32, &[4, 16], OUT),
    ];
    let mut index = hbm(I32, B, 4, 1, 1);
    index.object = Some(1);
    let mut rows = hbm(F32, A, 4, 16, 16);
    rows.object = Some(0);
    rows.dynamic = Some(Box::new(DynamicAccess::Vector { index: Box::new(sbuf(I32, 4, 512, 1)), scale: 64 }));
    let mut out = hbm(F32, OUT, 4, 16, 16);
    out.object = Some(2);
    let mut fetch = dma(sbuf(F32, 4, 0, 16), rows, 1, DgeMode::Swdge).wait(0, 16).signal(1, 16).at(5);
    if let MKind::Dma { op, attrs, .. } = &mut fetch.kind {
        Arc::make_mut(attrs)[op.row().attr("oob_mode").unwrap()] = Attr::Oob(mode);
    }
    *stream(&mut p, Engine::Vector) = vec![memset(sbuf(F32, 4, 0, 16), -1.0).signal(3, 1)];
    *stream(&mut p, Engine::GpSimd) = vec![
        dma(sbuf(I32, 4, 512, 1), index, 0, DgeMode::Swdge).signal(0, 16),
        fetch.wait(3, 1),
        dma(out, sbuf(F32, 4, 0, 16), 0, DgeMode::Swdge).wait(1, 16).signal(2, 16),
    ];
    p
}

#[test]
fn gathers_follow_their_index() {
    let table = pattern(&[10, 16], 3);
    let index = |v: [i32; 4]| Tensor {
        dtype: I32,
        shape: vec![4, 1],
        data: v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let rows = floats(&table);
    let out =
        go(gather(OobMode::Error), &[table.clone(), index([9, 0, 9, 3])], &SimOptions::default()).unwrap();
    let got = floats(&out.outputs[0]);
    for (i, r) in [9usize, 0, 9, 3].into_iter().enumerate() {
        assert_eq!(got[i * 16..i * 16 + 16], rows[r * 16..r * 16 + 16]);
    }
    for bad in [10, -1] {
        let inputs = [table.clone(), index([0, bad, 1, 2])];
        fails(gather(OobMode::Error), &inputs, Code::RuntimeIndex, "of `table`, which has 640");
        let out = go(gather(OobMode::Skip), &inputs, &SimOptions::default()).unwrap();
        let got = floats(&out.outputs[0]);
        assert!(got[16..32].iter().all(|x| *x == -1.0));
        assert_eq!(got[32..48], rows[16..32]);
    }
}

/// Branches and loops on a register that is loaded from memory.
#[test]
fn loops_on_data() {
    let mut p = program(Target::Trn2);
    p.tensors =
        vec![tensor("n", BufKind::Input, I32, &[1, 1], A), tensor("out", BufKind::Output, I32, &[1, 1], OUT)];
    let word = |o: i64| sbuf(I32, 1, o, 1);
    let at = |o: u32, address| {
        let mut a = hbm(I32, address, 1, 1, 1);
        a.object = Some(o);
        a
    };
    *stream(&mut p, Engine::Sync) = vec![dma(word(0), at(0, A), 0, DgeMode::None).signal(0, 16)];
    *stream(&mut p, Engine::Vector) = vec![
        inst(MKind::RegLoad { reg: SeqReg(0), src: Box::new(word(0)) }).wait(0, 16),
        inst(MKind::RegStore { dst: Box::new(word(64)), reg: SeqReg(0) }),
        inst(MKind::If {
            cond: SeqReg(0),
            then: vec![inst(MKind::RegMove { reg: SeqReg(2), src: RegAffine::from(70_000) })],
            otherwise: vec![inst(MKind::RegMove { reg: SeqReg(2), src: RegAffine::from(-5) })],
        }),
        inst(MKind::While {
            cond: SeqReg(0),
            body: vec![
                inst(MKind::RegMove {
                    reg: SeqReg(2),
                    src: RegAffine { constant: 0, terms: [(SeqReg(0), 1)].into_iter().collect() },
                }),
                inst(MKind::RegMove { reg: SeqReg(0), src: RegAffine::from(0) }),
            ],
        }),
        inst(MKind::RegStore { dst: Box::new(word(64)), reg: SeqReg(2) }).signal(2, 1),
        dma(at(1, OUT), word(64), 0, DgeMode::None).wait(2, 1).signal(3, 16),
    ];
    for (n, want) in [(7, 7), (0, -5)] {
        let input = Tensor { dtype: I32, shape: vec![1, 1], data: i32::to_le_bytes(n).to_vec() };
        let out = go(p.clone(), &[input], &SimOptions::default()).unwrap();
        assert_eq!(out.outputs[0].data, i32::to_le_bytes(want));
    }
    let time_only = SimOptions { mode: nki_sim::Mode::TimeOnly, ..SimOptions::default() };
    let d = go(p, &[], &time_only).unwrap_err();
    assert!(d.to_string().contains("depends on data"), "{d}");
}

#[test]
fn endless_loops_are_given_up() {
    let mut p = program(Target::Trn2);
    *stream(&mut p, Engine::Sync) = vec![
        inst(MKind::RegMove { reg: SeqReg(0), src: RegAffine::from(1) }),
        inst(MKind::While { cond: SeqReg(0), body: vec![] }),
    ];
    let options = SimOptions { max_instructions: 1000, ..SimOptions::default() };
    let d = go(p, &[], &options).unwrap_err();
    assert_eq!(d.first_code(), Some(Code::Limit));
}

#[test]
fn deadlocks_name_the_cycle() {
    let mut p = program(Target::Trn2);
    *stream(&mut p, Engine::Vector) = vec![sync().at(1), sync().wait(0, 1).signal(1, 1).at(2)];
    *stream(&mut p, Engine::Scalar) = vec![sync().wait(1, 1).signal(0, 1).at(3)];
    let d = match verify(p) {
        Ok(v) => run(&v, &[], &SimOptions::default()).unwrap_err(),
        Err(d) => d,
    };
    assert_eq!(d.first_code(), Some(Code::Deadlock));
    let text = d.to_string();
    assert!(text.contains("wait for each other"), "{text}");
    assert!(text.contains("k.rs:2:5: vector waits here for s0 >= 1; it is 0"), "{text}");
    assert!(text.contains("k.rs:3:5: s0 would be incremented here"), "{text}");
}

#[test]
fn threads_change_neither_bytes_nor_time() {
    // Whole and ragged; the first three are large enough to be shared, of the third the second part is too small to be kept.
    for (k, m, n) in [(256, 128, 512), (255, 127, 511), (129, 128, 512), (256, 61, 509), (200, 1, 7)] {
        // Not dyadic: the bits of a sum tell in which order it was made.
        let uneven = |shape: &[usize], seed| {
            let values: Vec<f32> = floats(&pattern(shape, seed)).iter().map(|x| x / 3.0).collect();
            Tensor::from_f32(shape, &values).unwrap()
        };
        let inputs = [uneven(&[k, m], 1), uneven(&[k, n], 2)];
        let with = |threads| {
            let options = SimOptions { threads: Some(threads), ..SimOptions::default() };
            go(product(k as u32, m as u32, n as u32), &inputs, &options).unwrap()
        };
        let alone = with(1);
        for threads in [2, 5] {
            let shared = with(threads);
            assert_eq!(shared.outputs[0].data, alone.outputs[0].data, "{k} {m} {n} on {threads} threads");
            assert_eq!(shared.report, alone.report, "{k} {m} {n} on {threads} threads");
        }
    }
}

#[test]
fn an_operand_that_is_written_over_is_seen_anew() {
    for (k, m, n) in [(256, 128, 512), (255, 127, 511), (256, 61, 509)] {
        let inputs = [pattern(&[k, m], 1), pattern(&[k, n], 2)];
        let [one, two] = [1, 2].map(|places| {
            let program = product_in(places, k as u32, m as u32, n as u32);
            go(program, &inputs, &SimOptions::default()).unwrap()
        });
        assert_eq!(one.outputs[0].data, two.outputs[0].data, "{k} {m} {n}");
    }
}

#[test]
fn functional_runs_compute_the_same_without_time() {
    let inputs = [pattern(&[200, 64], 1), pattern(&[200, 32], 2)];
    let full = go(product(200, 64, 32), &inputs, &SimOptions::default()).unwrap();
    let options = SimOptions { mode: nki_sim::Mode::Functional, ..SimOptions::default() };
    let fast = go(product(200, 64, 32), &inputs, &options).unwrap();
    assert_eq!(fast.outputs[0].data, full.outputs[0].data);
    assert_eq!(fast.report.instructions, full.report.instructions);
    assert_eq!(fast.report.kernel_ns, 0.0);
}
