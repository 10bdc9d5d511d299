//! The text form of a machine program: `.nkim`.
//!
//! [`print()`] writes every program so that [`parse`] reads the same one back, and printing that again gives the same bytes.
//!
//! ```text
//! nkim 1
//! program @copy target trn2
//! semaphores 2
//! registers tensor 0 scalar 0 vector 1 gpsimd 0 sync 0
//! tensor 0 input @x f32 [128, 512] at 0x0
//! tensor 1 output @y f32 [128, 512] at 0x40000
//! placement 0 sbuf @tile partitions 0 +: 128 bytes 0 +: 2048 loc(0:4:13)
//!
//! stream sync {
//!   dma_copy sbuf<f32>(0 +: 128, 0, [1, 512]) of 0, hbm<f32>(0x0, [512, 128], [1, 512]) of 0 queue 0 hwdge signal(s0 + 16) loc(0:4:13)
//!   dma_copy hbm<f32>(0x40000, [512, 128], [1, 512]) of 1, sbuf<f32>(0 +: 128, 0, [1, 512]) of 0 queue 1 hwdge wait(s0 >= 16) signal(s1 + 16)
//! }
//!
//! locations {
//!   file 0 "copy.rs"
//!   frame 0 @copy
//! }
//! ```
//!
//! # Grammar
//!
//! Blanks and line ends separate tokens; a statement starts on a new line or after `{`; `;` starts a comment. `[x]` is
//! optional, `{x}` repeats, `x,..` is a list.
//!
//! ```text
//! file      = "nkim 1" "program" @name "target" target {header} {stream} [locations]
//! header    = "semaphores" int | "registers" {engine int}
//!           | "tensor" int ("input" | "output" | "inout" | "private") @name dtype "[" int,.. "]" "at" int
//!           | "placement" int space @name "partitions" int "+:" int "bytes" int "+:" int [loc]
//! stream    = "stream" engine block                block = "{" {statement} "}"
//! statement = op [operand,..] ["{" attr,.. "}"] [accumulate] ["queue" int mode] tail
//!           | "sync" tail
//!           | "for" reg "in" bound ".." bound ["step" int] ["max" int] tail block
//!           | "while" reg tail block
//!           | "if" reg tail block ["else" block]
//!           | "reg_load" reg "," access tail | "reg_store" access "," reg tail | "reg_move" reg "," affine tail
//! tail      = ["wait(" sem ">=" affine,.. ")"] ["signal(" sem "+" int,.. ")"] ["source" int] [loc]
//! operand   = "_" | access | reg | int | float
//! access    = space "<" dtype ">" "(" [affine "+:" int ","] affine {"," "[" stride "," count "]"} ")" ["of" int] [dynamic]
//! dynamic   = ".register(" reg "*" int ")" | ".scalar(" access "*" int ")" | ".rows(" access "*" int ")" | ".indirect(" access "*" int ")"
//! accumulate = "add" | "unless_first(" reg "=" int,.. ")"
//! mode      = "none" | "hwdge" | "swdge" | "unknown"
//! affine    = ["-"] term {("+" | "-") term}        term = int | reg | reg "*" int | int "*" reg
//! attr      = name ["=" value]                     bound = int | reg      reg = r0, r1, ..      sem = s0, s1, ..
//! loc       = "loc(" (file ":" line ":" column ["in" frame] | "?") ")"
//! locations = "locations" "{" {"file" int string} {"frame" int @name [loc]} "}"
//! ```
//!
//! An on-chip access gives partitions and then the byte offset within each; an HBM access gives its address. A dimension is
//! `[stride, count]` in elements, outermost first. `of` is the index of the placement or tensor. Operands come by position,
//! an absent one is `_`; attributes equal to their default are not printed. What has no `loc` lies where it stands in the
//! `.nkim` file; `loc(?)` has no position.
//!
//! # Errors
//!
//! The parser reports what it finds, up to [`MAX_ERRORS`], each with its line and column, and goes on with the next line. It
//! decides nothing that [`verify`](crate::verify()) decides.

mod base;
mod parse;
mod print;
mod values;

use crate::program::Program;
use nki_ir::diag::Diagnostics;

/// Version of the format, the number in a file's first line.
pub const VERSION: u32 = 1;
/// Largest text that [`parse`] reads, in bytes.
pub const MAX_BYTES: usize = 512 << 20;
/// Deepest nest of loops and branches in a text.
pub const MAX_DEPTH: usize = 64;
/// Most dimensions of a shape or access in a text.
pub const MAX_RANK: usize = 16;
/// Most elements of a list in a text.
pub const MAX_LIST: usize = 1024;
/// Errors after which [`parse`] gives up.
pub const MAX_ERRORS: usize = 64;

/// `program` as text, with source positions.
pub fn print(program: &Program) -> String {
    print::print(program)
}

/// Reads a program. `file_name` is used in errors and for positions that the text does not give. The program is well-formed
/// but not verified.
///
/// # Errors
/// [`nki_ir::diag::Code::Syntax`] and others, with line and column.
pub fn parse(text: &str, file_name: &str) -> Result<Program, Diagnostics> {
    parse::parse(text, file_name)
}
