//! How long a step takes on the simulated machine, without data: models of any size.

use super::config::LlamaConfig;
use super::kernels::{Step, kernels};
use nki::Mode;
use nki::ir::{DType, Diagnostics, Target};
use nki::sim::{Mode as SimMode, SimOptions};
use std::fmt;

/// A step's kernels in simulated time.
pub struct StepTime {
    pub step: Step,
    pub target: Target,
    /// What a kernel is for, how often it runs, and nanoseconds of each time.
    pub kernels: Vec<(&'static str, usize, f64)>,
}

impl StepTime {
    /// Nanoseconds of all kernels, one after the other.
    pub fn total_ns(&self) -> f64 {
        self.kernels.iter().map(|(_, n, ns)| *n as f64 * ns).sum()
    }
}

/// Simulates the kernels of a step, each once.
///
/// # Errors
/// What the kernels refuse, or the target has no room for.
pub fn simulate(
    config: &LlamaConfig,
    dtype: DType,
    step: Step,
    slots: usize,
    target: Target,
) -> Result<StepTime, Diagnostics> {
    let mut times = Vec::new();
    let options = SimOptions { mode: SimMode::TimeOnly, ..SimOptions::default() };
    for (what, n, kernel) in kernels(config, dtype, step, slots)?.counted(config.layers) {
        let results = kernel.compile(Mode::Sim, target)?.simulate(&[], &options)?;
        let report = results.report.expect("a simulated run has a report");
        times.push((what, n, report.kernel_ns));
    }
    Ok(StepTime { step, target, kernels: times })
}

impl fmt::Display for StepTime {
    /// A line for each kernel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total_ns();
        for (what, n, ns) in &self.kernels {
            let share = 100.0 * *n as f64 * ns / total;
            writeln!(f, "  {what:22} {n:3} x {:10.2} us  {share:5.1} %", ns / 1e3)?;
        }
        write!(f, "  {:22}     {:12.2} us", "all", total / 1e3)
    }
}
