//! Codes of running: arguments, the machine, results.

use super::{Language, Page, nkir, prose, rust};
use crate::diag::Code;
use crate::target::Target;

pub(super) const PAGES: &[Page] = &[
    rust(
        Code::Argument,
        "Arguments do not fit the kernel's signature",
        "The number, dtypes and shapes of the tensors must be those that the kernel was specialised to, and a result is a
tensor that the kernel made.",
        include_str!("rust/argument_failing.rs"),
        include_str!("rust/argument_repaired.rs"),
    ),
    Page {
        code: Code::File,
        title: "A file cannot be read or written, or is malformed",
        text: "The path does not exist, is not readable, or its content is not of the format that its name promises: `.npy`,
`.safetensors`, `.nkir`, `.nkim`.",
        language: Language::Shell,
        target: Target::Trn2,
        failing: "nki run add --arg a=missing.npy --arg b=normal:f32[128,512]\n",
        repaired: "nki run add --arg a=normal:f32[128,512] --arg b=normal:f32[128,512]\n",
    },
    prose(
        Code::Race,
        "Two accesses of one place are not ordered",
        "Engines and DMA queues run at the same time and meet only at semaphores. Two instructions touch the same bytes, at
least one writes, and no chain of signals and waits orders them: the result would depend on timing. The first must signal a
semaphore on which the second waits. The device compiler orders what program order orders, so this concerns machine
programs written or edited by hand, and two programs of a logical core that write one byte of a shared tensor differently
without a `core_barrier` between.",
    ),
    prose(
        Code::Deadlock,
        "Engines wait for each other",
        "Every stream that is left waits for a semaphore that only another waiting stream would increment, or that nobody increments
enough. Follow the cycle that the message names: one of the waits is for too much, or one signal is missing. Of two programs on
a logical core, one waits in `core_barrier` or `sendrecv` for the other, which has ended or waits in something else.",
    ),
    prose(
        Code::Semaphore,
        "A semaphore is misused",
        "A machine program names a semaphore that it does not declare, signals nothing, or drives a semaphore out of its range.",
    ),
    prose(
        Code::Load,
        "The target cannot load the machine program",
        "The program uses more semaphores, registers or memory than the target has, or its tensors overlap in device memory.",
    ),
    nkir(
        Code::RuntimeIndex,
        "A dynamic index is outside its tensor",
        "The value of an index was known only while running, and the rows or elements it names lie outside the tensor. With
`oob_mode = skip` such rows are left out, and their destination keeps what it holds.",
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [8, 64]>,
  %out: out hbm<f32, [1, 64]>,
) {
  %row = alloc sbuf<i32, [1, 1]>
  memset %row, 8
  %t = alloc sbuf<f32, [1, 64]>
  dma_copy %t, %x[0:1, :].rows(%row)
  dma_copy %out, %t
}
"#,
        r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [8, 64]>,
  %out: out hbm<f32, [1, 64]>,
) {
  %row = alloc sbuf<i32, [1, 1]>
  memset %row, 7
  %t = alloc sbuf<f32, [1, 64]>
  dma_copy %t, %x[0:1, :].rows(%row)
  dma_copy %out, %t
}
"#,
    ),
    nkir(
        Code::Assert,
        "A device assertion failed",
        "A check that the kernel itself makes while running (`nc.assert`) did not hold: an element of the condition is 0. The
message is the kernel's own.",
        r#"nki-ir 1

kernel @k() {
  %legal = alloc sbuf<i32, [1, 4]>
  memset %legal, 0
  device_assert %legal {text = "no negative numbers"}
}
"#,
        r#"nki-ir 1

kernel @k() {
  %legal = alloc sbuf<i32, [1, 4]>
  memset %legal, 1
  device_assert %legal {text = "no negative numbers"}
}
"#,
    ),
    nkir(
        Code::Limit,
        "A limit of this implementation",
        "The hardware could do this, but this implementation does not, or not at this size. The message says what the limit
is.",
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 512]>
  memset %a, 1.0
  %acc = alloc psum<f32, [128, 512]>
  for %i in 0..64 {
    for %j in 0..64 {
      for %k in 0..64 {
        nc_matmul %acc[:, %i + %j + %k +: 1], %a[:, 0:128], %a[:, 0:1]
      }
    }
  }
}
"#,
        r#"nki-ir 1

kernel @k() {
  %a = alloc sbuf<bf16, [128, 512]>
  memset %a, 1.0
  %acc = alloc psum<f32, [128, 512]>
  for %i in 0..64 {
    for %j in 0..64 {
      for %k in 0..4 {
        nc_matmul %acc[:, %i + %j + %k +: 1], %a[:, 0:128], %a[:, 0:1] {accumulate = overwrite}
      }
    }
  }
}
"#,
    ),
    rust(
        Code::Mismatch,
        "Results differ",
        "A result is not as the reference within the tolerance of its dtype, two ways of running differ by more than they may, or
a cost is not as pinned. The message shows the worst element.",
        include_str!("rust/mismatch_failing.rs"),
        include_str!("rust/mismatch_repaired.rs"),
    ),
    Page {
        code: Code::Usage,
        title: "The command line is misused",
        text: "A command, option or value that does not exist, or does not make sense here. `nki help` lists the commands. The exit
status is 2.",
        language: Language::Shell,
        target: Target::Trn2,
        failing: "nki explain psum_bnak\n",
        repaired: "nki explain psum_bank\n",
    },
];
