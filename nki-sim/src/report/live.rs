//! What the on-chip memories hold when they hold most.

use crate::code::Flat;
use crate::cost::{Ps, ns};
use crate::timing::Stats;
use crate::trace::accesses;
use nki_ir::kernel::Space;
use nki_ir::loc::SourceLoc;

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
    /// What is in use then, largest first. A buffer counts from the first instruction that touches it to the last.
    pub live: Vec<LiveBuffer>,
}

/// When each placement is first and last touched.
fn spans(flat: &Flat, stats: &Stats) -> Vec<Option<(Ps, Ps)>> {
    let mut out: Vec<Option<(Ps, Ps)>> = vec![None; flat.header.placements.len()];
    for (inst, s) in flat.insts.iter().zip(&stats.insts).filter(|(_, s)| s.count > 0) {
        for object in accesses(inst).iter().filter(|(_, a)| a.space.on_chip()).filter_map(|(_, a)| a.object) {
            let Some(span) = out.get_mut(object as usize) else { continue };
            let (from, to) = span.unwrap_or((s.first, s.last));
            *span = Some((from.min(s.first), to.max(s.last)));
        }
    }
    out
}

/// The peaks of SBUF and PSUM.
pub(super) fn peaks(flat: &Flat, stats: &Stats) -> [Peak; 2] {
    let spans = spans(flat, stats);
    [Space::Sbuf, Space::Psum].map(|space| peak(flat, stats, &spans, space))
}

fn peak(flat: &Flat, stats: &Stats, spans: &[Option<(Ps, Ps)>], space: Space) -> Peak {
    let of_space = || {
        let all = flat.header.placements.iter().zip(spans);
        all.filter(|(p, _)| p.space == space)
            .filter_map(|(p, span)| span.map(|span| (p, span)))
            // Without time, as in functional mode, there is no moment.
            .filter(|(_, (from, to))| from < to)
    };
    let size = |p: &crate::program::Placement| u64::from(p.bytes) * u64::from(p.partitions);
    // What ends at a moment makes room for what starts at it: ends sort first.
    let mut steps: Vec<(Ps, bool, u64)> =
        of_space().flat_map(|(p, (from, to))| [(from, true, size(p)), (to, false, size(p))]).collect();
    steps.sort_unstable();
    let (mut now, mut best) = (0u64, (0u64, 0));
    for (at, starts, bytes) in steps {
        now = if starts { now + bytes } else { now - bytes };
        if now > best.0 {
            best = (now, at);
        }
    }
    let (bytes, at) = best;
    let mut live: Vec<LiveBuffer> = of_space()
        .filter(|(_, (from, to))| *from <= at && at < *to)
        .map(|(p, _)| LiveBuffer { name: p.label(), at: flat.header.locs.resolve(p.loc), bytes: size(p) })
        .collect();
    live.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Peak { at_ns: ns(at.saturating_sub(stats.first.unwrap_or(0))), bytes, live }
}
