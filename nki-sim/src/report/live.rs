//! What the on-chip memories hold when they hold most.

use crate::code::Flat;
use crate::cost::{Ps, ns};
use crate::program::Placement;
use crate::timing::Stats;
use crate::trace::{Life, Lives, accesses};
use nki_ir::kernel::Space;
use nki_ir::loc::SourceLoc;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A buffer that is in use.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBuffer {
    pub name: String,
    /// Where it is declared.
    pub at: Option<SourceLoc>,
    /// On all its partitions.
    pub bytes: u64,
}

/// The moment at which most of a memory is in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peak {
    /// From the start of the kernel.
    pub at_ns: f64,
    /// In use then, on all partitions.
    pub bytes: u64,
    /// What is in use then, largest first. A buffer counts from its first write to the last read before it is written anew; in a run of which
    /// not all instructions are kept (`SimOptions::max_path_events`), from the first instruction that touches it to the last.
    /// It counts whole, while another may already be loaded into the part of its place that has been read.
    pub live: Vec<LiveBuffer>,
}

/// When placements hold something. Of a run with more instructions than are kept, only when each is first and last touched.
fn lives(flat: &Flat, stats: &Stats) -> Vec<Life> {
    let mut lives = Vec::new();
    if stats.overflowed {
        let mut spans: Vec<Option<(Ps, Ps)>> = vec![None; flat.header.placements.len()];
        for (inst, s) in flat.insts.iter().zip(&stats.insts).filter(|(_, s)| s.count > 0) {
            for object in
                accesses(inst).iter().filter(|(_, a)| a.space.on_chip()).filter_map(|(_, a)| a.object)
            {
                let Some(span) = spans.get_mut(object as usize) else { continue };
                let (from, to) = span.unwrap_or((s.first, s.last));
                *span = Some((from.min(s.first), to.max(s.last)));
            }
        }
        let life = |(placement, span): (usize, Option<(Ps, Ps)>)| {
            span.map(|(start, end)| Life { placement: placement as u32, start, end })
        };
        lives.extend(spans.into_iter().enumerate().filter_map(life));
    } else {
        let mut open = Lives::new(flat);
        for e in &stats.executed {
            open.touch(e.inst, e.start, e.end, |life| lives.push(life));
        }
        open.finish(|life| lives.push(life));
    }
    // Without time, as in functional mode, there is no moment.
    lives.retain(|l| l.start < l.end);
    lives.sort_unstable_by_key(|l| (l.start, l.placement));
    lives
}

/// The peaks of SBUF and PSUM.
pub(super) fn peaks(flat: &Flat, stats: &Stats) -> [Peak; 2] {
    let lives = lives(flat, stats);
    [Space::Sbuf, Space::Psum].map(|space| peak(flat, stats, &lives, space))
}

fn peak(flat: &Flat, stats: &Stats, lives: &[Life], space: Space) -> Peak {
    let size = |p: &Placement| u64::from(p.bytes) * u64::from(p.partitions);
    let of_space = || {
        let all = lives.iter().map(|l| (&flat.header.placements[l.placement as usize], l));
        all.filter(|(p, _)| p.space == space)
    };
    let mut ends: BinaryHeap<Reverse<(Ps, u64)>> = BinaryHeap::new();
    let (mut now, mut best) = (0u64, (0u64, 0));
    for (p, life) in of_space() {
        // What ends at a moment makes room for what starts at it.
        while let Some(Reverse((end, bytes))) = ends.peek().copied()
            && end <= life.start
        {
            now -= bytes;
            ends.pop();
        }
        now += size(p);
        ends.push(Reverse((life.end, size(p))));
        if now > best.0 {
            best = (now, life.start);
        }
    }
    let (bytes, at) = best;
    let mut live: Vec<LiveBuffer> = of_space()
        .filter(|(_, l)| l.start <= at && at < l.end)
        .map(|(p, _)| LiveBuffer { name: p.label(), at: flat.header.locs.resolve(p.loc), bytes: size(p) })
        .collect();
    live.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Peak { at_ns: ns(at.saturating_sub(stats.first.unwrap_or(0))), bytes, live }
}
