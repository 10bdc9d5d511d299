//! The device compiler through its front door.

mod agree;
mod capacity;
mod kernels;
mod random;
mod semaphores;
mod structure;
