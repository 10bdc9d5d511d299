//! Split transfers: the last loads and the last stores of a program, and its first loads, in pieces as the instructions use them that
//! read or write their tiles. A whole tile is waited for until its last byte has come, and stored when its last column has been
//! computed; in the middle of a program other work hides that, at its ends nothing does.
//!
//! Every piece is the same copy of fewer columns. Whether that pays (pieces are more and shorter elements, and each has to be
//! triggered) is found out by simulating both programs.

use crate::device::expand::{Item, ItemAccess, NONE, Stream, reads, writes};
use crate::device::legalise::{self, Template, ViewForm};
use crate::device::schedule::Costs;
use nki_ir::{Diagnostics, Index, Kernel, Op, Operand, Space, Target, View};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// A program with transfers in pieces.
pub struct Split {
    pub templates: Vec<Template>,
    pub stream: Stream,
    pub transfers: usize,
    pub pieces: usize,
}

/// Transfers that take the DMA engines so long together, in nanoseconds, are at an end: about what one tile takes from its load to the
/// store of what is made from it.
const END: f64 = 3_000.0;

/// Shorter rows cost the DMA engines more than the ends gain (machine.md 5.2), and more pieces than this more than they hide.
const ROW: i64 = 512;
const PIECES: usize = 4;

/// Splits the transfers at the ends of a straight program. `None` if none can be.
///
/// # Errors
/// What legalising a transfer reports.
pub fn split_ends(
    kernel: &Kernel,
    target: Target,
    templates: &[Template],
    costs: &Costs,
    stream: &Stream,
) -> Result<Option<Split>, Diagnostics> {
    let at_ends = ends(templates, costs, stream);
    let mut out = Split {
        templates: templates.to_vec(),
        stream: Stream { items: Vec::new(), accesses: Vec::new(), ..stream.clone() },
        transfers: 0,
        pieces: 0,
    };
    let cuts = cuts(kernel, templates, stream, &at_ends);
    // By template and piece: its template.
    let mut known: BTreeMap<(u32, u32, u32), u32> = BTreeMap::new();
    for (n, item) in stream.items.iter().enumerate() {
        let accesses = stream.accesses_of(n);
        let Some(cuts) = cuts.get(&(n as u32)).filter(|c| c.len() > 2) else {
            out.push(*item, accesses);
            continue;
        };
        out.transfers += 1;
        for piece in cuts.windows(2) {
            let key = (item.template, piece[0], piece[1]);
            let template = match known.get(&key) {
                Some(&t) => t,
                None => *known.entry(key).or_insert(out.piece(kernel, target, key)?),
            };
            let whole = out.templates[item.template as usize].clone();
            let part = out.templates[template as usize].clone();
            let moved: SmallVec<[ItemAccess; 2]> = accesses
                .iter()
                .zip(whole.views().zip(part.views()))
                .map(|(a, (whole, part))| {
                    let by = (part.offset.offset() - whole.offset.offset()) * whole.dtype.bytes() as i64;
                    ItemAccess { offset: a.offset + by, ..*a }
                })
                .collect();
            out.push(Item { template, ..*item }, &moved);
            out.pieces += 1;
        }
    }
    if out.transfers == 0 {
        return Ok(None);
    }
    out.stream.blocks = vec![crate::device::expand::Block::Straight(0..out.stream.items.len() as u32)];
    Ok(Some(out))
}

impl Split {
    fn push(&mut self, item: Item, accesses: &[ItemAccess]) {
        self.stream.items.push(Item { accesses: self.stream.accesses.len() as u32, ..item });
        self.stream.accesses.extend_from_slice(accesses);
    }

    /// The template that copies columns `from .. to` of what `template` copies.
    fn piece(
        &mut self,
        kernel: &Kernel,
        target: Target,
        (template, from, to): (u32, u32, u32),
    ) -> Result<u32, Diagnostics> {
        let number = self.templates[template as usize].inst;
        let mut inst = kernel.insts[number].clone();
        for o in &mut inst.operands {
            if let Operand::View(v) = o {
                narrow(v, from, to);
            }
        }
        self.templates.push(legalise::template(kernel, target, number, &inst).map_err(|d| *d)?);
        Ok(self.templates.len() as u32 - 1)
    }
}

/// The last axis of a slice that is not an index.
fn last_axis(v: &View) -> Option<usize> {
    match &v.index {
        Index::Slice(axes) if v.dynamic.is_none() => axes.iter().rposition(|a| !a.drop),
        _ => None,
    }
}

fn narrow(v: &mut View, from: u32, to: u32) {
    let axis = last_axis(v);
    if let (Some(axis), Index::Slice(axes)) = (axis, &mut v.index) {
        let a = &mut axes[axis];
        let moved = a.start.add_constant(from.into());
        a.start = moved.expect("a column of a view that passed the gate");
        a.count = to - from;
    }
}

/// The transfers at the ends: items, in order.
fn ends(templates: &[Template], costs: &Costs, stream: &Stream) -> Vec<u32> {
    let of = |n: u32| &templates[stream.items[n as usize].template as usize];
    let time = |n: u32| {
        let c = costs.templates[stream.items[n as usize].template as usize].transfer.as_ref();
        c.map_or(0.0, |c| c.service.iter().map(|s| s.1).sum::<f64>() / 16.0)
    };
    let is_store = |t: &Template| t.views().any(|v| v.space == Space::Hbm && writes(v));
    let all = || (0..stream.items.len() as u32).filter(|&n| of(n).is_dma());
    let mut out = Vec::new();
    let mut take = |items: &mut dyn Iterator<Item = u32>| {
        let mut sum = 0.0;
        for n in items {
            out.push(n);
            sum += time(n);
            if sum > END {
                break;
            }
        }
    };
    take(&mut all().filter(|&n| !is_store(of(n))));
    take(&mut all().rev().filter(|&n| !is_store(of(n))));
    take(&mut all().rev().filter(|&n| is_store(of(n))));
    out.sort_unstable();
    out.dedup();
    out
}

/// Where each of some transfers can be cut: ascending columns, the first and the one behind the last among them.
fn cuts(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    items: &[u32],
) -> BTreeMap<u32, SmallVec<[u32; 5]>> {
    // By instance: the transfer that fills or empties it.
    let mut wanted: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut found: BTreeMap<u32, (Columns, Vec<i64>)> = BTreeMap::new();
    for &n in items {
        let item = &stream.items[n as usize];
        let t = &templates[item.template as usize];
        if let Some(c) = columns(kernel, t, item, stream.accesses_of(n as usize)) {
            wanted.entry(c.instance).or_default().push(n);
            found.insert(n, (c, Vec::new()));
        }
    }
    for (n, item) in stream.items.iter().enumerate() {
        let t = &templates[item.template as usize];
        if t.is_dma() {
            continue;
        }
        for (v, a) in t.views().zip(stream.accesses_of(n)) {
            let Some(transfers) = wanted.get(&a.instance) else { continue };
            for m in transfers {
                let Some((c, bounds)) = found.get_mut(m) else { continue };
                if if c.store { writes(v) } else { reads(v, item) } {
                    bounds.extend([a.offset + v.extent.0, a.offset + v.extent.1]);
                }
            }
        }
    }
    found.into_iter().map(|(n, (c, bounds))| (n, c.cut(bounds))).collect()
}

/// The on-chip side of a transfer: rows of adjacent columns.
struct Columns {
    instance: u32,
    store: bool,
    /// Bytes from the start of the tile to the first column, bytes of a column, how many there are.
    first: i64,
    size: i64,
    count: u32,
}

fn columns(kernel: &Kernel, t: &Template, item: &Item, accesses: &[ItemAccess]) -> Option<Columns> {
    let views: SmallVec<[&ViewForm; 2]> = t.views().collect();
    let [dst, src] = *views.as_slice() else { return None };
    let (at, tile, other) = match (dst.space, src.space) {
        (Space::Sbuf, Space::Hbm) => (0, dst, src),
        (Space::Hbm, Space::Sbuf) => (1, src, dst),
        _ => return None,
    };
    let simple = t.op == Op::DmaCopy && item.group == NONE && t.registers().next().is_none();
    let (row, theirs) = (tile.dims.last()?, other.dims.last()?);
    let one_row = tile.dims.iter().rev().skip(1).all(|d| d.count == 1);
    let adjacent = row.stride == 1 && theirs.stride == 1 && theirs.count == row.count;
    let mut operands = kernel.insts[t.inst].operands.iter();
    let sliced = operands.all(|o| !matches!(o, Operand::View(v) if last_axis(v).is_none()));
    (simple && one_row && adjacent && sliced).then(|| Columns {
        instance: accesses[at].instance,
        store: at == 1,
        first: accesses[at].offset,
        size: tile.dtype.bytes() as i64,
        count: row.count,
    })
}

impl Columns {
    /// Columns at which a piece begins or ends: where users of the tile begin or end, not closer than [`ROW`] bytes, at most
    /// [`PIECES`] of them.
    fn cut(&self, mut bounds: Vec<i64>) -> SmallVec<[u32; 5]> {
        bounds.sort_unstable();
        bounds.dedup();
        let end = self.first + i64::from(self.count) * self.size;
        let least = ROW.max((end - self.first) / PIECES as i64);
        let mut out: SmallVec<[u32; 5]> = SmallVec::new();
        out.push(0);
        let mut last = self.first;
        for b in bounds {
            if b - last >= least && end - b >= least && (b - self.first) % self.size == 0 {
                out.push(((b - self.first) / self.size) as u32);
                last = b;
            }
        }
        out.push(self.count);
        out
    }
}
