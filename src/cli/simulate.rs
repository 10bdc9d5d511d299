//! `nki simulate` and `nki trace`: a kernel on the simulated machine.

use super::command::{Simulate, Simulation, Trace};
use super::context::{Context, Outcome, diagnostics};
use super::machine::load_machine;
use super::subject::{FileKind, load_with};
use crate::Results;
use crate::check::holds_one_program;
use nki_ir::Diagnostics;
use nki_sim::{Mode, SimOptions};
use serde_json::json;

pub fn simulate(context: &Context, args: &Simulate) -> Result<Outcome, Diagnostics> {
    let progress = context.progress(format!("simulating {}", args.simulation.subject.kernel));
    if args.programs != 1 {
        let (what, results) = programs(&args.simulation, args.programs)?;
        drop(progress);
        let report = results.report.as_ref().expect("a simulated run has a report");
        context.say(format!("{what}, {} programs\n", args.programs));
        context.say(report.to_string().trim_end());
        context.warn(&results.warnings);
        return Ok(Outcome::ok(json!({
            "schema": "nki.simulate/1",
            "case": what,
            "programs": args.programs,
            "report": report.to_json(),
            "written": null,
            "warnings": diagnostics(&results.warnings),
        })));
    }
    let machine = load_machine(&args.simulation)?;
    let output = match &args.html {
        Some(path) => machine.page(path, |_| json!({ "case": machine.what }))?,
        None => machine.run()?,
    };
    drop(progress);
    context.say(format!("{}\n", machine.what));
    context.say(output.report.to_string().trim_end());
    if let Some(path) = &args.html {
        context.say(format!("\nwrote {}", path.display()));
    }
    let mut warnings = machine.warnings.clone();
    warnings.extend(output.warnings);
    context.warn(&warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.simulate/1",
        "case": machine.what,
        "report": output.report.to_json(),
        "written": args.html.as_ref().map(|p| p.display().to_string()),
        "warnings": diagnostics(&warnings),
    })))
}

/// The programs of a logical core, at the same time.
fn programs(args: &Simulation, n: usize) -> Result<(String, Results), Diagnostics> {
    let subject = &args.subject;
    if FileKind::of(&subject.kernel).is_some() {
        return Err(holds_one_program().into());
    }
    let mode = if args.time_only { Mode::TimeOnly } else { Mode::Full };
    let loaded = load_with(subject, !args.time_only)?;
    let executable = loaded.prepared.programs(n)?.compile(crate::Mode::Sim, subject.target())?;
    let options = SimOptions { mode, ..SimOptions::default() };
    Ok((loaded.what, executable.simulate(loaded.prepared.inputs(), &options)?))
}

pub fn trace(context: &Context, args: &Trace) -> Result<Outcome, Diagnostics> {
    let progress = context.progress(format!("simulating {}", args.simulation.subject.kernel));
    let machine = load_machine(&args.simulation)?;
    let output = machine.trace(&args.output)?;
    drop(progress);
    let (path, report) = (args.output.display().to_string(), &output.report);
    context.say(format!("{} on {}: {:.3} µs simulated", machine.what, report.target, report.kernel_ns / 1e3));
    context.say(format!("wrote {path}; open it in ui.perfetto.dev or chrome://tracing"));
    let mut warnings = machine.warnings.clone();
    warnings.extend(output.warnings);
    context.warn(&warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.trace/1",
        "case": machine.what,
        "target": report.target.name(),
        "kernel_ns": report.kernel_ns,
        "instructions": report.instructions,
        "written": path,
        "warnings": diagnostics(&warnings),
    })))
}
