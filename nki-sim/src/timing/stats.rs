//! What a timed run counts: per instruction of the program, per engine, and the predecessors that decided when things happened.

use super::timeline::Timeline;
use crate::cost::Ps;
use smallvec::SmallVec;

/// Why an engine did nothing, or its sequencer did not go on (machine.md 14.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stall {
    /// A semaphore that a data instruction of this engine (index into `STREAM_ENGINES`) increments.
    Engine(u8),
    /// A semaphore that a load from device memory increments.
    Load,
    /// A semaphore that a store, or a copy on chip, increments.
    Store,
    /// A port or PSUM bank held by another engine.
    Port,
    /// All descriptor rings of the queue in use.
    Ring,
    /// A function table being loaded.
    Table,
    /// The stationary operand being loaded into an idle array.
    Stationary,
    /// The sequencer's own instructions: triggers, branches, semaphores, registers.
    Sequencer,
    /// Too many instructions in flight.
    InFlight,
}

impl Stall {
    /// Number of reasons.
    pub(crate) const COUNT: usize = 13;
    pub(crate) fn index(self) -> usize {
        match self {
            Stall::Engine(e) => usize::from(e).min(4),
            Stall::Load => 5,
            Stall::Store => 6,
            Stall::Port => 7,
            Stall::Ring => 8,
            Stall::Table => 9,
            Stall::Stationary => 10,
            Stall::Sequencer => 11,
            Stall::InFlight => 12,
        }
    }
    pub(crate) fn from_index(i: usize) -> Stall {
        match i {
            0..=4 => Stall::Engine(i as u8),
            5 => Stall::Load,
            6 => Stall::Store,
            7 => Stall::Port,
            8 => Stall::Ring,
            9 => Stall::Table,
            10 => Stall::Stationary,
            11 => Stall::Sequencer,
            _ => Stall::InFlight,
        }
    }
}

/// Counts of one instruction of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InstStats {
    pub count: u64,
    /// Its engine was occupied, or (transfers) service time over all DMA engines.
    pub busy: Ps,
    /// Issue until visible, or trigger until complete.
    pub in_flight: Ps,
    pub stalled: [Ps; Stall::COUNT],
    /// First issue, and last visible result or completion; valid if `count` is not 0.
    pub first: Ps,
    pub last: Ps,
}

impl InstStats {
    /// Counts an execution that starts at `start`.
    pub fn start(&mut self, start: Ps) {
        if self.count == 0 {
            self.first = start;
        }
        self.count += 1;
    }
}

/// Time of one engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineStats {
    pub busy: Ps,
    /// Union of in-flight intervals.
    pub active: Ps,
    /// Sum of in-flight intervals.
    pub instruction: Ps,
    pub instructions: u64,
    /// Accounted for up to here.
    pub cursor: Ps,
    active_until: Ps,
    pub stalled: [Ps; Stall::COUNT],
    /// When the stream ended.
    pub end: Ps,
    /// Occupied at the throttled rate (tensor engine).
    pub throttled: Ps,
}

impl EngineStats {
    /// Accounts `reason` for what is not accounted for in `from .. to`.
    pub fn stall(&mut self, reason: Stall, from: Ps, to: Ps) -> Ps {
        let from = from.max(self.cursor);
        let time = to.saturating_sub(from);
        self.stalled[reason.index()] += time;
        self.cursor = self.cursor.max(to);
        time
    }
    pub fn occupy(&mut self, issue: Ps, released: Ps, visible: Ps) {
        self.busy += released - issue;
        self.cursor = self.cursor.max(released);
        self.instruction += visible - issue;
        self.active += visible.saturating_sub(self.active_until.max(issue));
        self.active_until = self.active_until.max(visible);
        self.instructions += 1;
    }
}

/// How an executed instruction follows the one that decided when it could start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    None,
    /// It waited for the result.
    Result(u32),
    /// It waited for the engine or the sequencer.
    Order(u32),
}

/// An executed instruction, for the critical path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Executed {
    pub inst: u32,
    pub start: Ps,
    pub end: Ps,
    pub link: Link,
}

/// Time that instructions waited for each other's results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// Per waiting instruction: those that it waited for, of which there are few.
    of: Vec<SmallVec<[(u32, Ps); 2]>>,
}

impl Waits {
    pub fn add(&mut self, waiter: u32, producer: u32, time: Ps) {
        let list = &mut self.of[waiter as usize];
        match list.iter_mut().find(|w| w.0 == producer) {
            Some(known) => known.1 += time,
            None => list.push((producer, time)),
        }
    }
    /// `(waiting instruction, instruction waited for, time)`, in the order of the instructions.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, Ps)> + '_ {
        self.of.iter().enumerate().flat_map(|(waiter, list)| {
            let mut sorted = list.clone();
            sorted.sort_unstable();
            sorted.into_iter().map(move |(producer, time)| (waiter as u32, producer, time))
        })
    }
}

/// DMA engines of a core on a stack of HBM that another core shares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shared {
    /// With at least one engine at work.
    pub active: Ps,
    /// At work while both cores together ask for more than the stack gives.
    pub saturated: Ps,
    /// Longer than the same work takes alone.
    pub lost: Ps,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub insts: Vec<InstStats>,
    pub engines: [EngineStats; 5],
    pub waits: Waits,
    pub executed: Vec<Executed>,
    numbered: u32,
    /// The event of the last thing that happened.
    pub last: Option<(Ps, u32)>,
    pub first: Option<Ps>,
    pub dma_service: Ps,
    pub dma_active: Ps,
    /// What sharing a stack of HBM with another core has come to.
    pub shared: Shared,
    /// Per ring: transfers, bytes, time from trigger to completion.
    pub rings: [(u64, u64, Ps); 16],
    /// Busy time of each hardware descriptor generator.
    pub dge_busy: Vec<Ps>,
    pub timeline: Timeline,
    pub overflowed: bool,
    /// Executed instructions.
    pub total: u64,
    pub end: Ps,
}

impl Stats {
    pub fn new(insts: usize) -> Stats {
        let waits = Waits { of: vec![SmallVec::new(); insts] };
        Stats { insts: vec![InstStats::default(); insts], waits, ..Stats::default() }
    }
    /// Counts an executed instruction and returns its number; the first `limit` are kept.
    pub fn push(&mut self, e: Executed, limit: usize) -> u32 {
        let number = self.numbered;
        self.numbered = self.numbered.saturating_add(1);
        if self.executed.len() < limit {
            self.executed.push(e);
        } else {
            self.overflowed = true;
        }
        number
    }
    pub fn finish(&mut self, event: u32, end: Ps) {
        self.end = self.end.max(end);
        if self.last.is_none_or(|(t, _)| end >= t) {
            self.last = Some((end, event));
        }
    }
}
