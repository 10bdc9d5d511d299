//! The machine: a simulated NeuronCore.
//!
//! In: a machine program ([`program::Program`], read from a `.nkim` file or made by a compiler), tensors, options. Out: the
//! output tensors, simulated time, and why it took that long. Executes in-order engine streams, semaphores and DMA queues on
//! real SBUF, PSUM and HBM addresses; what an instruction computes is `nki_ir::sem`, how long it takes is machine.md.
//! Knows nothing of compilers.
#![forbid(unsafe_code)]

pub mod program;

pub use program::Program;
