//! What one execution of an instruction moves and computes.

use crate::cost::{Cost, Instr, MatmulCost, sides};
use crate::program::{Access, MInst, MKind, MOperand};
use crate::timing::{ComputeInfo, Info};
use nki_ir::Op;
use nki_ir::kernel::Space;
use nki_ir::op::{Effect, OperandKind, TimingClass};

/// Bytes by memory and direction, all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub hbm_read: u64,
    pub hbm_written: u64,
    pub sbuf_read: u64,
    pub sbuf_written: u64,
    pub psum_read: u64,
    pub psum_written: u64,
}

/// The profiler's counters, by the accounting rules of calibration.md 1.2: on-chip bytes of one partition, float32 matmuls
/// twice, `tensor_tensor`, scans and fills not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hbm_read: u64,
    pub hbm_write: u64,
    pub psum_read: u64,
    pub psum_write: u64,
    pub sbuf_read: u64,
    pub sbuf_write: u64,
    pub hardware_flops: u64,
    pub transpose_flops: u64,
}

/// Floating-point operations of the tensor engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// Products that the kernel asked for.
    pub useful: u64,
    /// Matmuls that only move data.
    pub transposing: u64,
    /// Both, float32 twice, as published profiles count.
    pub hardware: u64,
}

/// One execution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub traffic: Traffic,
    pub counters: Counters,
    pub flops: Flops,
    /// Counted once, however often the instruction runs: a ones vector that stays in the array.
    pub once: u64,
}

fn elements(a: &Access) -> u64 {
    a.dims.iter().fold(1u64, |n, d| n.saturating_mul(d.count.into()))
}
fn bytes(a: &Access) -> u64 {
    elements(a).saturating_mul(a.partitions.into()).saturating_mul(a.dtype.bytes() as u64)
}

impl Traffic {
    fn read(&mut self, a: &Access) {
        *match a.space {
            Space::Hbm => &mut self.hbm_read,
            Space::Sbuf => &mut self.sbuf_read,
            Space::Psum => &mut self.psum_read,
        } += bytes(a);
    }
    fn write(&mut self, a: &Access) {
        *match a.space {
            Space::Hbm => &mut self.hbm_written,
            Space::Sbuf => &mut self.sbuf_written,
            Space::Psum => &mut self.psum_written,
        } += bytes(a);
    }
    pub(crate) fn add(&mut self, other: &Traffic, times: u64) {
        self.hbm_read += other.hbm_read * times;
        self.hbm_written += other.hbm_written * times;
        self.sbuf_read += other.sbuf_read * times;
        self.sbuf_written += other.sbuf_written * times;
        self.psum_read += other.psum_read * times;
        self.psum_written += other.psum_written * times;
    }
    /// HBM bytes in both directions.
    pub fn hbm(&self) -> u64 {
        self.hbm_read + self.hbm_written
    }
}

impl Counters {
    pub(crate) fn add(&mut self, other: &Counters, times: u64) {
        self.hbm_read += other.hbm_read * times;
        self.hbm_write += other.hbm_write * times;
        self.psum_read += other.psum_read * times;
        self.psum_write += other.psum_write * times;
        self.sbuf_read += other.sbuf_read * times;
        self.sbuf_write += other.sbuf_write * times;
        self.hardware_flops += other.hardware_flops * times;
        self.transpose_flops += other.transpose_flops * times;
    }
}

/// What one execution of `inst` does.
pub(crate) fn of(inst: &MInst, info: &Info) -> Work {
    let mut work = Work::default();
    match &inst.kind {
        MKind::Compute { op, operands, attrs, .. } => {
            let row = op.row();
            for (spec, o) in row.operands.iter().zip(operands) {
                match (o, spec.effect) {
                    (MOperand::Access(a), Effect::Read) => work.traffic.read(a),
                    // A matmul's destination adds in place.
                    (MOperand::Access(a), _) => work.traffic.write(a),
                    _ => {}
                }
            }
            if let Info::Compute(ComputeInfo { cost: Cost { matmul: Some(mm), .. }, .. }) = info {
                let onezero = Instr { op: *op, operands, attrs }.flag("is_stationary_onezero");
                matmul(&mut work, mm, onezero);
            } else if *op != Op::Memset
                && !matches!(row.timing, TimingClass::TensorTensor | TimingClass::Scan)
            {
                element_wise(&mut work.counters, inst);
            }
        }
        MKind::Dma { op, operands, .. } => {
            if let Some((dst, src)) = sides(*op, operands) {
                work.traffic.read(src);
                work.traffic.write(dst);
                let (read, written) = (work.traffic.hbm_read, work.traffic.hbm_written);
                work.counters.hbm_read = read;
                work.counters.hbm_write = written;
                work.counters.sbuf_write = read;
                work.counters.sbuf_read = written;
            }
        }
        _ => {}
    }
    work
}

fn matmul(work: &mut Work, mm: &MatmulCost, onezero: bool) {
    let pairs = u64::from(mm.pairs);
    let flops = 2 * u64::from(mm.k) * u64::from(mm.m) * mm.n;
    if mm.transpose {
        work.flops.transposing = flops;
        work.counters.transpose_flops = flops * pairs;
    } else {
        work.flops.useful = flops;
    }
    work.flops.hardware = flops * pairs;
    work.counters.hardware_flops = flops * pairs;
    let (stationary, moving) = (u64::from(mm.m) * 4, mm.n * 4);
    work.counters.psum_write = moving * pairs;
    if onezero {
        work.counters.sbuf_read = moving * pairs;
        work.once = stationary;
    } else {
        work.counters.sbuf_read = (stationary + moving) * pairs;
    }
}

/// Tiles in, tiles and reductions out, bytes of one partition.
fn element_wise(counters: &mut Counters, inst: &MInst) {
    let MKind::Compute { op, operands, .. } = &inst.kind else { return };
    for (spec, o) in op.row().operands.iter().zip(operands) {
        let MOperand::Access(a) = o else { continue };
        let n = elements(a) * a.dtype.bytes() as u64;
        let tile =
            spec.kind.is_tile() && spec.kind != OperandKind::Vec || spec.kind == OperandKind::TileOrScalar;
        match (spec.effect, a.space) {
            (Effect::Read, Space::Sbuf) if tile => counters.sbuf_read += n,
            (Effect::Read, Space::Psum) if tile => counters.psum_read += n,
            (Effect::Read, _) => {}
            (_, Space::Sbuf) => counters.sbuf_write += n,
            (_, Space::Psum) => counters.psum_write += n,
            _ => {}
        }
    }
}
