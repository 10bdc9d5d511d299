//! `nki simulate` and `nki trace`: a kernel on the simulated machine.

use super::command::{Simulate, Trace};
use super::context::{Context, Outcome, diagnostics};
use super::machine::load_machine;
use nki_ir::Diagnostics;
use serde_json::json;

pub fn simulate(context: &Context, args: &Simulate) -> Result<Outcome, Diagnostics> {
    let progress = context.progress(format!("simulating {}", args.simulation.subject.kernel));
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
