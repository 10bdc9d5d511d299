//! When buffers hold something: the lives of placements, found while a run goes on.

use crate::code::Flat;
use crate::cost::{Ps, sides};
use crate::program::{Access, MInst, MKind, MOperand};
use nki_ir::op::Effect;
use smallvec::SmallVec;

/// From the first write of a buffer to its last read before it is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub placement: u32,
    pub start: Ps,
    pub end: Ps,
}

/// Placements that an instruction writes and reads.
#[derive(Clone, Debug, Default)]
struct Touched {
    writes: SmallVec<[u32; 2]>,
    reads: SmallVec<[u32; 4]>,
}

/// A buffer that holds something.
#[derive(Clone, Copy, Debug)]
struct Held {
    start: Ps,
    end: Ps,
    /// It has been read, so that the next write begins another life.
    read: bool,
}

/// Follows the buffers of a program.
#[derive(Clone, Debug)]
pub(crate) struct Lives {
    touched: Vec<Touched>,
    held: Vec<Option<Held>>,
}

impl Lives {
    pub fn new(flat: &Flat) -> Lives {
        let touched = flat.insts.iter().map(touched).collect();
        Lives { touched, held: vec![None; flat.header.placements.len()] }
    }

    /// The buffers of `inst` are in use from `start` to `end`; `ended` is told of the lives that this ends.
    pub fn touch(&mut self, inst: u32, start: Ps, end: Ps, mut ended: impl FnMut(Life)) {
        let Some(touched) = self.touched.get(inst as usize) else { return };
        for &p in &touched.reads {
            if let Some(Some(held)) = self.held.get_mut(p as usize) {
                (held.end, held.read) = (held.end.max(end), true);
            }
        }
        for &p in &touched.writes {
            let Some(slot) = self.held.get_mut(p as usize) else { continue };
            match slot {
                Some(held) if !held.read || touched.reads.contains(&p) => held.end = held.end.max(end),
                _ => {
                    if let Some(h) = slot.replace(Held { start, end, read: false }) {
                        ended(Life { placement: p, start: h.start, end: h.end.min(start) });
                    }
                }
            }
        }
    }

    /// Ends what is open.
    pub fn finish(&mut self, mut ended: impl FnMut(Life)) {
        for (p, held) in self.held.iter_mut().enumerate() {
            if let Some(h) = held.take() {
                ended(Life { placement: p as u32, start: h.start, end: h.end });
            }
        }
    }
}

/// Operands that are accesses: `(written, access)`, in the order of the row.
pub(crate) fn accesses(inst: &MInst) -> SmallVec<[(bool, &Access); 4]> {
    match &inst.kind {
        MKind::Compute { op, operands, .. } => {
            let pairs = op.row().operands.iter().zip(operands);
            pairs
                .filter_map(|(spec, o)| match o {
                    MOperand::Access(a) => Some((spec.effect != Effect::Read, a)),
                    _ => None,
                })
                .collect()
        }
        MKind::Dma { op, operands, .. } => sides(*op, operands)
            .map_or_else(SmallVec::new, |(dst, src)| SmallVec::from_slice(&[(true, dst), (false, src)])),
        MKind::RegLoad { src, .. } => SmallVec::from_slice(&[(false, &**src)]),
        MKind::RegStore { dst, .. } => SmallVec::from_slice(&[(true, &**dst)]),
        _ => SmallVec::new(),
    }
}

fn touched(inst: &MInst) -> Touched {
    let mut out = Touched::default();
    for (written, a) in accesses(inst).into_iter().filter(|(_, a)| a.space.on_chip()) {
        if let Some(o) = a.object {
            if written { out.writes.push(o) } else { out.reads.push(o) }
        }
    }
    out
}
