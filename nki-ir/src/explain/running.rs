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
programs written or edited by hand.",
    ),
    prose(
        Code::Deadlock,
        "Engines wait for each other",
        "Every stream that is left waits for a semaphore that only another waiting stream would increment, or that nobody increments
enough. Follow the cycle that the message names: one of the waits is for too much, or one signal is missing.",
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
    prose(
        Code::Assert,
        "A device assertion failed",
        "A check that the kernel itself makes while running did not hold. The message shows the place and the values.",
    ),
    Page {
        code: Code::Limit,
        title: "A limit of this implementation",
        text: "The hardware could do this, but this implementation does not, or not at this size. The message says what the limit
is.",
        language: Language::Nkir,
        target: Target::Trn3,
        failing: r#"nki-ir 1

kernel @k() {
  %t = alloc sbuf<f32, [16, 64]>
  %index = alloc sbuf<u32, [16, 4]>
  %u = alloc sbuf<f32, [16, 64]>
  memset %t, 1.0
  memset %index, 1
  tensor_copy %u, %t.indirect(%index)
}
"#,
        repaired: r#"nki-ir 1

kernel @k(
  %x: in hbm<f32, [64, 64]>,
) {
  %index = alloc sbuf<u32, [16, 1]>
  %u = alloc sbuf<f32, [16, 64]>
  memset %index, 1
  dma_copy %u, %x[0:16, :].rows(%index)
}
"#,
    },
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
