//! The critical path: from the last thing that happened, always to the one that decided when it could start.

use crate::cost::{Ps, ns};
use crate::timing::{Executed, Link, Stats};
use std::collections::BTreeMap;

/// Time of an instruction on the critical path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct OnPath {
    pub ns: f64,
    /// Executions on the path.
    pub count: u64,
}

/// What the path consists of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    /// Per instruction of the program.
    pub insts: BTreeMap<u32, OnPath>,
    /// From a result to the instruction that waited for it: semaphores and start-up.
    pub synchronisation_ns: f64,
    /// All of the run is covered.
    pub complete: bool,
}

pub(crate) fn trace(stats: &Stats) -> Path {
    let mut path = Path { complete: !stats.overflowed, ..Path::default() };
    let Some((end, mut event)) = stats.last else { return path };
    let mut until: Ps = end;
    // Links lead to executions made earlier; the bound is against a malformed chain.
    for _ in 0..=stats.executed.len() {
        let Some(&Executed { inst, start, link, .. }) = stats.executed.get(event as usize) else {
            return path;
        };
        let entry = path.insts.entry(inst).or_default();
        entry.ns += ns(until.saturating_sub(start));
        entry.count += 1;
        until = until.min(start);
        let (next, result) = match link {
            Link::None => return path,
            Link::Result(e) => (e, true),
            Link::Order(e) => (e, false),
        };
        if next >= event {
            return path;
        }
        event = next;
        if result && let Some(producer) = stats.executed.get(event as usize) {
            path.synchronisation_ns += ns(until.saturating_sub(producer.end));
            until = until.min(producer.end);
        }
    }
    path
}
