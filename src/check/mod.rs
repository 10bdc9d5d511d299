//! Checking kernels: every way of running, against each other and against an independent reference.

mod compare;
mod contract;
mod drawn;
mod harness;
mod prepared;
mod problem;
mod run;

pub use compare::{Bits, Comparison, Element, Tolerance, compare, compare_bits};
pub use contract::{Case, Contract, Inputs, Requires, ResultRule, TensorRule, sweep};
pub use drawn::drawn;
pub use harness::{AWKWARD, Check, Expected, Values, check};
#[cfg(feature = "cli")]
pub(crate) use prepared::holds_one_program;
pub use prepared::{Prepared, Ran, gate};
pub use problem::{Given, Problem};
pub use run::{Item, Plan, Report, Verdict};
