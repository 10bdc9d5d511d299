//! Codes of the text form and of the structure of a kernel.

use super::{Page, nkir};
use crate::diag::Code;

pub(super) const PAGES: &[Page] = &[
    nkir(
        Code::Syntax,
        "The text is malformed",
        "The reader of `.nkir` or `.nkim` expected something else at this place. It goes on with the next statement, so one
mistake does not hide the others. The grammar is in the book's chapter on the text forms.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f33, [16, 64]>
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
}
"#,
    ),
    nkir(
        Code::Undefined,
        "A name is not defined here",
        "Buffers, loop variables, registers and operations are usable after their definition and inside the region that
defines them.",
        r#"nki-ir 1

kernel @k() {
  memset %t, 0.0
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  memset %t, 0.0
}
"#,
    ),
    nkir(
        Code::Duplicate,
        "A name is defined twice",
        "Names of buffers, and names given to instructions, are unique within a kernel: reports, schedules and traces refer to
them.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  fill: memset %t, 0.0
  fill: memset %t, 1.0
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  clear: memset %t, 0.0
  fill: memset %t, 1.0
}
"#,
    ),
    nkir(
        Code::Escape,
        "A tile of a loop body is used after the loop",
        "A tile allocated in a loop body or branch is fresh in every turn and exists only there. What a loop leaves behind
must be allocated before it and updated in place.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [512, 64]>,
  %out: out hbm<f32, [128, 64]>,
) {
  for %i in 0..4 {
    %last = alloc sbuf<f32, [128, 64]>
    dma_copy %last, %x[%i*128 +: 128, :]
  }
  dma_copy %out, %last
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [512, 64]>,
  %out: out hbm<f32, [128, 64]>,
) {
  %last = alloc sbuf<f32, [128, 64]>
  for %i in 0..4 {
    dma_copy %last, %x[%i*128 +: 128, :]
  }
  dma_copy %out, %last
}
"#,
    ),
    nkir(
        Code::Form,
        "Operands or attributes do not fit the instruction",
        "Every instruction has a fixed list of operands and attributes (`nki isa NAME` prints it). A required one is missing,
one is given that another leaves no room for, or one has the wrong kind.",
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  memset %t, 1.0
  tensor_scalar %t, %t {op0 = add}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  memset %t, 1.0
  tensor_scalar %t, %t, operand0: 2.0 {op0 = add}
}
"#,
    ),
];
