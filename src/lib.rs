//! `nki`: a kernel language for Trainium-class NeuronCores.
//!
//! A kernel is a Rust function with `#[nki::kernel]`. Its body is ordinary Rust that runs once per specialisation and records
//! operations; rustc checks names, dtypes and memories, a verifier checks shapes, bounds, capacities and everything else the
//! hardware asks for, with the position in the kernel's source. In: a kernel function and shapes. Out: tile IR
//! ([`nki_ir::Kernel`]) that runs in four ways.
//!
//! Reading order: [`Nc`] (allocation), [`Tensor`] and its views, [`loops`], [`value`] (load, store, operators, functions),
//! [`isa`] (one method per instruction), [`launch`] (specialise and run), [`schedule`].
#![forbid(unsafe_code)]

// The macros write `::nki` paths, which kernels and tests inside this crate use too.
extern crate self as nki;

pub mod args;
#[cfg(feature = "ndarray")]
mod array;
mod axes;
pub mod calibrate;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod control;
mod elem;
mod idx;
mod info;
pub mod isa;
pub mod launch;
pub mod loops;
mod nc;
mod reg;
pub mod registry;
mod run;
pub mod schedule;
pub mod space;
mod spmd;
mod steps;
mod tensor;
mod trace;
#[cfg(feature = "json")]
pub mod tune;
pub mod value;
mod views;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "ndarray")]
pub use array::to_tensor;
pub use axes::{Axes, Axis};
pub use check::check;
pub use config::KernelConfig;
pub use elem::{
    Elem, Float, HostElem, Int, Packed, Scale, bf16, f4e2m1fn_x4, f8e4m3, f8e4m3fn, f8e4m3fn_x4, f8e5m2,
    f8e5m2_x4, f8e8m0, f16, tf32,
};
pub use idx::{Block, Idx};
pub use info::{KernelInfo, ParamInfo, ParamKind, kernels};
pub use launch::Specialization;
pub use nc::Nc;
pub use nki_backend as backend;
pub use nki_ir as ir;
pub use nki_macros::{KernelConfig, ensure, kernel};
pub use nki_sim as sim;
pub use reg::{Ds, Reg, ds};
pub use run::{Executable, Mode, Results};
pub use schedule::{Label, Labelled, Schedule};
pub use tensor::{Acc, Hbm, Tensor, Tile};

/// What a kernel usually needs: `use nki::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Acc, Block, Elem, Float, Hbm, Idx, Int, KernelConfig, Mode, Nc, Reg, Schedule, Tile, bf16, ds,
        ensure, f16,
    };
    pub use nki_ir::Target;
    pub use nki_ir::op::{ActFn as Act, AluOp as Alu, Engine, ReduceCmd};
}
