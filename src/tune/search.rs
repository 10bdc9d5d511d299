//! The search itself: which points are measured, in which order. It knows nothing of kernels.

use super::Space;
use crate::args::rng::Stream;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What measuring a point gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Simulated time in nanoseconds.
    Time(f64),
    /// The candidate cannot be run: the code and the message of the first finding.
    Invalid { code: String, message: String },
}

impl Outcome {
    /// The time of a candidate that can be run.
    pub fn time(&self) -> Option<f64> {
        match self {
            Outcome::Time(ns) => Some(*ns),
            Outcome::Invalid { .. } => None,
        }
    }
}

/// Outcomes by point.
pub type Found = BTreeMap<u64, Outcome>;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions {
    /// Points measured at most. A space that is not larger is measured completely.
    pub budget: usize,
    /// Where a search of a larger space starts again when no single change improves a point.
    pub seed: u64,
    /// Points measured at a time. Changes how long it takes, not what is found.
    pub jobs: usize,
}

/// Points that are measured together in a complete search, so that progress can be kept between them.
const BATCH: u64 = 16;

/// Measures points of `space` and returns all outcomes. `known` outcomes are used without measuring, and count as measured, so
/// that a search that was cut off finds what it would have found. `batch` sees the outcomes after every batch.
///
/// A space within the budget is measured completely. In a larger one, all single changes of a point are measured, the best
/// becomes the next point, and a point without a better neighbour is followed by one drawn from the seed. `start` comes first.
pub fn search<E>(
    space: &Space,
    start: u64,
    options: &SearchOptions,
    known: &Found,
    measure: &(dyn Fn(u64) -> Outcome + Sync),
    batch: &mut dyn FnMut(&Found) -> Result<(), E>,
) -> Result<Found, E> {
    let mut search = Search { options, known, measure, batch, found: BTreeMap::new() };
    if space.size() <= options.budget as u64 {
        let mut next = 0;
        while next < space.size() {
            let end = (next + BATCH).min(space.size());
            search.measure((next..end).collect())?;
            next = end;
        }
        return Ok(search.found);
    }
    let mut draws = 0;
    let mut at = start;
    search.measure(vec![at])?;
    while search.left() > 0 {
        search.measure(space.neighbours(at))?;
        let near = space.neighbours(at);
        let better = near.into_iter().filter(|&p| search.time(p) < search.time(at));
        match better.min_by(|&a, &b| search.time(a).total_cmp(&search.time(b)).then(a.cmp(&b))) {
            Some(point) => at = point,
            None => {
                at = search.unseen(space, &mut draws);
                search.measure(vec![at])?;
            }
        }
    }
    Ok(search.found)
}

/// The fastest point; of equals the first.
pub fn best(found: &Found) -> Option<(u64, f64)> {
    let times = found.iter().filter_map(|(&p, o)| Some((p, o.time()?)));
    times.min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
}

struct Search<'a, E> {
    options: &'a SearchOptions,
    known: &'a Found,
    measure: &'a (dyn Fn(u64) -> Outcome + Sync),
    batch: &'a mut dyn FnMut(&Found) -> Result<(), E>,
    found: Found,
}

impl<E> Search<'_, E> {
    fn left(&self) -> usize {
        self.options.budget.saturating_sub(self.found.len())
    }

    /// The time of a point; one that cannot be run or was not measured takes forever.
    fn time(&self, point: u64) -> f64 {
        self.found.get(&point).and_then(Outcome::time).unwrap_or(f64::INFINITY)
    }

    /// A point drawn from the seed that has not been measured. There is one: the space is larger than the budget.
    fn unseen(&self, space: &Space, draws: &mut u64) -> u64 {
        let [low, high, ..] = Stream::new(self.options.seed).words(*draws, 0);
        *draws += 1;
        let mut point = (u64::from(high) << 32 | u64::from(low)) % space.size();
        while self.found.contains_key(&point) {
            point = (point + 1) % space.size();
        }
        point
    }

    /// Measures the points that are new, as far as the budget goes.
    fn measure(&mut self, mut points: Vec<u64>) -> Result<(), E> {
        points.retain(|p| !self.found.contains_key(p));
        points.truncate(self.left());
        let (old, new): (Vec<u64>, Vec<u64>) = points.into_iter().partition(|p| self.known.contains_key(p));
        self.found.extend(old.into_iter().map(|p| (p, self.known[&p].clone())));
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::with_capacity(new.len()));
        let work = || {
            while let Some(&point) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = (self.measure)(point);
                outcomes.lock().expect("measuring does not panic").push((point, outcome));
            }
        };
        std::thread::scope(|scope| {
            (1..self.options.jobs.min(new.len())).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        self.found.extend(outcomes.into_inner().expect("measuring does not panic"));
        (self.batch)(&self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Axis;
    use super::*;
    use std::convert::Infallible;

    fn space(sizes: &[usize]) -> Space {
        let axis = |(i, &n): (usize, &usize)| Axis {
            name: format!("a{i}"),
            values: (0..n).map(|v| v.to_string()).collect(),
        };
        Space::new(sizes.iter().enumerate().map(axis).collect()).unwrap()
    }

    /// A bowl whose bottom is at (7, 2, 5), with a hole where candidates are invalid.
    fn bowl(space: &Space, point: u64) -> Outcome {
        let v: Vec<f64> = space.values(point).iter().map(|(_, v)| v.parse().unwrap()).collect();
        if v[0] == 3.0 {
            return Outcome::Invalid { code: "nki::sbuf_capacity".into(), message: "too large".into() };
        }
        Outcome::Time(100.0 + (v[0] - 7.0).powi(2) + (v[1] - 2.0).powi(2) + (v[2] - 5.0).powi(2))
    }

    fn run(space: &Space, options: &SearchOptions, known: &Found) -> Found {
        let measured = AtomicUsize::new(0);
        let measure = |p| {
            measured.fetch_add(1, Ordering::Relaxed);
            bowl(space, p)
        };
        let found = search::<Infallible>(space, 0, options, known, &measure, &mut |_| Ok(())).unwrap();
        let reused = found.keys().filter(|p| known.contains_key(p)).count();
        assert_eq!(measured.into_inner() + reused, found.len());
        found
    }

    #[test]
    fn small_spaces_are_measured_completely() {
        let space = space(&[10, 3, 6]);
        let found = run(&space, &SearchOptions { budget: 180, seed: 0, jobs: 2 }, &BTreeMap::new());
        assert_eq!(found.len(), 180);
        let (point, ns) = best(&found).unwrap();
        assert_eq!(ns, 100.0);
        assert_eq!(space.values(point).iter().map(|v| v.1.as_str()).collect::<Vec<_>>(), ["7", "2", "5"]);
    }

    #[test]
    fn large_spaces_are_descended_within_the_budget() {
        let space = space(&[10, 40, 60]);
        let options = SearchOptions { budget: 400, seed: 1, jobs: 1 };
        let found = run(&space, &options, &BTreeMap::new());
        assert_eq!(found.len(), 400);
        assert_eq!(best(&found).unwrap().1, 100.0);
    }

    #[test]
    fn neither_the_jobs_nor_an_interruption_changes_what_is_found() {
        let space = space(&[10, 40, 60]);
        let options = |budget, jobs| SearchOptions { budget, seed: 9, jobs };
        let whole = run(&space, &options(300, 1), &BTreeMap::new());
        assert_eq!(run(&space, &options(300, 4), &BTreeMap::new()), whole);
        let half = run(&space, &options(120, 3), &BTreeMap::new());
        assert_eq!(run(&space, &options(300, 2), &half), whole);
    }

    #[test]
    fn a_space_of_invalid_candidates_has_no_best() {
        let space = space(&[2, 2]);
        let bad = |_| Outcome::Invalid { code: "nki::ensure".into(), message: String::new() };
        let options = SearchOptions { budget: 3, seed: 0, jobs: 2 };
        let found =
            search::<Infallible>(&space, 0, &options, &BTreeMap::new(), &bad, &mut |_| Ok(())).unwrap();
        assert_eq!((found.len(), best(&found)), (3, None));
    }
}
