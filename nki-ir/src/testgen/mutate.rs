//! One mistake.

use super::Rng;
use crate::diag::Code;
use crate::kernel::Kernel;
use crate::target::Target;

/// A kernel with one mistake.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub kernel: Kernel,
    /// Among the codes that `verify` must report.
    pub code: Code,
    /// What was done.
    pub what: String,
}

/// Placeholder.
pub fn mutate(_seed: u64, kernel: &Kernel, _target: Target) -> Mutant {
    let _ = Rng::new(0);
    Mutant { kernel: kernel.clone(), code: Code::Form, what: String::new() }
}
