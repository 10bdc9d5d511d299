//! `nki run`: a kernel on data, one way.

use super::check::comparison;
use super::command::{Run, Simulation};
use super::context::{Context, Outcome, diagnostics};
use super::machine::load_machine;
use super::subject::{FileKind, Loaded, load};
use crate::Mode;
use crate::args::{Sink, to_f64};
use crate::check::{Problem, Ran, compare, holds_one_program};
use nki_ir::{Code, Diagnostic, Diagnostics, Tensor};
use serde_json::{Value, json};
use std::time::Instant;

pub fn run(context: &Context, args: &Run) -> Result<Outcome, Diagnostics> {
    // Before anything long: a mistake in a file name.
    let sinks: Vec<Sink> = args.output.iter().map(|o| o.parse()).collect::<Result<_, _>>()?;
    let job = match FileKind::of(&args.subject.kernel) {
        Some(FileKind::Machine) => machine(context, args)?,
        _ => kernel(context, args)?,
    };
    let Job { name, what, mode, warnings, problem, ran } = job;
    let results: Vec<(&str, &Tensor)> = ran.results.iter().map(|(n, t)| (n.as_str(), t)).collect();
    // Before anything is said: a file that cannot be written is a failure, not a result.
    sinks.iter().try_for_each(|sink| sink.write(&results))?;
    context.say(format!("{what} ({mode}, {:.3} ms)", 1e3 * ran.took.as_secs_f64()));
    context.warn(&warnings);
    let want = problem.as_ref().and_then(|p| Some((p.contract?, p.inputs()?.on(args.subject.target()))));
    let want = want.filter(|_| args.reference);
    let dtype = problem.as_ref().map(|p| p.dtype);
    let want = want.zip(dtype).map(|((c, i), dtype)| ((c.reference)(&i), c.tolerances(dtype, &i)));
    let (mut list, mut success) = (Vec::new(), true);
    for (i, (name, tensor)) in results.iter().enumerate() {
        context.say(format!("  {name} {}", summary(tensor)));
        let accuracy = want.as_ref().and_then(|(want, tolerances)| {
            let c = compare(tensor, want.get(i)?, *tolerances.get(i)?);
            context.say(format!("    against the reference: {c}"));
            success &= c.passed();
            Some(comparison(name, &c))
        });
        list.push(json!({ "name": name, "dtype": tensor.dtype.to_string(), "shape": tensor.shape, "accuracy": accuracy }));
    }
    let target = ran.report.as_ref().map_or(args.subject.target(), |r| r.target).name();
    if let Some(report) = &ran.report {
        context.say(format!("  simulated {:.3} µs on {}", report.kernel_ns / 1e3, report.target));
    }
    for sink in &sinks {
        context.say(format!("  wrote {}", sink.path().display()));
    }
    let json = json!({
        "schema": "nki.run/1",
        "kernel": name,
        "case": what,
        "mode": mode.name(),
        "target": target,
        "seconds": ran.took.as_secs_f64(),
        "simulated_ns": ran.report.as_ref().map(|r| r.kernel_ns),
        "results": list,
        "warnings": diagnostics(&warnings),
        "written": sinks.iter().map(|s| Value::from(s.path().to_string_lossy())).collect::<Vec<_>>(),
    });
    Ok(Outcome { json, success })
}

/// What was run, and what it gave.
struct Job {
    name: String,
    what: String,
    mode: Mode,
    warnings: Diagnostics,
    problem: Option<Problem>,
    ran: Ran,
}

fn kernel(context: &Context, args: &Run) -> Result<Job, Diagnostics> {
    let mode = args.mode.unwrap_or(Mode::Host);
    let loaded = load(&args.subject)?;
    let progress = context.progress(format!("{} ({mode})", loaded.what));
    let ran = loaded.prepared.run_on(args.programs, mode)?;
    drop(progress);
    let Loaded { prepared, what, problem } = loaded;
    let name = prepared.kernel().name.clone();
    let mut warnings = prepared.warnings;
    warnings.extend(ran.warnings.clone());
    Ok(Job { name, what, mode, warnings, problem, ran })
}

fn machine(context: &Context, args: &Run) -> Result<Job, Diagnostics> {
    let (mode, file) = (args.mode.unwrap_or(Mode::Sim), &args.subject.kernel);
    if mode != Mode::Sim {
        let text = format!("`--mode {mode}`: {file} is a machine program, which only the simulator runs");
        return Err(Diagnostic::error(Code::Usage, text).help("use `--mode sim`").into());
    }
    if args.programs != 1 {
        return Err(holds_one_program().into());
    }
    let progress = context.progress(format!("simulating {file}"));
    let machine = load_machine(&Simulation::full(&args.subject))?;
    let start = Instant::now();
    let output = machine.run()?;
    let took = start.elapsed();
    drop(progress);
    let results = machine.results().map(str::to_string).zip(output.outputs).collect();
    let mut warnings = machine.warnings.clone();
    warnings.extend(output.warnings.clone());
    let name = machine.program.header().name.clone();
    let ran = Ran { results, took, report: Some(output.report), warnings: output.warnings };
    Ok(Job { name, what: machine.what, mode, warnings, problem: None, ran })
}

/// Dtype, shape, range, and the first few values.
fn summary(tensor: &Tensor) -> String {
    let values = to_f64(tensor);
    let finite = || values.iter().filter(|x| x.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    let odd = values.len() - finite().count();
    let mut text = format!("{}{:?}", tensor.dtype, tensor.shape);
    if low <= high {
        text += &format!(" from {low:.6} to {high:.6}");
    }
    if odd > 0 {
        text += &format!(", {odd} not finite");
    }
    let head: Vec<String> = values.iter().take(6).map(|x| format!("{x:.6}")).collect();
    let more = if values.len() > head.len() { ", .." } else { "" };
    text + &format!(": {}{more}", head.join(", "))
}
