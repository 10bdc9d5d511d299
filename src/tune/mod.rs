//! Tuning: which configuration of a kernel takes the least simulated time.
//!
//! In: a kernel with its arguments ([`Problem`]), a target, and a [`Space`] of configuration values and schedule steps. Out: a [`Tuned`] file that
//! is committed beside the kernel and loaded where it runs. It holds every candidate that was measured (those that cannot run
//! too, with the reason), names the winner, and says what it was measured on; it is refused for anything else.
//!
//! The same search finds the same winner whatever the number of threads, and wherever it was interrupted.

mod file;
mod search;
mod space;
mod steps;

pub use crate::steps::{OWN, is_step, schedule_of};
pub use file::{Candidate, Tuned};
pub use search::{Outcome, SearchOptions};
pub use space::{Axis, Space};
pub use steps::schedule_axes;

use crate::ParamKind;
use crate::check::{Prepared, Problem};
use nki_ir::diag::Severity;
use nki_ir::{Code, Diagnostic, Diagnostics, Target};
use nki_sim::{Mode, SimOptions};
use std::collections::BTreeMap;

/// The space that a kernel declares: every field of its configuration with `#[config(tune = [..])]`, except those that the
/// problem gives a value.
pub fn declared_axes(problem: &Problem) -> Vec<Axis> {
    let values = problem.kernel.params.iter().filter(|p| p.kind == ParamKind::Value);
    let fields = values.flat_map(|p| (p.fields)(p.name));
    let open = fields.filter(|f| !f.tune.is_empty() && problem.values.iter().all(|(name, _)| name != f.name));
    open.map(|f| Axis { name: f.name.to_string(), values: f.tune }).collect()
}

/// Measures candidates. `before` is an earlier result that is continued if it was measured on the same thing by the same
/// compiler and machine; `progress` sees the result so far after every batch, in a form that can be written to a file.
///
/// # Errors
/// `nki::usage`: an axis that is no field of the kernel's configuration, or is given a value already. What keeps the kernel from
/// running with its own defaults. What `progress` returns.
pub fn tune(
    problem: &Problem,
    target: Target,
    space: &Space,
    options: &SearchOptions,
    before: Option<&Tuned>,
    progress: &mut dyn FnMut(&Tuned) -> Result<(), Diagnostics>,
) -> Result<Tuned, Diagnostics> {
    check_axes(problem, space)?;
    let baseline = measure(problem, target, &[])?;
    let empty = Tuned::new(problem, target, space, baseline);
    let known = before.filter(|b| b.continues(&empty)).map(|b| b.outcomes(space)).unwrap_or_default();
    let start = default_point(problem, space);
    let measure = |point| match measure(problem, target, &space.values(point)) {
        Ok(ns) => Outcome::Time(ns),
        Err(found) => invalid(&found),
    };
    let found = search::search(space, start, options, &known, &measure, &mut |found| {
        progress(&empty.clone().with(space, found))
    })?;
    Ok(empty.with(space, &found))
}

/// Simulated time of the kernel in nanoseconds, with further configuration values.
fn measure(problem: &Problem, target: Target, values: &[(String, String)]) -> Result<f64, Diagnostics> {
    let prepared = Prepared::with_values(problem, values, target)?;
    let program = nki_sim::verify(prepared.compile()?.program)?;
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    Ok(nki_sim::run(&program, &[], &options)?.report.kernel_ns)
}

fn invalid(found: &Diagnostics) -> Outcome {
    let first = found.iter().find(|d| d.severity == Severity::Error).or_else(|| found.iter().next());
    let (code, message) = first.map_or_else(Default::default, |d| (d.code.to_string(), d.message.clone()));
    Outcome::Invalid { code, message }
}

/// The point of the defaults, as far as the axes have them.
fn default_point(problem: &Problem, space: &Space) -> u64 {
    let fields: Vec<_> = problem.kernel.params.iter().flat_map(|p| (p.fields)(p.name)).collect();
    let value = |axis: &Axis| {
        let default = fields.iter().find(|f| f.name == axis.name).map(|f| &f.default);
        let own = axis.values.iter().find(|v| Some(*v) == default);
        (axis.name.clone(), own.unwrap_or(&axis.values[0]).clone())
    };
    space.point(&space.axes().iter().map(value).collect::<Vec<_>>()).unwrap_or(0)
}

fn check_axes(problem: &Problem, space: &Space) -> Result<(), Diagnostics> {
    let params = problem.kernel.params.iter().filter(|p| p.kind == ParamKind::Value);
    let names: Vec<&str> = params.flat_map(|p| (p.fields)(p.name)).map(|f| f.name).collect();
    for (i, axis) in space.axes().iter().enumerate() {
        let fault = if !is_step(&axis.name) && !names.contains(&axis.name.as_str()) {
            let hint = crate::args::did_you_mean(&axis.name, names.iter().copied());
            format!("`{}` has no configuration value `{}`{hint}", problem.kernel.name, axis.name)
        } else if problem.values.iter().any(|(name, _)| *name == axis.name) {
            format!("`{}` is given a value and searched for", axis.name)
        } else if space.axes()[..i].iter().any(|a| a.name == axis.name) {
            format!("`{}` is searched for twice", axis.name)
        } else {
            continue;
        };
        return Err(Diagnostic::error(Code::Usage, fault).into());
    }
    Ok(())
}

/// What a tuned file is keyed by, apart from kernel and target: dtype and shape of every tensor argument.
fn tensors(problem: &Problem) -> BTreeMap<String, String> {
    problem.signature.iter().map(|(n, dtype, shape)| (n.to_string(), format!("{dtype}{shape:?}"))).collect()
}
