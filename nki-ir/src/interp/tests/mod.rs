//! Whole kernels through the interpreter's front door, and the store of the eager mode.

mod eager;
mod kernels;
mod recorder;
