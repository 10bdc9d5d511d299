//! Codes of memories: capacity, banks, initialisation.

use super::{Page, nkir};
use crate::diag::Code;

pub(super) const PAGES: &[Page] = &[
    nkir(
        Code::SbufCapacity,
        "SBUF is too small for what is live at once",
        "A tile is live from its allocation to its last use; a use inside a loop keeps it to the end of that loop. A tile
allocated in a loop body counts once, times the copies that a schedule asks for. The message lists the tiles at the peak:
load the largest in parts, allocate it later, or use a smaller dtype. Kernels may use 180224 bytes per partition on trn1, 212984 on
trn2 and 245752 on trn3.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [128, 65536]>,
) {
  %all = alloc sbuf<f32, [128, 65536]>
  dma_copy %all, %x
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [128, 65536]>,
) {
  for %i in 0..4 {
    %part = alloc sbuf<f32, [128, 16384]>
    dma_copy %part, %x[:, %i*16384 +: 16384]
  }
}
"#,
    ),
    nkir(
        Code::PsumCapacity,
        "PSUM is too small for what is live at once",
        "PSUM has 8 banks of 2 KiB per partition (512 float32 each). A tile of more than 2 KiB takes whole banks; smaller ones
share. Copy finished results to SBUF before new ones start.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc psum<f32, [128, 2560]>
  %b = alloc psum<f32, [128, 2560]>
  memset %a, 0.0
  memset %b, 0.0
  tensor_copy %b, %a
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc psum<f32, [128, 2560]>
  %kept = alloc sbuf<f32, [128, 2560]>
  memset %a, 0.0
  tensor_copy %kept, %a
  %b = alloc psum<f32, [128, 2560]>
  tensor_copy %b, %kept
}
"#,
    ),
    nkir(
        Code::HbmCapacity,
        "The kernel's tensors exceed the device's HBM",
        "All arguments, results and scratch tensors of a kernel live in the HBM of one device: 32 GiB on trn1, 96 GiB on trn2,
144 GiB on trn3.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [262144, 262144]>,
) {
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [65536, 65536]>,
) {
}
"#,
    ),
    nkir(
        Code::PsumBank,
        "A matmul result crosses a PSUM bank",
        "On trn1 and trn2 a matrix product lies inside one bank of 2 KiB per partition: 512 float32. PSUM tiles of more than 2 KiB
start at a bank boundary, as do tiles placed by hand, so slices of them must not straddle a multiple of 2048 bytes. On trn3 a
product may span banks.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %b = alloc sbuf<bf16, [128, 384]>
  %acc = alloc psum<f32, [128, 768]>
  memset %a, 1.0
  memset %b, 1.0
  for %i in 0..2 {
    nc_matmul %acc[:, %i*384 +: 384], %a, %b
  }
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %b = alloc sbuf<bf16, [128, 384]>
  %acc = alloc psum<f32, [128, 1024]>
  memset %a, 1.0
  memset %b, 1.0
  for %i in 0..2 {
    nc_matmul %acc[:, %i*512 +: 384], %a, %b
  }
}
"#,
    ),
    nkir(
        Code::Accumulate,
        "A sum in PSUM does not start or go on as it must",
        "A matmul overwrites its destination or adds to it. Left open, the first matmul that reaches storage overwrites and later ones
add, so a product over tiles of K is a loop around one matmul. It is an error to add to storage that no matmul has written (on
trn3: that nothing has written), and if one matmul would have to overwrite a part of its destination and add to the rest. A tile
allocated in the loop that starts a new sum is fresh each time.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %acc = alloc psum<f32, [128, 128]>
  memset %a, 1.0
  memset %acc, 1.0
  nc_matmul %acc, %a, %a {accumulate = add}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 128]>
  %acc = alloc psum<f32, [128, 128]>
  memset %a, 1.0
  for %k in 0..4 {
    nc_matmul %acc, %a, %a
  }
}
"#,
    ),
    nkir(
        Code::Uninitialized,
        "A read of storage that nothing has written",
        "New tiles hold undefined data; every turn of a loop has fresh ones. Only reads are reported that no earlier write can have
reached; the ways of running that track bytes report the others when they happen.",
        r#"nki-ir 1

kernel @k(
  %out: out hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t[:, 0:32], 0.0
  dma_copy %out, %t
}
"#,
        r#"nki-ir 1

kernel @k(
  %out: out hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 0.0
  dma_copy %out, %t
}
"#,
    ),
    nkir(
        Code::ReadOnly,
        "A write to an input",
        "Arguments are read-only. A tensor that the kernel updates is declared as inout, and is returned among the results.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  dma_copy %t, %x
  reciprocal %t, %t
  dma_copy %x, %t
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: inout hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  dma_copy %t, %x
  reciprocal %t, %t
  dma_copy %x, %t
}
"#,
    ),
    nkir(
        Code::OutputNotWritten,
        "An output is never written",
        "Results start undefined, not zero. An output that no instruction writes is an error; one that is written only in part is a
warning that names an element which stays undefined.",
        r#"nki-ir 1

kernel @k(
  %out: out hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 0.0
}
"#,
        r#"nki-ir 1

kernel @k(
  %out: out hbm<f32, [128, 64]>,
) {
  %t = alloc sbuf<f32, [128, 64]>
  memset %t, 0.0
  dma_copy %out, %t
}
"#,
    ),
];
