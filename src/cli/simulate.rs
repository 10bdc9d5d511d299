//! `nki simulate` and `nki report`: a kernel on the simulated machine.

use super::command::{Report, Simulate};
use super::context::{Context, Outcome, diagnostics};
use super::schedule::compiler;
use super::subject::load;
use nki_ir::Diagnostics;
use nki_sim::{Mode, SimOptions};
use serde_json::json;

pub fn simulate(context: &Context, args: &Simulate) -> Result<Outcome, Diagnostics> {
    let loaded = load(&args.subject)?;
    let progress = context.progress(format!("simulating {}", loaded.what));
    let program = nki_sim::verify(loaded.prepared.compile()?.program)?;
    let options = SimOptions {
        mode: if args.time_only { Mode::TimeOnly } else { Mode::Full },
        adversary: args.adversary,
        ..SimOptions::default()
    };
    let inputs = if args.time_only { &[][..] } else { loaded.prepared.inputs() };
    let output = nki_sim::run(&program, inputs, &options)?;
    drop(progress);
    context.say(format!("{}\n", loaded.what));
    context.say(output.report.to_string().trim_end());
    context.warn(&output.warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.simulate/1",
        "case": loaded.what,
        "report": output.report.to_json(),
        "warnings": diagnostics(&output.warnings),
    })))
}

pub fn report(context: &Context, args: &Report) -> Result<Outcome, Diagnostics> {
    let loaded = load(&args.subject)?;
    let progress = context.progress(format!("compiling and simulating {}", loaded.what));
    let compiled = loaded.prepared.compile()?;
    let what = compiled.report.to_string();
    let compiler = compiler(&compiled);
    let program = nki_sim::verify(compiled.program)?;
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    let output = nki_sim::run(&program, &[], &options)?;
    drop(progress);
    context.say(format!("{}\n\n{}\ncompiler\n{what}", loaded.what, output.report));
    context.warn(&loaded.prepared.warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.report/1",
        "case": loaded.what,
        "compiler": compiler,
        "report": output.report.to_json(),
        "warnings": diagnostics(&loaded.prepared.warnings),
    })))
}
