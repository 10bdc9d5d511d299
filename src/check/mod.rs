//! Checking kernels: every way of running, against each other and against an independent reference.

mod compare;

pub use compare::{Bits, Comparison, Element, Tolerance, compare, compare_bits};
