//! The schedule steps that a search may try.

use super::{Axis, OWN};
use crate::Label;
use crate::check::{Prepared, Problem};
use nki_ir::{Buf, Diagnostics, Loop, Target};
use std::collections::BTreeSet;

/// What can be tried for the labels of a kernel: buffers of its tiles, engines and rings where there is a choice, and turns to
/// unroll. Everything that a label stands for gets the same step; steps that cannot be applied are invalid candidates.
///
/// # Errors
/// What keeps the kernel from running with its defaults.
pub fn schedule_axes(problem: &Problem, target: Target) -> Result<Vec<Axis>, Diagnostics> {
    let prepared = Prepared::of(problem, target)?;
    let report = prepared.compile()?.report;
    let mut axes = Vec::new();
    let mut axis = |step: &str, label: Label, values: &[&str]| {
        let values = std::iter::once(OWN).chain(values.iter().copied()).map(str::to_string);
        axes.push(Axis { name: format!("{step}({label})"), values: values.collect() });
    };
    let mut seen: BTreeSet<(&[Buf], &[Loop])> = BTreeSet::new();
    for row in prepared.labels.iter().filter(|row| seen.insert((&row.bufs, &row.loops))) {
        let tiles: Vec<_> = report.buffers.iter().filter(|c| row.bufs.contains(&c.buf)).collect();
        if !tiles.is_empty() {
            axis("buffers", row.label, &["1", "2", "3", "4", "8"]);
        }
        if tiles.iter().any(|c| !c.engines.is_empty()) {
            axis("engine", row.label, &["vector", "scalar", "gpsimd"]);
        }
        if tiles.iter().any(|c| !c.queues.is_empty()) {
            axis("queue", row.label, &["0", "1", "2", "3"]);
        }
        if report.loops.iter().any(|c| row.loops.contains(&c.source) && c.trip > 1) {
            axis("unroll", row.label, &["1", "2", "4", "16"]);
        }
    }
    Ok(axes)
}
