//! Multi-buffering depth: how many instances of a buffer are in use at once when the pipeline is full.

use super::Site;
use crate::device::expand::Stream;
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use nki_ir::Space;
use nki_ir::target::PSUM_BANKS;

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
                _ => wanted(stream, timeline, s),
            };
            s.depth = wanted.clamp(s.min_depth, options.max_buffers.max(s.min_depth));
        }
    }
}

/// The smallest `d` such that instance `j - d` is dead before instance `j` is born, for all `j`.
fn min_depth(stream: &Stream, s: &Site) -> u32 {
    let n = s.instances.len();
    let instance = |j: usize| &stream.instances[s.instances[j] as usize];
    // earliest[j]: first item that touches any of the instances j ..
    let mut earliest = vec![0u32; n];
    let mut low = u32::MAX;
    for j in (0..n).rev() {
        low = low.min(instance(j).first);
        earliest[j] = low;
    }
    let mut depth = 1;
    for i in 0..n {
        let beyond = earliest.partition_point(|&f| f <= instance(i).last);
        depth = depth.max(beyond.saturating_sub(i));
    }
    depth.min(n) as u32
}

/// Depth beyond what steady state needs: starts and bursts are not steady, and buffers cost nothing while there is room.
const MARGIN: f32 = 1.5;

/// Instances in flight: time from the start of filling one to the end of its last use, over the time between two of them. One more
/// so that filling the next overlaps the last use, at least two, at most one per instance.
fn wanted(stream: &Stream, timeline: &Timeline, s: &Site) -> u32 {
    let n = s.instances.len();
    let (first, last) =
        (&stream.instances[s.instances[0] as usize], &stream.instances[s.instances[n - 1] as usize]);
    let gap = (timeline.span(first.first, last.last) / n as f32).max(1.0);
    let sample = s.instances.iter().step_by((n / 64).max(1));
    let mut busy = 0.0f32;
    for &i in sample {
        let instance = &stream.instances[i as usize];
        let transfer = |item: u32| timeline.fetch[stream.items[item as usize].template as usize];
        let ends = transfer(instance.first) + transfer(instance.last);
        busy = busy.max(timeline.span(instance.first, instance.last) + ends);
    }
    let depth = (busy / gap * MARGIN).ceil() as u32 + 1;
    depth.clamp(2, n as u32)
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
