//! Every check of the program verifier but order: one edit of a good program, one code.

mod common;

use common::*;
use nki_ir::diag::Code;
use nki_ir::kernel::{BufKind, Space};
use nki_ir::loc::Loc;
use nki_ir::op::{DgeMode, Engine, Op};
use nki_ir::{ActFn, AluOp, DType, Target};
use nki_sim::program::*;
use nki_sim::verify;
use std::sync::Arc;

use DType::{BF16, F32};

/// Load two tiles, multiply, copy out, store.
fn good() -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![
        tensor("a", BufKind::Input, BF16, &[128, 128], 0),
        tensor("b", BufKind::Input, BF16, &[128, 512], 1 << 20),
        tensor("out", BufKind::Output, F32, &[128, 512], 2 << 20),
    ];
    let hbm_of = |o: u32, dtype, address, cols: u32| {
        let mut a = hbm(dtype, address, 128, cols, i64::from(cols));
        a.object = Some(o);
        a
    };
    *stream(&mut p, Engine::Sync) = vec![
        dma(sbuf(BF16, 128, 0, 128), hbm_of(0, BF16, 0, 128), 0, DgeMode::Hwdge).signal(0, 16).at(1),
        dma(sbuf(BF16, 128, 1024, 512), hbm_of(1, BF16, 1 << 20, 512), 1, DgeMode::Hwdge).signal(0, 16).at(2),
        dma(hbm_of(2, F32, 2 << 20, 512), sbuf(F32, 128, 4096, 512), 0, DgeMode::Hwdge)
            .wait(2, 1)
            .signal(3, 16)
            .at(5),
    ];
    *stream(&mut p, Engine::Tensor) = vec![
        matmul(psum(F32, 128, 0, 512), sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, 512), false)
            .wait(0, 32)
            .signal(1, 1)
            .at(3),
    ];
    *stream(&mut p, Engine::Vector) =
        vec![copy(sbuf(F32, 128, 4096, 512), psum(F32, 128, 0, 512)).wait(1, 1).signal(2, 1).at(4)];
    p
}

#[track_caller]
fn rejects(p: Program, code: Code, words: &str) {
    let text = match verify(p) {
        Ok(_) => panic!("accepted; expected {code}"),
        Err(d) => {
            assert!(d.iter().any(|x| x.code == code), "expected {code}, got {d}");
            d.to_string()
        }
    };
    assert!(text.contains(words), "{words:?} not in {text}");
}

fn pe(p: &mut Program) -> &mut MInst {
    &mut stream(p, Engine::Tensor)[0]
}
fn operands(i: &mut MInst) -> &mut [MOperand] {
    match &mut i.kind {
        MKind::Compute { operands, .. } | MKind::Dma { operands, .. } => operands,
        _ => panic!("no operands"),
    }
}
fn place(i: &mut MInst, n: usize) -> &mut Access {
    match &mut operands(i)[n] {
        MOperand::Access(a) => a,
        _ => panic!("no access"),
    }
}

#[test]
fn the_good_program_passes_and_comes_back() {
    let p = good();
    let v = verify(p.clone()).unwrap();
    assert_eq!(v.to_program(), p);
}

#[test]
fn structured_programs_come_back() {
    let mut p = good();
    let nop = || sync().at(7);
    p.streams[4].push(repeat(
        0,
        0,
        4,
        vec![
            nop(),
            inst(MKind::If {
                cond: SeqReg(1),
                then: vec![],
                otherwise: vec![repeat(2, 0, 2, vec![]), nop()],
            }),
            inst(MKind::If { cond: SeqReg(1), then: vec![nop()], otherwise: vec![] }).wait(0, 1).signal(4, 1),
            inst(MKind::While {
                cond: SeqReg(1),
                body: vec![nop(), inst(MKind::While { cond: SeqReg(2), body: vec![] })],
            }),
        ],
    ));
    assert_eq!(verify(p.clone()).unwrap().to_program(), p);
}

#[test]
fn places_are_reported() {
    let mut p = good();
    place(pe(&mut p), 1).partitions = 256;
    let text = verify(p).unwrap_err().to_string();
    assert!(text.contains("k.rs:3:5"), "{text}");
}

#[test]
fn operands_follow_the_op_table() {
    let mut p = good();
    operands(pe(&mut p))[2] = MOperand::None;
    rejects(p, Code::Form, "`moving` is missing");
    let mut p = good();
    operands(pe(&mut p))[2] = MOperand::Imm(1.0);
    rejects(p, Code::Form, "`moving` has a form");
    let mut p = good();
    if let MKind::Compute { operands, .. } = &mut pe(&mut p).kind {
        operands.pop();
    }
    rejects(p, Code::Form, "takes 3 and");
    let mut p = good();
    if let MKind::Compute { attrs, .. } = &mut pe(&mut p).kind {
        Arc::make_mut(attrs)[0] = nki_ir::Attr::Int(3);
    }
    rejects(p, Code::Form, "`is_stationary_onezero`");
    let mut p = good();
    let act = activation(sbuf(F32, 128, 0, 8), sbuf(F32, 128, 64, 8), ActFn::Exp);
    stream(&mut p, Engine::Vector).push(act);
    rejects(p, Code::Engine, "but on scalar");
    let mut p = good();
    stream(&mut p, Engine::Vector)[0] = copy(sbuf(F32, 128, 4096, 512), sbuf(F32, 128, 0, 512));
    if let MKind::Compute { accumulate, .. } = &mut stream(&mut p, Engine::Vector)[0].kind {
        *accumulate = MAccumulate::Add;
    }
    rejects(p, Code::Accumulate, "only a matmul");
}

#[test]
fn memories_and_shapes() {
    let mut p = good();
    place(pe(&mut p), 0).space = Space::Sbuf;
    rejects(p, Code::Memory, "`dst` is in sbuf");
    let mut p = good();
    place(pe(&mut p), 2).dims = dims(&[(511, 1)]);
    rejects(p, Code::Shape, "the product is 128 x 511");
    let mut p = good();
    place(pe(&mut p), 0).offset = 4.into();
    rejects(p, Code::PsumBank, "2052 bytes into a PSUM bank");
    let mut p = good();
    place(&mut stream(&mut p, Engine::Vector)[0], 1).dims = dims(&[(256, 1)]);
    rejects(p, Code::Shape, "of 256");
    let mut p = good();
    let both = tensor_tensor(sbuf(F32, 128, 0, 8), psum(F32, 128, 0, 8), psum(F32, 128, 64, 8), AluOp::Add);
    stream(&mut p, Engine::Vector).push(both);
    rejects(p, Code::Memory, "two input tiles");
    let mut p = good();
    let t = compute(Op::NcTranspose, vec![tile(psum(F32, 64, 0, 128)), tile(sbuf(F32, 128, 0, 32))], &[]);
    stream(&mut p, Engine::Tensor).push(t);
    rejects(p, Code::Shape, "the transpose of 128 x 32");
}

#[test]
fn start_partitions_and_bounds() {
    let mut p = good();
    let at = |start: i64, parts| access(Space::Sbuf, F32, (start, parts), 0, &[(8, 1)]);
    stream(&mut p, Engine::Vector).push(copy(at(0, 32), at(16, 32)));
    rejects(p, Code::StartPartition, "must start at 0, 32, 64 or 96");
    let mut p = good();
    stream(&mut p, Engine::Vector).push(copy(at(0, 33), at(32, 33)));
    rejects(p, Code::StartPartition, "0 or 64");
    let mut p = good();
    stream(&mut p, Engine::Vector).push(copy(at(0, 64), at(96, 64)));
    rejects(p, Code::Partition, "96..160");
    let mut p = good();
    let beyond = sbuf(F32, 128, 212_984 - 16, 8);
    stream(&mut p, Engine::Vector).push(copy(beyond, sbuf(F32, 128, 0, 8)));
    rejects(p, Code::OutOfBounds, "sbuf has 212984");
    // Only the last turn leaves PSUM.
    let mut p = good();
    let mut dst = psum(F32, 128, 0, 512);
    dst.offset = affine(0, &[(0, 2048)]);
    let mm = matmul(dst, sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, 512), false);
    stream(&mut p, Engine::Tensor).push(repeat(0, 0, 9, vec![mm]));
    rejects(p, Code::OutOfBounds, "psum has 16384");
}

#[test]
fn banks_are_decided_for_every_turn() {
    let turns = |bytes: i64, n: u32| {
        let mut p = good();
        let mut dst = psum(F32, 128, 0, n);
        dst.offset = affine(0, &[(0, bytes)]);
        let mm = matmul(dst, sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, n), false);
        stream(&mut p, Engine::Tensor)[0] = repeat(0, 0, 8, vec![mm.signal(1, 1)]).wait(0, 32);
        stream(&mut p, Engine::Vector)[0].waits[0].at_least = 8.into();
        p
    };
    assert!(verify(turns(512, 128)).is_ok());
    rejects(turns(768, 192), Code::PsumBank, "into a PSUM bank");
}

#[test]
fn device_memory() {
    let mut p = good();
    place(&mut stream(&mut p, Engine::Sync)[0], 1).offset = 64.into();
    rejects(p, Code::OutOfBounds, "of `a`, which has 32768");
    let mut p = good();
    let s = &mut stream(&mut p, Engine::Sync)[2];
    place(s, 0).object = Some(1);
    place(s, 0).offset = (1 << 20).into();
    place(s, 0).dtype = BF16;
    rejects(p, Code::ReadOnly, "`b`, an input");
    let mut p = good();
    p.tensors[1].address = 100;
    rejects(p, Code::Load, "`a` and `b` overlap");
    let mut p = good();
    p.tensors[1].address = u64::MAX - 5;
    rejects(p, Code::Load, "does not fit");
    let mut p = good();
    place(&mut stream(&mut p, Engine::Sync)[0], 0).dims = dims(&[(64, 1)]);
    rejects(p, Code::Shape, "`src` has 16384");
    let mut p = good();
    place(&mut stream(&mut p, Engine::Sync)[0], 0).dtype = DType::F16;
    rejects(p, Code::Dtype, "do not convert");
    let mut p = good();
    place(&mut stream(&mut p, Engine::Sync)[2], 0).dims = dims(&[(128, 0), (512, 1)]);
    rejects(p, Code::Overlap, "more than once");
}

#[test]
fn transfers_semaphores_and_registers() {
    let edit = |f: fn(&mut Program)| {
        let mut p = good();
        f(&mut p);
        p
    };
    rejects(edit(|p| stream(p, Engine::Sync)[0].signals[0].add = 1), Code::Semaphore, "16 DMA engines");
    rejects(edit(|p| pe(p).signals[0].add = 0), Code::Semaphore, "adds nothing");
    rejects(edit(|p| pe(p).waits[0].sem = Sem(16)), Code::Semaphore, "s16 is not among");
    rejects(edit(|p| p.semaphores = 257), Code::Load, "a core has 256");
    rejects(edit(|p| p.registers[2] = 65), Code::Load, "has 64");
    rejects(edit(|p| pe(p).waits[0].at_least = affine(0, &[(8, 1)])), Code::Form, "register r8");
    rejects(edit(|p| p.target = Target::Trn1), Code::Target, "no hardware descriptor");
    let dge = |p: &mut Program, to| {
        if let MKind::Dma { dge, .. } = &mut stream(p, Engine::Sync)[0].kind {
            *dge = to;
        }
    };
    let mut p = good();
    dge(&mut p, DgeMode::Swdge);
    rejects(p, Code::Engine, "sync cannot make software descriptors");
    let mut p = good();
    dge(&mut p, DgeMode::Unknown);
    rejects(p, Code::Form, "not resolved");
    let mut p = good();
    if let MKind::Dma { queue, .. } = &mut stream(&mut p, Engine::Sync)[0].kind {
        *queue = 16;
    }
    rejects(p, Code::Parameter, "queue 16");
    let mut p = good();
    p.streams[4].push(inst(MKind::For {
        reg: SeqReg(0),
        lo: MBound::Const(0),
        hi: MBound::Const(4),
        step: 0,
        max: None,
        body: vec![],
    }));
    rejects(p, Code::Parameter, "the loop step is 0");
}

#[test]
fn placements_fit() {
    let mut p = good();
    let place = |space, start, offset, bytes| Placement {
        name: "t".into(),
        space,
        start_partition: start,
        partitions: 128,
        offset,
        bytes,
        loc: Loc(9),
    };
    p.placements = vec![
        place(Space::Sbuf, 0, 200_000, 20_000),
        place(Space::Psum, 0, 0, 16_385),
        place(Space::Sbuf, 1, 0, 1),
        place(Space::Sbuf, 0, 0, 256),
    ];
    let codes: Vec<Code> = verify(p.clone()).unwrap_err().iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::SbufCapacity, Code::PsumCapacity, Code::Partition]);
    p.placements.drain(..3);
    // An operand that names its buffer stays inside it.
    self::place(pe(&mut p), 1).object = Some(0);
    assert!(verify(p.clone()).is_ok());
    p.placements[0].bytes = 255;
    rejects(p, Code::OutOfBounds, "`t` has sbuf partitions 0..128, bytes 0..255");
}
