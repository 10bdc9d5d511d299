//! What a run tells while it runs; the trace writers listen here.

use crate::cost::Ps;
use crate::timing::Stall;
use nki_ir::op::Engine;

/// Listens to a timed run. Calls come in an order that is deterministic but not sorted by time. `event` numbers executed
/// instructions; `from` is the executed instruction whose result was waited for, and when it signalled.
pub trait TraceSink {
    /// A data instruction: issued, released its engine, result visible.
    fn instruction(&mut self, engine: Engine, inst: u32, event: u32, times: [Ps; 3], from: Option<(u32, Ps)>);
    /// A transfer's trigger in its sequencer.
    fn trigger(&mut self, engine: Engine, inst: u32, event: u32, times: [Ps; 2], from: Option<(u32, Ps)>);
    /// A transfer on a ring: triggered, first byte, complete.
    fn transfer(&mut self, ring: u8, inst: u32, event: u32, times: [Ps; 3], bytes: u64);
    /// An engine waits.
    fn stall(&mut self, engine: Engine, inst: u32, reason: Stall, from: Ps, to: Ps);
}
