//! Compiled programs compute, bit for bit, what the interpreter computes, in whatever order transfers finish.

use crate::kernels;
use nki_backend::device::{CompileOptions, Pass, compile};
use nki_ir::interp::{self, InterpOptions};
use nki_ir::sem::cast;
use nki_ir::{DType, Kernel, Target, Tensor};
use nki_sim::SimOptions;

/// Numbers between -2 and 2 that look random, as the bytes of `dtype`.
fn tensor(dtype: DType, shape: &[u32], seed: u64) -> Tensor {
    let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::new();
    for _ in 0..shape.iter().product::<usize>() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let x = ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 4.0;
        data.extend_from_slice(&cast::down(dtype, x).to_le_bytes()[..dtype.bytes()]);
    }
    Tensor { dtype, shape, data }
}

fn inputs(kernel: &Kernel) -> Vec<Tensor> {
    kernel.inputs().enumerate().map(|(i, (_, b))| tensor(b.dtype, &b.shape, 7 + i as u64)).collect()
}

/// Compares the interpreter with the simulator, transfers finishing in the natural order and in two adverse ones.
pub fn check(what: &str, kernel: &Kernel, target: Target, o: &CompileOptions) {
    check_orders(what, kernel, target, o, &[None, Some(1), Some(2)]);
}

/// The same, transfers finishing in the orders of some seeds.
pub fn check_orders(what: &str, kernel: &Kernel, target: Target, o: &CompileOptions, orders: &[Option<u64>]) {
    let what = format!("{what} ({}) on {target} with {o:?}", kernel.name);
    let inputs = inputs(kernel);
    let gate = if o.spill { nki_ir::verify::verify_spilling } else { nki_ir::verify };
    let verified = gate(kernel.clone(), target).unwrap_or_else(|e| panic!("{what}: {e}"));
    let expected =
        interp::run(&verified, &inputs, &InterpOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let compiled = compile(&verified, o).unwrap_or_else(|e| panic!("{what}: {e}"));
    let program = nki_sim::verify(compiled.program).unwrap_or_else(|e| panic!("{what}: {e}"));
    for &seed in orders {
        let options = SimOptions { adversary: seed, check_order: Some(true), ..SimOptions::default() };
        let got = nki_sim::run(&program, &inputs, &options)
            .unwrap_or_else(|e| panic!("{what}, order {seed:?}: {e}\n{}", nki_ir::text::print(kernel)));
        assert_eq!(got.outputs.len(), expected.len(), "{what}");
        for (g, e) in got.outputs.iter().zip(&expected) {
            assert!(g.data == e.data, "{what}, order {seed:?}\n{}", nki_ir::text::print(kernel));
        }
    }
}

fn samples() -> Vec<Kernel> {
    vec![
        kernels::copy(1, 1, 512, DType::F32),
        kernels::copy(129, 513, 512, DType::BF16),
        kernels::softmax(127, 67),
        kernels::softmax(260, 33),
        kernels::running_sum(5, 100, 40),
        kernels::running_sum(0, 1, 7),
        kernels::naive_matmul(256, 256, 128, DType::BF16),
        kernels::naive_matmul(7, 3, 5, DType::F32),
        kernels::blocked_matmul(256, 256, 512, 256, 512, DType::BF16),
    ]
}

#[test]
fn simulation_equals_interpretation() {
    for target in Target::ALL {
        for k in samples() {
            check("sample", &k, target, &CompileOptions::default());
        }
    }
}

#[test]
fn no_pass_changes_a_result() {
    let mut all: Vec<CompileOptions> =
        Pass::ALL.iter().map(|&p| CompileOptions::default().without(p)).collect();
    all.push(Pass::ALL.iter().fold(CompileOptions::default(), |o, &p| o.without(p)));
    for k in samples() {
        for o in &all {
            check("sample", &k, Target::Trn2, o);
        }
    }
}

#[test]
fn hardware_loops_compute_the_same() {
    for budget in [0, 3, 10, 40] {
        for k in samples() {
            let o = CompileOptions { unroll_budget: budget, ..CompileOptions::default() };
            check("sample", &k, Target::Trn2, &o);
            check("sample", &k, Target::Trn1, &o);
        }
    }
}

#[test]
fn many_transfers_in_flight_share_the_semaphores() {
    let o = CompileOptions { max_buffers: 600, ..CompileOptions::default() };
    check("sample", &kernels::running_sum(400, 16, 8), Target::Trn2, &o);
}
