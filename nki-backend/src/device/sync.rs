//! Synchronise: which waits make every dependence of a scheduled block safe, and which of them others imply.
//!
//! Every stream has a clock: how far each other stream is known to have completed, and to have issued. A wait adopts what the
//! producer knew when it issued, so later waits that follow from it are dropped. What one data path orders by itself
//! needs no wait: completion in issue order, write after read, write after write, accumulation, reduce registers. A read
//! after write on one data path does (the rules are those of `nki_sim::program`).

use crate::device::depend::{Dependences, Edge, Kind};
use crate::device::expand::Stream;
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use crate::device::schedule::Plan;

/// Per stream, a position in its order of issue, counted from 1.
pub type Clock = [u32; 5];

/// What a stream knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knowledge {
    /// Results of the data path up to this position are visible.
    completed: Clock,
    /// Everything up to this position has been issued.
    issued: Clock,
}

/// The waits of one block.
#[derive(Debug)]
pub struct Waits {
    first: u32,
    offsets: Vec<u32>,
    list: Vec<u32>,
    /// By item of the block: some stream waits for it.
    pub awaited: Vec<bool>,
    /// Position of each item in its stream.
    position: Vec<u32>,
    /// What the stream of each item knew at its issue.
    known: Vec<Knowledge>,
    /// By transfer: from which position on each stream knows that it is complete; [`NEVER`] if not.
    complete_from: Vec<Clock>,
    /// Index into `complete_from` by item, or [`NEVER`] for compute.
    transfer: Vec<u32>,
    /// Waits that others implied.
    pub dropped: usize,
}

const NEVER: u32 = u32::MAX;

impl Waits {
    /// Items that item `i` waits for.
    pub fn of(&self, i: u32) -> &[u32] {
        let k = (i - self.first) as usize;
        &self.list[self.offsets[k] as usize..self.offsets[k + 1] as usize]
    }

    /// Whether transfer `before` is complete whenever `stream` issues item `i`.
    pub fn complete_at(&self, before: u32, i: u32, stream: usize) -> bool {
        let k = (i - self.first) as usize;
        let t = self.transfer[(before - self.first) as usize];
        let here = self.position[k];
        known_complete(&self.complete_from[t as usize], &self.known[k], stream, here)
    }

    /// Number of waits.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

fn known_complete(from: &Clock, known: &Knowledge, stream: usize, position: u32) -> bool {
    (0..5).any(|e| {
        let issued = if e == stream { position } else { known.issued[e] };
        from[e] != NEVER && from[e] <= issued
    })
}

/// Finds the waits of a block.
pub fn synchronise(
    stream: &Stream,
    templates: &[Template],
    dependences: &Dependences,
    plan: &Plan,
    options: &CompileOptions,
) -> Waits {
    let n = plan.items.len();
    let first = plan.items.start;
    let mut w = Waits {
        first,
        offsets: vec![0; n + 1],
        list: Vec::new(),
        awaited: vec![false; n],
        position: vec![0; n],
        known: vec![Knowledge::default(); n],
        complete_from: Vec::new(),
        transfer: vec![NEVER; n],
        dropped: 0,
    };
    let reduce = options.runs(Pass::ReduceWaits);
    let mut streams = [Knowledge::default(); 5];
    let mut positions = [0u32; 5];
    // Waits are found in order of issue and stored by item at the end.
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut when = vec![0u32; n];
    for (at, &i) in plan.order.iter().enumerate() {
        let k = (i - first) as usize;
        when[k] = at as u32;
        let s = plan.stream(i);
        let is_dma = templates[stream.items[i as usize].template as usize].is_dma();
        positions[s] += 1;
        w.position[k] = positions[s];
        let mut needed: Vec<u32> = dependences
            .of(i)
            .iter()
            .filter(|e| needs_wait(**e, &w, plan, s, is_dma))
            .map(|e| e.item)
            .collect();
        // The latest producers know most: they come first and may make the others unnecessary.
        needed.sort_unstable_by_key(|&b| std::cmp::Reverse(when[(b - first) as usize]));
        for b in needed {
            if reduce && w.knows(&streams[s], s, positions[s], b, plan) {
                w.dropped += 1;
                continue;
            }
            w.learn(&mut streams[s], s, positions[s], b, plan);
            w.awaited[(b - first) as usize] = true;
            found.push((i, b));
        }
        w.known[k] = streams[s];
        if is_dma {
            w.transfer[k] = w.complete_from.len() as u32;
            w.complete_from.push([NEVER; 5]);
        }
    }
    found.sort_unstable();
    for &(i, _) in &found {
        w.offsets[(i - first) as usize + 1] += 1;
    }
    for k in 0..n {
        w.offsets[k + 1] += w.offsets[k];
    }
    w.list = found.into_iter().map(|f| f.1).collect();
    w
}

/// Whether an edge needs a wait at all.
fn needs_wait(e: Edge, w: &Waits, plan: &Plan, stream: usize, is_dma: bool) -> bool {
    let before_is_dma = w.transfer[(e.item - w.first) as usize] != NEVER;
    let one_path = !is_dma && !before_is_dma && plan.stream(e.item) == stream;
    !one_path || matches!(e.kind, Kind::ReadAfterWrite | Kind::Order)
}

impl Waits {
    fn knows(&self, known: &Knowledge, stream: usize, here: u32, before: u32, plan: &Plan) -> bool {
        let k = (before - self.first) as usize;
        match self.transfer[k] {
            NEVER => known.completed[plan.stream(before)] >= self.position[k],
            t => known_complete(&self.complete_from[t as usize], known, stream, here),
        }
    }

    /// A stream waits for `before` at its position `here`.
    fn learn(&mut self, known: &mut Knowledge, stream: usize, here: u32, before: u32, plan: &Plan) {
        let k = (before - self.first) as usize;
        let s = plan.stream(before);
        let theirs = self.known[k];
        for e in 0..5 {
            known.completed[e] = known.completed[e].max(theirs.completed[e]);
            known.issued[e] = known.issued[e].max(theirs.issued[e]);
        }
        known.issued[s] = known.issued[s].max(self.position[k]);
        match self.transfer[k] {
            NEVER => known.completed[s] = known.completed[s].max(self.position[k]),
            // Positions of a stream only grow: the first wait is the earliest knowledge.
            t => {
                let from = &mut self.complete_from[t as usize][stream];
                *from = (*from).min(here);
            }
        }
    }
}
