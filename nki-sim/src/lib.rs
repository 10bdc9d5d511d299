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
pub mod program;
pub mod verify;

pub use constants::Constants;
pub use program::Program;
pub use verify::{Proof, VerifiedProgram, VerifyOptions, verify, verify_with};
