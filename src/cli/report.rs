//! `nki report`: where a kernel's simulated time goes and what would change that; `nki report A B`: why two runs differ.

use super::command::{Report, Simulation, Subject};
use super::context::{Context, Outcome, diagnostics};
use super::machine::{Machine, load_timed};
use super::subject::read_text;
use nki_ir::{Code, Diagnostic, Diagnostics};
use nki_sim::SimOptions;
use nki_sim::report::{Advice, advise, compare};
use serde_json::{Value, json};
use std::path::Path;

pub fn run(context: &Context, args: &Report) -> Result<Outcome, Diagnostics> {
    if args.other.is_some()
        || args.vs_target.is_some()
        || !(args.vs_without.is_empty() && args.vs_args.is_empty())
    {
        return difference(context, args);
    }
    if is_saved(&args.subject.kernel) {
        let text = format!("{}: a report that was kept, which can only be compared", args.subject.kernel);
        return Err(Diagnostic::error(Code::Usage, text).help("`nki report OLD.json KERNEL`").into());
    }
    let progress = context.progress(format!("compiling and simulating {}", args.subject.kernel));
    let machine = load_timed(&simulation(args))?;
    let mut warnings = machine.warnings.clone();
    let advice = advise(&machine.program, &SimOptions::default()).unwrap_or_else(|errors| {
        for e in errors {
            warnings.push(Diagnostic::warning(e.code, format!("nothing is advised: {}", e.message)));
        }
        Vec::new()
    });
    let list: Vec<Value> = advice.iter().map(advice_json).collect();
    let output = match &args.html {
        Some(path) => machine.page(path, |_| json!({ "case": machine.what, "advice": list }))?,
        None => machine.run()?,
    };
    drop(progress);
    context.say(format!("{}\n\n{}", machine.what, output.report));
    say_advice(context, &advice, output.report.kernel_ns);
    if let Some((text, _)) = &machine.compiler {
        context.say(format!("compiler\n{text}"));
    }
    if let Some(path) = &args.html {
        context.say(format!("\nwrote {}", path.display()));
    }
    context.warn(&warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.report/1",
        "case": machine.what,
        "compiler": machine.compiler.as_ref().map(|c| &c.1),
        "report": output.report.to_json(),
        "advice": list,
        "written": args.html.as_ref().map(|p| p.display().to_string()),
        "warnings": diagnostics(&warnings),
    })))
}

fn simulation(args: &Report) -> Simulation {
    Simulation { without: args.without.clone(), spill: args.spill, ..Simulation::time_only(&args.subject) }
}

fn say_advice(context: &Context, advice: &[Advice], kernel_ns: f64) {
    if advice.is_empty() {
        return;
    }
    context.say("what to change (simulated again without each cost alone; gains do not add up)");
    for a in advice {
        let share = 100.0 * a.gain_ns / kernel_ns;
        context.say(format!(
            "{:>10.2} us {share:>5.1}%  {}:{}: {}",
            a.gain_ns / 1e3,
            a.at.file,
            a.at.line,
            a.message
        ));
        context.say(format!("{:22}{}", "", a.help));
    }
    context.say("");
}

fn advice_json(a: &Advice) -> Value {
    json!({
        "kind": a.kind.name(),
        "at": { "file": a.at.file, "line": a.at.line, "column": a.at.column },
        "message": a.message,
        "help": a.help,
        "gain_ns": a.gain_ns,
    })
}

fn difference(context: &Context, args: &Report) -> Result<Outcome, Diagnostics> {
    if let Some(path) = &args.html {
        let text = format!("`--html {}`: a page is about one run", path.display());
        return Err(Diagnostic::error(Code::Usage, text).into());
    }
    let progress = context.progress("compiling and simulating");
    let before = one(&args.subject.kernel, simulation(args))?;
    let after = one(args.other.as_deref().unwrap_or(&args.subject.kernel), other(args))?;
    drop(progress);
    let compared = compare(&before.1, &after.1).map_err(|e| {
        Diagnostic::error(Code::File, format!("a report has {e}"))
            .help("keep a run with `nki report KERNEL --json`")
    })?;
    context.say(format!("A  {}\nB  {}\n\n{}", before.0, after.0, compared.to_string().trim_end()));
    let mut json = compared.to_json();
    json["schema"] = "nki.compare/1".into();
    json["before"]["case"] = before.0.into();
    json["after"]["case"] = after.0.into();
    Ok(Outcome::ok(json))
}

/// What B is: as A, but for what is said.
fn other(args: &Report) -> Simulation {
    let mut subject: Subject = args.subject.clone();
    if let Some(kernel) = &args.other {
        subject.kernel.clone_from(kernel);
    }
    subject.target = args.vs_target.or(subject.target);
    subject.args.retain(|(name, _)| !args.vs_args.iter().any(|(other, _)| other == name));
    subject.args.extend(args.vs_args.iter().cloned());
    let without = if args.vs_without.is_empty() { &args.without } else { &args.vs_without };
    Simulation { without: without.clone(), spill: args.spill, ..Simulation::time_only(&subject) }
}

fn is_saved(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "json")
}

/// One line about a run, and its report.
fn one(name: &str, args: Simulation) -> Result<(String, Value), Diagnostics> {
    if is_saved(name) {
        return saved(name);
    }
    let machine: Machine = load_timed(&args)?;
    let mut what = machine.what.clone();
    for pass in &args.without {
        what += &format!(" without {}", pass.name());
    }
    Ok((what, machine.run()?.report.to_json()))
}

/// A run that was kept: what `nki report --json` or `nki simulate --json` printed.
fn saved(name: &str) -> Result<(String, Value), Diagnostics> {
    let fail = |what: String| Diagnostic::error(Code::File, format!("{name}: {what}"));
    let mut v: Value = serde_json::from_str(&read_text(name)?).map_err(|e| fail(format!("not JSON: {e}")))?;
    let known = matches!(v["schema"].as_str(), Some("nki.report/1" | "nki.simulate/1"));
    if !known {
        let help = "keep a run with `nki report KERNEL --json > FILE.json`";
        return Err(fail("not what `nki report --json` or `nki simulate --json` prints".into())
            .help(help)
            .into());
    }
    let what = v["case"].as_str().unwrap_or(name).to_string();
    Ok((format!("{what} ({name})"), v["report"].take()))
}
