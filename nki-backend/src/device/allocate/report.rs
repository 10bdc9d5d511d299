//! Errors of the allocator.

use super::Site;
use crate::device::expand::Stream;
use nki_ir::{Code, Diagnostic, Kernel, Space};

fn code(space: Space) -> Code {
    if space == Space::Psum { Code::PsumCapacity } else { Code::SbufCapacity }
}

fn label(space: Space) -> &'static str {
    if space == Space::Psum { "PSUM" } else { "SBUF" }
}

/// How many live buffers a capacity error lists.
const LISTED: usize = 8;

/// Everything live at the peak does not fit.
pub(super) fn over_capacity(
    kernel: &Kernel,
    stream: &Stream,
    space: Space,
    capacity: u32,
    sites: &[Site],
) -> Diagnostic {
    let mut events: Vec<(u32, bool, u32)> = Vec::new();
    for s in sites {
        for &i in &s.instances {
            let instance = &stream.instances[i as usize];
            events.push((instance.first, true, s.bytes));
            events.push((instance.last + 1, false, s.bytes));
        }
    }
    // Ends come before beginnings at the same item.
    events.sort_unstable();
    let (mut live, mut peak, mut when) = (0u64, 0u64, 0u32);
    for (at, begins, bytes) in events {
        live = if begins { live + u64::from(bytes) } else { live - u64::from(bytes) };
        if live > peak {
            (peak, when) = (live, at);
        }
    }
    let mut holders: Vec<(u64, u64, &Site)> = Vec::new();
    for s in sites {
        let count = s.instances.iter().filter(|&&i| {
            let instance = &stream.instances[i as usize];
            instance.first <= when && when <= instance.last
        });
        let count = count.count() as u64;
        if count > 0 {
            holders.push((count * u64::from(s.bytes), count, s));
        }
    }
    holders.sort_by(|a, b| b.0.cmp(&a.0).then(a.2.buf.cmp(&b.2.buf)));
    let what = label(space);
    let text = if peak > u64::from(capacity) {
        format!("{what} needs {peak} bytes per partition at the peak, of {capacity}")
    } else {
        format!(
            "{what} holds {peak} bytes per partition at the peak, of {capacity}, but not in one piece each"
        )
    };
    let mut d = Diagnostic::error(code(space), text);
    if let Some((_, _, largest)) = holders.first() {
        d = d.at(&kernel.locs, kernel.bufs[largest.buf].loc);
    }
    for &(bytes, count, s) in holders.iter().take(LISTED) {
        let data = &kernel.bufs[s.buf];
        let times = if count > 1 { format!("{count} x ") } else { String::new() };
        let line = format!("`{}` holds {times}{} = {bytes} bytes per partition", data.name, s.bytes);
        d = d.related(&kernel.locs, data.loc, line);
    }
    if holders.len() > LISTED {
        d = d.note(format!("{} more buffers are live there", holders.len() - LISTED));
    }
    let over = peak.saturating_sub(u64::from(capacity));
    let largest = holders.first().map_or("", |h| kernel.bufs[h.2.buf].name.as_str());
    d.help(format!(
        "use tiles of fewer columns, or load `{largest}` in parts: {over} bytes per partition are too many"
    ))
}

/// A depth that the author asked for is more than there is room.
pub(super) fn buffers_do_not_fit(kernel: &Kernel, space: Space, capacity: u32, s: &Site) -> Diagnostic {
    let data = &kernel.bufs[s.buf];
    let text = format!(
        "{} buffers of `{}` ({} bytes per partition each) do not fit beside the others in {} bytes of {}",
        s.depth,
        data.name,
        s.bytes,
        capacity,
        label(space)
    );
    Diagnostic::error(code(space), text)
        .at(&kernel.locs, data.loc)
        .help(format!("ask for fewer buffers of `{}`; {} is the least", data.name, s.min_depth))
}

/// A manual address leaves the memory.
pub(super) fn manual_outside(kernel: &Kernel, space: Space, capacity: u32, s: &Site) -> Diagnostic {
    let data = &kernel.bufs[s.buf];
    let (partition, offset) = s.fixed.unwrap_or_default();
    let text = format!(
        "`{}` placed at partition {partition}, byte {offset} takes {} partitions and {} bytes: beyond 128 partitions of {capacity} bytes",
        data.name,
        s.partitions,
        u64::from(s.bytes) * u64::from(s.depth.max(s.min_depth)),
    );
    Diagnostic::error(code(space), text)
        .at(&kernel.locs, data.loc)
        .help("place it lower, or leave the address out")
}

/// Two manual addresses collide.
pub(super) fn manual_overlap(kernel: &Kernel, s: &Site, other: &Site) -> Diagnostic {
    let (a, b) = (&kernel.bufs[s.buf], &kernel.bufs[other.buf]);
    let text = format!("`{}` and `{}` are live together and were placed over each other", a.name, b.name);
    Diagnostic::error(Code::Overlap, text)
        .at(&kernel.locs, a.loc)
        .related(&kernel.locs, b.loc, format!("`{}` is placed here", b.name))
        .help("move one of them, or leave its address out")
}
