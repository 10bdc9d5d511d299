//! What timing needs to know about an operand: how its elements lie in a partition.

use crate::program::{Access, DynamicAccess, MOperand};
use nki_ir::DType;
use nki_ir::kernel::Space;

/// One interface of an engine: an operand seen along the free axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Face {
    pub space: Space,
    pub dtype: DType,
    pub partitions: u32,
    /// Elements per partition.
    pub n: u64,
    /// Innermost stride in bytes, dimensions of one element skipped (machine.md 4); the element size if there is none.
    pub inner_stride: i64,
    /// Elements of the innermost contiguous run.
    pub inner_run: u64,
    /// Every element is the same one (a `[P, 1]` operand broadcast along the free axis).
    pub broadcast: bool,
    /// Some dimension has stride 0.
    pub repeats: bool,
    /// The address is known only at run time.
    pub dynamic: bool,
    /// Elements of the innermost dimension.
    pub inner_count: u64,
}

impl Face {
    pub fn of(a: &Access) -> Face {
        let size = a.dtype.bytes() as i64;
        let live: smallvec::SmallVec<[_; 4]> = a.dims.iter().filter(|d| d.count != 1).collect();
        let inner = live.last();
        let n = a.row_elements();
        Face {
            space: a.space,
            dtype: a.dtype,
            partitions: a.partitions,
            n,
            inner_stride: inner.map_or(size, |d| d.stride.saturating_mul(size)),
            inner_run: contiguous_run(a),
            broadcast: n > 1 && live.iter().all(|d| d.stride == 0),
            repeats: live.iter().any(|d| d.stride == 0),
            dynamic: a.dynamic.is_some(),
            inner_count: inner.map_or(1, |d| d.count.into()),
        }
    }
    /// The face of an operand, if it is a tile.
    pub fn of_operand(o: Option<&MOperand>) -> Option<Face> {
        match o {
            Some(MOperand::Access(a)) => Some(Face::of(a)),
            _ => None,
        }
    }
    /// A 16-bit or 8-bit float, whose bytes lie side by side.
    pub fn contiguous(&self) -> bool {
        self.inner_stride == self.dtype.bytes() as i64
    }
    /// Whether the innermost stride makes this interface deliver half rate (machine.md 4).
    pub fn penalised(&self, limit: i64) -> bool {
        self.inner_stride.abs() > limit
    }
    /// Number of contiguous runs per partition.
    pub fn runs(&self) -> u64 {
        self.n.div_ceil(self.inner_run.max(1))
    }
}

/// Elements of the longest run, from the first element, that lie side by side.
pub(crate) fn contiguous_run(a: &Access) -> u64 {
    let mut run = 1u64;
    for d in a.dims.iter().rev().filter(|d| d.count != 1) {
        if d.stride < 0 || d.stride as u64 != run {
            break;
        }
        run = run.saturating_mul(d.count.into());
    }
    run
}

/// Whether an access needs the element index of a tile (software descriptors only).
pub(crate) fn is_indexed(a: &Access) -> bool {
    matches!(a.dynamic.as_deref(), Some(DynamicAccess::Vector { .. }))
}
