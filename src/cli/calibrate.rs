//! `nki calibrate`: simulated against measured, for every public figure.

use super::command::Calibrate;
use super::context::{Context, Outcome};
use crate::calibrate::{
    Case, Group, Left, Measurement, Pair, Summary, cases, figures, leave_one_out, measure,
};
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Calibrate) -> Result<Outcome, Diagnostics> {
    let chosen = chosen(&args.cases)?;
    let bar = context.bar(chosen.len() + 1);
    let mut measured = Vec::new();
    for case in chosen {
        bar.step(case.id);
        measured.push(measure(case)?);
    }
    bar.step("leave-one-out");
    let left = leave_one_out(&measured)?;
    drop(bar);
    for m in &measured {
        say(context, m);
    }
    let groups = [
        ("all cases", None),
        ("well determined", Some(Group::WellDetermined)),
        ("dependent on the original schedule", Some(Group::ScheduleDependent)),
    ];
    let mut summaries = Vec::new();
    for (name, group) in groups {
        let of: Vec<usize> =
            (0..measured.len()).filter(|&i| group.is_none_or(|g| measured[i].case.group == g)).collect();
        if of.is_empty() {
            continue;
        }
        let ratios =
            |f: &dyn Fn(usize) -> f64| of.iter().map(|&i| (measured[i].case.id, f(i))).collect::<Vec<_>>();
        let now = Summary::of(&ratios(&|i| measured[i].latency().ratio()));
        let without = Summary::of(&ratios(&|i| left[i].ratio));
        context.say(format!(
            "{name} ({}): geometric mean error {:.1} %, worst {:.1} % ({}); leave-one-out {:.1} %, worst {:.1} % ({})",
            now.cases,
            100.0 * now.geometric_mean_error,
            100.0 * now.worst,
            now.worst_case,
            100.0 * without.geometric_mean_error,
            100.0 * without.worst,
            without.worst_case
        ));
        summaries.push(json!({ "group": name, "fitted": summary(&now), "leave_one_out": summary(&without) }));
    }
    let mut single = Vec::new();
    // Cases that are asked for by name come alone.
    for figure in figures().into_iter().filter(|_| args.cases.is_empty()) {
        let p = figure.measure()?;
        if single.is_empty() {
            context.say(format!(
                "\n{:<74} {:>9} {:>9}   ratio",
                "single instructions, ns", "measured", "simulated"
            ));
        }
        let (id, title) = (figure.id, figure.title);
        context.say(format!("{id} {title:<71} {:>9.1} {:>9.1} {:>7.3}", p.measured, p.simulated, p.ratio()));
        single.push(json!({ "figure": id, "title": title, "target": figure.target.name(), "ns": pair(&p) }));
    }
    let all: Vec<Value> = measured.iter().zip(&left).map(|(m, l)| to_json(m, l)).collect();
    Ok(Outcome::ok(
        json!({ "schema": "nki.calibrate/1", "cases": all, "figures": single, "summary": summaries }),
    ))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Case>, Diagnostics> {
    let all = cases();
    if let Some(unknown) = names.iter().find(|n| all.iter().all(|c| c.id != n.as_str())) {
        let known: Vec<&str> = all.iter().map(|c| c.id).collect();
        let d = Diagnostic::error(Code::Usage, format!("there is no calibration case `{unknown}`"));
        return Err(d.help(format!("the cases are {}", known.join(", "))).into());
    }
    Ok(all.into_iter().filter(|c| names.is_empty() || names.iter().any(|n| n == c.id)).collect())
}

fn line(name: &str, unit: &str, p: &Pair) -> String {
    let ratio = if p.measured > 0.0 { format!("{:>8.3}", p.ratio()) } else { String::new() };
    format!("  {name:<18} {:>16.3} {:>16.3}{ratio} {unit}", p.measured, p.simulated)
}

fn say(context: &Context, m: &Measurement) {
    context.say(format!(
        "{} {} on {}; bound by {}",
        m.case.id, m.case.title, m.case.target, m.report.bound.resource
    ));
    context.say(format!("  {:<18} {:>16} {:>16}{:>8}", "", "measured", "simulated", "ratio"));
    context.say(line("latency", "ms", &m.latency()));
    for ((engine, p), (_, share)) in m.active().into_iter().zip(m.active_shares()) {
        let share = format!("ms; {:.1} % and {:.1} %", 100.0 * share.measured, 100.0 * share.simulated);
        context.say(line(&format!("{engine} active"), &share, &p));
    }
    for (engine, [occupied, summed]) in m.occupied_and_summed() {
        context.say(format!(
            "  {engine} occupied {occupied:.3} ms, instructions summed {summed:.3} ms (simulated)"
        ));
    }
    for (name, measured, simulated) in m.counters() {
        let word = if measured == simulated { "" } else { "  differs" };
        context.say(format!("  {name:<18} {measured:>16} {simulated:>16}{word}"));
    }
    if !m.case.remark.is_empty() {
        context.say(format!("  {}", m.case.remark));
    }
    context.say("");
}

fn pair(p: &Pair) -> Value {
    json!({ "measured": p.measured, "simulated": p.simulated })
}

fn summary(s: &Summary) -> Value {
    json!({
        "cases": s.cases,
        "geometric_mean_error": s.geometric_mean_error,
        "worst_error": s.worst,
        "worst_case": s.worst_case,
    })
}

fn to_json(m: &Measurement, left: &Left) -> Value {
    let active: serde_json::Map<String, Value> =
        m.active().iter().map(|(e, p)| (e.to_string(), pair(p))).collect();
    let others: serde_json::Map<String, Value> = m
        .occupied_and_summed()
        .iter()
        .map(|(e, [occupied, summed])| (e.to_string(), json!({ "occupied": occupied, "summed": summed })))
        .collect();
    let counters: serde_json::Map<String, Value> = m
        .counters()
        .iter()
        .map(|(name, a, b)| (name.to_string(), json!({ "measured": a, "simulated": b })))
        .collect();
    let moved: serde_json::Map<String, Value> =
        left.moved.iter().map(|(name, by)| (name.to_string(), json!(by))).collect();
    json!({
        "case": m.case.id,
        "title": m.case.title,
        "target": m.case.target.name(),
        "group": match m.case.group {
            Group::WellDetermined => "well_determined",
            Group::ScheduleDependent => "schedule_dependent",
        },
        "latency_ms": pair(&m.latency()),
        "ratio": m.latency().ratio(),
        "run_ms": m.case.run_ms,
        "other_definitions_ms": others,
        "active_ms": active,
        "active_points": m.active_points(),
        "counters": counters,
        "bound_by": m.report.bound.resource,
        "leave_one_out": { "ratio": left.ratio, "constants_moved": moved },
        "remark": m.case.remark,
    })
}
