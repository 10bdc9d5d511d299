//! Makes a failing kernel smaller.

use crate::entity::{Entity, Region};
use crate::kernel::{Kernel, Node};

/// The smallest kernel found by removing nodes of `kernel` while `fails` holds. `fails` decides what may be removed: it
/// should reject kernels that no longer pass `verify`. Buffers that nothing refers to stay in the tables.
pub fn shrink(kernel: &Kernel, mut fails: impl FnMut(&Kernel) -> bool) -> Kernel {
    let mut best = kernel.clone();
    loop {
        let before = nodes(&best);
        // Later nodes first: what they read can go after them. Runs of halving length, as long as anything goes.
        for region in (0..best.regions.len()).rev().map(Region::new) {
            let mut len = best.regions[region].nodes.len();
            while len > 0 {
                let mut end = best.regions[region].nodes.len();
                while end > 0 {
                    let start = end.saturating_sub(len);
                    let mut smaller = best.clone();
                    smaller.regions[region].nodes.drain(start..end);
                    if fails(&smaller) {
                        best = smaller;
                    }
                    end = start;
                }
                len /= 2;
            }
            inline(&mut best, region, &mut fails);
        }
        if nodes(&best) == before {
            return best;
        }
    }
}

/// Replaces loops by one copy of their body where `fails` still holds.
fn inline(best: &mut Kernel, region: Region, fails: &mut impl FnMut(&Kernel) -> bool) {
    let mut at = 0;
    while at < best.regions[region].nodes.len() {
        if let Node::Loop(l) = best.regions[region].nodes[at] {
            let mut smaller = best.clone();
            let inner = smaller.loops[l].regions()[0];
            let body = std::mem::take(&mut smaller.regions[inner].nodes);
            smaller.regions[region].nodes.splice(at..=at, body);
            if fails(&smaller) {
                *best = smaller;
                continue;
            }
        }
        at += 1;
    }
}

fn nodes(k: &Kernel) -> usize {
    k.regions.values().map(|r| r.nodes.len()).sum()
}
