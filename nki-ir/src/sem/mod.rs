//! What each operation computes, bit by bit: the single definition that the eager mode, the interpreter and the simulator
//! execute, and that the host backend is checked against (isa.md sections 2 to 6, 9 and 13).
//!
//! An instruction reaches [`sem`](self) resolved: every operand is a [`Span`] of bytes in some memory, registers and loop
//! variables have become numbers, and the engine is known (32-bit integer arithmetic depends on it).

mod span;

pub use span::{Memory, Span};
