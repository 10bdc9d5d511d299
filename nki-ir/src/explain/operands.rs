//! Codes of a single instruction's operands.

use super::{Page, nkir};
use crate::diag::Code;

pub(super) const PAGES: &[Page] = &[
    nkir(
        Code::Shape,
        "Shapes do not fit each other",
        "Tiles of an element-wise instruction pair by partitions and by the number of elements per partition; how the free
axes are split does not matter. A per-partition operand is [partitions, 1]. A matrix product of stationary (K, M) and moving
(K, N) is (M, N): the contraction is on the partitions of both. No dimension is empty.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<f32, [128, 64]>
  %b = alloc sbuf<f32, [128, 32]>
  memset %a, 1.0
  tensor_copy %b, %a
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<f32, [128, 64]>
  %b = alloc sbuf<f32, [128, 32]>
  memset %a, 1.0
  tensor_copy %b, %a[:, 0:32]
}
"#,
    ),
    nkir(
        Code::Partition,
        "A tile has more than 128 partitions",
        "SBUF and PSUM have 128 partitions, and dimension 0 of a tile runs over them. Larger data is processed in tiles of 128
rows, or with the larger dimension on the free axis.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [256, 64]>,
) {
  %t = alloc sbuf<f32, [256, 64]>
  dma_copy %t, %x
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [256, 64]>,
) {
  for %i in 0..2 {
    %t = alloc sbuf<f32, [128, 64]>
    dma_copy %t, %x[%i*128 +: 128, :]
  }
}
"#,
    ),
    nkir(
        Code::StartPartition,
        "An engine cannot start at this partition",
        "Engines reach 65 to 128 partitions only from partition 0, 33 to 64 from 0 or 64, and up to 32 from 0, 32, 64 or 96. The
tensor engine reads its operands at the row, and writes its result at the column, where its tile of the array starts. DMA may
start anywhere, so it can move data to a legal place.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t[16:48, :], 0.0
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t[32:64, :], 0.0
}
"#,
    ),
    nkir(
        Code::OutOfBounds,
        "An access leaves its buffer",
        "Slices stay inside each axis of the buffer, and access patterns inside its elements, for every value of the loop
variables. The message names values that break it. The usual cause is a last tile that is not full: clamp it to what is
left, or let `nc.tiles` peel it.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [300, 64]>,
) {
  for %i in 0..3 {
    %t = alloc sbuf<f32, [128, 64]>
    dma_copy %t, %x[%i*128 +: 128, :]
  }
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [300, 64]>,
) {
  for %i in 0..2 {
    %t = alloc sbuf<f32, [128, 64]>
    dma_copy %t, %x[%i*128 +: 128, :]
  }
  %tail = alloc sbuf<f32, [44, 64]>
  dma_copy %tail, %x[256:300, :]
}
"#,
    ),
    nkir(
        Code::AccessPattern,
        "An engine cannot express this access pattern",
        "An engine walks a partition with at most 4 nested [stride, count] pairs, strides that fit 16 bits and counts up to
65535, and at most 65536 elements in SBUF or 4096 in PSUM (of which a matmul on trn3 fills all). Dimensions that continue each other
count as one; 65536 elements in a row as two.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<u8, [128, 70000]>
  memset %t, 0
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<u8, [128, 70000]>
  for %i in 0..2 {
    memset %t[:, %i*35000 +: 35000], 0
  }
}
"#,
    ),
    nkir(
        Code::Memory,
        "An operand is in a memory that the instruction cannot reach",
        "Compute engines reach SBUF and PSUM, never HBM; DMA reaches HBM and SBUF, never PSUM. The tensor engine reads SBUF and
writes PSUM. GpSimd reaches only SBUF. The vector engine streams at most one of its two input tiles from PSUM. Load with
`dma_copy`, and leave PSUM with `tensor_copy`.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  reciprocal %t, %x
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  dma_copy %t, %x
  reciprocal %t, %t
}
"#,
    ),
    nkir(
        Code::Dtype,
        "The instruction does not take this dtype",
        "Scalars and per-partition operands of arithmetic are float32; bitwise operators need integers of one width; float32
multiplies only with float32 (or tfloat32) on the tensor engine, whose result is float32; packed types are moved, not
computed with. `tensor_copy` converts.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %b = alloc sbuf<f32, [128, 128]>
  %acc = alloc psum<f32, [128, 128]>
  memset %a, 1.0
  memset %b, 1.0
  nc_matmul %acc, %a, %b
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %b = alloc sbuf<f32, [128, 128]>
  %acc = alloc psum<f32, [128, 128]>
  memset %a, 1.0
  memset %b, 1.0
  %narrow = alloc sbuf<bf16, [128, 128]>
  tensor_copy %narrow, %b
  nc_matmul %acc, %a, %narrow
}
"#,
    ),
    nkir(
        Code::Overlap,
        "A destination overlaps itself or an input",
        "Engines stream: a destination may be exactly the view of an input, but may not cover part of it, and it addresses each of
its elements once. Shifting data inside a tile needs a second tile.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_copy %t[:, 1:64], %t[:, 0:63]
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  %u = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_copy %u[:, 1:64], %t[:, 0:63]
}
"#,
    ),
    nkir(
        Code::Operator,
        "The instruction does not take this operator",
        "Each instruction has its list: reductions are add, subtract, multiply, the extrema and the logical and bitwise
operators; operators with one operand are accepted only as `op0` of tensor_scalar, without a scalar; bitwise and arithmetic
operators do not mix.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_tensor %t, %t, %t {op = abs}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_scalar %t, %t {op0 = abs}
}
"#,
    ),
    nkir(
        Code::Target,
        "The target does not have this",
        "Generations differ: hardware descriptors, double-row matmuls and an immediate activation bias came with trn2, the FP8 type
float8_e4m3fn, packed types and some operators with trn3. Choose a later target, or what the message proposes.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_scalar %t, %t {op0 = square}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  tensor_tensor %t, %t, %t {op = multiply}
}
"#,
    ),
    nkir(
        Code::Engine,
        "The engine cannot run this instruction",
        "An instruction runs on the engines of its row in the op table, and some operators only on one of them. Without an
engine the compiler chooses a legal one.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  activation.vector %t, %t {op = exp}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 1.0
  activation %t, %t {op = exp}
}
"#,
    ),
    nkir(
        Code::Parameter,
        "A parameter is out of range",
        "A number that an instruction, a loop or a schedule takes is outside what the hardware accepts: a constant that the dtype
cannot hold, an axis that does not exist, a loop step that does not count up, a tile position that is not a multiple of the
tile's size.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<i8, [128, 64]>
  memset %t, 128
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<i8, [128, 64]>
  memset %t, 127
}
"#,
    ),
    nkir(
        Code::ReduceCmd,
        "A reduce register is misused",
        "The scalar and the vector engine each keep one running value per partition between instructions. A reduction starts
with `reset_reduce` (or `reset`, or `load_reduce` with an initial value) on the same engine, and goes on with `reduce`. It
must have started on every path that leads here.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  %sum = alloc sbuf<f32, [128, 1]>
  memset %t, 1.0
  activation %t, %t, reduce_res: %sum {op = exp, reduce_op = add, reduce_cmd = reduce}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  %sum = alloc sbuf<f32, [128, 1]>
  memset %t, 1.0
  activation %t, %t, reduce_res: %sum {op = exp, reduce_op = add, reduce_cmd = reset_reduce}
}
"#,
    ),
    nkir(
        Code::DynamicIndex,
        "A dynamic index is not possible here",
        "An index known only at run time is a register, one element of an SBUF tile, or one row number per partition for an
HBM tensor. Transfers and `tensor_copy` take one, at most one per view, and never along the partitions of a tile.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  %u = alloc sbuf<f32, [128, 8]>
  %i = alloc sbuf<u32, [1, 1]>
  memset %t, 1.0
  memset %i, 3
  reciprocal %u, %t[:, 0:8].dynamic(%i, axis 1)
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [128, 64]>
  %u = alloc sbuf<f32, [128, 8]>
  %i = alloc sbuf<u32, [1, 1]>
  memset %t, 1.0
  memset %i, 3
  tensor_copy %u, %t[:, 0:8].dynamic(%i, axis 1)
  reciprocal %u, %u
}
"#,
    ),
];
