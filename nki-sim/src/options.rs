//! How to run.

use crate::constants::Constants;
use crate::timing::Core;
use nki_ir::interp::Uninitialized;

/// What a run computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Data and time.
    #[default]
    Full,
    /// Data alone: faster, no times in the report.
    Functional,
    /// Time alone: allocates no tensors and takes no inputs. Control flow may not depend on data.
    TimeOnly,
}

/// Options of [`run`](crate::run).
#[derive(Clone, Debug)]
pub struct SimOptions {
    pub mode: Mode,
    /// Constants other than the target's own.
    pub constants: Option<Constants>,
    /// Delays transfers and engines at random, from this seed. No legal program computes anything else; times mean nothing.
    pub adversary: Option<u64>,
    /// What a read of bytes that were never written does.
    pub uninitialized: Uninitialized,
    /// Check the order of accesses while running, where the verifier has not proven it; `None`: if the mode computes data.
    pub check_order: Option<bool>,
    /// Model the tensor engine's cold start (machine.md 13.2).
    pub throttle: bool,
    /// One of the two cores of a logical core, which share a stack of HBM and meet; `None`: a core alone. The other core has to be
    /// simulated at the same time, on another thread.
    pub core: Option<Core>,
    /// Executed instructions after which the run is given up.
    pub max_instructions: u64,
    /// Executed instructions that the critical path is kept for.
    pub max_path_events: usize,
    /// Threads for large products and large programs; `None`: as many as there are. Results do not depend on it.
    pub threads: Option<usize>,
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            mode: Mode::Full,
            constants: None,
            adversary: None,
            uninitialized: Uninitialized::Error,
            check_order: None,
            throttle: true,
            core: None,
            max_instructions: 1_000_000_000,
            max_path_events: 8_000_000,
            threads: None,
        }
    }
}

impl SimOptions {
    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all).max(1)
    }
}
