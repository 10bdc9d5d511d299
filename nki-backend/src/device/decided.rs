//! What the compiler decided, in the terms of schedules: an author who wants something else starts from this.

use crate::device::allocate::Allocation;
use crate::device::expand::{NONE, Stream};
use crate::device::legalise::Template;
use nki_ir::entity::Entity;
use nki_ir::{Buf, Engine, Kernel, Loop, LoopData, Space};
use nki_sim::Program;
use nki_sim::program::{MInst, MKind, STREAM_ENGINES};

/// A buffer on chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferChoice {
    pub buf: Buf,
    /// Places that its instances rotate through.
    pub buffers: u32,
    /// Asking for as many `buffers` gives the same: they are its own, and no load was dropped because one still held its data.
    pub plain: bool,
    /// Start partition and byte offset of the lowest of them.
    pub place: (u32, u32),
    /// Engines on which the instructions run that write it, if they could run on others.
    pub engines: Vec<Engine>,
    /// Rings of the transfers that fill or empty it.
    pub queues: Vec<u8>,
}

/// A loop with constant bounds that runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopChoice {
    pub source: Loop,
    pub trip: u64,
    /// Turns that were unrolled: all, or those in one turn of a hardware loop.
    pub unroll: u64,
}

/// Reads the choices off the results of the passes.
pub fn decided(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    allocation: &Allocation,
    program: &Program,
) -> (Vec<BufferChoice>, Vec<LoopChoice>) {
    let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); kernel.bufs.len()];
    for (instance, place) in stream.instances.iter().zip(&allocation.places) {
        if instance.first != NONE && kernel.bufs[instance.buf].space != Space::Hbm {
            places[instance.buf.index()].push((place.partition, place.offset as u32));
        }
    }
    let mut plain = vec![true; kernel.bufs.len()];
    let mut owner: Vec<Option<Buf>> = vec![None; allocation.placements.len()];
    for (instance, place) in stream.instances.iter().zip(&allocation.places) {
        let buf = instance.buf;
        if kernel.bufs[buf].space == Space::Hbm {
            continue;
        }
        if instance.first == NONE {
            plain[buf.index()] = false;
        } else if let Some(slot) = owner.get_mut(place.object as usize) {
            let first = *slot.get_or_insert(buf);
            if first != buf {
                plain[first.index()] = false;
                plain[buf.index()] = false;
            }
        }
    }
    for site in allocation.sites.iter().filter(|s| s.depth == 0) {
        for (buf, _) in kernel.bufs.iter().filter(|(_, b)| b.name == site.name) {
            plain[buf.index()] = false;
        }
    }
    let mut choices: Vec<BufferChoice> = Vec::new();
    for (buf, _) in kernel.bufs.iter() {
        let mut at = std::mem::take(&mut places[buf.index()]);
        at.sort_unstable();
        at.dedup();
        let Some(&place) = at.first() else { continue };
        let buffers = at.len() as u32;
        let plain = plain[buf.index()];
        choices.push(BufferChoice { buf, buffers, plain, place, engines: Vec::new(), queues: Vec::new() });
    }
    for (s, body) in program.streams.iter().enumerate() {
        let mut stack = vec![body.iter()];
        while let Some(top) = stack.last_mut() {
            match top.next() {
                None => {
                    stack.pop();
                }
                Some(MInst { kind: MKind::For { body, .. } | MKind::While { body, .. }, .. }) => {
                    stack.push(body.iter());
                }
                Some(MInst { kind: MKind::If { then, otherwise, .. }, .. }) => {
                    stack.extend([then.iter(), otherwise.iter()]);
                }
                Some(inst) => instruction(templates, STREAM_ENGINES[s], inst, &mut choices),
            }
        }
    }
    (choices, loops(kernel, stream))
}

fn instruction(templates: &[Template], engine: Engine, inst: &MInst, choices: &mut [BufferChoice]) {
    let Some(t) = inst.source.and_then(|i| templates.get(i as usize)) else { return };
    for (n, v) in t.operands.iter().enumerate().filter_map(|(n, o)| Some((n, o.view()?))) {
        let Ok(at) = choices.binary_search_by_key(&v.buf, |c| c.buf) else { continue };
        match &inst.kind {
            MKind::Dma { queue, .. } if !choices[at].queues.contains(queue) => {
                choices[at].queues.push(*queue);
                choices[at].queues.sort_unstable();
            }
            MKind::Compute { .. }
                if n == 0 && t.engines.len() > 1 && !choices[at].engines.contains(&engine) =>
            {
                choices[at].engines.push(engine);
            }
            _ => {}
        }
    }
}

fn loops(kernel: &Kernel, stream: &Stream) -> Vec<LoopChoice> {
    let mut out = Vec::new();
    for (source, data) in kernel.loops.iter() {
        let (LoopData::For { .. }, Some(trip)) = (data, data.trip_count()) else { continue };
        let hard = stream.loops.iter().find(|l| l.source == source);
        let unroll = hard.map_or(trip, |l| (l.step / l.source_step.max(1)) as u64);
        if trip > 0 {
            out.push(LoopChoice { source, trip, unroll });
        }
    }
    out
}
