//! `nki run`: a kernel on data, one way.

use super::check::comparison;
use super::command::Run;
use super::context::{Context, Outcome, diagnostics};
use super::subject::load;
use crate::args::{Sink, to_f64};
use crate::check::compare;
use nki_ir::{Diagnostics, Tensor};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Run) -> Result<Outcome, Diagnostics> {
    // Before anything long: a mistake in a file name.
    let sinks: Vec<Sink> = args.output.iter().map(|o| o.parse()).collect::<Result<_, _>>()?;
    let loaded = load(&args.subject)?;
    let progress = context.progress(format!("{} ({})", loaded.what, args.mode));
    let ran = loaded.prepared.run(args.mode)?;
    drop(progress);
    let results: Vec<(&str, &Tensor)> = ran.results.iter().map(|(n, t)| (n.as_str(), t)).collect();
    // Before anything is said: a file that cannot be written is a failure, not a result.
    sinks.iter().try_for_each(|sink| sink.write(&results))?;
    context.say(format!("{} ({}, {:.3} ms)", loaded.what, args.mode, 1e3 * ran.took.as_secs_f64()));
    context.warn(&loaded.prepared.warnings);
    let want = loaded.problem.as_ref().and_then(|p| Some((p.contract?, p.inputs()?)));
    let want = want.filter(|_| args.reference);
    let want = want.map(|(c, i)| (c, (c.reference)(&i)));
    let (mut list, mut success) = (Vec::new(), true);
    for (i, (name, tensor)) in results.iter().enumerate() {
        context.say(format!("  {name} {}", summary(tensor)));
        let accuracy = want.as_ref().and_then(|(contract, want)| {
            let c = compare(tensor, want.get(i)?, (contract.tolerance)(tensor.dtype));
            context.say(format!("    against the reference: {c}"));
            success &= c.passed();
            Some(comparison(name, &c))
        });
        list.push(json!({ "name": name, "dtype": tensor.dtype.to_string(), "shape": tensor.shape, "accuracy": accuracy }));
    }
    if let Some(report) = &ran.report {
        context.say(format!("  simulated {:.3} µs on {}", report.kernel_ns / 1e3, report.target));
    }
    for sink in &sinks {
        context.say(format!("  wrote {}", sink.path().display()));
    }
    let json = json!({
        "schema": "nki.run/1",
        "kernel": loaded.prepared.kernel().name,
        "case": loaded.what,
        "mode": args.mode.name(),
        "target": args.subject.target.name(),
        "seconds": ran.took.as_secs_f64(),
        "simulated_ns": ran.report.as_ref().map(|r| r.kernel_ns),
        "results": list,
        "warnings": diagnostics(&loaded.prepared.warnings),
        "written": sinks.iter().map(|s| Value::from(s.path().to_string_lossy())).collect::<Vec<_>>(),
    });
    Ok(Outcome { json, success })
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
