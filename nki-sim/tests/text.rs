//! The text form: round trips, and what the parser says of malformed files.

mod common;

use common::*;
use nki_ir::diag::Code;
use nki_ir::kernel::{BufKind, Space};
use nki_ir::loc::{Frame, FrameData, Loc, LocTable};
use nki_ir::op::{DgeMode, Engine, Op};
use nki_ir::{ActFn, AluOp, Attr, DType, Target};
use nki_sim::program::*;
use nki_sim::text::{parse, print};
use proptest::prelude::*;
use std::sync::Arc;

use DType::{BF16, F32, I32};

/// Replaces locations by their words, so that tables that list them in another order compare equal.
fn normal(mut p: Program) -> Program {
    let old = p.locs.clone();
    let mut words: Vec<String> = Vec::new();
    let mut number = |l: Loc| {
        let text = format!("{:?}", old.resolve(l));
        let i = words.iter().position(|w| *w == text).unwrap_or_else(|| {
            words.push(text);
            words.len() - 1
        });
        Loc(i as u32)
    };
    fn walk(body: &mut [MInst], number: &mut dyn FnMut(Loc) -> Loc) {
        for i in body {
            i.loc = number(i.loc);
            match &mut i.kind {
                MKind::For { body, .. } | MKind::While { body, .. } => walk(body, number),
                MKind::If { then, otherwise, .. } => {
                    walk(then, number);
                    walk(otherwise, number);
                }
                _ => {}
            }
        }
    }
    p.placements.iter_mut().for_each(|x| x.loc = number(x.loc));
    p.streams.iter_mut().for_each(|s| walk(s, &mut number));
    p.locs = LocTable { files: words, ..LocTable::default() };
    p
}

#[track_caller]
fn round_trip(p: Program) {
    let text = print(&p);
    let q = parse(&text, "x.nkim").unwrap_or_else(|d| panic!("{d}\n{text}"));
    assert_eq!(print(&q), text);
    // By their words: NaN differs from itself.
    assert_eq!(format!("{:?}", normal(q)), format!("{:?}", normal(p)), "{text}");
}

fn everything() -> Program {
    let mut p = program(Target::Trn3);
    p.name = "odd \"name\" \u{7}".into();
    p.registers = [1, 2, 3, 4, 64];
    p.tensors = vec![
        tensor("x", BufKind::Input, F32, &[4, 128, 64], 0),
        tensor("y y", BufKind::Output, BF16, &[], 1 << 40),
        tensor("z", BufKind::InOut, I32, &[0], 64),
        tensor("s", BufKind::Private, DType::F8E4M3, &[7], 128),
    ];
    p.placements = vec![Placement {
        name: "t".into(),
        space: Space::Psum,
        start_partition: 32,
        partitions: 96,
        offset: 4,
        bytes: 2048,
        loc: Loc(7),
    }];
    let inner = p.locs.frame("inner", Some(Loc(3)));
    let deep = p.locs.loc("other file.rs", 1, 2, inner);
    let mut x = hbm(F32, 0, 128, 64, 64);
    x.object = Some(0);
    x.offset = affine(-5, &[(0, 4), (3, -1), (5, i64::MIN)]);
    x.dynamic = Some(Box::new(DynamicAccess::Vector { index: Box::new(sbuf(I32, 128, 0, 1)), scale: -256 }));
    let mut y = sbuf(F32, 64, 0, 64);
    y.partition = affine(0, &[(1, 32)]);
    y.dynamic = Some(Box::new(DynamicAccess::Register { reg: SeqReg(2), scale: 8 }));
    let mut scalar = sbuf(F32, 1, 0, 1);
    scalar.dynamic = Some(Box::new(DynamicAccess::Scalar { index: Box::new(x.clone()), scale: 1 }));
    let mut indirect = sbuf(BF16, 16, 0, 1);
    indirect.dynamic =
        Some(Box::new(DynamicAccess::Indirect { index: Box::new(scalar.clone()), elements: 7 }));
    let mut first = matmul(psum(F32, 128, 0, 64), indirect, sbuf(BF16, 128, 0, 64), false);
    if let MKind::Compute { accumulate, attrs, op, .. } = &mut first.kind {
        *accumulate = MAccumulate::UnlessFirst([(SeqReg(0), 0), (SeqReg(1), -4)].into_iter().collect());
        Arc::make_mut(attrs)[op.row().attr("tile_position").unwrap()] = Attr::Ints(vec![32, -1]);
        Arc::make_mut(attrs)[op.row().attr("is_transpose").unwrap()] = Attr::Bool(true);
    }
    let select = compute(
        Op::AffineSelect,
        vec![tile(sbuf(F32, 128, 0, 4)), tile(sbuf(F32, 128, 64, 4)), MOperand::Reg(SeqReg(1))],
        &[
            ("pattern", Attr::Pairs(vec![[1, 4], [-2, 1]])),
            ("on_false_value", Attr::F32(f32::NEG_INFINITY)),
            ("cmp_op", Attr::Alu(AluOp::GreaterEqual)),
        ],
    );
    let iota = compute(
        Op::Iota,
        vec![tile(sbuf(I32, 128, 0, 4)), MOperand::Reg(SeqReg(1))],
        &[("pattern", Attr::Pairs(vec![]))],
    );
    let nothing = || inst(MKind::If { cond: SeqReg(0), then: vec![], otherwise: vec![] });
    *stream(&mut p, Engine::Tensor) =
        vec![repeat(0, -1, 3, vec![first.wait(0, 1).wait_affine(1, affine(0, &[(0, 2)]))])];
    *stream(&mut p, Engine::GpSimd) =
        vec![select, iota, dma(y.clone(), x.clone(), 15, DgeMode::Swdge).signal(3, 16)];
    *stream(&mut p, Engine::Vector) = vec![
        memset(sbuf(F32, 1, 0, 1), f32::from_bits(0xffc1_2345)),
        memset(sbuf(F32, 1, 0, 1), -0.0),
        compute(Op::Memset, vec![tile(sbuf(I32, 1, 0, 1)), MOperand::Int(i64::MIN)], &[]),
        compute(Op::Memset, vec![tile(sbuf(I32, 1, 0, 1)), MOperand::Imm(1.0e-40)], &[]),
        inst(MKind::RegLoad { reg: SeqReg(1), src: Box::new(scalar) }),
        inst(MKind::RegStore { dst: Box::new(sbuf(F32, 1, 0, 1)), reg: SeqReg(0) }),
        inst(MKind::RegMove { reg: SeqReg(1), src: RegAffine::from(-7) }),
        inst(MKind::RegMove {
            reg: SeqReg(1),
            src: RegAffine { constant: 0, terms: [(SeqReg(0), 1)].into_iter().collect() },
        }),
    ];
    *stream(&mut p, Engine::Sync) = vec![
        nothing(),
        inst(MKind::If { cond: SeqReg(0), then: vec![], otherwise: vec![nothing().wait(2, 7).signal(1, 3)] }),
        inst(MKind::If {
            cond: SeqReg(0),
            then: vec![sync().signal(0, 1).signal(1, 2)],
            otherwise: vec![sync()],
        }),
        inst(MKind::While {
            cond: SeqReg(1),
            body: vec![inst(MKind::For {
                reg: SeqReg(2),
                lo: MBound::Reg(SeqReg(0)),
                hi: MBound::Const(9),
                step: 3,
                max: None,
                body: vec![nothing()],
            })],
        }),
    ];
    let mut act = activation(sbuf(F32, 1, 0, 1), y, ActFn::Gelu);
    (act.loc, act.source) = (deep, Some(12));
    let mut lost = sync();
    lost.loc = Loc(u32::MAX);
    *stream(&mut p, Engine::Scalar) = vec![act, lost];
    p
}

#[test]
fn everything_comes_back() {
    round_trip(everything());
    round_trip(program(Target::Inf2));
}

#[test]
fn the_documented_example_parses() {
    let doc = include_str!("../src/text/mod.rs");
    let example: String = doc
        .lines()
        .skip_while(|l| !l.contains("```text"))
        .skip(1)
        .take_while(|l| !l.contains("```"))
        .map(|l| format!("{}\n", l.trim_start_matches("//!").trim_start()))
        .collect();
    let p = parse(&example, "example.nkim").unwrap();
    assert_eq!(p.tensors.len(), 2);
    let v = nki_sim::verify(p).unwrap();
    let input = nki_ir::Tensor::from_f32(&[128, 512], &vec![1.5; 128 * 512]).unwrap();
    let out = nki_sim::run(&v, std::slice::from_ref(&input), &nki_sim::SimOptions::default()).unwrap();
    assert!(out.outputs[0].data == input.data);
    // The store has no place of its own: it lies where it stands in the file.
    let last = v.to_program().streams[4][1].loc;
    let at = v.header().locs.resolve(last).unwrap();
    assert_eq!((at.file.as_str(), at.line), ("example.nkim", 11));
}

const HEAD: &str = "nkim 1\nprogram @k target trn2\n";

#[track_caller]
fn says(text: &str, code: Code, words: &str) {
    let d = parse(text, "f.nkim").unwrap_err();
    assert!(d.iter().any(|x| x.code == code), "{d}");
    assert!(d.to_string().contains(words), "{words:?} not in {d}");
}

#[test]
fn mistakes_are_placed() {
    let s = |line: &str| format!("{HEAD}stream vector {{\n  {line}\n}}\n");
    says("", Code::Syntax, "the first line must be `nkim 1`");
    says("nkim 2", Code::Syntax, "version 2 is not known");
    says("nkim 1\nprogram @k target trn9", Code::Syntax, "f.nkim:2:19");
    says(&s("tensor_cpoy x"), Code::Undefined, "f.nkim:4:3");
    says(&s("memset sbuf<f32>(0 +: 1, 0)"), Code::Syntax, "expected `,`");
    says(&s("memset sbuf<f33>(0 +: 1, 0), 0.0"), Code::Syntax, "expected a dtype, found `f33`");
    says(&s("memset sbuf<f32>(0, 0), 0.0"), Code::Syntax, "`+:`");
    says(&s("memset sbuf<f32>(0 +: 1, 0), 0.0, 1.0"), Code::Form, "takes 2 operands");
    says(&s("memset sbuf<f32>(0 +: 1, 0), 0.0 {speed = 9}"), Code::Form, "has no attribute `speed`");
    says(&s("tensor_copy _, _ {x"), Code::Form, "no attribute");
    says(&s("sync wait(s0 = 1)"), Code::Syntax, "expected `>`");
    says(&s("sync wait(16)"), Code::Syntax, "a semaphore (`s0`)");
    says(&s("sync signal(s0 + 99999999999)"), Code::Syntax, "too large");
    says(&s("sync later"), Code::Syntax, "expected the end of the line");
    says(&s("for r0 in 0..4"), Code::Syntax, "expected `{`");
    says(&s("sync loc(3:1:1)"), Code::Undefined, "file 3 is not among the locations");
    says(&s("reg_move r0, 99999999999999999999"), Code::Syntax, "malformed number");
    says(&s("dma_copy _, _ queue 300 none"), Code::Syntax, "300 is too large for a queue");
    says(&format!("{HEAD}stream dma {{\n}}"), Code::Syntax, "dma has no stream");
    says(&format!("{HEAD}tensor 1 input @x f32 [2] at 0"), Code::Syntax, "this one is 0, not 1");
    says(&format!("{HEAD}stream vector {{\n sync\n"), Code::Syntax, "expected `}`");
    says(
        &format!("{HEAD}stream vector {{ sync\n}}\nstream vector {{ sync\n}}\n"),
        Code::Duplicate,
        "given twice",
    );
    says(&format!("{HEAD}nonsense 3\n"), Code::Syntax, "a file has no `nonsense`");
}

#[test]
fn several_mistakes_are_reported_at_once() {
    let text = format!(
        "{HEAD}stream vector {{\n  bad 1\n  for q in 0..3 {{\n    sync\n    worse\n  }}\n  sync\n  if r0 {{\n    wrong _\n  }} else {{\n    sync {{\n  }}\n}}\n}}\nstream sync {{\n  awful\n}}\n"
    );
    let d = parse(&text, "f.nkim").unwrap_err();
    let lines: Vec<u32> = d.iter().filter_map(|x| x.at.as_ref().map(|a| a.line)).collect();
    assert_eq!(lines, [4, 5, 7, 11, 13, 18], "{d}");
}

#[test]
fn depth_and_number_of_errors_are_limited() {
    let deep = format!("{HEAD}stream vector {{\n{}", "while r0 {\n".repeat(100_000));
    says(&deep, Code::Limit, "nest more than 64 deep");
    let mut index = String::from("sbuf<i32>(0 +: 1, 0)");
    for _ in 0..50 {
        index = format!("sbuf<i32>(0 +: 1, 0) .scalar({index} * 4)");
    }
    says(&format!("{HEAD}stream vector {{\n reg_load r0, {index}\n}}\n"), Code::Limit, "nested too deeply");
    let many = format!("{HEAD}stream vector {{\n{}}}\n", "bad\n".repeat(1000));
    assert_eq!(parse(&many, "f").unwrap_err().iter().count(), nki_sim::text::MAX_ERRORS);
}

#[test]
fn frames_come_back_with_their_calls() {
    let mut p = program(Target::Trn2);
    p.locs = LocTable::default();
    let outer = p.locs.frame("outer", None);
    let call = p.locs.loc("a.rs", 3, 4, outer);
    p.locs.frames.push(FrameData { kernel: "inner".into(), call: Some(call) });
    let mut i = sync();
    i.loc = p.locs.loc("b.rs", 5, 6, Frame(1));
    *stream(&mut p, Engine::Sync) = vec![i];
    let q = parse(&print(&p), "f").unwrap();
    let at = q.locs.resolve(q.streams[4][0].loc).unwrap();
    assert_eq!(at, p.locs.resolve(p.streams[4][0].loc).unwrap());
    assert_eq!(at.stack, [("inner".into(), Some(("a.rs".into(), 3, 4))), ("outer".into(), None)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever the bytes, the parser returns; what it accepts prints and parses again, and the verifier returns too.
    #[test]
    fn edited_files_never_panic(at in 0usize..4000, len in 0usize..12, with in "[ -~\n]{0,8}") {
        let mut text = print(&everything());
        let cut = |i: usize| i.min(text.len());
        let (from, to) = (cut(at), cut(at + len));
        if text.is_char_boundary(from) && text.is_char_boundary(to) {
            text.replace_range(from..to, &with);
        }
        if let Ok(p) = parse(&text, "f.nkim") {
            let again = print(&p);
            prop_assert_eq!(print(&parse(&again, "f.nkim").unwrap()), again);
            let _ = nki_sim::verify(p);
        }
    }
}
