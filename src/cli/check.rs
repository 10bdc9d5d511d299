//! `nki check`: every way of running against each other and against the reference.

use super::command::Check;
use super::context::{Context, Outcome, diagnostics};
use super::list::find;
use crate::Mode;
use crate::check::{Bits, Case, Comparison, Contract, Given, Item, Plan, Report, Verdict, drawn};
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Check) -> Result<Outcome, Diagnostics> {
    let contracts = contracts(args)?;
    let plan = Plan {
        modes: if args.modes.is_empty() { Plan::default().modes } else { args.modes.clone() },
        target: args.target,
        // With sizes that are given, every seed is another set of numbers for them; else, for sizes that are drawn.
        seeds: if own_cases(args) {
            vec![args.seed.unwrap_or(0)]
        } else {
            args.seed.map_or_else(|| (0..args.seeds.max(1)).collect(), |seed| vec![seed])
        },
        dtypes: (!args.dtypes.is_empty()).then(|| args.dtypes.clone()),
        programs: args.programs,
    };
    let mut kernels = Vec::new();
    for contract in contracts {
        let items = items(contract, args, &plan)?;
        let bar = context.bar(items.len());
        let mut reports = Vec::with_capacity(items.len());
        for item in &items {
            bar.step(contract.kernel.name);
            reports.push(plan.run(item));
        }
        drop(bar);
        say(context, contract, &plan, &reports);
        kernels.push((contract, reports));
    }
    let success = kernels.iter().all(|(_, reports)| reports.iter().all(Report::passed));
    let list: Vec<Value> = kernels.iter().map(|(c, reports)| kernel_json(c, reports)).collect();
    Ok(Outcome { json: json!({ "schema": "nki.check/1", "passed": success, "kernels": list }), success })
}

fn contracts(args: &Check) -> Result<Vec<&'static Contract>, Diagnostics> {
    if args.all {
        return Ok(Contract::all());
    }
    let one = |name: &String| {
        let kernel = find(name)?;
        Contract::of(kernel).ok_or_else(|| {
            let text = format!("`{name}` has no contract, so that there is nothing to check it against");
            Diagnostics::from(Diagnostic::error(Code::Usage, text).help("describe it with `nki::contract!`"))
        })
    };
    args.kernels.iter().map(one).collect()
}

/// Whether neither sizes nor arguments are given.
fn own_cases(args: &Check) -> bool {
    args.dims.is_empty() && args.args.is_empty()
}

/// Drawn shapes of each kernel and seed.
const DRAWN: u64 = 3;

/// The contract's cases and, from the second seed on, drawn ones; or every combination of the sizes that are given.
fn items(contract: &'static Contract, args: &Check, plan: &Plan) -> Result<Vec<Item>, Diagnostics> {
    if own_cases(args) {
        let mut all = plan.items(contract, &(contract.cases)());
        for seed in 1..args.seeds {
            all.extend(drawn(contract, plan.dtypes.as_deref(), seed, DRAWN));
        }
        return Ok(all);
    }
    let mut shapes: Vec<Vec<(String, usize)>> = vec![Vec::new()];
    for (name, sizes) in &args.dims {
        let longer = |shape: &Vec<(String, usize)>| {
            let shape = shape.clone();
            sizes
                .iter()
                .map(move |&n| shape.iter().cloned().chain([(name.clone(), n)]).collect())
                .collect::<Vec<_>>()
        };
        shapes = shapes.iter().flat_map(longer).collect();
    }
    let mut all = Vec::new();
    for dims in shapes {
        for mut item in plan.items(contract, &[Case::default()]) {
            item.given = Given { dims: dims.clone(), args: args.args.clone(), ..item.given };
            all.push(item);
        }
    }
    Ok(all)
}

fn say(context: &Context, contract: &Contract, plan: &Plan, reports: &[Report]) {
    let failed: Vec<&Report> = reports.iter().filter(|r| !r.passed()).collect();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    let (name, n) = (contract.kernel.name, reports.len());
    context.say(format!("{name}: {verdict}, {} of {n} cases passed", n - failed.len()));
    for mode in &plan.modes {
        let verdicts: Vec<&Verdict> =
            reports.iter().flat_map(|r| &r.verdicts).filter(|v| v.mode == *mode).collect();
        if !verdicts.is_empty() {
            context.say(format!("  {mode:7} {}", summary(&verdicts)));
        }
    }
    for report in failed.iter().take(SHOWN) {
        say_failure(context, report);
    }
    if failed.len() > SHOWN {
        context.say(format!("  and {} more failed; `--json` has them all", failed.len() - SHOWN));
    }
}

/// Failed cases that are shown in full.
const SHOWN: usize = 4;

fn say_failure(context: &Context, report: &Report) {
    context.say(format!("  failed: {} seed={}", report.what, report.seed));
    if let Some(again) = &report.again {
        context.say(format!("    again: {again}"));
    }
    for (mode, errors) in &report.failures {
        let mode = mode.map_or(String::new(), |m| format!("{m}: "));
        let first = errors.iter().next().map_or(String::new(), |d| context.render(d));
        context.say(format!("    {mode}{}", first.trim_end().replace('\n', "\n    ")));
        match errors.iter().count() {
            0 | 1 => {}
            2 => context.say("    and 1 more error"),
            n => context.say(format!("    and {} more errors", n - 1)),
        }
    }
    for v in report.verdicts.iter().filter(|v| !v.passed()) {
        for (name, c) in v.accuracy.iter().filter(|(_, c)| !c.passed()) {
            context.say(format!("    {}: `{name}` and the reference: {c}", v.mode));
        }
        for (name, b) in v.bits.iter().filter(|(_, b)| !b.equal()) {
            context.say(format!("    {}: `{name}` and the interpreter: {b}", v.mode));
        }
    }
}

/// The worst of several verdicts in one line.
fn summary(verdicts: &[&Verdict]) -> String {
    let accuracy = || verdicts.iter().flat_map(|v| &v.accuracy).map(|(_, c)| c);
    let of_range = accuracy().map(Comparison::max_of_scale).fold(0.0, f64::max);
    let abs = accuracy().map(|c| c.max_abs).fold(0.0, f64::max);
    let bits = || verdicts.iter().flat_map(|v| &v.bits).map(|(_, b)| b);
    let (differing, all) = bits().fold((0, 0), |(d, n), b| (d + b.differing, n + b.elements));
    let equal = match (differing, all) {
        (_, 0) => String::new(),
        (0, _) => "; every bit as in the interpreter".to_string(),
        _ => {
            let ulps = bits().map(|b| b.max_ulps).max().unwrap_or(0);
            format!("; {differing} of {all} elements differ from the interpreter's, by up to {ulps} ulp")
        }
    };
    format!("error of range {of_range:.1e}, absolute {abs:.1e}{equal}")
}

fn kernel_json(contract: &Contract, reports: &[Report]) -> Value {
    json!({
        "kernel": contract.kernel.name,
        "passed": reports.iter().all(Report::passed),
        "cases": reports.iter().map(report_json).collect::<Vec<_>>(),
    })
}

fn report_json(report: &Report) -> Value {
    let failure = |(mode, errors): &(Option<Mode>, Diagnostics)| json!({ "mode": mode.map(Mode::name), "errors": diagnostics(errors) });
    json!({
        "case": report.what,
        "seed": report.seed,
        "again": report.again,
        "passed": report.passed(),
        "modes": report.verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn verdict_json(v: &Verdict) -> Value {
    json!({
        "mode": v.mode.name(),
        "passed": v.passed(),
        "seconds": v.took.as_secs_f64(),
        "accuracy": v.accuracy.iter().map(|(name, c)| comparison(name, c)).collect::<Vec<_>>(),
        "bits": v.bits.iter().map(|(name, b)| bits(name, b)).collect::<Vec<_>>(),
    })
}

/// A comparison with the reference as JSON.
pub fn comparison(name: &str, c: &Comparison) -> Value {
    json!({
        "result": name,
        "passed": c.passed(),
        "elements": c.elements,
        "rtol": c.tolerance.rtol,
        "atol": c.tolerance.atol,
        "max_abs": c.max_abs,
        "max_rel": c.max_rel,
        "max_of_range": c.max_of_scale(),
        "outside_range_rule": c.outside_range,
        "outside_element_rule": c.outside_element,
        "nonfinite_mismatches": c.nonfinite,
        "worst": c.worst.as_ref().map(|w| json!({ "index": w.index, "got": w.got, "want": w.want })),
        "shape_mismatch": c.shape_mismatch,
    })
}

fn bits(name: &str, b: &Bits) -> Value {
    json!({
        "result": name,
        "elements": b.elements,
        "differing": b.differing,
        "max_ulps": b.max_ulps,
        "shape_mismatch": b.shape_mismatch,
    })
}
