//! Races and deadlock: programs with one synchronisation mistake each are rejected, correct ones are proven.

mod common;

use common::*;
use nki_ir::diag::Code;
use nki_ir::kernel::{BufKind, Space};
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{ActFn, AluOp, DType, Target, Tensor};
use nki_sim::program::*;
use nki_sim::{Proof, SimOptions, VerifyOptions, run, verify, verify_with};

use DType::{BF16, F32};

#[track_caller]
fn proven(p: Program) {
    match verify(p) {
        Ok(v) => assert_eq!(*v.proof(), Proof::Proven),
        Err(d) => panic!("{d}"),
    }
}
#[track_caller]
fn rejected(p: Program, code: Code, words: &str) {
    let d = match verify(p) {
        Ok(v) => panic!("accepted: {:?}", v.proof()),
        Err(d) => d,
    };
    assert_eq!(d.first_code(), Some(code), "{d}");
    assert!(d.to_string().contains(words), "{words:?} not in {d}");
}
#[track_caller]
fn races(p: Program) {
    rejected(p, Code::Race, "may not be complete");
}

fn f(offset: i64, n: u32) -> Access {
    sbuf(F32, 128, offset, n)
}
fn add(dst: i64, a: i64, b: i64) -> MInst {
    tensor_tensor(f(dst, 64), f(a, 64), f(b, 64), AluOp::Add)
}
fn with(streams: Vec<(Engine, Vec<MInst>)>) -> Program {
    let mut p = program(Target::Trn2);
    for (e, body) in streams {
        *stream(&mut p, e) = body;
    }
    p
}

#[test]
fn one_data_path() {
    let v = |body| with(vec![(Engine::Vector, body)]);
    // Read after write needs a wait; write after read and write after write do not.
    races(v(vec![memset(f(0, 64), 0.0), add(512, 0, 0)]));
    proven(v(vec![memset(f(0, 64), 0.0).signal(0, 1), add(512, 0, 0).wait(0, 1)]));
    proven(v(vec![add(512, 0, 0), memset(f(0, 64), 0.0), memset(f(0, 64), 1.0)]));
    // In place is one instruction.
    proven(v(vec![memset(f(0, 64), 0.0).signal(0, 1), add(0, 0, 0).wait(0, 1)]));
    // A later signal covers what was issued before it; an earlier one does not cover what follows.
    proven(v(vec![memset(f(0, 64), 0.0), memset(f(4096, 1), 0.0).signal(0, 1), add(512, 0, 0).wait(0, 1)]));
    races(v(vec![memset(f(4096, 1), 0.0).signal(0, 1), memset(f(0, 64), 0.0), add(512, 0, 0).wait(0, 1)]));
    // The sequencer's own signal says nothing about the data path.
    races(v(vec![memset(f(0, 64), 0.0), sync().signal(0, 1), add(512, 0, 0).wait(0, 1)]));
}

#[test]
fn two_engines() {
    let two = |a: MInst, b: MInst| with(vec![(Engine::GpSimd, vec![a]), (Engine::Vector, vec![b])]);
    let write = || memset(f(0, 64), 0.0);
    races(two(write(), add(512, 0, 0)));
    races(two(write(), memset(f(0, 64), 1.0)));
    races(two(tensor_tensor(f(512, 64), f(0, 64), f(0, 64), AluOp::Add), write()));
    proven(two(tensor_tensor(f(512, 64), f(0, 64), f(0, 64), AluOp::Add), add(1024, 0, 0)));
    proven(two(write().signal(0, 1), add(512, 0, 0).wait(0, 1)));
    // One byte of overlap at the end.
    races(two(write(), memset(access(Space::Sbuf, DType::U8, (0, 128), 255, &[(1, 1)]), 1.0)));
    proven(two(write(), memset(access(Space::Sbuf, DType::U8, (0, 128), 256, &[(1, 1)]), 1.0)));
    // Other partitions.
    let part = |p: i64, n| access(Space::Sbuf, F32, (p, n), 0, &[(64, 1)]);
    proven(two(memset(part(0, 64), 0.0), memset(part(64, 64), 0.0)));
    races(two(memset(part(0, 128), 0.0), memset(part(96, 32), 0.0)));
}

#[test]
fn interleaved_patterns_are_told_apart() {
    let two = |a: Access, b: Access| {
        with(vec![(Engine::GpSimd, vec![memset(a, 0.0)]), (Engine::Vector, vec![memset(b, 0.0)])])
    };
    // Even and odd columns, many of them: kept as hulls, compared exactly.
    let every = |offset, n, stride| access(Space::Sbuf, F32, (0, 128), offset, &[(n, stride)]);
    proven(two(every(0, 100, 2), every(4, 100, 2)));
    races(two(every(0, 100, 2), every(4, 100, 3)));
    proven(two(every(0, 8, 2), every(4, 8, 2)));
    // A strided write does not hide what lies between.
    let p = with(vec![
        (Engine::GpSimd, vec![memset(f(0, 200), 0.0).signal(0, 1)]),
        (Engine::Vector, vec![memset(every(0, 100, 2), 0.0).wait(0, 1).signal(1, 1)]),
        (Engine::Scalar, vec![activation(f(4096, 1), every(4, 1, 1), ActFn::Copy).wait(1, 1)]),
    ]);
    proven(p);
    let p = with(vec![
        (Engine::GpSimd, vec![memset(f(0, 200), 0.0)]),
        (Engine::Vector, vec![memset(every(400, 100, 2), 0.0).signal(1, 1)]),
        (Engine::Scalar, vec![activation(f(4096, 1), every(4, 1, 1), ActFn::Copy).wait(1, 1)]),
    ]);
    races(p);
}

#[test]
fn order_is_transitive() {
    let chain = |wait_of_last| {
        with(vec![
            (Engine::GpSimd, vec![memset(f(0, 64), 0.0).signal(0, 1)]),
            (Engine::Sync, vec![sync().wait(0, 1).signal(1, 1)]),
            (Engine::Vector, vec![add(512, 0, 0).wait(1, wait_of_last)]),
        ])
    };
    proven(chain(1));
    races(chain(0));
}

fn psum_group(first: MInst, wait: i64) -> Program {
    let mm = |add| matmul(psum(F32, 128, 0, 64), sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, 64), add);
    with(vec![
        (Engine::Tensor, vec![first, mm(false), mm(true), mm(true).signal(0, 1)]),
        (
            Engine::Scalar,
            vec![activation(f(8192, 64), psum(F32, 128, 0, 64), ActFn::Copy).wait(0, wait).signal(1, 1)],
        ),
    ])
}

#[test]
fn accumulation_needs_no_waits_inside() {
    proven(psum_group(sync(), 1));
    races(psum_group(sync(), 0));
    // The next group overwrites the bank before it has been read.
    let mut p = psum_group(sync(), 1);
    let again = p.streams[0][1].clone();
    p.streams[0].push(again.clone());
    races(p.clone());
    *p.streams[0].last_mut().unwrap() = again.wait(1, 1);
    proven(p);
}

fn x(address: u64) -> Access {
    let mut a = hbm(F32, address, 128, 64, 64);
    a.object = Some(0);
    a
}
fn dram(p: &mut Program, kind: BufKind) {
    p.tensors = vec![tensor("x", kind, F32, &[4, 128, 64], 0)];
}

#[test]
fn transfers() {
    let load = |offset, sem| dma(f(offset, 64), x(0), 0, DgeMode::None).signal(sem, 16);
    let go = |loads: Vec<MInst>, use_: MInst| {
        let mut p = with(vec![(Engine::Sync, loads), (Engine::Vector, vec![use_])]);
        dram(&mut p, BufKind::Input);
        p
    };
    races(go(vec![load(0, 0)], add(512, 0, 0)));
    races(go(vec![load(0, 0)], add(512, 0, 0).wait(0, 15)));
    proven(go(vec![load(0, 0)], add(512, 0, 0).wait(0, 16)));
    // Two transfers on one semaphore: half the sum may be 8 of each.
    races(go(vec![load(0, 0), load(256, 0)], add(512, 0, 0).wait(0, 16)));
    proven(go(vec![load(0, 0), load(256, 0)], add(512, 0, 256).wait(0, 32)));
    // Even when the second is triggered later in the order in which a simulator runs them.
    let mut p = go(vec![load(0, 0)], add(512, 0, 0).wait(0, 16));
    *stream(&mut p, Engine::GpSimd) = vec![dma(f(256, 64), x(0), 1, DgeMode::None).signal(0, 16)];
    races(p);
    // A transfer over a buffer that is still being read, and two into one buffer.
    races(go(vec![load(0, 0), load(0, 1)], add(512, 0, 0).wait(0, 16)));
    races(go(vec![load(0, 0)], memset(f(0, 64), 0.0)));
    // Loads of one input need no order.
    proven(go(vec![load(0, 0), load(256, 1)], add(512, 0, 256).wait(0, 16).wait(1, 16)));
}

#[test]
fn device_memory_is_memory() {
    let store = || dma(x(0), f(0, 64), 0, DgeMode::None).signal(0, 16);
    let load = || dma(f(4096, 64), x(0), 1, DgeMode::None).signal(1, 16);
    let scratch = |body| {
        let mut p = with(vec![(Engine::Sync, body)]);
        dram(&mut p, BufKind::Private);
        p
    };
    races(scratch(vec![store(), load()]));
    proven(scratch(vec![store(), load().wait(0, 16)]));
    races(scratch(vec![load(), store()]));
    // Column tiles of one matrix interleave.
    let columns = |c: u64| {
        let mut a = hbm(F32, c * 64, 128, 16, 64);
        a.object = Some(0);
        a
    };
    let tile_store = |c, sem| dma(columns(c), f(c as i64 * 64, 16), 0, DgeMode::None).signal(sem, 16);
    proven(scratch(vec![tile_store(0, 0), tile_store(1, 1), tile_store(2, 2), tile_store(3, 3)]));
    races(scratch(vec![tile_store(0, 0), tile_store(1, 1), tile_store(1, 2)]));
}

/// Two slots, `n` turns: load, copy, store; every wait can be off by `slack[i]`.
fn pipeline(n: i64, slack: [i64; 6]) -> Program {
    let r = |constant: i64, k: i64| affine(constant, &[(0, k)]);
    let h = |slot: i64, store: bool| {
        let mut a = hbm(F32, if store { 8 << 30 } else { 0 } + slot as u64 * 32_768, 128, 64, 64);
        a.object = Some(u32::from(store));
        a.offset.terms.push((SeqReg(0), 65_536));
        a
    };
    let (input, output) = (|s: i64| f(s * 256, 64), |s: i64| f(4096 + s * 256, 64));
    let load = |s: i64| dma(input(s), h(s, false), 0, DgeMode::None).signal(s as u32, 16);
    let store = |s: i64| dma(h(s, true), output(s), 1, DgeMode::None).signal(2 + s as u32, 16);
    let body = |i: Vec<MInst>| vec![repeat(0, 0, n, i)];
    let mut p = with(vec![
        (
            Engine::Sync,
            body(vec![
                // Tile 2r goes where tile 2r - 2 was, which the (2r - 1)-th copy has read.
                load(0).wait_affine(4, r(-1 - slack[0], 2)),
                load(1).wait_affine(4, r(-slack[1], 2)),
            ]),
        ),
        (
            Engine::Vector,
            body(vec![
                copy(output(0), input(0))
                    .wait_affine(0, r(16 - slack[2], 16))
                    .wait_affine(2, r(-slack[3], 16))
                    .signal(4, 1),
                copy(output(1), input(1)).wait_affine(1, r(16, 16)).wait_affine(3, r(0, 16)).signal(4, 1),
            ]),
        ),
        (
            Engine::GpSimd,
            body(vec![
                store(0).wait_affine(4, r(1 - slack[4], 2)),
                store(1).wait_affine(4, r(2 - slack[5], 2)),
            ]),
        ),
    ]);
    let shape = [2 * n as u32, 128, 64];
    p.tensors =
        vec![tensor("x", BufKind::Input, F32, &shape, 0), tensor("y", BufKind::Output, F32, &shape, 8 << 30)];
    p
}

#[test]
fn rotating_buffers() {
    for n in [1, 2, 3, 8] {
        proven(pipeline(n, [0; 6]));
    }
    for i in 0..6 {
        for by in [1, 16] {
            let mut slack = [0; 6];
            slack[i] = by;
            races(pipeline(4, slack));
        }
    }
    // With one turn there is nothing to rotate.
    for i in [0, 1, 3] {
        let mut slack = [0; 6];
        slack[i] = 16;
        proven(pipeline(1, slack));
    }
    // A pipeline of two turns goes wrong only in the last one.
    races(pipeline(2, [1, 0, 0, 0, 0, 0]));
}

#[test]
fn the_run_checks_what_the_proof_leaves() {
    let small = VerifyOptions { budget: 10 };
    let input = || Tensor::zeros(F32, &[8, 128, 64]);
    let good = verify_with(pipeline(4, [0; 6]), &small).unwrap();
    assert!(matches!(good.proof(), Proof::Dynamic(_)));
    run(&good, &[input()], &SimOptions::default()).unwrap();
    for seed in 0..3 {
        let options = SimOptions { adversary: Some(seed), ..SimOptions::default() };
        run(&good, &[input()], &options).unwrap();
    }
    for i in 0..6 {
        let mut slack = [0; 6];
        slack[i] = 1;
        let v = verify_with(pipeline(4, slack), &small).unwrap();
        let d = run(&v, &[input()], &SimOptions::default()).unwrap_err();
        // A transfer that reads too early may find nothing there before its writer shows up.
        let early = matches!(d.first_code(), Some(Code::Race | Code::Uninitialized));
        assert!(early, "{i}: {d}");
    }
}

#[test]
fn a_semaphore_of_several_engines_is_a_sum() {
    let two = |wait: i64| {
        with(vec![
            (Engine::GpSimd, vec![memset(f(0, 64), 0.0).signal(0, 1)]),
            (Engine::Scalar, vec![activation(f(512, 64), f(8192, 64), ActFn::Copy).signal(0, 1)]),
            (Engine::Vector, vec![add(1024, 0, 512).wait(0, wait)]),
        ])
    };
    proven(two(2));
    races(two(1));
    // Flow control that proves nothing is fine if nothing depends on it.
    let mut p = two(2);
    let limit = stream(&mut p, Engine::Sync);
    limit.push(sync().wait(0, 1));
    proven(p);
}

#[test]
fn deadlocks() {
    let stuck = |p, words| rejected(p, Code::Deadlock, words);
    let (v, s) = (Engine::Vector, Engine::Scalar);
    stuck(with(vec![(v, vec![sync().wait(0, 1)])]), "nothing left to run increments it");
    stuck(with(vec![(v, vec![sync().wait(0, 1), sync().signal(0, 1)])]), "vector waits for itself");
    let cross =
        with(vec![(v, vec![sync().wait(0, 1).signal(1, 1)]), (s, vec![sync().wait(1, 1).signal(0, 1)])]);
    stuck(cross, "wait for each other");
    // A dropped signal in the last turn, a wait one too high.
    let turn = |wait: i64| {
        let body = |i| vec![repeat(0, 0, 3, vec![i])];
        with(vec![(v, body(sync().signal(0, 1))), (s, body(sync().wait_affine(0, affine(wait, &[(0, 1)]))))])
    };
    proven(turn(1));
    stuck(turn(2), "s0 >= 4, which stays at 3");
    // Both streams consume in a different order than they produce.
    let p = with(vec![
        (v, vec![sync().wait(1, 1), sync().signal(0, 1)]),
        (s, vec![sync().wait(0, 1), sync().signal(1, 1)]),
    ]);
    stuck(p, "wait for each other");
}

#[test]
fn semaphores_have_a_range() {
    let p = with(vec![(Engine::Vector, vec![sync().signal(0, u32::MAX).at(1), sync().signal(0, 1).at(2)])]);
    rejected(p, Code::Semaphore, "k.rs:2:5");
}

#[test]
fn nodes_wait_and_signal() {
    let body = || vec![memset(f(0, 64), 0.0).signal(1, 1)];
    let p = |wait| {
        with(vec![
            (Engine::GpSimd, vec![memset(f(0, 64), 1.0).signal(0, 1)]),
            (Engine::Vector, vec![repeat(0, 0, 2, body()).wait(0, wait).signal(2, 1)]),
            (Engine::Scalar, vec![activation(f(512, 64), f(0, 64), ActFn::Copy).wait(2, 1).wait(1, 2)]),
        ])
    };
    proven(p(1));
    races(p(0));
}

#[test]
fn big_loops_are_proven_quickly() {
    let start = std::time::Instant::now();
    proven(pipeline(20_000, [0; 6]));
    // 120,000 instructions; generous, for a debug build on a busy machine.
    assert!(start.elapsed().as_secs() < 20);
}

/// The first wait of sync is passed before gpsimd's signal is known, and proves nothing; nothing depends on it.
#[test]
fn what_a_wait_proves_is_settled_by_repeating_the_check() {
    let p = |wait: i64| {
        let mut p = with(vec![
            (Engine::Tensor, vec![sync().signal(0, 1).at(1)]),
            (Engine::Vector, vec![memset(f(0, 64), 0.0).signal(0, 1).at(2)]),
            (Engine::Sync, vec![sync().wait(0, 1), sync().signal(0, 1)]),
            (Engine::Scalar, vec![activation(f(512, 64), f(0, 64), ActFn::Copy).wait(0, wait)]),
        ]);
        dram(&mut p, BufKind::Private);
        p
    };
    for (wait, good) in [(1, false), (2, false), (3, true)] {
        if good {
            proven(p(wait))
        } else {
            races(p(wait))
        }
        let v = verify_with(p(wait), &VerifyOptions { budget: 1 }).unwrap();
        for mode in [nki_sim::Mode::Full, nki_sim::Mode::Functional] {
            let result = run(&v, &[], &SimOptions { mode, ..SimOptions::default() });
            match result {
                Ok(out) => {
                    assert!(good);
                    assert!(out.warnings.is_empty());
                }
                Err(d) => {
                    let early = matches!(d.first_code(), Some(Code::Race | Code::Uninitialized));
                    assert!(!good && early, "{d}");
                }
            }
        }
    }
}

/// `n` loads on one semaphore. A reader of each signals s1, and the next load waits for that; what a second reader of each,
/// in no hurry, waits for is the load's own value, whatever the semaphore has reached by then.
fn reused(n: u32, known: impl Fn(u32) -> bool) -> Program {
    let mut p = program(Target::Trn2);
    dram(&mut p, BufKind::Input);
    for i in 0..n {
        let (to, value) = (f(i64::from(i) * 256, 64), 16 * (i64::from(i) + 1));
        let mut load = dma(to, x(0), 0, DgeMode::None).signal(0, 16);
        if i > 0 && known(i) {
            load = load.wait(1, i.into());
        }
        let at = i64::from(i) * 256;
        let first = tensor_tensor(f(65_536 + at, 64), f(at, 64), f(at, 64), AluOp::Add);
        let second = activation(f(131_072 + at, 64), f(at, 64), ActFn::Copy);
        stream(&mut p, Engine::Sync).push(load);
        stream(&mut p, Engine::Vector).push(first.wait(0, value).signal(1, 1));
        stream(&mut p, Engine::Scalar).push(second.wait(0, value));
    }
    p
}

#[test]
fn a_transfer_may_reuse_a_semaphore_whose_last_transfer_is_known_complete() {
    for n in [2, 3, 17, 200] {
        proven(reused(n, |_| true));
    }
    // One that is not known: its 16 increments may stand for those of the one before.
    for n in [2, 3, 17] {
        for hasty in 1..n {
            races(reused(n, |i| i != hasty));
        }
    }
}

#[test]
fn one_stream_that_does_not_know_spoils_a_value_for_all() {
    // Two loads in order on s0, and a third by a stream that knows nothing, after the first or after both.
    let p = |third: MInst| {
        let mut p = reused(2, |_| true);
        *stream(&mut p, Engine::GpSimd) = vec![third.signal(0, 16)];
        p
    };
    let third = || dma(f(180_000, 64), x(0), 1, DgeMode::None);
    races(p(third()));
    races(p(third().wait(0, 16)));
    proven(p(third().wait(0, 32)));
    proven(p(third().wait(1, 2)));
}
