//! Multi-buffering depth: how many instances of a buffer are in use at once when the pipeline is full.

use super::Site;
use crate::device::expand::Stream;
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use nki_ir::Space;
use nki_ir::target::PSUM_BANKS;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A coarse clock for program order: if the busiest engine never waited, item `i` would start near `at[i]`.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Nanoseconds at each item, and at the end.
    pub at: Vec<f32>,
    /// From trigger to a waiting instruction, in nanoseconds, by template; 0 for compute.
    pub fetch: Vec<f32>,
}

impl Timeline {
    fn span(&self, first: u32, last: u32) -> f32 {
        let end = (last as usize + 1).min(self.at.len() - 1);
        self.at[end] - self.at[first as usize]
    }
}

/// Sets `min_depth` and, unless the author asked for one, `depth`.
pub(super) fn choose(
    stream: &Stream,
    timeline: &Timeline,
    options: &CompileOptions,
    space: Space,
    sites: &mut [Site],
) {
    for s in sites {
        s.min_depth = min_depth(stream, s);
        if s.asked {
            continue;
        }
        s.depth = s.min_depth;
        if options.runs(Pass::MultiBuffer) && s.instances.len() > 1 && s.fixed.is_none() {
            // PSUM has few banks and nothing else to hold: take what there is, it shrinks until it fits.
            let wanted = match space {
                Space::Psum => PSUM_BANKS.min(s.instances.len() as u32),
                _ => wanted(stream, timeline, s).max(cheap(s)),
            };
            s.depth = wanted.clamp(s.min_depth, s.min_depth + options.max_buffers);
        }
    }
}

/// The largest number of instances that live at once.
fn min_depth(stream: &Stream, s: &Site) -> u32 {
    let mut ends: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut depth = 1;
    for i in by_birth(stream, s) {
        let instance = &stream.instances[i as usize];
        while ends.peek().is_some_and(|e| e.0 < instance.first) {
            ends.pop();
        }
        ends.push(Reverse(instance.last));
        depth = depth.max(ends.len());
    }
    depth as u32
}

/// Instances in the order in which they are first used.
fn by_birth(stream: &Stream, s: &Site) -> Vec<u32> {
    let mut order = s.instances.clone();
    order.sort_by_key(|&i| (stream.instances[i as usize].first, i));
    order
}

/// The slot of each instance of a site (in the order of `instances`), with `depth` slots: the one that has been free for
/// longest, so that reuse comes as late as possible. When lives do not nest, that is rotation.
pub(super) fn slots(stream: &Stream, s: &Site, depth: u32) -> Vec<u32> {
    let mut free: BinaryHeap<Reverse<(u32, u32)>> = (0..depth).map(|k| Reverse((0, k))).collect();
    let mut order: Vec<usize> = (0..s.instances.len()).collect();
    order.sort_by_key(|&k| (stream.instances[s.instances[k] as usize].first, s.instances[k]));
    let mut slots = vec![0; order.len()];
    for k in order {
        let instance = &stream.instances[s.instances[k] as usize];
        let Reverse((until, slot)) = free.pop().expect("the depth covers everything that lives at once");
        debug_assert!(until == 0 || until <= instance.first, "no slot is free");
        free.push(Reverse((instance.last + 1, slot)));
        slots[k] = slot;
    }
    slots
}

/// Depth beyond what steady state needs: starts and bursts are not steady, and buffers cost nothing while there is room.
const MARGIN: f32 = 3.0;

/// Buffers of a small tile are too cheap to be what a pipeline waits for: this many of up to [`SMALL`] bytes.
const CHEAP: u32 = 8;
const SMALL: u32 = 64;

fn cheap(s: &Site) -> u32 {
    if s.bytes <= SMALL { CHEAP.min(s.instances.len() as u32) } else { 0 }
}

/// From this many instances live at once on, tiles are kept rather than streamed.
const KEPT: u32 = 5;

/// Instances in flight. Of streamed tiles: time from the start of filling one to the end of its last use, over the time
/// between two of them, and one more so that filling the next overlaps the last use. Of tiles that are kept for reuse:
/// those that live at once and the ones being filled.
fn wanted(stream: &Stream, timeline: &Timeline, s: &Site) -> u32 {
    let n = s.instances.len();
    let (first, last) = s
        .instances
        .iter()
        .map(|&i| &stream.instances[i as usize])
        .fold((u32::MAX, 0), |r, i| (r.0.min(i.first), r.1.max(i.last)));
    let gap = (timeline.span(first, last) / n as f32).max(1.0);
    let sample = s.instances.iter().step_by((n / 64).max(1));
    let (mut busy, mut transfers) = (0.0f32, 0.0f32);
    for &i in sample {
        let instance = &stream.instances[i as usize];
        let transfer = |item: u32| timeline.fetch[stream.items[item as usize].template as usize];
        let ends = transfer(instance.first) + transfer(instance.last);
        busy = busy.max(timeline.span(instance.first, instance.last) + ends);
        transfers = transfers.max(ends);
    }
    let filling = (transfers / gap * MARGIN).ceil() as u32;
    let streamed = if s.min_depth < KEPT { (busy / gap * MARGIN).ceil() as u32 + 1 } else { 0 };
    streamed.max(s.min_depth + filling.max(1)).min(n as u32)
}

/// Builds the clock from what each item costs the engines: engines run side by side, so the busiest one sets the pace.
pub fn timeline(
    stream: &Stream,
    templates: &[Template],
    engine_time: impl Fn(u32) -> (usize, f64),
    fetch: impl Fn(u32) -> f64,
) -> Timeline {
    let mut busy = [0.0f64; 6];
    let costs: Vec<(usize, f64)> = (0..templates.len() as u32).map(engine_time).collect();
    for item in &stream.items {
        let (unit, ns) = costs[item.template as usize];
        busy[unit] += ns;
    }
    let total: f64 = busy.iter().sum();
    let pace = if total > 0.0 { busy.iter().copied().fold(0.0, f64::max) / total } else { 1.0 };
    let mut at = Vec::with_capacity(stream.items.len() + 1);
    let mut now = 0.0f64;
    for item in &stream.items {
        at.push(now as f32);
        now += costs[item.template as usize].1 * pace;
    }
    at.push(now as f32);
    Timeline { at, fetch: (0..templates.len() as u32).map(|t| fetch(t) as f32).collect() }
}
