//! `nki tune`: searches configuration values and schedule steps in simulated time.

use super::command::Tune;
use super::context::{Context, Outcome};
use super::list::find;
use super::subject::read_text;
use crate::args::write_file;
use crate::check::Problem;
use crate::tune::{Axis, Outcome as Found, SearchOptions, Space, Tuned, declared_axes, schedule_axes, tune};
use nki_ir::{Code, Diagnostic, Diagnostics};
use std::path::Path;
use std::thread::available_parallelism;

/// Candidates shown, fastest first.
const SHOWN: usize = 8;

pub fn run(context: &Context, args: &Tune) -> Result<Outcome, Diagnostics> {
    let problem = Problem::timed(find(&args.subject.kernel)?, &args.subject.given())?;
    let space = space(&problem, args)?;
    let options = SearchOptions {
        budget: args.budget,
        seed: args.search_seed,
        jobs: args.jobs.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
    };
    let before = before(args)?;
    let total = usize::try_from(space.size()).map_or(options.budget, |n| n.min(options.budget));
    let what = format!("{} {} on {}", problem.kernel.name, problem.describe(), args.subject.target());
    let bar = context.bar(total);
    let tuned = tune(&problem, args.subject.target(), &space, &options, before.as_ref(), &mut |so_far| {
        let best = format!("best {:.3} µs of {:.3} µs", so_far.winner_ns / 1e3, so_far.baseline_ns / 1e3);
        bar.at(so_far.candidates.len(), best);
        args.output.as_ref().map_or(Ok(()), |path| write_file(path, so_far.to_text().as_bytes()))
    })?;
    drop(bar);
    context.say(format!("{what}\n{}", table(&tuned, &space)));
    if let Some(path) = &args.output {
        context.say(format!("wrote {}", path.display()));
    }
    Ok(Outcome::ok(tuned.to_json()))
}

/// The axes of the command line, or else those that the kernel declares.
fn space(problem: &Problem, args: &Tune) -> Result<Space, Diagnostics> {
    let mut axes: Vec<Axis> = match args.params.as_slice() {
        [] => declared_axes(problem),
        given => given.iter().map(|(n, v)| Axis { name: n.clone(), values: v.clone() }).collect(),
    };
    if args.schedule {
        axes.extend(schedule_axes(problem, args.subject.target())?);
    }
    if axes.is_empty() {
        let text = format!("`{}` declares no values to try", problem.kernel.name);
        let help = "name a configuration value and what to try: `--param tile_n=128,256,512`, or mark the field with \
                    `#[config(default = .., tune = [..])]`; `--schedule` tries schedule steps";
        return Err(Diagnostic::error(Code::Usage, text).help(help).into());
    }
    let too_large = || Diagnostic::error(Code::Usage, "the space is too large to count").into();
    Space::new(axes).ok_or_else(too_large)
}

/// The file that is continued, if there is one.
fn before(args: &Tune) -> Result<Option<Tuned>, Diagnostics> {
    let Some(path) = args.output.as_deref().filter(|p| !args.fresh && Path::exists(p)) else {
        return Ok(None);
    };
    let path = path.display().to_string();
    Tuned::parse(&read_text(&path)?, &path).map(Some)
}

fn table(tuned: &Tuned, space: &Space) -> String {
    let show = |values: &[(String, String)]| {
        values.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
    };
    let mut times: Vec<(f64, &[(String, String)])> = Vec::new();
    let mut invalid = 0;
    for c in &tuned.candidates {
        match &c.outcome {
            Found::Time(ns) => times.push((*ns, &c.values)),
            Found::Invalid { .. } => invalid += 1,
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut text = format!(
        "{} of {} candidates measured, {invalid} of them cannot run\n\n{:>14}  {:>6}\n",
        tuned.candidates.len(),
        space.size(),
        "simulated µs",
        "gain"
    );
    let mut line = |ns: f64, what: &str| {
        text += &format!("{:>14.3}  {:>5.2}x  {what}\n", ns / 1e3, tuned.baseline_ns / ns);
    };
    line(tuned.baseline_ns, "defaults");
    times.iter().take(SHOWN).for_each(|(ns, values)| line(*ns, &show(values)));
    text += &match tuned.winner.as_slice() {
        [] => "\nnothing is faster than the defaults".to_string(),
        winner => format!("\nwinner: {}", show(winner)),
    };
    text
}
