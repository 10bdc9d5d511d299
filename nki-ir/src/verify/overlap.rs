//! Rule G12: a destination addresses each element once, and overlaps an input only when both are the same view.
//!
//! Overlap is reported only when proved, with the loop variables' values that show it.

use super::bounds::{Witness, values};
use super::context::{Arg, Cx};
use super::footprint::{Pin, footprint};
use super::rules;
use crate::entity::Var;
use crate::view::{Dim, Pattern};

/// Combinations of loop variables tried when two views move differently.
const MAX_TURNS: u64 = 4096;
/// Differences of indices tried when a destination pattern does not nest.
const MAX_DIFFERENCES: u64 = 1 << 20;

/// Checks the destinations of an instruction whose operands are in bounds.
pub fn check(cx: &Cx) {
    for arg in cx.views().filter(|a| a.is_dst()) {
        distinct(cx, arg);
    }
    // `reduce_res` is written after every input has been read (isa.md 6 item 6).
    let Some(dst) = cx.views().find(|a| a.is_dst() && a.spec.name == "dst") else { return };
    for src in cx.views().filter(|a| !a.is_dst() && a.view.buf == dst.view.buf) {
        if let Some(w) = partial_overlap(cx, dst, src) {
            let message = format!("{} overlaps {} in part{}", dst.name(), src.spec.name, w.text(cx.kernel));
            cx.fail_arg(&rules::DST_INPUT, dst, message)
                .help("write to another buffer, or use exactly the same view for both");
        }
    }
}

/// Reports a destination that writes an element twice.
fn distinct(cx: &Cx, arg: &Arg) {
    match repeats(&arg.pattern.dims) {
        Some(false) => {}
        Some(true) => {
            let message = format!("{} writes elements more than once", arg.name());
            cx.fail_arg(&rules::DST_DISTINCT, arg, message)
                .help("write without broadcast (stride 0), with strides that do not overlap");
        }
        None => {
            let message =
                format!("{} has a pattern too irregular to show that its elements are distinct", arg.name());
            cx.fail_arg(&rules::PATTERN, arg, message).help("use a pattern whose dimensions nest");
        }
    }
}

/// Whether two index vectors of a pattern lead to the same element; `None` if that is too costly to decide.
fn repeats(dims: &[Dim]) -> Option<bool> {
    let mut dims: Vec<(u128, u128)> = dims
        .iter()
        .filter(|d| d.count > 1)
        .map(|d| (d.stride.unsigned_abs().into(), d.count.into()))
        .collect();
    dims.sort_unstable();
    if dims.iter().any(|d| d.0 == 0) {
        return Some(true);
    }
    // Nested: each stride steps over everything inside it.
    let mut reach = 0;
    let mut nested = true;
    for d in &dims {
        nested &= d.0 > reach;
        reach += d.0 * (d.1 - 1);
    }
    if nested {
        return Some(false);
    }
    let elements = dims.iter().fold(1u128, |n, d| n.saturating_mul(d.1));
    if elements > reach + 1 {
        return Some(true);
    }
    // A repeat is a difference of indices, not all zero, that adds up to zero. Try all of them but the widest dimension's,
    // which then has one solution at most.
    let widest = dims.iter().enumerate().max_by_key(|(_, d)| d.1).map(|(i, _)| i)?;
    let (stride, count) = dims.remove(widest);
    let tries = dims.iter().fold(1u128, |n, d| n.saturating_mul(2 * d.1 - 1));
    if tries > MAX_DIFFERENCES.into() {
        return None;
    }
    let mut sums: Vec<(i128, bool)> = vec![(0, false)];
    for (s, c) in dims {
        let (s, c) = (s as i128, c as i128);
        sums = sums
            .iter()
            .flat_map(|&(x, moved)| (1 - c..c).map(move |d| (x + s * d, moved || d != 0)))
            .collect();
    }
    let (stride, count) = (stride as i128, count as i128);
    Some(sums.iter().any(|&(x, moved)| moved && x % stride == 0 && (x / stride).abs() < count))
}

/// Variables' values for which the two views share elements without being the same view.
fn partial_overlap(cx: &Cx, dst: &Arg, src: &Arg) -> Option<Witness> {
    if dst.view.dynamic.is_some() || src.view.dynamic.is_some() {
        return None;
    }
    let (d, s) = (&dst.pattern, &src.pattern);
    let same_shape =
        d.parts == s.parts && d.merged() == s.merged() && dst.dtype().bytes() == src.dtype().bytes();
    if same_shape && d.part == s.part && d.offset == s.offset {
        return None;
    }
    let mut vars: Vec<Var> = terms(d).chain(terms(s)).collect();
    vars.sort_unstable();
    vars.dedup();
    let ranges: Vec<(Var, super::bounds::Values)> =
        vars.into_iter().map(|v| Some((v, values(cx.kernel, v)?))).collect::<Option<_>>()?;
    // Views that move together meet in every turn or in none.
    let together = d.part.terms() == s.part.terms()
        && d.offset.terms() == s.offset.terms()
        && dst.dtype().bytes() == src.dtype().bytes();
    let turns = ranges.iter().fold(1u64, |n, r| n.saturating_mul(r.1.count));
    let all = !together && turns <= MAX_TURNS;
    for turn in 0..if all { turns } else { 1 } {
        let mut rest = turn;
        let at: Vec<(Var, i64)> = ranges
            .iter()
            .map(|(v, x)| {
                let i = rest % x.count;
                rest /= x.count;
                (*v, x.lo + x.step * i as i64)
            })
            .collect();
        let value = |v: Var| at.iter().find(|a| a.0 == v).map_or(0, |a| a.1);
        let same = same_shape
            && d.part.eval(value) == s.part.eval(value)
            && d.offset.eval(value) == s.offset.eval(value);
        if same {
            continue;
        }
        let pin = |v: Var| Pin::At(value(v));
        let a = footprint(cx.kernel, dst.view, dst.buf, &pin)?;
        let b = footprint(cx.kernel, src.view, src.buf, &pin)?;
        if a.exact && b.exact && a.common(&b).is_some() {
            return Some(Witness(if together { Vec::new() } else { at }));
        }
    }
    None
}

fn terms(p: &Pattern) -> impl Iterator<Item = Var> + '_ {
    p.part.terms().iter().chain(p.offset.terms()).map(|t| t.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn more_elements_than_the_nested_part_reaches_are_no_repeat() {
        let dims = [(-5, 2), (-3, 3), (9, 3)].map(|(stride, count)| Dim { stride, count });
        assert_eq!(repeats(&dims), Some(false));
    }

    proptest! {
        #[test]
        fn repeats_equal_brute_force(dims in prop::collection::vec((-6i64..12, 1u32..6), 0..4)) {
            let dims: Vec<Dim> = dims.into_iter().map(|(stride, count)| Dim { stride, count }).collect();
            let mut all = vec![0i64];
            for d in &dims {
                all = all.iter().flat_map(|b| (0..d.count as i64).map(move |i| b + i * d.stride)).collect();
            }
            let distinct = all.iter().collect::<BTreeSet<_>>().len() == all.len();
            prop_assert_eq!(repeats(&dims), Some(!distinct));
        }
    }
}
