//! Resolved operands: where the elements of a view are, in bytes.

use super::{Fault, fault};
use crate::diag::Code;
use crate::dtype::DType;
use crate::view::Pattern;
use smallvec::SmallVec;

/// The memories that resolved operands point into, each a flat byte array chosen by the executor: one per buffer in the
/// interpreter, one each for SBUF, PSUM and HBM in the simulator. A memory that does not exist has no bytes.
pub trait Memory {
    /// The bytes of memory `mem`.
    fn bytes(&self, mem: u32) -> &[u8];
    /// The bytes of memory `mem`, for writing.
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8];
    /// Where products may be kept whose sums are made later; the executor sees to it that they are made before anything looks.
    fn later(&mut self) -> Option<&mut super::Later> {
        None
    }
}

/// The elements of one operand. Element `f` of partition `p` (free dimensions in row-major order, last fastest) is at byte
/// `base + p · part_stride + Σ index · stride`. HBM operands have one partition and all dimensions free.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub mem: u32,
    pub base: u64,
    pub part_stride: u64,
    pub parts: u32,
    /// `(stride in bytes, count)`, outermost first, adjacent contiguous dimensions merged, counts of 1 dropped.
    pub dims: SmallVec<[(i64, u32); 4]>,
    pub dtype: DType,
}

/// Most elements of one partition of an on-chip operand that an instruction works on: more than any SBUF partition holds.
pub(crate) const MAX_ROW: usize = 1 << 20;

impl Span {
    /// The elements of `pattern` in a memory where partition 0 of the buffer starts at byte `base` and partitions are
    /// `part_stride` bytes apart. `part` and `offset` are the values of the pattern's two positions. `None` if an address
    /// leaves 63 bits.
    pub fn resolve(
        mem: u32,
        base: u64,
        part_stride: u64,
        pattern: &Pattern,
        [part, offset]: [i64; 2],
        dtype: DType,
    ) -> Option<Span> {
        let width = dtype.bytes() as i64;
        let start = i64::try_from(base).ok()?;
        let rows = part.checked_mul(i64::try_from(part_stride).ok()?)?;
        let base = start.checked_add(rows)?.checked_add(offset.checked_mul(width)?)?;
        let mut dims = SmallVec::new();
        for d in pattern.merged() {
            dims.push((d.stride.checked_mul(width)?, d.count));
        }
        Some(Span { mem, base: u64::try_from(base).ok()?, part_stride, parts: pattern.parts, dims, dtype })
    }
    /// Elements per partition.
    pub fn row_elements(&self) -> usize {
        self.dims.iter().fold(1usize, |n, d| n.saturating_mul(d.1 as usize))
    }
    /// Elements in all partitions.
    pub fn elements(&self) -> usize {
        self.row_elements().saturating_mul(self.parts as usize)
    }
    /// Whether the elements of a partition lie side by side.
    pub fn is_row_contiguous(&self) -> bool {
        match self.dims.as_slice() {
            [] => true,
            [(stride, _)] => *stride == self.dtype.bytes() as i64,
            _ => false,
        }
    }
    /// First byte and the byte behind the last one, over all partitions; `None` without elements.
    pub fn extent(&self) -> Option<(i128, i128)> {
        if self.elements() == 0 {
            return None;
        }
        let start = i128::from(self.base);
        let mut range = (start, start + self.dtype.bytes() as i128);
        range.1 += i128::from(self.part_stride) * i128::from(self.parts - 1);
        for &(stride, count) in &self.dims {
            let reach = i128::from(stride) * i128::from(count - 1);
            range = (range.0 + reach.min(0), range.1 + reach.max(0));
        }
        Some(range)
    }
    /// Checks that every element lies inside a memory of `len` bytes.
    ///
    /// # Errors
    /// [`Code::OutOfBounds`]. After this check no access through the span can leave the memory.
    pub fn check(&self, len: usize) -> Result<(), Fault> {
        match self.extent() {
            Some((lo, hi)) if lo < 0 || hi > len as i128 => {
                fault(Code::OutOfBounds, format!("bytes {lo}..{hi} of a memory of {len} bytes"))
            }
            _ => Ok(()),
        }
    }
    /// Whether the byte ranges of two operands meet. Conservative: ranges, not single elements.
    pub fn may_overlap(&self, other: &Span) -> bool {
        match (self.mem == other.mem, self.extent(), other.extent()) {
            (true, Some(a), Some(b)) => a.0 < b.1 && b.0 < a.1,
            _ => false,
        }
    }
    /// The raw bytes of all elements in row-major order. The span has been checked against `bytes`.
    pub(crate) fn read(&self, bytes: &[u8]) -> Vec<u8> {
        let width = self.dtype.bytes();
        let mut out = vec![0; self.elements() * width];
        super::access::Walker::all(self).read_raw(bytes, width, &mut out);
        out
    }
    /// Writes raw bytes to all elements in row-major order; `data` has as many.
    pub(crate) fn write(&self, bytes: &mut [u8], data: &[u8]) {
        super::access::Walker::all(self).write_raw(bytes, self.dtype.bytes(), data);
    }
    /// Calls `f(first byte, bytes)` for maximal contiguous ranges, in order of addresses within each dimension.
    pub fn for_each_range(&self, mut f: impl FnMut(usize, usize)) {
        let width = self.dtype.bytes() as i64;
        let mut walk = super::access::Walker::all(self);
        // Side-by-side partitions of a contiguous operand are one range.
        let whole = self.is_row_contiguous() && self.part_stride == self.row_elements() as u64 * width as u64;
        if whole && self.elements() > 0 {
            return f(self.base as usize, self.elements() * width as usize);
        }
        while let Some(run) = walk.next_run(usize::MAX) {
            if run.stride == width || run.count == 1 {
                f(run.offset as usize, run.count * width as usize);
            } else {
                (0..run.count as i64).for_each(|i| f((run.offset + i * run.stride) as usize, width as usize));
            }
        }
    }
}
