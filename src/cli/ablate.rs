//! `nki schedule --ablate`: what each pass of the device compiler gains.

use super::command::Schedule;
use super::context::{Context, Outcome, diagnostics};
use super::subject::Loaded;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::{Diagnostics, Tensor};
use nki_sim::{Mode, SimOptions};
use serde_json::{Value, json};

/// A compilation, simulated.
struct Measured {
    name: String,
    ns: f64,
    transfers: u64,
    sbuf_peak: u32,
    outputs: Vec<Tensor>,
}

/// Compiles with `options`, then without each further pass, then without any.
pub fn run(
    context: &Context,
    args: &Schedule,
    loaded: &Loaded,
    options: &CompileOptions,
) -> Result<Outcome, Diagnostics> {
    let on: Vec<Pass> = Pass::ALL.iter().copied().filter(|p| options.runs(*p)).collect();
    let mut variants = vec![("all passes".to_string(), options.clone())];
    variants.extend(on.iter().map(|&p| (format!("without {p}"), options.clone().without(p))));
    variants.push(("no pass".into(), on.iter().fold(options.clone(), |o, &p| o.without(p))));
    let mut all: Vec<Measured> = Vec::new();
    for (k, (name, options)) in variants.iter().enumerate() {
        let progress = context.progress(format!("{}, {name} ({} of {})", loaded.what, k + 1, variants.len()));
        all.push(measure(args, loaded, name.clone(), options)?);
        drop(progress);
    }
    let equal = |m: &Measured| (!args.time_only).then(|| m.outputs == all[0].outputs);
    context.say(format!("{} on {}\n", loaded.what, args.subject.target()));
    context.say(format!(
        "{:<24}{:>14}{:>10}{:>11}{:>12}  results",
        "", "simulated", "slower", "transfers", "SBUF bytes"
    ));
    for m in &all {
        let bits = match equal(m) {
            None => "not computed",
            Some(true) => "same bits",
            Some(false) => "DIFFERENT",
        };
        context.say(format!(
            "{:<24}{:>11.3} µs{:>9.1}%{:>11}{:>12}  {bits}",
            m.name,
            m.ns / 1e3,
            100.0 * (m.ns / all[0].ns - 1.0),
            m.transfers,
            m.sbuf_peak
        ));
    }
    context.warn(&loaded.prepared.warnings);
    let rows: Vec<Value> = all
        .iter()
        .map(|m| {
            json!({
                "variant": m.name,
                "simulated_ns": m.ns,
                "transfers": m.transfers,
                "sbuf_peak_bytes": m.sbuf_peak,
                "same_bits": equal(m),
            })
        })
        .collect();
    let json = json!({
        "schema": "nki.ablate/1",
        "kernel": loaded.prepared.kernel().name,
        "case": loaded.what,
        "target": args.subject.target().name(),
        "variants": rows,
        "warnings": diagnostics(&loaded.prepared.warnings),
    });
    Ok(Outcome { json, success: all.iter().all(|m| equal(m) != Some(false)) })
}

fn measure(
    args: &Schedule,
    loaded: &Loaded,
    name: String,
    options: &CompileOptions,
) -> Result<Measured, Diagnostics> {
    let compiled = loaded.prepared.compile_with(options)?;
    let (transfers, sbuf_peak) = (compiled.report.transfers, compiled.report.sbuf_peak);
    let program = nki_sim::verify(compiled.program)?;
    let mode = if args.time_only { Mode::TimeOnly } else { Mode::Full };
    let inputs = if args.time_only { &[][..] } else { loaded.prepared.inputs() };
    let out = nki_sim::run(&program, inputs, &SimOptions { mode, ..SimOptions::default() })?;
    Ok(Measured { name, ns: out.report.kernel_ns, transfers, sbuf_peak, outputs: out.outputs })
}
