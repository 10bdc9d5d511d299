//! The reference interpreter: executes a kernel in program order on data, one buffer one memory (design.md section 6).
//!
//! In: a kernel that has passed the gate, argument tensors. Out: the result tensors. What an instruction computes is
//! [`sem`](crate::sem); here is everything around it: control flow, registers, fresh storage per turn, tracking of what
//! was never written (isa.md 3.4.4), dynamic addressing. Not recursive over the depth of regions.

mod accumulate;
mod eager;
mod lifetime;
mod machine;
mod resolve;
mod run;
mod storage;

pub use eager::EagerStore;
pub use run::{InterpOptions, Outcome, check_arguments, run, run_with_warnings};
pub use storage::Uninitialized;

#[cfg(test)]
mod tests;
