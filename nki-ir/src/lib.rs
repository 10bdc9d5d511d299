//! Tile IR of `nki`: what a kernel is, what each operation means, and what is legal where.
//!
//! In: operations recorded by the language front end through [`Builder`], or a `.nkir` text through `text::parse`.
//! Out: a [`Kernel`] that has passed the one gate, `verify`, for one [`Target`].
//!
//! Reading order: [`dtype`] and [`target`] (facts), [`op`] (the op table), [`affine`] and [`view`] (what an operand
//! addresses), [`kernel`] (regions, loops, instructions), [`builder`], [`diag`] (errors as values), `verify` (the gate),
//! `sem` (what each operation computes, bit by bit), `interp` (the reference interpreter), `text` (reader and writer).
//! This crate knows nothing of compilers or of time.
#![forbid(unsafe_code)]

pub mod affine;
pub mod builder;
pub mod diag;
pub mod dtype;
pub mod entity;
pub mod explain;
pub mod interp;
pub mod kernel;
pub mod loc;
pub mod op;
pub mod peer;
pub mod print;
pub mod sem;
pub mod target;
pub mod tensor;
#[cfg(any(test, feature = "gen"))]
pub mod testgen;
pub mod text;
pub mod verify;
pub mod view;

pub use affine::Affine;
pub use builder::Builder;
pub use diag::{Code, Diagnostic, Diagnostics};
pub use dtype::DType;
pub use entity::{Buf, Inst, Loop, Reg, Region, Var};
pub use kernel::{Attr, BufData, BufKind, InstData, Kernel, LoopData, Node, Operand, Space};
pub use loc::Loc;
pub use op::{ActFn, AluOp, Engine, Op};
pub use target::Target;
pub use tensor::Tensor;
pub use verify::{Verified, accumulate, verify};
pub use view::{AxisSlice, Dim, Index, Pattern, View};
