//! Resolved operands: where the elements of a view are, in bytes.

use crate::dtype::DType;
use smallvec::SmallVec;

/// The memories that resolved operands point into, each a flat byte array chosen by the executor: one per buffer in the
/// interpreter, one each for SBUF, PSUM and HBM in the simulator.
pub trait Memory {
    /// The bytes of memory `mem`.
    fn bytes(&self, mem: u32) -> &[u8];
    /// The bytes of memory `mem`, for writing.
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8];
}

/// The elements of one operand. Element `f` of partition `p` (free dimensions in row-major order, last fastest) is at byte
/// `base + p · part_stride + Σ index · stride`. HBM operands have one partition and all dimensions free.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub mem: u32,
    pub base: u64,
    pub part_stride: u64,
    pub parts: u32,
    /// `(stride in bytes, count)`, outermost first, adjacent contiguous dimensions merged, counts of 1 dropped.
    pub dims: SmallVec<[(i64, u32); 4]>,
    pub dtype: DType,
}

impl Span {
    /// Elements per partition.
    pub fn row_elements(&self) -> usize {
        self.dims.iter().map(|d| d.1 as usize).product()
    }
    /// Elements in all partitions.
    pub fn elements(&self) -> usize {
        self.row_elements() * self.parts as usize
    }
    /// Whether the elements of a partition lie side by side.
    pub fn is_row_contiguous(&self) -> bool {
        match self.dims.as_slice() {
            [] => true,
            [(stride, _)] => *stride == self.dtype.bytes() as i64,
            _ => false,
        }
    }
}
