//! Whole programs against machine.md 15.1, 15.5 and the public timelines of section 16.

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{ActFn, AluOp, DType, Target};
use nki_sim::program::*;
use nki_sim::{Mode, SimOptions, SimReport, run, verify};

use DType::{BF16, F32};
use Target::{Trn1, Trn2};

fn time(p: Program, throttle: bool) -> SimReport {
    let v = verify(p).unwrap();
    let options = SimOptions { mode: Mode::TimeOnly, throttle, ..SimOptions::default() };
    run(&v, &[], &options).unwrap().report
}

#[track_caller]
fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} is not {want} within {tolerance}");
}

fn matmuls(t: Target, n: i64) -> Program {
    let mut p = program(t);
    let mm = matmul(psum(F32, 128, 0, 512), sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, 512), true);
    *stream(&mut p, Engine::Tensor) = vec![repeat(0, 0, n, vec![mm])];
    p
}

/// 15.1: 64 accumulating matmuls. The first stationary load (67 / 150 ns) comes on top of the example.
#[test]
fn sixty_four_matmuls() {
    near(time(matmuls(Trn1, 64), false).kernel_ns, 13_750.0 + 67.0, 5.0);
    near(time(matmuls(Trn2, 64), false).kernel_ns, 13_990.0 + 150.0, 5.0);
    let cold = time(matmuls(Trn2, 64), true);
    assert!((15_500.0..17_000.0).contains(&cold.kernel_ns), "{}", cold.kernel_ns);
    let pe = &cold.engines[0];
    assert_eq!(pe.instructions, 64);
    near(pe.busy_ns + pe.stalled.iter().map(|s| s.1).sum::<f64>() + pe.idle_ns, cold.kernel_ns + 10.0, 1.0);
}

/// 16.1: load [4, 4096] bf16, exp, store.
#[test]
fn exp_of_four_rows() {
    let mut p = program(Trn2);
    p.tensors = vec![
        tensor("x", BufKind::Input, BF16, &[4, 4096], 0),
        tensor("y", BufKind::Output, BF16, &[4, 4096], 1 << 20),
    ];
    let h = |o, address| {
        let mut a = hbm(BF16, address, 4, 4096, 4096);
        a.object = Some(o);
        a
    };
    *stream(&mut p, Engine::GpSimd) = vec![
        dma(sbuf(BF16, 4, 0, 4096), h(0, 0), 0, DgeMode::None).signal(0, 16),
        dma(h(1, 1 << 20), sbuf(BF16, 4, 8192, 4096), 0, DgeMode::None).wait(1, 1).signal(2, 16),
    ];
    *stream(&mut p, Engine::Scalar) = vec![
        activation(sbuf(BF16, 4, 8192, 4096), sbuf(BF16, 4, 0, 4096), ActFn::Exp).wait(0, 16).signal(1, 1),
    ];
    let r = time(p, true);
    // 900 + 1416 + 13 + 360, table load 1280, exp 3703, hop 25, 770 + 1341 + 13.
    near(r.kernel_ns, 900.0 + 1416.0 + 13.0 + 360.0 + 1280.0 + 3703.3 + 25.0 + 770.0 + 1341.5 + 13.0, 2.0);
    let act = &r.engines[1];
    near(act.active_ns, 3703.3, 0.5);
    assert!(act.stalled.iter().any(|(s, t)| *s == nki_sim::Stall::Table && *t == 1280.0));
    assert!(
        act.stalled.iter().any(|(s, t)| *s == nki_sim::Stall::Load && (*t - 2689.0).abs() < 1.0),
        "{act:?}"
    );
}

/// 16.2: vector add of 256,000 fp32 elements, two iterations of [128, 1000].
#[test]
fn vector_add_in_two_iterations() {
    let mut p = program(Trn2);
    let rows = 128u32;
    p.tensors = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(i, n)| {
            let kind = if i == 2 { BufKind::Output } else { BufKind::Input };
            tensor(n, kind, F32, &[rows, 2000], (i as u64) << 24)
        })
        .collect();
    let h = |o: u32, half: u64| {
        let mut a = hbm(F32, (u64::from(o) << 24) + half * 4000, rows, 1000, 2000);
        a.object = Some(o);
        a
    };
    let at = |slot: i64| sbuf(F32, rows, slot * 4000, 1000);
    let load = |slot, o, half, sem| dma(at(slot), h(o, half), 0, DgeMode::None).signal(sem, 16);
    *stream(&mut p, Engine::Sync) =
        vec![load(0, 0, 0, 0), load(1, 1, 0, 0), load(2, 0, 1, 1), load(3, 1, 1, 1)];
    *stream(&mut p, Engine::Vector) = vec![
        tensor_tensor(at(4), at(0), at(1), AluOp::Add).wait(0, 32).signal(2, 1),
        tensor_tensor(at(5), at(2), at(3), AluOp::Add).wait(1, 32).signal(2, 1),
    ];
    let store = |slot, half| dma(h(2, half), at(slot), 1, DgeMode::None).signal(3, 16);
    *stream(&mut p, Engine::GpSimd) = vec![store(4, 0).wait(2, 1), store(5, 1).wait(2, 2)];
    let r = time(p, true);
    // Loads run one after the other on ring 0: 900 + stagger 225 + first read 180, 4 x 8 rows of 151.4 ns and 4 semaphore
    // writes, 360 to the waiter; the second add; hop; the second store. 16.2 shows about 0.7 us more (cold ramp), and
    // its zero is 13,113 ns before the first trigger.
    let loads = 900.0 + 225.0 + 180.0 + 32.0 * (1.0 + 4000.0 / 26.6) + 4.0 * 13.0;
    let store = 770.0 + 225.0 + 8.0 * (1.0 + 4000.0 / 24.5) + 13.0;
    near(r.kernel_ns, loads + 360.0 + 1206.25 + 25.0 + store, 5.0);
    near(r.kernel_ns, 23_967.0 - 13_113.0 - 700.0, 350.0);
    near(r.engines[2].active_ns, 2.0 * 1206.25, 1.0);
}

/// 16.3: 600 transfers of 128 one-element rows are issued by one descriptor generator: about 610 ns each.
#[test]
fn issue_bound_transfers() {
    let mut p = program(Trn2);
    p.tensors = vec![tensor("x", BufKind::Input, F32, &[25_600], 0)];
    let mut src = hbm(F32, 0, 128, 1, 1);
    src.object = Some(0);
    src.offset = affine(0, &[(0, 4)]);
    let mut dst = sbuf(F32, 128, 0, 1);
    dst.offset = affine(0, &[(0, 4)]);
    let body = vec![dma(dst, src, 0, DgeMode::Hwdge).signal(0, 16)];
    *stream(&mut p, Engine::Sync) = vec![repeat(0, 0, 600, body)];
    let r = time(p, true);
    near(r.kernel_ns / 600.0, 602.0, 8.0);
}

/// 15.5: softmax of 128 x 2048 in SBUF as a dependent chain.
#[test]
fn softmax_chain() {
    let mut p = program(Trn2);
    let x = || sbuf(F32, 128, 0, 2048);
    let one = |o: i64| sbuf(F32, 128, 32_768 + o, 1);
    let max = compute(
        nki_ir::Op::TensorReduce,
        vec![tile(one(0)), tile(x())],
        &[("op", nki_ir::Attr::Alu(AluOp::Maximum)), ("axis", nki_ir::Attr::Ints(vec![1]))],
    );
    let exp = compute(
        nki_ir::Op::Activation,
        vec![tile(sbuf(F32, 128, 8192, 2048)), tile(x()), tile(one(0)), MOperand::None, tile(one(4))],
        &[
            ("op", nki_ir::Attr::Act(ActFn::Exp)),
            ("reduce_op", nki_ir::Attr::Alu(AluOp::Add)),
            ("reduce_cmd", nki_ir::Attr::ReduceCmd(nki_ir::op::ReduceCmd::ResetReduce)),
        ],
    );
    let rec = compute(nki_ir::Op::Reciprocal, vec![tile(one(8)), tile(one(4))], &[]);
    let scale = compute(
        nki_ir::Op::TensorScalar,
        vec![tile(sbuf(F32, 128, 16_384, 2048)), tile(sbuf(F32, 128, 8192, 2048)), tile(one(8))],
        &[("op0", nki_ir::Attr::Alu(AluOp::Multiply))],
    );
    *stream(&mut p, Engine::Vector) =
        vec![max.signal(0, 1), rec.wait(1, 1).signal(2, 1), scale.wait(2, 1).signal(3, 1)];
    *stream(&mut p, Engine::Scalar) = vec![exp.wait(0, 1).signal(1, 1)];
    let r = time(p, true);
    // 2298 + hop + table 1280 + 1930 + 120 + hop + 167 + same engine 10 + 1231.
    near(r.kernel_ns, 2297.9 + 25.0 + 1280.0 + 1930.0 + 120.0 + 25.0 + 167.1 + 10.0 + 1231.25, 2.0);
}
