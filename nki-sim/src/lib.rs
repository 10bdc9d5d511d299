//! The machine: a simulated NeuronCore.
//!
//! In: a machine program ([`program::Program`], read from a `.nkim` file or made by a compiler), tensors, options. Out: the
//! output tensors, simulated time, and why it took that long. Executes in-order engine streams, semaphores and DMA queues on
//! real SBUF, PSUM and HBM addresses; what an instruction computes is `nki_ir::sem`, how long it takes is machine.md.
//! Knows nothing of compilers.
//!
//! Reading order: [`program`] (what runs), [`constants`] and [`cost`] (how long one instruction takes).
#![forbid(unsafe_code)]

mod access;
mod code;
pub mod constants;
pub mod cost;
mod data;
mod deadlock;
mod exec;
mod functional;
mod hazard;
mod options;
pub mod program;
mod random;
pub mod report;
mod run;
pub mod text;
mod timing;
pub mod trace;
pub mod verify;
#[cfg(feature = "json")]
pub mod view;

pub use constants::Constants;
pub use options::{Mode, SimOptions};
pub use program::Program;
pub use report::SimReport;
pub use run::{SimOutput, run, run_traced};
pub use timing::{Core, Stall};
pub use verify::{Proof, VerifiedProgram, VerifyOptions, verify, verify_with};
