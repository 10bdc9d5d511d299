//! Speed of the interpreter, the reference.

use super::measure::{Figure, Measured, alone};
use super::{Size, problem};
use nki::ir::interp::{InterpOptions, run as interpret};
use nki::ir::{DType, Diagnostics, Target, Tensor};

pub fn run(size: &Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let n = |x: usize| (x / size.divide).max(1);
    for dtype in [DType::BF16, DType::F32] {
        let flops = 2.0 * (n(1024) as f64).powi(3);
        let dims = [("k", n(1024)), ("m", n(1024)), ("n", n(1024))];
        let figure = Figure::Giga(flops, "GFLOP/s");
        one("matmul", dtype, &dims, figure, size, report)?;
        let elements = (n(4096) * n(1024)) as f64;
        let dims = [("rows", n(4096)), ("columns", n(1024))];
        one("softmax", dtype, &dims, Figure::Mega(elements, "M elements/s"), size, report)?;
    }
    Ok(())
}

fn one(
    kernel: &str,
    dtype: DType,
    dims: &[(&str, usize)],
    figure: Figure,
    size: &Size,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    let problem = problem(kernel, dtype, dims, &[])?;
    let verified = problem.specialize()?.verify(Target::Trn2)?;
    let inputs: Vec<Tensor> = problem.tensors.iter().map(|(_, t)| t.clone()).collect();
    let mut run = || interpret(&verified, &inputs, &InterpOptions::default()).map(drop);
    let extents: Vec<String> = dims.iter().map(|d| d.1.to_string()).collect();
    report(alone(format!("{kernel} {} {dtype}", extents.join("x")), figure, size.time, &mut run)?);
    Ok(())
}
