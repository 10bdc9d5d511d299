//! The device compiler through its front door.

mod capacity;
mod kernels;
mod structure;
