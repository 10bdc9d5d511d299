//! The text form of a kernel: `.nkir`.
//!
//! [`print()`] writes every kernel whose structure is sound (each buffer allocated once, each loop used once) so that
//! [`parse`] reads the same kernel back, names aside, and printing that again gives the same bytes.
//!
//! ```text
//! nki-ir 1
//!
//! kernel @matmul(
//!   %lhs_t: in hbm<bf16, [1024, 128]> loc(0:7:5),
//!   %out: out hbm<f32, [128, 128]> loc(0:7:30),
//! ) {
//!   %acc = alloc psum<f32, [128, 128]> loc(0:9:20)
//!   for %ki in 0..8 loc(0:10:9) {
//!     %a = alloc sbuf<bf16, [128, 128]> loc(0:11:25)
//!     dma_copy %a, %lhs_t[%ki*128 +: 128, :] loc(0:11:25)
//!     nc_matmul %acc, %a, %a {accumulate = unless_first(%ki)} loc(0:12:13)
//!   }
//!   ...
//! }
//!
//! locations {
//!   file 0 "src/matmul.rs"
//!   frame 0 @matmul
//! }
//! ```
//!
//! # Grammar
//!
//! Blanks and line ends separate tokens; a statement starts on a new line or after `{`; `;` starts a comment. `[x]` is
//! optional, `{x}` repeats, `x,..` is a list with an optional trailing comma.
//!
//! ```text
//! file      = "nki-ir 1" kernel [locations]
//! kernel    = "kernel" @name "(" param,.. ")" ["program" int "of" int] "{" {statement} "}"
//! param     = %name ":" ("in" | "out" | "inout") buffer [loc]
//! buffer    = space "<" dtype "," "[" int,.. "]" ">" ["at" "(" partition "," byte ")"] ["buffers" int]
//!             ["queue" int] ["after" %name]
//! statement = %name "=" "alloc" buffer [loc]
//!           | "reg" %name ":" dtype [loc]
//!           | "for" %name "in" bound ".." bound ["step" int] ["unroll" int] [loc] block
//!           | "while" %reg [loc] block
//!           | "if" %reg [loc] block ["else" block]
//!           | "no_reorder" [loc] block
//!           | [label ":"] op ["." engine] [operand,..] ["{" attr,.. "}"] [loc]
//! bound     = int | %reg "max" int
//! operand   = [name ":"] ("_" | view | %reg | affine | int | float)
//! view      = %name [index] [".view(" dtype ")"] [dynamic]
//! index     = "[" axis,.. "]" | ".ap(" ["partitions" affine "+:" int ","] ["offset" affine ","] "[" pair,.. "]" ")"
//! axis      = ":" | affine | int ":" int ["step" int] ["drop"] | affine "+:" count ["step" int] ["drop"]
//! dynamic   = ".dynamic(" (%reg | view) ", axis" int ")" | ".rows(" view ")" | ".indirect(" view "," int ")"
//! affine    = ["-"] term {("+" | "-") term}         term = int | %var | %var "*" int | int "*" %var
//! attr      = name ["=" value]                      value = int | float | word | string | list | unless_first(%var,..)
//! loc       = "loc(" (file ":" line ":" column ["in" frame] | "?") ")"
//! locations = "locations" "{" {"file" int string} {"frame" int @name [loc]} "}"
//! ```
//!
//! Required operands come by position in the order of the op table; optional ones, and any after a missing one, by name.
//! Attributes equal to their default are not printed; a flag by itself is `true`. `%x` alone is all of `x`; `a:b` holds the
//! elements from `a` up to `b`, `e +: n` the `n` elements from `e`; a single index drops its axis. A pair is
//! `[stride, count]`. Floats read back bit for bit (`inf`, `-0.0`, `nan`, `nan(0x7fc00001)`); a number without a point or
//! exponent is an integer. Names that are not words are quoted (`%"my tile"`).
//!
//! A trailer names a file and the call frame (frame 0 is the kernel itself); a frame's position is the call that it was
//! entered by. What has no trailer lies where it stands in the `.nkir` file; `loc(?)` has no position.
//!
//! # Errors
//!
//! The parser reports what it finds, up to [`MAX_ERRORS`], each with its line and column, and goes on with the next
//! statement. It decides nothing that `verify` decides: the text can express kernels that are not legal.

mod items;
pub mod lexer;
mod names;
mod parser;
mod places;
mod print;
mod trailer;
mod values;
mod walk;

pub use names::Names;
pub use print::{PrintOptions, Printer, float};
pub use walk::{Step, Walk};

use crate::diag::Diagnostics;
use crate::kernel::Kernel;

/// Version of the format, the number in a file's first line.
pub const VERSION: u32 = 1;
/// Largest text that [`parse`] reads, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// Most buffers, registers, instructions and loops together in one text; an instruction takes more than a kilobyte.
pub const MAX_ENTITIES: usize = 1 << 18;
/// Deepest nest of loops and branches in a text.
pub const MAX_DEPTH: usize = 256;
/// Most axes of a shape or access pattern in a text.
pub const MAX_RANK: usize = 16;
/// Most elements of a list in a text.
pub const MAX_LIST: usize = 1024;
/// Errors after which [`parse`] gives up.
pub const MAX_ERRORS: usize = 64;

/// `kernel` as text, with source positions.
pub fn print(kernel: &Kernel) -> String {
    Printer::new(kernel, PrintOptions::default()).kernel()
}

/// Reads a kernel. `file_name` is used in errors and for positions that the text does not give. The kernel is well-formed
/// but not verified.
pub fn parse(text: &str, file_name: &str) -> Result<Kernel, Diagnostics> {
    parser::parse(text, file_name)
}
