//! Backends: how tile IR becomes something that runs.
//!
//! In: a kernel that has passed the gate (`nki_ir::verify`). Out: a machine program for the simulated NeuronCore
//! ([`device`]), or native code of this machine (the host backend, feature `jit`).
#![deny(unsafe_op_in_unsafe_fn)]

pub mod device;

#[cfg(feature = "native")]
pub mod host;
