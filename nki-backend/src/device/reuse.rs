//! Reuse loads: a tile that is loaded again from an input with the same bytes need not be loaded again while SBUF can hold it.
//!
//! The whole future is known in the expanded stream, so what to keep is decided as Belady would: when space runs out, the
//! tile whose next load is farthest away goes. A later instance that finds its tile kept becomes an alias of the earlier one
//! and its transfers disappear. This hoists invariant loads out of loops and removes repeated ones, as far as capacity allows.
//!
//! Within a straight block the counters of hardware loops stand still, so that equal addresses are equal bytes there, too. Tiles
//! are kept to the end of their block.

use crate::device::expand::{Block, Instance, Item, ItemAccess, NONE, Stream, writes};
use crate::device::legalise::Template;
use crate::device::numbers::{NumberMap, number_of};
use nki_ir::kernel::BufKind;
use nki_ir::{Kernel, Space};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;

/// What the pass removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reused {
    pub transfers: u64,
    pub bytes: u64,
}

/// One load into an instance: template, source offset, destination partition and offset.
type Load = (u32, i64, u32, i64);
type Loads = SmallVec<[Load; 1]>;

/// Removes repeated loads, keeping at most `budget` bytes per partition of tiles for later.
pub fn reuse_loads(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    budget: u64,
) -> Option<(Stream, Reused)> {
    let pages = pages(kernel, templates, stream);
    let alias = keep(kernel, stream, &pages, budget);
    if alias.iter().all(|&a| a == NONE) {
        return None;
    }
    Some(rebuild(kernel, templates, stream, &alias))
}

/// By item: the number of the straight block that it is in; [`NONE`] for register instructions.
fn blocks_of(stream: &Stream) -> Vec<u32> {
    let mut out = vec![NONE; stream.items.len()];
    let mut stack: Vec<std::slice::Iter<'_, Block>> = vec![stream.blocks.iter()];
    let mut number = 0;
    while let Some(top) = stack.last_mut() {
        match top.next() {
            None => _ = stack.pop(),
            Some(Block::Straight(r)) => {
                out[r.start as usize..r.end as usize].fill(number);
                number += 1;
            }
            Some(block) => stack.extend(block.bodies().into_iter().map(|b| b.iter())),
        }
    }
    out
}

/// The page of every instance: instances of equal page are in one block and hold equal bytes. [`NONE`] where that is not known.
fn pages(kernel: &Kernel, templates: &[Template], stream: &Stream) -> Vec<u32> {
    let blocks = blocks_of(stream);
    let block_of = |i: &Instance| {
        let (first, last) = (blocks[i.first as usize], blocks[i.last as usize]);
        if first == last { first } else { NONE }
    };
    let mut loads: Vec<Loads> = vec![Loads::new(); stream.instances.len()];
    let mut pure: Vec<bool> =
        stream.instances.iter().map(|i| eligible(kernel, i) && block_of(i) != NONE).collect();
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
    let mut out = vec![NONE; stream.instances.len()];
    let loaded = || (0..loads.len()).filter(|&i| pure[i] && !loads[i].is_empty());
    // The first instance of each page, by a number made from what it holds; where that is taken by another, by the next one.
    let mut firsts: NumberMap<u64, u32> = NumberMap::default();
    firsts.reserve(loaded().count());
    for i in loaded() {
        let block = block_of(&stream.instances[i]);
        let same = |j: u32| block_of(&stream.instances[j as usize]) == block && loads[j as usize] == loads[i];
        let next = firsts.len() as u32;
        let mut at = number_of(&(block, &loads[i]));
        out[i] = loop {
            match firsts.entry(at) {
                Entry::Vacant(e) => {
                    e.insert(i as u32);
                    break next;
                }
                Entry::Occupied(e) if same(*e.get()) => break out[*e.get() as usize],
                Entry::Occupied(_) => at = at.wrapping_add(1),
            }
        };
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
    let all = order.iter().map(|&i| pages[i as usize] as usize + 1).max().unwrap_or(0);
    let mut alias = vec![NONE; pages.len()];
    if all == order.len() {
        // No page twice.
        return alias;
    }
    // Position in `order` of the next instance of the same page.
    let mut next = vec![NONE; order.len()];
    let mut later = vec![NONE; all];
    for (k, &i) in order.iter().enumerate().rev() {
        next[k] = std::mem::replace(&mut later[pages[i as usize] as usize], k as u32);
    }
    // Kept pages by next use, with the instance that holds them; and the way back.
    let mut kept: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut holder = vec![NONE; all];
    let mut used = 0u64;
    for (k, &i) in order.iter().enumerate() {
        let page = pages[i as usize];
        let bytes = kernel.bufs[stream.instances[i as usize].buf].row_bytes();
        let mut held_by = i;
        if kept.remove(&(k as u32, page)) {
            held_by = holder[page as usize];
            alias[i as usize] = held_by;
            used -= bytes;
        }
        if next[k] == NONE {
            continue;
        }
        holder[page as usize] = held_by;
        kept.insert((next[k], page));
        used += bytes;
        while used > budget {
            let Some((_, far)) = kept.pop_last() else { break };
            let buf = stream.instances[holder[far as usize] as usize].buf;
            used -= kernel.bufs[buf].row_bytes();
        }
    }
    alias
}

/// The stream without the loads of aliases.
fn rebuild(kernel: &Kernel, templates: &[Template], stream: &Stream, alias: &[u32]) -> (Stream, Reused) {
    let mut out = Stream {
        instances: stream.instances.clone(),
        loops: stream.loops.clone(),
        nests: stream.nests.clone(),
        ..Stream::default()
    };
    let mut reused = Reused::default();
    // By item: how many of those before it stay.
    let mut new_at = Vec::with_capacity(stream.items.len() + 1);
    for (n, item) in stream.items.iter().enumerate() {
        let here = out.items.len() as u32;
        new_at.push(here);
        let t = &templates[item.template as usize];
        let accesses = stream.accesses_of(n);
        let removed = t.is_dma() && alias[accesses[0].instance as usize] != NONE && writes_tile(t);
        if removed {
            reused.transfers += 1;
            reused.bytes += bytes_of(t);
            continue;
        }
        if let Some(&position) = stream.positions.get(&(n as u32)) {
            out.positions.insert(here, position);
        }
        out.items.push(Item { accesses: out.accesses.len() as u32, ..*item });
        out.accesses.extend(accesses.iter().map(|a| {
            let holder = alias[a.instance as usize];
            ItemAccess { instance: if holder == NONE { a.instance } else { holder }, ..*a }
        }));
    }
    let end = out.items.len() as u32;
    new_at.push(end);
    relive(kernel, stream, alias, &new_at, &mut out.instances);
    out.blocks = renumber(&stream.blocks, &new_at);
    debug_assert!(alias.iter().all(|&a| a == NONE || alias[a as usize] == NONE), "holders are not aliases");
    (out, reused)
}

/// Lives in the numbers of the items that stay; holders live as long as their aliases, which do not live.
fn relive(kernel: &Kernel, stream: &Stream, alias: &[u32], new_at: &[u32], instances: &mut [Instance]) {
    let end = new_at[new_at.len() - 1];
    // First and last uses stay, but for the loads of aliases.
    let last_of = |old: &Instance| new_at[old.last as usize + 1].saturating_sub(1);
    let used = || stream.instances.iter().enumerate().filter(|(_, old)| old.first != NONE);
    for (i, old) in used() {
        let private = kernel.bufs[old.buf].kind == BufKind::Private;
        let life =
            if private { (new_at[old.first as usize], last_of(old)) } else { (0, end.saturating_sub(1)) };
        (instances[i].first, instances[i].last) = if alias[i] == NONE { life } else { (NONE, NONE) };
    }
    for (i, old) in used().filter(|(i, _)| alias[*i] != NONE) {
        let holder = &mut instances[alias[i] as usize];
        holder.last = holder.last.max(last_of(old));
    }
}

/// The same structure in the numbers of the items that stay.
fn renumber(blocks: &[Block], new_at: &[u32]) -> Vec<Block> {
    let at = |i: u32| new_at[i as usize];
    // Recursion is bounded by the nesting of kept loops, which the text's depth bounds.
    let inner = |b: &[Block]| renumber(b, new_at);
    let one = |b: &Block| match b {
        Block::Straight(r) => Block::Straight(at(r.start)..at(r.end)),
        Block::Register(i) => Block::Register(at(*i)),
        Block::Loop(l, body) => Block::Loop(*l, inner(body)),
        Block::While(l, body) => Block::While(*l, inner(body)),
        Block::Branch(l, [then, otherwise]) => Block::Branch(*l, [inner(then), inner(otherwise)]),
    };
    let stays = |b: &Block| !matches!(b, Block::Straight(r) if r.is_empty());
    blocks.iter().map(one).filter(stays).collect()
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
