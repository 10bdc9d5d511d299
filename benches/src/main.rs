//! Benchmarks: `cargo run --release -p nki-benches --features peers`; see `README.md` beside this crate's manifest.
//!
//! In: names of groups (all if none), `--json`, `--quick`, `--only=TEXT`. Out: a line per measurement, or one JSON object.
#![deny(unsafe_code)]

mod compile;
mod interpret;
mod measure;
mod native;
mod simulate;

use measure::Measured;
use nki::check::{Contract, Given, Prepared, Problem};
use nki::ir::{Diagnostics, Target};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// How large, and for how long.
struct Size {
    /// Extents are divided by this.
    divide: usize,
    /// Of each measurement.
    time: Duration,
    /// Native measurements, and simulations, whose names do not contain this are left out.
    only: String,
}

/// Measures, reporting each result as it comes.
type Group = fn(&Size, &mut dyn FnMut(Measured)) -> Result<(), Diagnostics>;

const GROUPS: [(&str, Group); 4] = [
    ("compile", compile::run),
    ("interpret", interpret::run),
    ("simulate", simulate::run),
    ("native", native::run),
];

fn main() -> ExitCode {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let known = |f: &String| matches!(f.as_str(), "--json" | "--quick") || f.starts_with("--only=");
    let group = |n: &String| GROUPS.iter().any(|g| g.0 == n);
    if let Some(what) = flags.iter().find(|f| !known(f)).or(names.iter().find(|n| !group(n))) {
        let all: Vec<&str> = GROUPS.iter().map(|g| g.0).collect();
        eprintln!("`{what}` is none of: --json, --quick, --only=TEXT, {}", all.join(", "));
        return ExitCode::from(2);
    }
    let json = flags.iter().any(|f| f == "--json");
    let only = flags.iter().find_map(|f| f.strip_prefix("--only=")).unwrap_or_default().to_string();
    let size = match flags.iter().any(|f| f == "--quick") {
        true => Size { divide: 4, time: Duration::from_millis(200), only },
        false => Size { divide: 1, time: Duration::from_secs(2), only },
    };
    match run(&names, &size, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String], size: &Size, json: bool) -> Result<(), Diagnostics> {
    let mut all = Vec::new();
    for (name, group) in GROUPS.iter().filter(|g| names.is_empty() || names.iter().any(|n| n == g.0)) {
        group(size, &mut |m| {
            if !json {
                println!("{name:10} {m}");
            }
            all.push(m.json(name));
        })?;
    }
    if json {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let optimised = !cfg!(debug_assertions);
        println!(
            "{}",
            json!({ "schema": "nki.benches/1", "threads": threads, "optimised": optimised, "measured": all })
        );
    }
    Ok(())
}

/// A kernel of the library with data, for trn2.
fn prepare(
    kernel: &str,
    dtype: nki::ir::DType,
    dims: &[(&str, usize)],
    args: &[(&str, &str)],
) -> Result<Prepared, Diagnostics> {
    Prepared::of(&problem(kernel, dtype, dims, args)?, Target::Trn2)
}

fn problem(
    kernel: &str,
    dtype: nki::ir::DType,
    dims: &[(&str, usize)],
    args: &[(&str, &str)],
) -> Result<Problem, Diagnostics> {
    use nki_kernels as _;
    let info = nki::kernels()
        .into_iter()
        .find(|k| k.name == kernel && Contract::of(k).is_some())
        .expect("the library has the kernels that are named here");
    let dims = dims.iter().map(|(name, n)| (name.to_string(), *n)).collect();
    let args = args.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Problem::new(info, &Given { args, dims, dtype: Some(dtype), ..Given::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every group measures something, at sizes that take no time.
    #[test]
    fn groups_measure() {
        for (name, group) in GROUPS {
            let mut found = Vec::new();
            let size = Size { divide: 16, time: Duration::ZERO, only: String::new() };
            group(&size, &mut |m| found.push(m.json(name))).unwrap();
            assert!(found.len() >= 2, "{name}");
            for m in &found {
                assert!(m["median"].as_f64().unwrap() > 0.0, "{m}");
            }
        }
    }
}
