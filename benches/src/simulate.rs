//! Speed of the simulator: instructions per second of time alone, and a full run beside the same kernel natively.

use super::measure::{Figure, Measured, alone, beside};
use super::{Size, prepare};
use nki::ir::{DType, Diagnostics};
use nki::sim::{Mode, SimOptions};

pub fn run(size: &Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let n = |x: usize| (x / size.divide).max(1);
    let cases = [
        ("matmul", vec![("k", n(4096)), ("m", n(4096)), ("n", n(4096))]),
        ("matmul_blocked", vec![("k", n(4096)), ("m", n(4096)), ("n", n(4096))]),
        ("softmax", vec![("rows", n(65536)), ("columns", n(512))]),
    ];
    for (kernel, dims) in &cases {
        let extents: Vec<String> = dims.iter().map(|d| d.1.to_string()).collect();
        let name = format!("{kernel} {} bf16", extents.join("x"));
        let (timed, whole) = (format!("{name}: time alone"), format!("{name}: data and time"));
        let [timed_wanted, whole_wanted] = [&timed, &whole].map(|what| what.contains(&size.only));
        if !timed_wanted && !whole_wanted {
            continue;
        }
        let prepared = prepare(kernel, DType::BF16, dims, &[])?;
        let program = nki::sim::verify(prepared.compile()?.program)?;
        if timed_wanted {
            let time_only = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
            let instructions = nki::sim::run(&program, &[], &time_only)?.report.instructions as f64;
            let mut timing = || nki::sim::run(&program, &[], &time_only).map(drop);
            let figure = Figure::Mega(instructions, "M instructions/s");
            report(alone(format!("{timed}, {instructions}"), figure, size.time, &mut timing)?);
        }
        if whole_wanted {
            let native = prepared.native()?;
            let mut host = || native.run(prepared.inputs()).map(drop);
            let mut full = || nki::sim::run(&program, prepared.inputs(), &SimOptions::default()).map(drop);
            report(beside(whole, Figure::Milliseconds, size.time, &mut full, &mut [("native", &mut host)])?);
        }
    }
    Ok(())
}
