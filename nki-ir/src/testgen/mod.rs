//! Programs for tests: random valid kernels, and the same with one mistake.
//!
//! Behind the feature `gen`. [`generate`] gives a kernel that `verify` must accept and every way of running must agree on;
//! [`mutate`] makes one edit after which `verify` must report a given code. Both are functions of their arguments alone: the
//! same on every machine. With proptest, draw a `u64` and map it.
//!
//! What a generated kernel keeps to, beyond being legal: everything is written before it is read, every computed tile
//! reaches an output, and magnitudes stay small (by clamps after whatever may grow), so that a difference between two ways of
//! running is not hidden behind NaN. Arguments should be small as well: [`arguments`] makes such.

mod arguments;
mod compute;
mod control;
mod indirect;
mod matmul;
mod moves;
mod mutate;
mod rng;
mod rows;
mod shrink;
mod special;
mod state;
mod views;

pub use arguments::arguments;
pub use mutate::{Mutant, edits, mutate, mutate_by};
pub use rng::Rng;
pub use shrink::shrink;

use crate::kernel::Kernel;
use crate::op::Op;
use crate::target::Target;
use state::Gen;

/// Magnitude that generated kernels expect of the elements of float arguments.
pub const INPUT_RANGE: f64 = 8.0;

/// What [`generate`] may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenOptions {
    /// The kernel is legal on this target.
    pub target: Target,
    /// Statements to aim at; a statement is one to ten instructions.
    pub statements: u32,
    /// Largest number of elements per partition of most tiles.
    pub max_free: u32,
    /// Largest number of partitions, at most 128.
    pub max_partitions: u32,
    /// Deepest nest of loops.
    pub max_depth: u32,
    /// Only operations whose result is the same bits on every way of running: no activation functions but the piecewise
    /// linear ones and squares, no power, no rsqrt.
    pub exact: bool,
    /// Row gathers by an index tile.
    pub dynamic: bool,
    /// Mostly statements with this instruction.
    pub focus: Option<Op>,
    /// Registers, and loops, branches and positions on them.
    pub control: bool,
    /// In the mix also GpSimd's gathers and searches, transfers that transpose or add, and the MX formats.
    pub everything: bool,
    /// Rows and positions by indices that may lie outside and are skipped there; on trn3 also columns by index tiles.
    pub indirect: bool,
    /// With `indirect`: indices outside where that ends the kernel, so that it may fail with `Code::RuntimeIndex`.
    pub faults: bool,
}

impl Default for GenOptions {
    fn default() -> Self {
        GenOptions {
            target: Target::Trn2,
            statements: 10,
            max_free: 40,
            max_partitions: 128,
            max_depth: 2,
            exact: false,
            dynamic: true,
            focus: None,
            control: false,
            everything: false,
            indirect: false,
            faults: false,
        }
    }
}

/// A valid kernel.
pub fn generate(seed: u64, options: &GenOptions) -> Kernel {
    Gen::new(&format!("generated_{seed}"), Rng::new(seed), options).kernel()
}

/// A valid kernel whose choices are the bytes of `choices`, for fuzzers.
pub fn generate_from(choices: &[u8], options: &GenOptions) -> Kernel {
    Gen::new("generated", Rng::from_bytes(choices), options).kernel()
}
