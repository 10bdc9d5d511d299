//! The value layer: operations under their `nki.language` names that make their own destination. Each records the
//! instructions of isa.md section 10 at once; there are no other operations in the IR.
//!
//! Results are fresh SBUF tiles with the dtype of the (left) tile; reductions give float32 columns; products and transposes
//! are in PSUM.

mod arith;
mod compose;
mod data;
mod random;
mod record;
mod reduce;
mod select;
mod unary;

pub use arith::Operable;
pub use select::Position;
