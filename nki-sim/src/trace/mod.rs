//! What a run tells while it runs, and writers that listen.

mod chrome;
mod lives;
mod series;

pub use chrome::ChromeTrace;
pub(crate) use lives::{Life, Lives, accesses};

use crate::cost::Ps;
use crate::timing::Stall;
use nki_ir::op::Engine;

/// An executed instruction whose result was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Number of the executed instruction.
    pub event: u32,
    /// Its engine; `None` for a transfer.
    pub engine: Option<Engine>,
    /// When it issued (a transfer: was triggered).
    pub issued: Ps,
    /// When it incremented the semaphore.
    pub signalled: Ps,
}

/// A data instruction that has issued.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    /// Index of the instruction in the program.
    pub inst: u32,
    /// Number of the executed instruction.
    pub event: u32,
    pub engine: Engine,
    pub issued: Ps,
    /// Its engine can start the next one.
    pub released: Ps,
    /// Its result can be read.
    pub visible: Ps,
    /// The last result that it waited for.
    pub waited_for: Option<Producer>,
}

/// A transfer that has been triggered.
#[derive(Clone, Copy, Debug)]
pub struct Triggered {
    pub inst: u32,
    pub event: u32,
    /// Whose sequencer triggered it, and until when that was busy with it.
    pub engine: Engine,
    pub queue: u8,
    pub at: Ps,
    pub until: Ps,
    pub bytes: u64,
    pub waited_for: Option<Producer>,
}

/// A transfer that has completed.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    pub inst: u32,
    pub event: u32,
    pub queue: u8,
    pub triggered: Ps,
    /// The first byte moved.
    pub started: Ps,
    pub at: Ps,
    pub bytes: u64,
}

/// An engine that waited.
#[derive(Clone, Copy, Debug)]
pub struct Stalled {
    pub inst: u32,
    pub engine: Engine,
    pub reason: Stall,
    pub from: Ps,
    pub to: Ps,
}

/// Listens to a timed run. Calls come in an order that is deterministic but not sorted by time.
pub trait TraceSink {
    fn issued(&mut self, e: &Issued);
    fn triggered(&mut self, e: &Triggered);
    fn completed(&mut self, e: &Completed);
    fn stalled(&mut self, e: &Stalled);
}
