//! Reuse loads: a tile that is loaded again from an input with the same bytes need not be loaded again while SBUF can hold it.
//!
//! The whole future is known in the expanded stream, so what to keep is decided as Belady would: when space runs out, the
//! tile whose next load is farthest away goes. A later instance that finds its tile kept becomes an alias of the earlier one
//! and its transfers disappear. This hoists invariant loads out of loops and removes repeated ones, as far as capacity allows.

use crate::device::expand::{Block, Instance, Item, ItemAccess, NONE, Stream, writes};
use crate::device::legalise::Template;
use nki_ir::kernel::BufKind;
use nki_ir::{Kernel, Space};
use std::collections::{BTreeSet, HashMap};

/// What the pass removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reused {
    pub transfers: u64,
    pub bytes: u64,
}

/// One load into an instance: template, source offset, destination partition and offset.
type Load = (u32, i64, u32, i64);

/// Removes repeated loads, keeping at most `budget` bytes per partition of tiles for later. Streams with hardware loops
/// are left alone: what a turn loads is not known.
pub fn reuse_loads(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    budget: u64,
) -> Option<(Stream, Reused)> {
    if !stream.is_straight() {
        return None;
    }
    let pages = pages(kernel, templates, stream);
    let alias = keep(kernel, stream, &pages, budget);
    if alias.iter().all(|&a| a == NONE) {
        return None;
    }
    Some(rebuild(kernel, templates, stream, &alias))
}

/// The page of every instance: instances of equal page hold equal bytes. [`NONE`] where that is not known.
fn pages(kernel: &Kernel, templates: &[Template], stream: &Stream) -> Vec<u32> {
    let mut loads: Vec<Vec<Load>> = vec![Vec::new(); stream.instances.len()];
    let mut pure: Vec<bool> = stream.instances.iter().map(|i| eligible(kernel, i)).collect();
    for (n, item) in stream.items.iter().enumerate() {
        let t = &templates[item.template as usize];
        let accesses = stream.accesses_of(n);
        for (v, a) in t.views().zip(accesses).filter(|(v, _)| writes(v)) {
            let i = a.instance as usize;
            if !pure[i] {
                continue;
            }
            let source = t.operands.get(1).and_then(|o| o.view());
            let from_input = source.is_some_and(|s| {
                s.space == Space::Hbm && kernel.bufs[s.buf].kind == BufKind::Input && s.index.is_none()
            });
            if t.is_dma() && from_input && v.index.is_none() && item.group == NONE {
                loads[i].push((item.template, accesses[1].offset, a.part, a.offset));
            } else {
                pure[i] = false;
            }
        }
    }
    let mut numbers: HashMap<Vec<Load>, u32> = HashMap::new();
    let mut out = vec![NONE; stream.instances.len()];
    for (i, l) in loads.into_iter().enumerate() {
        if pure[i] && !l.is_empty() {
            let next = numbers.len() as u32;
            out[i] = *numbers.entry(l).or_insert(next);
        }
    }
    out
}

/// The author's own placement and buffering is left as it is.
fn eligible(kernel: &Kernel, i: &Instance) -> bool {
    let data = &kernel.bufs[i.buf];
    data.space == Space::Sbuf && i.first != NONE && data.address.is_none() && data.buffers.is_none()
}

/// Which earlier instance each instance can be an alias of.
fn keep(kernel: &Kernel, stream: &Stream, pages: &[u32], budget: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..pages.len() as u32).filter(|&i| pages[i as usize] != NONE).collect();
    order.sort_by_key(|&i| (stream.instances[i as usize].first, i));
    // Position in `order` of the next instance of the same page.
    let mut next = vec![NONE; order.len()];
    let mut later: HashMap<u32, u32> = HashMap::new();
    for (k, &i) in order.iter().enumerate().rev() {
        next[k] = later.insert(pages[i as usize], k as u32).unwrap_or(NONE);
    }
    let mut alias = vec![NONE; pages.len()];
    // Kept pages by next use, with the instance that holds them; and the way back.
    let mut kept: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut holder: HashMap<u32, u32> = HashMap::new();
    let mut used = 0u64;
    for (k, &i) in order.iter().enumerate() {
        let page = pages[i as usize];
        let bytes = kernel.bufs[stream.instances[i as usize].buf].row_bytes();
        let mut held_by = i;
        if kept.remove(&(k as u32, page)) {
            held_by = holder[&page];
            alias[i as usize] = held_by;
            used -= bytes;
        }
        if next[k] == NONE {
            continue;
        }
        holder.insert(page, held_by);
        kept.insert((next[k], page));
        used += bytes;
        while used > budget {
            let Some((_, far)) = kept.pop_last() else { break };
            let buf = stream.instances[holder[&far] as usize].buf;
            used -= kernel.bufs[buf].row_bytes();
        }
    }
    alias
}

/// The stream without the loads of aliases.
fn rebuild(kernel: &Kernel, templates: &[Template], stream: &Stream, alias: &[u32]) -> (Stream, Reused) {
    let mut out = Stream { instances: stream.instances.clone(), ..Stream::default() };
    let mut reused = Reused::default();
    for i in &mut out.instances {
        if kernel.bufs[i.buf].kind == BufKind::Private {
            (i.first, i.last) = (NONE, NONE);
        }
    }
    for (n, item) in stream.items.iter().enumerate() {
        let t = &templates[item.template as usize];
        let accesses = stream.accesses_of(n);
        let removed = t.is_dma() && alias[accesses[0].instance as usize] != NONE && writes_tile(t);
        if removed {
            reused.transfers += 1;
            reused.bytes += bytes_of(t);
            continue;
        }
        let here = out.items.len() as u32;
        out.items.push(Item { accesses: out.accesses.len() as u32, ..*item });
        for a in accesses {
            let instance = match alias[a.instance as usize] {
                NONE => a.instance,
                held_by => held_by,
            };
            let i = &mut out.instances[instance as usize];
            i.first = if i.first == NONE { here } else { i.first };
            i.last = if kernel.bufs[i.buf].kind == BufKind::Private { here } else { i.last };
            out.accesses.push(ItemAccess { instance, ..*a });
        }
    }
    let end = out.items.len() as u32;
    for i in &mut out.instances {
        if kernel.bufs[i.buf].kind != BufKind::Private {
            (i.first, i.last) = (0, end.saturating_sub(1));
        }
    }
    out.blocks = vec![Block::Straight(0..end)];
    debug_assert!(alias.iter().all(|&a| a == NONE || alias[a as usize] == NONE), "holders are not aliases");
    (out, reused)
}

fn writes_tile(t: &Template) -> bool {
    t.operands[0].view().is_some_and(|v| v.space == Space::Sbuf)
}

fn bytes_of(t: &Template) -> u64 {
    let Some(v) = t.operands[0].view() else { return 0 };
    let elements = v.dims.iter().fold(u64::from(v.parts), |n, d| n * u64::from(d.count));
    elements * v.dtype.bytes() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::expand::expand;
    use crate::device::legalise::legalise;
    use crate::device::options::CompileOptions;
    use nki_ir::Target;

    /// Four rounds over five tiles of 256 bytes per partition.
    const ROUNDS: &str = "nki-ir 1
kernel @rounds(%x: in hbm<f32, [5, 128, 64]>, %out: out hbm<f32, [4, 5, 128, 64]>) {
  for %r in 0..4 {
    for %p in 0..5 {
      %t = alloc sbuf<f32, [128, 64]>
      dma_copy %t, %x[%p, :, :]
      dma_copy %out[%r, %p, :, :], %t
    }
  }
}
";

    fn loads(text: &str, budget: u64) -> usize {
        let kernel = nki_ir::text::parse(text, "rounds.nkir").unwrap();
        let templates = legalise(&kernel, Target::Trn2).unwrap();
        let stream = expand(&kernel, &templates, &CompileOptions::default()).unwrap();
        let count = |s: &Stream| s.items.iter().filter(|i| i.template == 0).count();
        match reuse_loads(&kernel, &templates, &stream, budget) {
            Some((kept, reused)) => {
                assert_eq!(reused.transfers as usize, stream.items.len() - kept.items.len());
                assert_eq!(reused.bytes, reused.transfers * 128 * 256);
                count(&kept)
            }
            None => count(&stream),
        }
    }

    #[test]
    fn as_many_tiles_stay_as_the_budget_holds() {
        // `k` of the five tiles stay; the others are loaded in each of the four rounds.
        for k in 0..=5 {
            assert_eq!(loads(ROUNDS, 256 * k), 5 + 3 * (5 - k as usize), "room for {k}");
        }
        assert_eq!(loads(ROUNDS, 255), 20);
    }

    #[test]
    fn written_tiles_and_changing_tensors_are_loaded_again() {
        let written = ROUNDS.replace("      dma_copy %out", "      memset %t, 1.0\n      dma_copy %out");
        assert_eq!(loads(&written, 1 << 20), 20);
        let inout = ROUNDS.replace("%x: in hbm", "%x: inout hbm");
        assert_eq!(loads(&inout, 1 << 20), 20);
    }
}
