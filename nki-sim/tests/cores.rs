//! Two cores on one stack of HBM.

mod common;

use common::*;
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{AluOp, DType, Target};
use nki_sim::program::Program;
use nki_sim::{Constants, Core, Mode, SimOptions, SimReport, VerifyOptions, run, verify_with};

use nki_ir::kernel::BufKind;

const TILE: u64 = 128 * 16384;

/// Loads of 2 MiB on one queue, four at a time.
fn stream_of(target: Target, loads: u64) -> Program {
    let mut p = program(target);
    p.tensors = vec![tensor("x", BufKind::Input, DType::F32, &[loads as u32 * 128, 4096], 0)];
    for i in 0..loads {
        let slot = i % 4;
        let dst = sbuf(DType::F32, 128, slot as i64 * 16384, 4096);
        let mut src = hbm(DType::F32, i * TILE, 128, 4096, 4096);
        src.object = Some(0);
        let load = dma(dst, src, 0, DgeMode::None).signal(slot as u32, 16);
        let before = (i / 4) as i64 * 16;
        stream(&mut p, Engine::Sync).push(load.wait(slot as u32, before));
    }
    p
}

/// Additions of tiles that were set once.
fn busy(target: Target) -> Program {
    let mut p = program(target);
    let (a, b) = (sbuf(DType::F32, 128, 0, 512), sbuf(DType::F32, 128, 2048, 512));
    let v = stream(&mut p, Engine::Vector);
    v.push(memset(a.clone(), 1.0).signal(0, 1));
    for i in 0..100 {
        v.push(tensor_tensor(b.clone(), a.clone(), a.clone(), AluOp::Add).wait(0, i + 1).signal(0, 1));
    }
    p
}

fn one(p: &Program, core: Option<Core>, mode: Mode, threads: usize) -> SimReport {
    let verified = verify_with(p.clone(), &VerifyOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let options = SimOptions { mode, core, threads: Some(threads), ..SimOptions::default() };
    let bytes = |t: &nki_sim::program::HbmTensor| {
        nki_ir::Tensor::zeros(t.dtype, &t.shape.iter().map(|&d| d as usize).collect::<Vec<_>>())
    };
    let inputs: Vec<_> = if mode == Mode::TimeOnly { vec![] } else { p.tensors.iter().map(bytes).collect() };
    run(&verified, &inputs, &options).unwrap_or_else(|e| panic!("{e}")).report
}

fn pair(a: &Program, b: &Program, mode: Mode, threads: usize) -> [SimReport; 2] {
    let [first, second] = Core::pair(&Constants::of(a.target));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| one(b, Some(second), mode, threads));
        [one(a, Some(first), mode, threads), other.join().expect("a run")]
    })
}

/// Bytes per nanosecond of loads that take so long.
fn rate(loads: u64, ns: f64) -> f64 {
    (loads * TILE) as f64 / ns
}

#[test]
fn two_cores_that_stream_have_the_bandwidth_of_the_stack_between_them() {
    for target in [Target::Trn2, Target::Trn3] {
        let stack = Constants::of(target).hbm.stack_gbps;
        let p = stream_of(target, 64);
        let alone = rate(64, one(&p, None, Mode::TimeOnly, 1).kernel_ns);
        let both = pair(&p, &p, Mode::TimeOnly, 1);
        assert_eq!(both[0].kernel_ns, both[1].kernel_ns);
        let total = 2.0 * rate(64, both[0].kernel_ns);
        if 2.0 * alone < stack * 0.95 {
            // Their engines cannot do what the stack gives.
            assert!((total / (2.0 * alone) - 1.0).abs() < 1e-3, "{target}: {total} of {alone} each");
        } else {
            assert!(total < stack && total > 0.96 * stack, "{target}: {total} of {stack}");
        }
    }
}

/// The first half of the longer run is shared, the rest is not.
#[test]
fn a_core_whose_neighbour_has_ended_has_the_stack_for_itself() {
    let (short, long) = (stream_of(Target::Trn2, 32), stream_of(Target::Trn2, 64));
    let alone = one(&long, None, Mode::TimeOnly, 1).kernel_ns;
    let [first, second] = pair(&short, &long, Mode::TimeOnly, 1);
    let shared = pair(&long, &long, Mode::TimeOnly, 1)[0].kernel_ns;
    let want = (alone + shared) / 2.0;
    assert!((second.kernel_ns / want - 1.0).abs() < 0.01, "{} is not {want}", second.kernel_ns);
    assert!((first.kernel_ns / (shared / 2.0) - 1.0).abs() < 0.02, "{} of {shared}", first.kernel_ns);
}

#[test]
fn a_core_that_computes_takes_as_long_as_alone_and_holds_nobody_up() {
    let (work, loads) = (busy(Target::Trn2), stream_of(Target::Trn2, 16));
    let alone = [one(&work, None, Mode::TimeOnly, 1), one(&loads, None, Mode::TimeOnly, 1)];
    for (a, b) in [(0, 1), (1, 0)] {
        let programs = [&work, &loads];
        let both = pair(programs[a], programs[b], Mode::TimeOnly, 1);
        assert_eq!(both[0].kernel_ns, alone[a].kernel_ns);
        assert_eq!(both[1].kernel_ns, alone[b].kernel_ns);
        assert_eq!(both[0].dma.active_ns, alone[a].dma.active_ns);
    }
}

#[test]
fn times_depend_neither_on_the_mode_nor_on_threads_nor_on_luck() {
    let (a, b) = (stream_of(Target::Trn2, 12), stream_of(Target::Trn2, 7));
    let want = pair(&a, &b, Mode::TimeOnly, 1);
    for (mode, threads) in [(Mode::Full, 1), (Mode::Full, 2), (Mode::TimeOnly, 2), (Mode::TimeOnly, 1)] {
        let got = pair(&a, &b, mode, threads);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got.kernel_ns, want.kernel_ns);
            assert_eq!(got.dma, want.dma);
            assert_eq!(got.lines, want.lines);
        }
    }
}
