//! Whole kernels through the interpreter's front door.

mod kernels;
