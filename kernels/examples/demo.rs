//! A matrix product and a SwiGLU feed-forward layer, natively and on a simulated Trainium2 core, each compared with an
//! `f64` reference: `cargo run --release -p nki-kernels --example demo`.

use nki::check::{Contract, Given, Prepared, Problem, Tolerance, compare, compare_bits};
use nki::ir::{Diagnostics, Target};
use nki::{KernelInfo, Mode};
use nki_kernels::matmul::matmul_blocked;
use nki_kernels::mlp::mlp;
use std::process::ExitCode;

fn main() -> ExitCode {
    let product = Given { dims: dims(&[("m", 512), ("k", 1024), ("n", 2048)]), ..Given::default() };
    let swiglu = Given {
        dims: dims(&[("tokens", 512), ("hidden", 1024), ("inner", 2816)]),
        args: vec![("w_gate".into(), "normal(0,0.05)".into())],
        ..Given::default()
    };
    let shown = [
        show("matrix product [512 x 1024] x [1024 x 2048]", matmul_blocked::INFO, &product),
        show("SwiGLU layer, 512 tokens, hidden 1024, inner 2816", mlp::INFO, &swiglu),
    ];
    let mut success = true;
    for result in shown {
        match result {
            Ok(passed) => success &= passed,
            Err(errors) => {
                eprintln!("{errors}");
                success = false;
            }
        }
    }
    println!(
        "{}",
        if success { "All results agree with their references." } else { "Some results are wrong." }
    );
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn dims(list: &[(&str, usize)]) -> Vec<(String, usize)> {
    list.iter().map(|(name, size)| (name.to_string(), *size)).collect()
}

/// Runs a kernel natively and simulated; whether both results are right.
fn show(title: &str, kernel: &'static KernelInfo, given: &Given) -> Result<bool, Diagnostics> {
    let problem = Problem::new(kernel, given)?;
    println!("== {title}, {}, kernel `{}`\n", problem.dtype, kernel.name);
    let prepared = Prepared::of(&problem, Target::Trn2)?;
    let native = prepared.run(Mode::Host)?;
    let simulated = prepared.run(Mode::Sim)?;

    let contract = Contract::of(kernel).expect("the library's kernels have contracts");
    let inputs = problem.inputs().expect("a kernel with a contract has inputs");
    let want = (contract.reference)(&inputs);
    let tolerance: Tolerance = (contract.tolerance)(problem.dtype);
    let mut passed = true;
    for (way, ran) in [("native", &native), ("simulated", &simulated)] {
        for ((_, got), want) in ran.results.iter().zip(&want) {
            let c = compare(got, want, tolerance);
            let verdict = if c.passed() { "ok" } else { "WRONG" };
            println!("{way:10} against the reference: {verdict}, {c}");
            passed &= c.passed();
        }
    }
    for ((_, a), (_, b)) in native.results.iter().zip(&simulated.results) {
        println!("native and simulated: {}", compare_bits(a, b));
    }
    println!("native execution took {:.1} ms on this machine\n", 1e3 * native.took.as_secs_f64());

    println!("The first instructions of each engine:\n{}", prepared.compile()?.listing(3));
    if let Some(report) = &simulated.report {
        println!("{report}");
    }
    Ok(passed)
}
