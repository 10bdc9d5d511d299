//! How close the library's kernels come to what bounds them, in simulated time. These figures may only improve.

use nki::Specialization;
use nki::backend::device::{CompileOptions, compile};
use nki::check::gate;
use nki::ir::Diagnostics;
use nki::prelude::*;
use nki::sim::{Constants, Mode, SimOptions, SimReport};
use nki_kernels::{add, matmul, rmsnorm, softmax};

fn simulate(kernel: Specialization) -> SimReport {
    let kernel = kernel.trace().unwrap().kernel;
    let verified = gate(kernel, Target::Trn2, &mut Diagnostics::new()).unwrap();
    let program = compile(&verified, &CompileOptions::default()).unwrap().program;
    let program = nki::sim::verify(program).unwrap();
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    nki::sim::run(&program, &[], &options).unwrap().report
}

/// Nanoseconds in which the 16 DMA engines of a Trn2 core can move this much (machine.md 5.2).
fn transfer_time(read: f64, written: f64) -> f64 {
    let k = Constants::of(Target::Trn2).dma;
    (read / k.read_bpns + written / k.write_bpns) / 16.0
}

/// Share of the bound that is reached, in percent.
#[track_caller]
fn at_least(share: f64, report: &SimReport, bound: f64) {
    let reached = bound / report.kernel_ns;
    assert!(reached >= share, "{:.1} % of the bound of {bound:.0} ns", 100.0 * reached);
    assert!(reached <= 1.0, "{:.1} % of the bound: the bound is wrong", 100.0 * reached);
}

/// Elements of a [4096, 4096] matrix.
const SQUARE: f64 = 4096.0 * 4096.0;

fn memory_bound<T: nki::Float + nki::HostElem>() {
    let bytes = SQUARE * size_of::<T>() as f64;
    let shape = [4096usize, 4096];
    let r = simulate(softmax::softmax::specialize::<T>(shape, Default::default()));
    at_least(0.95, &r, transfer_time(bytes, bytes));
    let r = simulate(rmsnorm::rmsnorm::specialize::<T>(shape, [4096usize], Default::default()));
    at_least(0.95, &r, transfer_time(bytes, bytes));
    let r = simulate(add::add::specialize::<T>(shape, shape, Default::default()));
    at_least(0.95, &r, transfer_time(2.0 * bytes, bytes));
}

#[test]
fn row_kernels_run_at_the_speed_of_memory() {
    memory_bound::<f32>();
    memory_bound::<nki::bf16>();
}

#[test]
fn decode_runs_at_the_speed_of_memory() {
    for (tokens, share) in [(1usize, 0.90), (16, 0.88)] {
        let r = simulate(matmul::matmul::specialize::<nki::bf16>(
            [4096usize, tokens],
            [4096usize, 14336],
            Default::default(),
        ));
        at_least(share, &r, transfer_time(2.0 * 4096.0 * 14336.0, 0.0));
    }
}

#[test]
fn large_products_keep_the_tensor_engine_busy() {
    let shape = [4096usize, 4096];
    // 128 x 128 x 512 take 512 cycles and 6 of overhead at 2.4 GHz (machine.md 15.1).
    let bound = 32.0 * 32.0 * 8.0 * 518.0 / 2.4;
    let r = simulate(matmul::matmul_blocked::specialize::<nki::bf16>(shape, shape, Default::default()));
    at_least(0.985, &r, bound);
    let r = simulate(matmul::matmul::specialize::<nki::bf16>(shape, shape, Default::default()));
    at_least(0.97, &r, bound);
}
