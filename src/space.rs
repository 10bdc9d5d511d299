//! Memories as types, and what each kind of operand asks of them. The messages here are what a kernel author reads when an
//! operand is in the wrong memory.

use nki_ir::Space;

/// A memory.
pub trait Memory: Copy + 'static {
    /// The memory in the IR.
    const SPACE: Space;
}

/// The memory of [`Hbm`](crate::Hbm) tensors: large, off chip, reached by DMA only.
#[derive(Clone, Copy, Debug)]
pub enum Hbm {}
/// The memory of [`Tile`](crate::Tile)s: 128 partitions next to the engines.
#[derive(Clone, Copy, Debug)]
pub enum Sbuf {}
/// The memory of [`Acc`](crate::Acc)umulators: what the tensor engine writes and adds into.
#[derive(Clone, Copy, Debug)]
pub enum Psum {}

impl Memory for Hbm {
    const SPACE: Space = Space::Hbm;
}
impl Memory for Sbuf {
    const SPACE: Space = Space::Sbuf;
}
impl Memory for Psum {
    const SPACE: Space = Space::Psum;
}

/// Memories that engines read and write: SBUF and PSUM.
#[diagnostic::on_unimplemented(
    message = "an engine cannot reach a tensor in `{Self}`",
    label = "not in SBUF or PSUM",
    note = "bring HBM data on chip first: `let tile = nc.load(x.at((rows, columns)));`"
)]
pub trait OnChip: Memory {}
impl OnChip for Sbuf {}
impl OnChip for Psum {}

/// Where the tensor engine writes: PSUM.
#[diagnostic::on_unimplemented(
    message = "a matrix product cannot be written to `{Self}`",
    label = "the tensor engine writes to PSUM only",
    note = "allocate the destination with `nc.psum([m, n])` and copy the finished sum out with `acc.to::<T>()`"
)]
pub trait MatmulDst: Memory {}
impl MatmulDst for Psum {}

/// What the tensor engine reads: SBUF.
#[diagnostic::on_unimplemented(
    message = "the tensor engine cannot read a tensor in `{Self}`",
    label = "a matmul operand must be in SBUF",
    note = "load HBM data with `nc.load(..)`; copy a PSUM accumulator with `acc.to::<T>()`"
)]
pub trait MatmulSrc: Memory {}
impl MatmulSrc for Sbuf {}

/// What the GpSimd engine reads and writes: SBUF.
#[diagnostic::on_unimplemented(
    message = "the GpSimd engine cannot reach a tensor in `{Self}`",
    label = "a GpSimd operand must be in SBUF",
    note = "load HBM data with `nc.load(..)`; copy a PSUM accumulator with `acc.to::<T>()`"
)]
pub trait GpSimdOperand: Memory {}
impl GpSimdOperand for Sbuf {}

/// What DMA reads and writes: HBM and SBUF.
#[diagnostic::on_unimplemented(
    message = "DMA cannot reach a tensor in `{Self}`",
    label = "a DMA operand must be in HBM or SBUF",
    note = "copy a PSUM accumulator to SBUF first: `nc.store(dst, acc.to::<T>())`"
)]
pub trait DmaOperand: Memory {}
impl DmaOperand for Hbm {}
impl DmaOperand for Sbuf {}
