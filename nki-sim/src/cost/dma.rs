//! DMA transfers (machine.md 5 and 13.5): elements, their distribution over the engines, service times.

use super::face::{contiguous_run, is_indexed};
use super::{Instr, Ps, ps};
use crate::constants::{Constants, DMA_ENGINES};
use crate::program::{Access, MOperand};
use nki_ir::kernel::{Attr, Space};
use nki_ir::op::{DgeMode, Op};

/// What one DMA engine does for a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Descriptor elements, after splitting long ones.
    pub elements: u64,
    pub bytes: u64,
    /// Service time of all of them.
    pub service: Ps,
    /// Arbitration units; the engine may switch rings between them.
    pub packets: u64,
}

/// What a transfer costs on an idle machine.
#[derive(Clone, Debug, PartialEq)]
pub struct DmaCost {
    /// Bytes moved: of the larger side if the transfer converts.
    pub bytes: u64,
    /// Scatter-gather elements in all.
    pub elements: u64,
    /// Per DMA engine.
    pub shares: [Share; DMA_ENGINES],
    /// Reads HBM: start-up and first-read times of a load.
    pub load: bool,
    /// Bytes that cross the interface of HBM for each byte moved: 0 on chip, 2 from HBM to HBM, less than 1 where the side in SBUF
    /// has the larger dtype.
    pub stack: f64,
    /// Trigger (or descriptor generation) start until the first byte on engine 0.
    pub start: Ps,
    /// Issuing sequencer busy.
    pub trigger: Ps,
    /// Descriptor generator busy (DGE unit, or the GpSimd engine for software descriptors); 0 for static descriptors.
    pub issue: Ps,
}

impl DmaCost {
    /// Trigger until a waiter may issue, on idle DMA engines (machine.md 15.4).
    pub fn alone(&self, k: &Constants) -> Ps {
        let first = if self.load { ps(k.dma.first_read_ns) } else { 0 };
        let engine = |(e, s): (usize, &Share)| {
            let lead = if s.elements > 0 { first } else { 0 };
            ps(k.dma.engine_stagger_ns) * e as u64 + lead + s.service
        };
        let last = self.shares.iter().enumerate().map(engine).max().unwrap_or(0);
        self.start + last + ps(k.dma.sem_write_ns) + ps(k.dma.done_ns)
    }
    /// Time the busiest DMA engine spends: the interval between independent transfers of this shape.
    pub fn occupancy(&self, k: &Constants) -> Ps {
        self.shares.iter().map(|s| s.service).max().unwrap_or(0) + ps(k.dma.sem_write_ns)
    }
}

/// What distributing a transfer over the engines needs; all but the start partition is fixed per instruction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DmaShape {
    /// Elements and bytes per partition, or of the whole transfer if neither side is in SBUF.
    elements: u64,
    bytes: u64,
    /// Partitions on the SBUF side; `None`: HBM to HBM.
    partitions: Option<u32>,
    bpns: f64,
    factor: f64,
    /// Static descriptors are packed into packets.
    packed: bool,
}

/// Descriptor elements of `n` paired elements whose sides break every `a` and every `b` elements.
fn breaks(n: u64, a: u64, b: u64) -> u64 {
    let (a, b) = (a.clamp(1, n.max(1)), b.clamp(1, n.max(1)));
    if a % b == 0 || b % a == 0 {
        return n.div_ceil(a.min(b));
    }
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let lcm = (a / x).saturating_mul(b);
    n.div_ceil(a) + n.div_ceil(b) - n.div_ceil(lcm)
}

fn shape_factor(k: &Constants, op: Op, src: Space) -> f64 {
    match (op.name(), src) {
        ("dma_transpose", Space::Hbm) => 1.0 / k.dma.transpose_hbm,
        ("dma_transpose", _) => 1.0 / k.dma.transpose_sbuf,
        ("dma_compute", _) => 1.0 / k.dma.compute_factor,
        _ => 1.0,
    }
}

impl DmaShape {
    /// `dst` and `src` are paired element by element in row-major order.
    fn new(k: &Constants, op: Op, dst: &Access, src: &Access, dge: DgeMode) -> DmaShape {
        let chip = [dst, src].into_iter().find(|a| a.space.on_chip());
        let row = |a: &Access| a.dims.iter().fold(1u64, |n, d| n.saturating_mul(d.count.into()));
        let total = row(dst).saturating_mul(dst.partitions.into());
        let partitions = chip.map(|a| a.partitions);
        let n = total / u64::from(partitions.unwrap_or(1)).max(1);
        let elements = breaks(n, contiguous_run(dst), contiguous_run(src));
        let size = dst.dtype.bytes().max(src.dtype.bytes()) as u64;
        let mut bpns = match (src.space, dst.space) {
            (Space::Hbm, _) => k.dma.read_bpns,
            (_, Space::Hbm) => k.dma.write_bpns,
            _ => k.dma.read_bpns,
        };
        if chip.is_none() {
            // Every byte crosses the HBM interface twice, and 16 engines share the stack (machine.md 13.7).
            bpns = bpns.min(k.hbm.stack_gbps / (2 * DMA_ENGINES) as f64);
        }
        DmaShape {
            elements: elements.max(1),
            bytes: n.saturating_mul(size),
            partitions,
            bpns,
            factor: shape_factor(k, op, src.space),
            packed: dge == DgeMode::None,
        }
    }

    fn share(&self, k: &Constants, elements: u64, bytes: u64) -> Share {
        if elements == 0 || bytes == 0 {
            return Share::default();
        }
        let average = bytes as f64 / elements as f64;
        let pieces = (average / k.dma.max_element_bytes as f64).ceil().max(1.0);
        let piece = k.dma.elem_ovh_ns + average / pieces / self.bpns;
        let service = elements as f64 * pieces * piece.max(k.dma.elem_min_ns) * self.factor;
        let elements = (elements as f64 * pieces) as u64;
        let packets = if self.packed { bytes.div_ceil(k.dma.packet_bytes).max(1) } else { elements };
        Share { elements, bytes, service: ps(service), packets }
    }

    /// The same bytes in elements of at least `run` bytes, where a partition has as many.
    pub fn in_elements_of(&self, run: u64) -> DmaShape {
        DmaShape { elements: self.elements.min(self.bytes.div_ceil(run)).max(1), ..self.clone() }
    }

    /// The shares of the 16 engines when the SBUF side starts at partition `start`.
    pub fn distribute(&self, k: &Constants, start: u32) -> [Share; DMA_ENGINES] {
        let mut shares = [Share::default(); DMA_ENGINES];
        let Some(partitions) = self.partitions else {
            let parts = (self.bytes / 2).clamp(1, DMA_ENGINES as u64);
            for (e, share) in shares.iter_mut().enumerate().take(parts as usize) {
                let cut = |total: u64| {
                    let at = |x: u64| (u128::from(total) * u128::from(x) / u128::from(parts)) as u64;
                    at(e as u64 + 1) - at(e as u64)
                };
                *share = self.share(k, cut(self.elements).max(1), cut(self.bytes));
            }
            return shares;
        };
        let (lo, hi) = (start, start.saturating_add(partitions));
        // Most engines have as many rows as their neighbours.
        let mut known = None;
        for (e, share) in shares.iter_mut().enumerate() {
            let (first, last) = (e as u32 * 8, e as u32 * 8 + 8);
            let rows = u64::from(hi.min(last).saturating_sub(lo.max(first)));
            *share = match known {
                Some((same, share)) if same == rows => share,
                _ => self.share(k, rows * self.elements, rows * self.bytes),
            };
            known = Some((rows, *share));
        }
        shares
    }
}

/// The transfer's two sides; `None` if the operands are malformed.
pub(crate) fn sides(op: Op, operands: &[MOperand]) -> Option<(&Access, &Access)> {
    let mut dst = None;
    let mut src = None;
    for (spec, o) in op.row().operands.iter().zip(operands) {
        let MOperand::Access(a) = o else { continue };
        match spec.effect {
            nki_ir::op::Effect::Read => src = src.or(Some(a)),
            _ => dst = dst.or(Some(a)),
        }
    }
    Some((dst?, src?))
}

/// The shape and the cost of a transfer.
pub(crate) fn dma_shape(
    k: &Constants,
    op: Op,
    operands: &[MOperand],
    dge: DgeMode,
) -> Option<(DmaShape, DmaCost)> {
    let (dst, src) = sides(op, operands)?;
    let mut shape = DmaShape::new(k, op, dst, src, dge);
    if op == Op::DmaCompute {
        // Every source is read.
        let sources = operands.iter().filter(|o| matches!(o, MOperand::Access(_))).count().max(2) - 1;
        shape.elements = shape.elements.saturating_mul(sources as u64);
        shape.bytes = shape.bytes.saturating_mul(sources as u64);
    }
    let chip = [dst, src].into_iter().find(|a| a.space.on_chip());
    let start = chip.map_or(0, |a| a.partition.constant.clamp(0, 127) as u32);
    let shares = shape.distribute(k, start);
    let elements: u64 = shares.iter().map(|s| s.elements).sum();
    let load = src.space == Space::Hbm;
    let indexed = is_indexed(dst) || is_indexed(src);
    let per_element = if indexed { k.dge.index_elem_ns } else { k.dge.elem_ns };
    let issue = match dge {
        DgeMode::Hwdge | DgeMode::Swdge => ps(k.dge.issue_ns + elements as f64 * per_element),
        DgeMode::None | DgeMode::Unknown => 0,
    };
    let device = [dst, src].into_iter().filter(|a| a.space == Space::Hbm);
    let crossing: usize = device.map(|a| a.dtype.bytes()).sum();
    let moved = dst.dtype.bytes().max(src.dtype.bytes());
    let cost = DmaCost {
        stack: crossing as f64 / moved as f64,
        bytes: shares.iter().map(|s| s.bytes).sum(),
        elements,
        shares,
        load,
        start: ps(if load { k.dma.start_load_ns } else { k.dma.start_store_ns }),
        trigger: ps(k.dma.trig_ns),
        issue,
    };
    Some((shape, cost))
}

/// The cost of a transfer; an empty one if the operands are malformed (which the program verifier rejects).
pub fn dma_cost(k: &Constants, op: Op, operands: &[MOperand], attrs: &[Attr], dge: DgeMode) -> DmaCost {
    let i = Instr { op, operands, attrs };
    dma_shape(k, i.op, i.operands, dge).map_or_else(
        || DmaCost {
            bytes: 0,
            elements: 0,
            shares: [Share::default(); DMA_ENGINES],
            load: false,
            stack: 0.0,
            start: 0,
            trigger: ps(k.dma.trig_ns),
            issue: 0,
        },
        |(_, c)| c,
    )
}
