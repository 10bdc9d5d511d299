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
    /// What it was measured beside: its name, its median, and the median of ours over its.
    pub beside: Option<(String, f64, f64)>,
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
            "beside": self.beside.as_ref().map(|(what, median, ratio)| json!({
                "what": what,
                "median": median,
                "ratio": ratio,
            })),
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
        match &self.beside {
            Some((what, median, ratio)) => write!(f, "; {what} {median:.3}, ratio {ratio:.3}"),
            None => Ok(()),
        }
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
    Measured { what, unit: figure.unit(), median, low, high, runs, beside: None }
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

/// Measures `run` beside `other`, in turns: A B B A A B .., so that a slow drift of the machine meets both.
pub fn beside(
    what: impl Into<String>,
    figure: Figure,
    time: Duration,
    run: Run<'_>,
    (name, other): (&str, Run<'_>),
) -> Result<Measured, Diagnostics> {
    run()?;
    other()?;
    let (begin, mut ours, mut theirs) = (Instant::now(), Vec::new(), Vec::new());
    while ours.len() < *RUNS.start() || (begin.elapsed() < 2 * time && ours.len() < *RUNS.end()) {
        if ours.len() % 2 == 0 {
            ours.push(seconds(run)?);
            theirs.push(seconds(other)?);
        } else {
            theirs.push(seconds(other)?);
            ours.push(seconds(run)?);
        }
    }
    let ratios = sorted(ours.iter().zip(&theirs).map(|(a, b)| figure.of(*a) / figure.of(*b)).collect());
    let median = at(&sorted(theirs.iter().map(|t| figure.of(*t)).collect()), 0.5);
    let mut m = measured(what.into(), figure, ours);
    m.beside = Some((name.into(), median, at(&ratios, 0.5)));
    Ok(m)
}
