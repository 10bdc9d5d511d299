//! The main job of the project on real sizes: a matrix product and a SwiGLU feed-forward layer in bf16, computed natively and on
//! a simulated trn2 core, compared with `f64`, with the schedule's head, simulated latency and the use of each engine.

use nki::backend::device::{self, CompileOptions};
use nki::check::{Tolerance, compare};
use nki::ir::{DType, Diagnostics, Tensor};
use nki::prelude::*;
use nki::{Mode, Specialization, args};
use nki_kernels::matmul::{self, BlockedConfig, matmul_blocked};
use nki_kernels::mlp::reference::{Activation, Projection, mlp as mlp_reference};
use nki_kernels::mlp::{MlpConfig, mlp};
use std::process::ExitCode;
use std::time::Instant;

const TARGET: Target = Target::Trn2;
/// Lines of the schedule to print for each engine.
const HEAD: usize = 4;

fn main() -> ExitCode {
    match product().and_then(|a| Ok(a & layer()?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// `[512 x 1024] x [1024 x 2048]`; the left operand is stored transposed, as the tensor engine takes it.
fn product() -> Result<bool, Diagnostics> {
    let (m, k, n) = (512, 1024, 2048);
    let (lhs_t, rhs) = (normal(&[k, m], 1.0, 1)?, normal(&[k, n], 1.0, 2)?);
    let want = matmul::reference::matmul(&args::to_f64(&lhs_t), &args::to_f64(&rhs), [k, m, n]);
    let kernel = matmul_blocked::specialize::<bf16>(&lhs_t, &rhs, BlockedConfig::default());
    show(&format!("matmul [{m} x {k}] x [{k} x {n}] bf16"), &kernel, &want)
}

/// 512 tokens, hidden size 1024, intermediate size 2816.
fn layer() -> Result<bool, Diagnostics> {
    let (tokens, hidden, inner) = (512, 1024, 2816);
    let x = normal(&[tokens, hidden], 1.0, 3)?;
    let [gate, up] = [4, 5].map(|seed| normal(&[hidden, inner], 0.03, seed));
    let (gate, up, down) = (gate?, up?, normal(&[inner, hidden], 0.03, 6)?);
    let values = [&gate, &up, &down].map(args::to_f64);
    let wide = |weight| Projection { weight, bias: None, rows: hidden, columns: inner };
    let last = Projection { weight: &values[2], bias: None, rows: inner, columns: hidden };
    let gates = Some(wide(&values[0]));
    let want = mlp_reference(&args::to_f64(&x), tokens, gates, wide(&values[1]), last, Activation::Silu);
    let absent = || None::<&Tensor>;
    let config = MlpConfig::default();
    let kernel = mlp::specialize::<bf16>(&x, Some(&gate), &up, &down, absent(), absent(), absent(), config);
    show(&format!("SwiGLU MLP, {tokens} tokens, {hidden} x {inner} bf16"), &kernel, &want)
}

fn normal(shape: &[usize], deviation: f64, seed: u64) -> Result<Tensor, Diagnostics> {
    let kind = args::generate::Kind::Normal { mean: 0.0, deviation };
    let generator = args::generate::Generator { kind, dtype: None, shape: None, seed: None };
    generator.tensor(DType::BF16, shape, seed)
}

/// Runs a kernel natively and simulated; `true` if both are as close to `want` as bf16 allows.
fn show(title: &str, kernel: &Specialization, want: &[f64]) -> Result<bool, Diagnostics> {
    println!("== {title}");
    let mut passed = true;
    let native = kernel.compile(Mode::Host, TARGET)?;
    let inputs: Vec<Tensor> = kernel.data().into_iter().flatten().cloned().collect();
    native.run(&inputs)?;
    let start = Instant::now();
    let out = native.run(&inputs)?;
    let time = start.elapsed();
    let near = compare(&out[0], want, Tolerance::of(DType::BF16));
    passed &= near.passed();
    println!("native:    {near} ({:.1} ms)", time.as_secs_f64() * 1e3);

    let compiled = device::compile(&kernel.verify(TARGET)?, &CompileOptions::default())?;
    let listing = compiled.listing(HEAD);
    let start = Instant::now();
    let out = kernel.run(Mode::Sim, TARGET)?;
    let near = compare(&out[0], want, Tolerance::of(DType::BF16));
    passed &= near.passed();
    println!("simulated: {near} ({:.1} s to simulate)", start.elapsed().as_secs_f64());
    println!("\nhead of the schedule:\n{}", listing.trim_end());
    if let Some(report) = &out.report {
        println!("\n{report}");
    }
    Ok(passed)
}
