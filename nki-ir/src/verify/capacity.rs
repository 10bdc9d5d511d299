//! Rule G13: what is live at the same time fits. Reported once per memory, at the peak, with the live buffers.
//!
//! A buffer is live from its allocation to its last use; a use in a loop inside the buffer's region keeps it to the end of
//! that loop. A buffer allocated in a loop body counts once. Each byte offset counts in all partitions, as tiles start at
//! partition 0 unless placed. PSUM is counted in banks: a tile of more than 2 KiB takes whole banks, smaller ones share.

use super::context::{Report, type_of, violation};
use super::flat::{Flat, Step};
use super::rules;
use super::structure::views;
use crate::diag::Diagnostics;
use crate::entity::{Buf, Entity};
use crate::kernel::{BufData, BufKind, Kernel, Space};
use crate::target::{PSUM_BANK_BYTES, PSUM_BANKS, PSUM_BYTES_PER_PARTITION, Target};
use std::cell::RefCell;

/// At most this many live buffers are listed.
const LISTED: usize = 8;

/// Positions of `Flat::steps` at which each buffer is live, both ends included; `None` for arguments and unused buffers.
pub fn live_ranges(kernel: &Kernel, flat: &Flat) -> Vec<Option<(usize, usize)>> {
    let mut live: Vec<Option<(usize, usize)>> = vec![None; kernel.bufs.len()];
    for (at, step) in flat.steps.iter().enumerate() {
        match step {
            Step::Alloc(buf) => live[buf.index()] = Some((at, at)),
            Step::Inst(inst) => {
                let Some((region, _)) = flat.inst(*inst) else { continue };
                for (_, view) in views(&kernel.insts[*inst]) {
                    let Some((home, _)) = flat.alloc(view.buf) else { continue };
                    // The outermost region inside the buffer's own that holds the use.
                    let outer = flat.ancestors(region).take_while(|r| *r != home).last();
                    let end = outer.and_then(|r| flat.span(r)).map_or(at, |s| s.leave);
                    if let Some(range) = &mut live[view.buf.index()] {
                        range.1 = range.1.max(end);
                    }
                }
            }
            _ => {}
        }
    }
    live
}

/// Reports memories that are too small; SBUF only if nothing can be `spilled` to make room.
pub fn check(kernel: &Kernel, flat: &Flat, target: Target, spilled: bool, out: &RefCell<Diagnostics>) {
    placed(kernel, target, out);
    let live = live_ranges(kernel, flat);
    let bounded = [Space::Sbuf, Space::Psum].into_iter().filter(|s| !spilled || *s == Space::Psum);
    for space in bounded {
        peak(kernel, target, space, flat, &live, out);
    }
    hbm(kernel, target, out);
}

/// 3.3 item 4, 3.4 item 2 and the size of one PSUM tile.
fn placed(kernel: &Kernel, target: Target, out: &RefCell<Diagnostics>) {
    for data in kernel.bufs.values().filter(|b| b.space.on_chip()) {
        let fail = |rule, message: String| {
            Report::new(violation(rule, message).at(&kernel.locs, data.loc), kernel, out)
        };
        let bytes = data.row_bytes();
        if data.space == Space::Psum && bytes > PSUM_BYTES_PER_PARTITION.into() {
            let message = format!("`{}` has {bytes} bytes per partition, PSUM has 16384", data.name);
            fail(&rules::PSUM_TILE, message)
                .help("split it into tiles of at most 4096 float32 per partition");
            continue;
        }
        let Some((part, offset)) = data.address else { continue };
        let size = if data.space == Space::Sbuf {
            target.sbuf_bytes_per_partition()
        } else {
            PSUM_BYTES_PER_PARTITION
        };
        if u64::from(part) + u64::from(data.partitions()) > 128 || u64::from(offset) + bytes > size.into() {
            let message = format!(
                "`{}` is placed at partitions {part}..{}, bytes {offset}..{} of {size}",
                data.name,
                u64::from(part) + u64::from(data.partitions()),
                u64::from(offset) + bytes
            );
            fail(&rules::ADDRESS, message)
                .help("place it inside the memory, or leave the place to the compiler");
        } else if data.space == Space::Psum && offset % PSUM_BANK_BYTES != 0 {
            let message = format!("`{}` is placed at byte {offset} of PSUM", data.name);
            fail(&rules::PSUM_ADDRESS, message).help("use a multiple of 2048");
        }
    }
}

/// Bytes that the buffer takes, with the copies that a schedule asks for.
fn bytes(data: &BufData) -> u64 {
    data.row_bytes().saturating_mul(data.buffers.unwrap_or(1).max(1).into())
}

/// What a set of live buffers needs: bytes in SBUF, bytes of whole banks in PSUM.
struct Need {
    space: Space,
    /// Sizes of live buffers, largest first.
    sizes: Vec<u64>,
    total: u64,
}

impl Need {
    fn add(&mut self, data: &BufData) {
        for _ in 0..data.buffers.unwrap_or(1).clamp(1, 64) {
            let at = self.sizes.partition_point(|s| *s > data.row_bytes());
            self.sizes.insert(at, data.row_bytes());
        }
        self.total = self.total.saturating_add(bytes(data));
    }
    fn remove(&mut self, data: &BufData) {
        for _ in 0..data.buffers.unwrap_or(1).clamp(1, 64) {
            if let Some(at) = self.sizes.iter().position(|s| *s == data.row_bytes()) {
                self.sizes.remove(at);
            }
        }
        self.total -= bytes(data);
    }
    fn bytes(&self) -> u64 {
        if self.space == Space::Sbuf { self.total } else { self.banks() * u64::from(PSUM_BANK_BYTES) }
    }
    /// Banks when the largest tiles are packed first, each into the first bank with room.
    fn banks(&self) -> u64 {
        let bank = u64::from(PSUM_BANK_BYTES);
        let (mut whole, mut open) = (0, Vec::<u64>::new());
        for size in &self.sizes {
            if *size > bank {
                whole += size.div_ceil(bank);
            } else if let Some(free) = open.iter_mut().find(|free| **free >= *size) {
                *free -= size;
            } else {
                open.push(bank - size);
            }
        }
        whole + open.len() as u64
    }
}

fn peak(
    kernel: &Kernel,
    target: Target,
    space: Space,
    flat: &Flat,
    live: &[Option<(usize, usize)>],
    out: &RefCell<Diagnostics>,
) {
    let limit = u64::from(if space == Space::Sbuf {
        target.sbuf_bytes_per_partition()
    } else {
        PSUM_BYTES_PER_PARTITION
    });
    let mut ends: Vec<Vec<Buf>> = vec![Vec::new(); flat.steps.len()];
    // A tile that can never fit is reported by itself.
    let fits = |b: &BufData| space == Space::Sbuf || b.row_bytes() <= PSUM_BYTES_PER_PARTITION.into();
    let here = |b: Buf| {
        let data = &kernel.bufs[b];
        data.space == space && data.kind == BufKind::Private && fits(data)
    };
    for buf in kernel.bufs.keys().filter(|b| here(*b)) {
        if let Some((_, end)) = live[buf.index()] {
            ends[end.min(flat.steps.len() - 1)].push(buf);
        }
    }
    let mut need = Need { space, sizes: Vec::new(), total: 0 };
    let mut worst = (0, 0);
    for (at, step) in flat.steps.iter().enumerate() {
        if let Step::Alloc(buf) = step
            && here(*buf)
        {
            need.add(&kernel.bufs[*buf]);
            if need.bytes() > worst.0 {
                worst = (need.bytes(), at);
            }
        }
        ends[at].iter().for_each(|b| need.remove(&kernel.bufs[*b]));
    }
    if worst.0 <= limit {
        return;
    }
    let at_peak = |b: &Buf| live[b.index()].is_some_and(|(from, to)| from <= worst.1 && worst.1 <= to);
    let mut tiles: Vec<Buf> = kernel.bufs.keys().filter(|b| here(*b) && at_peak(b)).collect();
    tiles.sort_by_key(|b| std::cmp::Reverse(bytes(&kernel.bufs[*b])));
    report(kernel, target, space, &tiles, (worst.0, limit), worst.1, flat, out);
}

#[allow(clippy::too_many_arguments)]
fn report(
    kernel: &Kernel,
    target: Target,
    space: Space,
    tiles: &[Buf],
    (need, limit): (u64, u64),
    at: usize,
    flat: &Flat,
    out: &RefCell<Diagnostics>,
) {
    let sbuf = space == Space::Sbuf;
    let rule = if sbuf { &rules::SBUF } else { &rules::PSUM };
    let together = match tiles {
        [one] => format!("`{}` needs", kernel.bufs[*one].name),
        _ => format!("{} tiles live at once need", tiles.len()),
    };
    let message = if sbuf {
        format!("SBUF: {together} {need} bytes per partition, {target} has {limit}")
    } else {
        format!("PSUM: {together} {} banks, there are {PSUM_BANKS}", need / u64::from(PSUM_BANK_BYTES))
    };
    let loc = match flat.steps[at] {
        Step::Alloc(b) => kernel.bufs[b].loc,
        _ => kernel.bufs[tiles[0]].loc,
    };
    let mut d = violation(rule, message).at(&kernel.locs, loc);
    for buf in tiles.iter().take(LISTED) {
        let data = &kernel.bufs[*buf];
        let copies = data.buffers.filter(|n| *n > 1).map_or(String::new(), |n| format!(", {n} copies"));
        let what =
            format!("`{}` is {}: {} bytes per partition{copies}", data.name, type_of(data), bytes(data));
        d = d.related(&kernel.locs, data.loc, what);
    }
    if tiles.len() > LISTED {
        let rest: u64 = tiles[LISTED..].iter().map(|b| bytes(&kernel.bufs[*b])).sum();
        d = d.note(format!("and {} smaller tiles of {rest} bytes together", tiles.len() - LISTED));
    }
    let data = &kernel.bufs[tiles[0]];
    let largest = &data.name;
    let help = if sbuf {
        let fit = match fitting_columns(data, need - limit) {
            Some(columns) => format!("with at most {columns} columns of `{largest}` all would fit here: "),
            None => format!("{} bytes are too many here, more than `{largest}` holds: ", need - limit),
        };
        format!(
            "{fit}load `{largest}` in smaller tiles inside the loop that uses them, or use a 2-byte dtype"
        )
    } else {
        format!("copy finished results out of PSUM before starting new ones, or make `{largest}` smaller")
    };
    Report::new(d.help(help), kernel, out);
}

/// How long the last dimension of a tile may be for it, with all its copies, to take `over` bytes less; `None` if no length
/// is short enough.
fn fitting_columns(data: &BufData, over: u64) -> Option<u64> {
    let columns = u64::from(*data.shape.last()?);
    let copies = u64::from(data.buffers.unwrap_or(1).max(1));
    let left = bytes(data).checked_sub(over)? / copies;
    let column = data.row_bytes().checked_div(columns)?;
    left.checked_div(column).filter(|n| *n > 0)
}

/// All HBM tensors together.
fn hbm(kernel: &Kernel, target: Target, out: &RefCell<Diagnostics>) {
    let tensors = || kernel.bufs.values().filter(|b| b.space == Space::Hbm);
    let total = tensors().fold(0u64, |n, b| n.saturating_add(b.row_bytes()));
    if total <= target.hbm_bytes() {
        return;
    }
    if let Some(largest) = tensors().max_by_key(|b| b.row_bytes()) {
        let message =
            format!("the kernel's HBM tensors take {total} bytes, {target} has {}", target.hbm_bytes());
        let d = violation(&rules::HBM, message).at(&kernel.locs, largest.loc);
        Report::new(d, kernel, out)
            .buffer(largest)
            .help("run on smaller tensors, or call the kernel on slices");
    }
}
