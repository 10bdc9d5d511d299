//! The cost model against the worked examples of machine.md section 15 and the single instructions of 16.4.

mod common;

use common::*;
use nki_ir::kernel::Attr;
use nki_ir::op::{DgeMode, Engine, Op, ReduceCmd};
use nki_ir::{ActFn, AluOp, DType, Target};
use nki_sim::Constants;
use nki_sim::cost::{Cost, compute_cost, dma_cost, ns};
use nki_sim::program::{MInst, MKind};
use std::sync::Arc;

use DType::{BF16, F32};
use Target::{Trn1, Trn2, Trn3};

fn cost(t: Target, e: Engine, i: &MInst) -> Cost {
    let MKind::Compute { op, operands, attrs, .. } = &i.kind else { panic!("a data instruction") };
    compute_cost(&Constants::of(t), e, *op, operands, attrs)
}

/// Occupancy and latency in ns, each within `tolerance`.
#[track_caller]
fn expect(t: Target, e: Engine, i: &MInst, occupancy: f64, latency: f64, tolerance: f64) {
    let c = cost(t, e, i);
    assert!(
        (ns(c.occupancy) - occupancy).abs() <= tolerance,
        "{t}: occupancy {} != {occupancy}",
        ns(c.occupancy)
    );
    assert!((ns(c.latency) - latency).abs() <= tolerance, "{t}: latency {} != {latency}", ns(c.latency));
}

fn mm(dtype: DType, k: u32, m: u32, n: u32) -> MInst {
    matmul(psum(F32, m, 0, n), sbuf(dtype, k, 0, m), sbuf(dtype, k, 4096, n), false)
}

#[test]
fn matmuls_of_15_1_and_15_2() {
    let pe = Engine::Tensor;
    expect(Trn1, pe, &mm(BF16, 128, 128, 512), 212.6, 357.6, 0.1);
    expect(Trn2, pe, &mm(BF16, 128, 128, 512), 215.8, 390.8, 0.1);
    expect(Trn3, pe, &mm(BF16, 128, 128, 512), 215.8, 390.8, 0.1);
    let cold = cost(Trn2, pe, &mm(BF16, 128, 128, 512)).matmul.expect("a matmul");
    assert!((ns(cold.stream_throttled + cold.overhead) - 429.2).abs() < 0.1);
    expect(Trn1, pe, &mm(F32, 128, 128, 512), 836.1, 981.1, 0.1);
    expect(Trn2, pe, &mm(F32, 128, 128, 512), 858.3, 1033.3, 0.1);
    expect(Trn1, pe, &mm(BF16, 128, 128, 1), 32.8, 177.8, 0.1);
    expect(Trn2, pe, &mm(BF16, 128, 128, 1), 29.2, 204.2, 0.1);
    let mut ones = mm(F32, 1, 128, 512);
    if let MKind::Compute { op, attrs, .. } = &mut ones.kind {
        Arc::make_mut(attrs)[op.row().attr("is_stationary_onezero").unwrap()] = Attr::Bool(true);
    }
    expect(Trn1, pe, &ones, 418.0, 563.0, 0.1);
    expect(Trn2, pe, &ones, 429.2, 604.2, 0.1);
}

#[test]
fn transposes_of_15_2() {
    let t = |dtype| {
        compute(Op::NcTranspose, vec![tile(psum(dtype, 128, 0, 128)), tile(sbuf(dtype, 128, 0, 128))], &[])
    };
    let pe = Engine::Tensor;
    expect(Trn1, pe, &t(F32), 219.7, 364.7, 0.2);
    expect(Trn2, pe, &t(F32), 109.2, 284.2, 0.1);
    expect(Trn1, pe, &t(BF16), 58.5, 203.5, 0.1);
    expect(Trn2, pe, &t(BF16), 55.8, 230.8, 0.1);
}

/// Table 15.3; the table rounds to whole nanoseconds.
#[test]
fn element_wise_instructions_of_15_3() {
    let row = |i: MInst, e: Engine, want: [(f64, f64); 3]| {
        for (t, (occupancy, latency)) in [Trn1, Trn2, Trn3].into_iter().zip(want) {
            expect(t, e, &i, occupancy, latency, 0.75);
        }
    };
    let (s, p) = (|d, o| sbuf(d, 128, o, 512), |d| psum(d, 128, 0, 512));
    row(
        activation(s(F32, 0), s(F32, 2048), ActFn::Exp),
        Engine::Scalar,
        [(410., 524.), (433., 597.), (433., 597.)],
    );
    let sum = compute(
        Op::Activation,
        vec![
            tile(s(F32, 0)),
            tile(s(F32, 2048)),
            nki_sim::program::MOperand::None,
            nki_sim::program::MOperand::None,
            tile(sbuf(F32, 128, 8192, 1)),
        ],
        &[
            ("op", Attr::Act(ActFn::Exp)),
            ("reduce_op", Attr::Alu(AluOp::Add)),
            ("reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce)),
        ],
    );
    row(sum, Engine::Scalar, [(455.7, 570.), (486.7, 650.), (486.7, 650.)]);
    row(copy(s(F32, 0), p(F32)), Engine::Vector, [(513., 654.), (546., 698.), (437., 558.)]);
    row(copy(s(BF16, 0), s(BF16, 2048)), Engine::Vector, [(513., 654.), (146., 298.), (117., 238.)]);
    let tt = |d| tensor_tensor(s(d, 0), s(d, 2048), s(d, 4096), AluOp::Add);
    row(tt(F32), Engine::Vector, [(1004., 1263.), (546., 698.), (437., 558.)]);
    row(tt(BF16), Engine::Vector, [(513., 654.), (279., 431.), (223., 345.)]);
    let reciprocal = compute(Op::Reciprocal, vec![tile(s(F32, 0)), tile(s(F32, 0))], &[]);
    row(reciprocal, Engine::Vector, [(1153., 1294.), (1292.5, 1445.), (1034., 1156.)]);
    let iota = compute(Op::Iota, vec![tile(s(DType::I32, 0))], &[("pattern", Attr::Pairs(vec![[1, 512]]))]);
    row(iota, Engine::GpSimd, [(473., 544.), (552., 635.), (552., 635.)]);
    let strided = access(nki_ir::Space::Sbuf, F32, (0, 128), 0, &[(512, 5)]);
    row(
        activation(s(F32, 16384), strided, ActFn::Copy),
        Engine::Scalar,
        [(776., 890.), (860., 1023.), (860., 1023.)],
    );
}

#[test]
fn single_instructions_of_16_4() {
    let copy_n = |n| copy(sbuf(F32, 128, 0, n), psum(F32, 128, 0, n));
    expect(Trn2, Engine::Scalar, &copy_n(512), 433.3, 597.0, 0.5);
    expect(Trn2, Engine::Scalar, &copy_n(420), 356.7, 520.0, 0.5);
    expect(Trn2, Engine::Scalar, &copy_n(128), 113.3, 276.7, 0.5);
    expect(Trn2, Engine::Vector, &copy_n(128), 145.8, 297.9, 0.5);
    let sb = copy(sbuf(F32, 128, 0, 512), sbuf(F32, 128, 2048, 512));
    expect(Trn2, Engine::Vector, &sb, 279.2, 431.25, 0.5);
    let one = access(nki_ir::Space::Sbuf, BF16, (0, 128), 0, &[(420, 0)]);
    let tt = tensor_tensor(sbuf(BF16, 128, 4096, 420), sbuf(BF16, 128, 8192, 420), one, AluOp::Multiply);
    expect(Trn2, Engine::Vector, &tt, 450.0, 602.1, 0.5);
    for (n, want) in [(420, 602.0), (210, 383.3)] {
        let r = compute(
            Op::TensorReduce,
            vec![tile(sbuf(F32, 128, 0, 1)), tile(sbuf(F32, 128, 4096, n))],
            &[("op", Attr::Alu(AluOp::Maximum)), ("axis", Attr::Ints(vec![1]))],
        );
        assert!((ns(cost(Trn2, Engine::Vector, &r).latency) - want).abs() < 0.5);
    }
    // fp16 15 x 2 x 14 columns: one cycle per inner run beyond the first; 16.4 models 189.6 ns.
    let moving = access(nki_ir::Space::Sbuf, DType::F16, (0, 128), 4096, &[(15, 64), (2, 28), (14, 1)]);
    let m = matmul(psum(F32, 128, 0, 420), sbuf(DType::F16, 128, 0, 128), moving, false);
    expect(Trn2, Engine::Tensor, &m, 189.6, 364.6, 0.1);
}

/// Loads of table 15.4 in microseconds, P = 128, and the store below it.
#[test]
fn transfers_of_15_4() {
    let total = |t: Target, bytes: u32, load: bool, dge| {
        let (s, h) = (sbuf(F32, 128, 0, bytes / 4), hbm(F32, 0, 128, bytes / 4, i64::from(bytes / 4)));
        let i = if load { dma(s, h, 0, dge) } else { dma(h, s, 0, dge) };
        let MKind::Dma { op, operands, attrs, .. } = &i.kind else { unreachable!("built as a transfer") };
        let k = Constants::of(t);
        let c = dma_cost(&k, *op, operands, attrs, dge);
        (ns(c.alone(&k)) / 1000.0, ns(c.issue))
    };
    let table = [
        (256, [1.78, 1.76, 1.76]),
        (2048, [2.47, 2.30, 2.15]),
        (4096, [3.26, 2.92, 2.62]),
        (16384, [7.98, 6.61, 5.43]),
        (65536, [26.9, 21.4, 16.7]),
    ];
    for (bytes, want) in table {
        for (t, us) in [Trn1, Trn2, Trn3].into_iter().zip(want) {
            let (got, _) = total(t, bytes, true, DgeMode::None);
            assert!((got - us).abs() <= us * 0.003, "{t} {bytes}: {got} != {us}");
        }
    }
    assert!((total(Trn2, 16384, false, DgeMode::None).0 - 6.73).abs() < 0.01);
    assert!((total(Trn2, 16384, true, DgeMode::Hwdge).1 - 600.2).abs() < 0.1);
}

/// One engine of 16.1: a [4, 4096] bf16 load keeps a single DMA engine busy.
#[test]
fn four_partitions_use_one_engine() {
    let k = Constants::of(Trn2);
    let i = dma(sbuf(BF16, 4, 0, 4096), hbm(BF16, 0, 4, 4096, 4096), 0, DgeMode::None);
    let MKind::Dma { op, operands, attrs, .. } = &i.kind else { unreachable!("built as a transfer") };
    let c = dma_cost(&k, *op, operands, attrs, DgeMode::None);
    assert!((ns(c.shares[0].service) + k.dma.first_read_ns - 1416.0).abs() < 1.0);
    assert!(c.shares[1..].iter().all(|s| s.elements == 0));
    // Single fp32 columns: one element per 4 bytes, 10 ns each (13.5).
    let i = dma(
        access(nki_ir::Space::Sbuf, F32, (0, 128), 0, &[(4, 8)]),
        hbm(F32, 0, 128, 4, 4),
        0,
        DgeMode::None,
    );
    let MKind::Dma { op, operands, attrs, .. } = &i.kind else { unreachable!("built as a transfer") };
    assert_eq!(ns(dma_cost(&k, *op, operands, attrs, DgeMode::None).shares[3].service), 4.0 * 8.0 * 10.0);
}
