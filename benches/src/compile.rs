//! Time from Rust to tile IR, from tile IR to a machine program and to native code.

use super::measure::{Figure, Measured, alone};
use super::{Size, prepare, problem};
use nki::backend::{device, host};
use nki::ir::{DType, Diagnostics, Target};

pub fn run(size: &Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let n = |x: usize| (x / size.divide).max(1);
    let cases = [
        ("matmul", vec![("k", n(2048)), ("m", n(2048)), ("n", n(2048))]),
        ("matmul_blocked", vec![("k", n(2048)), ("m", n(2048)), ("n", n(2048))]),
        ("mlp", vec![("tokens", n(512)), ("hidden", n(1024)), ("inner", n(2816))]),
        ("softmax", vec![("rows", n(4096)), ("columns", n(2048))]),
    ];
    for (kernel, dims) in cases {
        let extents: Vec<String> = dims.iter().map(|d| d.1.to_string()).collect();
        let name = format!("{kernel} {}", extents.join("x"));
        let specialization = problem(kernel, DType::BF16, &dims, &[])?.specialize()?;
        let mut front = || specialization.verify(Target::Trn2).map(drop);
        report(alone(format!("{name}: trace and gate"), Figure::Milliseconds, size.time, &mut front)?);

        let verified = specialization.verify(Target::Trn2)?;
        let mut back = || device::compile(&verified, &Default::default()).map(drop);
        report(alone(format!("{name}: device compiler"), Figure::Milliseconds, size.time, &mut back)?);

        let mut native = || host::compile(&verified, &Default::default()).map(drop);
        report(alone(format!("{name}: native code"), Figure::Milliseconds, size.time, &mut native)?);

        let program = prepare(kernel, DType::BF16, &dims, &[])?.compile()?.program;
        let mut gate = || nki::sim::verify(program.clone()).map(drop);
        report(alone(format!("{name}: gate of the machine"), Figure::Milliseconds, size.time, &mut gate)?);
    }
    Ok(())
}
