//! What happens before what: vector clocks of constant size (the rules are in [`crate::program`]).
//!
//! A clock says, per stream, how many instructions are known to have issued and up to where its data path is known to have
//! completed. That a transfer has completed is known from the waits that prove it: an instruction knows it if it knows that
//! such a wait has been passed.
//!
//! A wait proves what must have happened in *every* timing, not what happened to have: with `total` the sum of all increments
//! that can happen before the wait is passed, a source's first `j` increments are certain if without them the rest is too
//! little. Sums are exact when the increments that come later all depend on the wait; where one does not, the wait is weaker
//! than it seemed: [`Clocks`] notes that, and the check starts again with what it has learnt.

use crate::program::Sem;
use std::collections::BTreeMap;

pub(crate) const STREAMS: usize = 5;

/// Numbers count from 1; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Instructions of each stream that have issued.
    pub issued: [u32; STREAMS],
    /// Highest number of each stream whose data path has completed up to it.
    pub completed: [u32; STREAMS],
}

impl Clock {
    fn join(&mut self, other: &Clock) {
        for s in 0..STREAMS {
            self.issued[s] = self.issued[s].max(other.issued[s]);
            self.completed[s] = self.completed[s].max(other.completed[s]);
        }
    }
}

/// An execution of an instruction, as far as order is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Data path of a stream.
    Path {
        stream: u8,
        number: u32,
    },
    /// A sequencer's own access, complete before the stream goes on.
    Sequencer {
        stream: u8,
        number: u32,
    },
    Transfer {
        id: u32,
    },
}

/// A source whose increments of a semaphore happen in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Path(u8),
    Sequencer(u8),
}

struct Chain {
    source: Source,
    /// Sum after each increment, and what it tells.
    increments: Vec<(u64, Clock)>,
}

impl Chain {
    fn total(&self) -> u64 {
        self.increments.last().map_or(0, |i| i.0)
    }
}

#[derive(Default)]
struct Semaphore {
    chains: Vec<Chain>,
    /// Transfers that add to it, in the order of their triggers.
    transfers: Vec<u32>,
    total: u64,
    /// Numbers of the instructions of each stream that waited for it.
    waits: [Vec<u32>; STREAMS],
    /// Transfers that each stream knows by waits on this semaphore: a prefix of `transfers`.
    known: [usize; STREAMS],
}

struct TransferClock {
    /// Per stream, the number of the first instruction that knows it complete.
    known: [u32; STREAMS],
    trigger: Clock,
}

/// Increments that can come before a wait although the execution order put them after it: sums by stream, number and
/// semaphore of the wait.
pub(crate) type Corrections = BTreeMap<(u8, u32, u32), u64>;

/// Most corrections kept; a program that needs more is not worth proving.
const MAX_CORRECTIONS: usize = 100_000;

pub(crate) struct Clocks {
    streams: [Clock; STREAMS],
    semaphores: Vec<Semaphore>,
    transfers: Vec<TransferClock>,
    corrections: Corrections,
    /// What this pass finds out.
    pub found: Corrections,
}

/// Increments by a DMA transfer.
pub(crate) const TRANSFER_ADD: u64 = 16;

impl Clocks {
    pub fn new(semaphores: u32, corrections: Corrections) -> Clocks {
        Clocks {
            streams: Default::default(),
            semaphores: (0..semaphores).map(|_| Semaphore::default()).collect(),
            transfers: Vec::new(),
            corrections,
            found: Corrections::new(),
        }
    }

    /// Starts the next instruction of a stream and returns its number.
    pub fn issue(&mut self, stream: usize) -> u32 {
        let issued = &mut self.streams[stream].issued[stream];
        *issued += 1;
        *issued
    }
    /// A new transfer, triggered by the current instruction of `stream`.
    pub fn trigger(&mut self, stream: usize) -> u32 {
        self.transfers.push(TransferClock { known: [0; STREAMS], trigger: self.streams[stream] });
        (self.transfers.len() - 1) as u32
    }

    /// The current instruction of `stream` passes a wait.
    pub fn wait(&mut self, stream: usize, sem: Sem, at_least: i64) {
        let Ok(at_least) = u64::try_from(at_least) else { return };
        let number = self.streams[stream].issued[stream];
        let s = &mut self.semaphores[sem.0 as usize];
        let correction = self.corrections.get(&(stream as u8, number, sem.0)).copied().unwrap_or(0);
        let total = s.total + correction;
        for chain in &s.chains {
            let Some(need) = at_least.checked_sub(total - chain.total()).filter(|n| *n > 0) else { continue };
            let first = chain.increments.partition_point(|i| i.0 < need);
            if let Some((_, clock)) = chain.increments.get(first) {
                self.streams[stream].join(clock);
            }
        }
        if at_least >= total {
            for &t in &s.transfers[s.known[stream]..] {
                let t = &mut self.transfers[t as usize];
                self.streams[stream].join(&t.trigger);
                if t.known[stream] == 0 {
                    t.known[stream] = number;
                }
            }
            s.known[stream] = s.transfers.len();
        }
        s.waits[stream].push(number);
    }

    /// Whether another pass would prove the same.
    pub fn settled(&self) -> bool {
        self.found.iter().all(|(k, v)| self.corrections.get(k).is_some_and(|c| c >= v))
    }
    pub fn overflowed(&self) -> bool {
        self.found.len() > MAX_CORRECTIONS
    }

    /// The current instruction of `stream` will increment a semaphore.
    pub fn signal(&mut self, stream: usize, sem: Sem, add: u64, who: Who) {
        let mut clock = self.streams[stream];
        let number = clock.issued[stream];
        let s = &mut self.semaphores[sem.0 as usize];
        let source = match who {
            Who::Path { stream, .. } => {
                clock.completed[stream as usize] = clock.completed[stream as usize].max(number);
                Some(Source::Path(stream))
            }
            Who::Sequencer { stream, .. } => Some(Source::Sequencer(stream)),
            Who::Transfer { id } => {
                s.transfers.push(id);
                None
            }
        };
        s.total += add;
        if let Some(source) = source {
            match s.chains.iter_mut().find(|c| c.source == source) {
                Some(chain) => {
                    let sum = chain.total() + add;
                    chain.increments.push((sum, clock));
                }
                None => s.chains.push(Chain { source, increments: vec![(add, clock)] }),
            }
        }
        // One source in order: what comes later cannot come earlier.
        if s.chains.len() + s.transfers.len() == 1 {
            return;
        }
        for (p, waits) in s.waits.iter().enumerate() {
            let after = waits.partition_point(|w| *w <= clock.issued[p]);
            for w in &waits[after..] {
                if self.found.len() > MAX_CORRECTIONS {
                    return;
                }
                *self.found.entry((p as u8, *w, sem.0)).or_default() += add;
            }
        }
    }

    /// Whether `before` is complete when the current instruction of `stream` starts.
    pub fn complete(&self, before: Who, stream: usize) -> bool {
        let clock = &self.streams[stream];
        match before {
            Who::Path { stream: s, number } => clock.completed[s as usize] >= number,
            Who::Sequencer { stream: s, number } => clock.issued[s as usize] >= number,
            Who::Transfer { id } => {
                let known = &self.transfers[id as usize].known;
                known.iter().zip(&clock.issued).any(|(k, issued)| *k != 0 && issued >= k)
            }
        }
    }
}
