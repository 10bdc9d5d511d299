//! Codes of the language: what a kernel function does while it is recorded.

use super::{Page, rust};
use crate::diag::Code;

pub(super) const PAGES: &[Page] = &[
    rust(
        Code::KernelPanic,
        "The kernel's own Rust code panicked",
        "The body of a kernel is ordinary Rust that runs once per specialisation. A panic in it (an index out of bounds, an
`unwrap` of nothing, an `assert!`) ends the recording and is reported at its line.",
        include_str!("rust/kernel_panic_failing.rs"),
        include_str!("rust/kernel_panic_repaired.rs"),
    ),
    rust(
        Code::Ensure,
        "A condition of the kernel does not hold",
        "`ensure!` states what a kernel expects of shapes and configuration; the message shows both sides. The arguments do
not fit the kernel.",
        include_str!("rust/ensure_failing.rs"),
        include_str!("rust/ensure_repaired.rs"),
    ),
    rust(
        Code::Trace,
        "A handle of another recording is used",
        "Tiles and tensors belong to the recording in which they were made. A handle that was kept from an earlier one names
nothing in this one: pass data as an argument.",
        include_str!("rust/trace_failing.rs"),
        include_str!("rust/trace_repaired.rs"),
    ),
    rust(
        Code::ControlFlow,
        "A device loop is left early",
        "The body of a device loop is recorded once, for all turns, so that `break`, `return` and `?` have no meaning on the
device. Loop over what is wanted, use a plain Rust loop (which unrolls), or `nc.when` on a value known while running.",
        include_str!("rust/control_flow_failing.rs"),
        include_str!("rust/control_flow_repaired.rs"),
    ),
    rust(
        Code::Unroll,
        "One line has recorded thousands of instructions",
        "A plain Rust loop is unrolled: every turn records its own instructions, which takes memory and compile time. `nc.range` and
`nc.tiles` stay one loop on the device. This is a warning.",
        include_str!("rust/unroll_failing.rs"),
        include_str!("rust/unroll_repaired.rs"),
    ),
    rust(
        Code::Schedule,
        "A schedule step cannot be applied",
        "A step names a tile or a loop of the kernel by its label, and applies to one kind of thing: `buffers` and `place` to
tiles in SBUF or PSUM, `unroll` to device loops.",
        include_str!("rust/schedule_failing.rs"),
        include_str!("rust/schedule_repaired.rs"),
    ),
    rust(
        Code::Config,
        "A configuration value is not possible",
        "A value given by name (on the command line, or through the registry) is not a value of its type, or is missing.",
        include_str!("rust/config_failing.rs"),
        include_str!("rust/config_repaired.rs"),
    ),
];
