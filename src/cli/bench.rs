//! `nki bench`: how long native execution takes here, and the kernel on the simulated target.

use super::command::Bench;
use super::context::{Context, Outcome};
use super::subject::load;
use nki_ir::Diagnostics;
use nki_sim::{SimOptions, SimReport};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Bench) -> Result<Outcome, Diagnostics> {
    let loaded = load(&args.subject)?;
    let progress = context.progress(format!("measuring {}", loaded.what));
    let flops = loaded.problem.as_ref().and_then(|p| Some((p.contract?.flops)(&p.inputs()?)));
    let native = native(&loaded.prepared, args.seconds)?;
    let simulated = simulate(&loaded.prepared)?;
    drop(progress);
    context.say(&loaded.what);
    let rate = |ns: f64| flops.map_or(String::new(), |f| format!(", {:.1} GFLOP/s", f as f64 / ns));
    let mut json = json!({
        "schema": "nki.bench/1",
        "kernel": loaded.prepared.kernel().name,
        "case": loaded.what,
        "target": args.subject.target().name(),
        "flops": flops,
        "simulated_ns": simulated.kernel_ns,
    });
    if let Some(times) = native {
        let (median, fastest) = (times[times.len() / 2], times[0]);
        context.say(format!(
            "  native     {:>12.3} µs median, {:.3} µs fastest of {}{}",
            median / 1e3,
            fastest / 1e3,
            times.len(),
            rate(median)
        ));
        json["native"] = json!({ "runs": times.len(), "median_ns": median, "fastest_ns": fastest });
    }
    let ns = simulated.kernel_ns;
    context.say(format!("  simulated  {:>12.3} µs on {}{}", ns / 1e3, args.subject.target(), rate(ns)));
    if json["native"].is_null() {
        json["native"] = Value::Null;
    }
    Ok(Outcome::ok(json))
}

/// Sorted times of several runs in nanoseconds; `None` in a build without native execution.
#[cfg(feature = "jit")]
fn native(prepared: &crate::check::Prepared, seconds: f64) -> Result<Option<Vec<f64>>, Diagnostics> {
    use std::time::{Duration, Instant};
    /// Runs that a median needs at least, and at most.
    const RUNS: std::ops::Range<usize> = 5..10_000;
    let kernel = prepared.native()?;
    // Pages and caches are warm after one run.
    kernel.run(prepared.inputs())?;
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < RUNS.start || (begin.elapsed() < limit && times.len() < RUNS.end) {
        let start = Instant::now();
        kernel.run(prepared.inputs())?;
        times.push(start.elapsed().as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(Some(times))
}

#[cfg(not(feature = "jit"))]
fn native(_: &crate::check::Prepared, _: f64) -> Result<Option<Vec<f64>>, Diagnostics> {
    Ok(None)
}

/// The kernel in simulated time, without computing its results.
fn simulate(prepared: &crate::check::Prepared) -> Result<SimReport, Diagnostics> {
    let program = nki_sim::verify(prepared.compile()?.program)?;
    let options = SimOptions { mode: nki_sim::Mode::TimeOnly, ..SimOptions::default() };
    Ok(nki_sim::run(&program, &[], &options)?.report)
}
