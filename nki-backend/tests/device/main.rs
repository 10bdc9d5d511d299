//! The device compiler through its front door.

mod agree;
mod capacity;
mod fuse;
mod kernels;
mod order;
mod pipeline;
mod random;
mod scale;
mod semaphores;
mod steps;
mod structure;
