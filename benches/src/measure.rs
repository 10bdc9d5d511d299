//! Medians of repeated runs; of pairs, in turns.

use nki::ir::Diagnostics;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// Runs that a median needs at least, and at most.
const RUNS: std::ops::RangeInclusive<usize> = 3..=1001;

/// A measurement.
pub struct Measured {
    pub what: String,
    pub unit: &'static str,
    pub median: f64,
    /// Quartiles.
    pub low: f64,
    pub high: f64,
    pub runs: usize,
    /// What it was measured beside: names, medians, and the medians of ours over theirs.
    pub beside: Vec<(String, f64, f64)>,
}

impl Measured {
    pub fn json(&self, group: &str) -> Value {
        json!({
            "group": group,
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "quartiles": [self.low, self.high],
            "runs": self.runs,
            "beside": self.beside.iter().map(|(what, median, ratio)| json!({
                "what": what,
                "median": median,
                "ratio": ratio,
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:48} {:>12.3} {} ({:.3} to {:.3}, {} runs)",
            self.what, self.median, self.unit, self.low, self.high, self.runs
        )?;
        for (what, median, ratio) in &self.beside {
            write!(f, "; {what} {median:.3}, ratio {ratio:.3}")?;
        }
        Ok(())
    }
}

/// A figure from seconds.
#[derive(Clone, Copy)]
pub enum Figure {
    Milliseconds,
    /// This many per second, in units of 10^9.
    Giga(f64, &'static str),
    /// This many per second, in units of 10^6.
    Mega(f64, &'static str),
}

impl Figure {
    fn of(self, seconds: f64) -> f64 {
        match self {
            Figure::Milliseconds => seconds * 1e3,
            Figure::Giga(n, _) => n / seconds / 1e9,
            Figure::Mega(n, _) => n / seconds / 1e6,
        }
    }
    fn unit(self) -> &'static str {
        match self {
            Figure::Milliseconds => "ms",
            Figure::Giga(_, unit) | Figure::Mega(_, unit) => unit,
        }
    }
}

/// Something that is run again and again.
pub type Run<'a> = &'a mut dyn FnMut() -> Result<(), Diagnostics>;

fn seconds(run: Run<'_>) -> Result<f64, Diagnostics> {
    let start = Instant::now();
    run()?;
    // A clock that has not moved would make rates infinite.
    Ok(start.elapsed().as_secs_f64().max(1e-9))
}

/// The value at a share of a sorted list, which is not empty.
fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn sorted(mut list: Vec<f64>) -> Vec<f64> {
    list.sort_by(f64::total_cmp);
    list
}

fn measured(what: String, figure: Figure, times: Vec<f64>) -> Measured {
    let runs = times.len();
    let figures = sorted(times.into_iter().map(|t| figure.of(t)).collect());
    let (median, low, high) = (at(&figures, 0.5), at(&figures, 0.25), at(&figures, 0.75));
    Measured { what, unit: figure.unit(), median, low, high, runs, beside: Vec::new() }
}

/// Measures one thing. The first run, which warms caches, is not counted.
pub fn alone(
    what: impl Into<String>,
    figure: Figure,
    time: Duration,
    run: Run<'_>,
) -> Result<Measured, Diagnostics> {
    run()?;
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < *RUNS.start() || (begin.elapsed() < time && times.len() < *RUNS.end()) {
        times.push(seconds(run)?);
    }
    Ok(measured(what.into(), figure, times))
}

/// Measures `run` beside `others`, in turns: A B C, C B A, .., so that a slow drift of the machine meets all. The first run of
/// each is not counted.
pub fn beside(
    what: impl Into<String>,
    figure: Figure,
    time: Duration,
    run: Run<'_>,
    others: &mut [(&str, Run<'_>)],
) -> Result<Measured, Diagnostics> {
    let count = others.len() + 1;
    let mut all = |i: usize| match i {
        0 => seconds(run),
        _ => seconds(others[i - 1].1),
    };
    (0..count).try_for_each(|i| all(i).map(drop))?;
    let (begin, mut times) = (Instant::now(), vec![Vec::new(); count]);
    while times[0].len() < *RUNS.start()
        || (begin.elapsed() < count as u32 * time && times[0].len() < *RUNS.end())
    {
        let backwards = times[0].len() % 2 == 1;
        for i in 0..count {
            let i = if backwards { count - 1 - i } else { i };
            times[i].push(all(i)?);
        }
    }
    let ours = times.remove(0);
    let beside = others.iter().zip(&times).map(|((name, _), theirs)| {
        let ratios = sorted(ours.iter().zip(theirs).map(|(a, b)| figure.of(*a) / figure.of(*b)).collect());
        let median = at(&sorted(theirs.iter().map(|t| figure.of(*t)).collect()), 0.5);
        (name.to_string(), median, at(&ratios, 0.5))
    });
    let beside = beside.collect();
    Ok(Measured { beside, ..measured(what.into(), figure, ours) })
}
