//! Compiled programs compute, bit for bit, what the interpreter computes, in whatever order transfers finish.

use crate::kernels;
use nki_backend::device::{CompileOptions, Pass, compile};
use nki_ir::interp::{self, InterpOptions};
use nki_ir::{DType, Kernel, Target, Tensor};
use nki_sim::{SimOptions, SimOutput};

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
        match dtype {
            DType::F32 => data.extend(x.to_le_bytes()),
            DType::BF16 => data.extend(((x.to_bits() >> 16) as u16).to_le_bytes()),
            other => panic!("no test data for {other}"),
        }
    }
    Tensor { dtype, shape, data }
}

fn inputs(kernel: &Kernel) -> Vec<Tensor> {
    kernel.inputs().enumerate().map(|(i, (_, b))| tensor(b.dtype, &b.shape, 7 + i as u64)).collect()
}

fn simulate(
    kernel: &Kernel,
    target: Target,
    o: &CompileOptions,
    inputs: &[Tensor],
    seed: Option<u64>,
) -> SimOutput {
    let verified = nki_ir::verify(kernel.clone(), target).unwrap();
    let compiled = compile(&verified, o).unwrap();
    let program = nki_sim::verify(compiled.program).unwrap();
    let options = SimOptions { adversary: seed, check_order: Some(true), ..SimOptions::default() };
    match nki_sim::run(&program, inputs, &options) {
        Ok(out) => out,
        Err(e) => panic!("{} on {target}, order {seed:?}, without {:?}: {e}", kernel.name, o.disabled),
    }
}

/// Compares in the natural order and in two adverse ones.
fn check(kernel: &Kernel, target: Target, o: &CompileOptions) {
    let inputs = inputs(kernel);
    let verified = nki_ir::verify(kernel.clone(), target).unwrap_or_else(|e| panic!("{}: {e}", kernel.name));
    let expected = interp::run(&verified, &inputs, &InterpOptions::default()).unwrap();
    for seed in [None, Some(1), Some(2)] {
        let got = simulate(kernel, target, o, &inputs, seed).outputs;
        for (g, e) in got.iter().zip(&expected) {
            assert!(
                g.data == e.data,
                "{} on {target}, order {seed:?}, without {:?}",
                kernel.name,
                o.disabled
            );
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
            check(&k, target, &CompileOptions::default());
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
            check(&k, Target::Trn2, o);
        }
    }
}

#[test]
fn hardware_loops_compute_the_same() {
    for budget in [0, 3, 10, 40] {
        for k in samples() {
            let o = CompileOptions { unroll_budget: budget, ..CompileOptions::default() };
            check(&k, Target::Trn2, &o);
            check(&k, Target::Trn1, &o);
        }
    }
}

#[test]
fn many_transfers_in_flight_share_the_semaphores() {
    let o = CompileOptions { max_buffers: 600, ..CompileOptions::default() };
    check(&kernels::running_sum(400, 16, 8), Target::Trn2, &o);
}
