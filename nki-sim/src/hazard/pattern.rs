//! Which bytes of a partition an access touches, and whether two accesses meet.

use crate::access::{Strides, extent};

/// The shape of an access: dimensions in bytes and the contiguous runs that they make.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// `(stride, count)` of the runs, outermost first.
    outer: Strides,
    /// Bytes of a run.
    run: i64,
    /// Byte ranges, relative to the base: every run, or one hull of all of them.
    pub ranges: Vec<(i64, i64)>,
    /// `ranges` holds exactly the bytes touched.
    pub exact: bool,
}

/// More runs than this are kept as their hull.
const MAX_RUNS: u64 = 16;

impl Pattern {
    pub fn new(dims: &Strides, size: usize) -> Pattern {
        let mut outer = dims.clone();
        // Strides of 0 touch the same bytes again.
        outer.retain(|d| d.0 != 0);
        let mut run = size as i64;
        while let Some(&(stride, count)) = outer.last()
            && stride == run
        {
            run = run.saturating_mul(count.into());
            outer.pop();
        }
        let runs = outer.iter().fold(1u64, |n, d| n.saturating_mul(d.1.into()));
        let (ranges, exact) = if runs <= MAX_RUNS {
            let mut starts = vec![0i64];
            for &(stride, count) in &outer {
                let step = |s: i64| (0..i64::from(count)).map(move |i| s + i * stride);
                starts = starts.into_iter().flat_map(step).collect();
            }
            starts.sort_unstable();
            (starts.into_iter().map(|s| (s, s + run)).collect(), true)
        } else {
            let (lo, hi) = extent(&outer, 0);
            (vec![(lo as i64, hi as i64 + run)], false)
        };
        Pattern { outer, run, ranges, exact }
    }

    fn hull(&self) -> (i64, i64) {
        let lo = self.ranges.iter().map(|r| r.0).min().unwrap_or(0);
        let hi = self.ranges.iter().map(|r| r.1).max().unwrap_or(0);
        (lo, hi)
    }
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

/// Whether two accesses with these bases share a byte. Exact, up to a budget of steps beyond which it says yes.
pub(crate) fn meet(a: &Pattern, a_base: i64, b: &Pattern, b_base: i64) -> bool {
    let ((a_lo, a_hi), (b_lo, b_hi)) = (a.hull(), b.hull());
    if a_base + a_hi <= b_base + b_lo || b_base + b_hi <= a_base + a_lo {
        return false;
    }
    if a.outer.is_empty() && b.outer.is_empty() {
        return true;
    }
    // Every run starts at its base modulo the common divisor of all strides.
    let g = a.outer.iter().chain(&b.outer).fold(0, |g, d| gcd(g, d.0));
    let distance = (b_base - a_base).rem_euclid(g);
    if distance >= a.run && distance + b.run <= g {
        return false;
    }
    let mut budget = 20_000;
    let (few, few_base, many, many_base) = if a.ranges.len() <= b.ranges.len() && a.exact || !b.exact {
        (a, a_base, b, b_base)
    } else {
        (b, b_base, a, a_base)
    };
    let mut dims = many.outer.clone();
    dims.sort_by_key(|d| std::cmp::Reverse(d.0.unsigned_abs()));
    runs(few, few_base, &mut |lo, hi| hits(&dims, many.run, many_base, lo, hi, &mut budget))
}

/// Calls `f` with every run until it says true.
fn runs(p: &Pattern, base: i64, f: &mut dyn FnMut(i64, i64) -> bool) -> bool {
    if p.exact {
        return p.ranges.iter().any(|r| f(base + r.0, base + r.1));
    }
    let mut index = vec![0u32; p.outer.len()];
    loop {
        let at = index.iter().zip(&p.outer).fold(base, |s, (i, d)| s + i64::from(*i) * d.0);
        if f(at, at + p.run) {
            return true;
        }
        let Some(d) = (0..index.len()).rev().find(|&d| index[d] + 1 < p.outer[d].1) else { return false };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

/// Whether a run of `run` bytes at some `base + Σ index · stride` meets `lo .. hi`. `dims` by decreasing stride.
fn hits(dims: &[(i64, u32)], run: i64, base: i64, lo: i64, hi: i64, budget: &mut u32) -> bool {
    if *budget == 0 {
        return true;
    }
    *budget -= 1;
    let Some((&(stride, count), rest)) = dims.split_first() else {
        return base < hi && lo < base + run;
    };
    let (r_lo, r_hi) = extent(rest, 0);
    let (r_lo, r_hi) = (r_lo as i64, r_hi as i64 + run);
    // Indices whose inner hull can reach the range: base + i·stride + r_lo < hi and base + i·stride + r_hi > lo.
    let n = i64::from(count);
    let (first, last) = if stride > 0 {
        ((lo - base - r_hi).div_euclid(stride) + 1, (hi - base - r_lo - 1).div_euclid(stride))
    } else {
        let s = -stride;
        (-(hi - base - r_lo - 1).div_euclid(s), -((lo - base - r_hi).div_euclid(s) + 1))
    };
    (first.max(0)..=last.min(n - 1)).any(|i| hits(rest, run, base + i * stride, lo, hi, budget))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bytes(dims: &Strides, size: i64, base: i64) -> BTreeSet<i64> {
        let mut at = vec![base];
        for &(stride, count) in dims {
            at = at.iter().flat_map(|s| (0..i64::from(count)).map(move |i| s + i * stride)).collect();
        }
        at.iter().flat_map(|s| *s..*s + size).collect()
    }

    fn shape() -> impl Strategy<Value = (Strides, usize, i64)> {
        let dim = (-40i64..40, 1u32..24).prop_map(|(s, c)| (s, c));
        (proptest::collection::vec(dim, 0..4), prop_oneof![Just(1usize), Just(2), Just(4)], 0i64..200)
            .prop_map(|(d, size, base)| (d.into(), size, base))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn meeting_is_exact((da, sa, ba) in shape(), (db, sb, bb) in shape()) {
            let (a, b) = (Pattern::new(&da, sa), Pattern::new(&db, sb));
            let (x, y) = (bytes(&da, sa as i64, ba), bytes(&db, sb as i64, bb));
            let want = x.intersection(&y).next().is_some();
            let got = meet(&a, ba, &b, bb);
            // The budget may turn a no into a yes, which these small shapes do not reach.
            prop_assert_eq!(got, want);
            let covered: BTreeSet<i64> = a.ranges.iter().flat_map(|r| ba + r.0..ba + r.1).collect();
            prop_assert!(covered.is_superset(&x));
            prop_assert!(!a.exact || covered == x);
        }
    }
}
