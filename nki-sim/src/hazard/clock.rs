//! What happens before what: vector clocks of constant size (the rules are in [`crate::program`]).
//!
//! A clock says, per stream, how many instructions are known to have issued and up to where its data path is known to have
//! completed. That a transfer has completed is known from the waits that prove it: an instruction knows it if it knows that
//! such a wait has been passed.
//!
//! A wait proves what must have happened in *every* timing, not what happened to have. The increments of a semaphore fall
//! into epochs ([`Epoch`]): whoever increments in one knows that all before it is complete, so a value beyond the end of an
//! epoch proves all of it, whatever has come since. Within an epoch, with `total` the sum of all its increments that can
//! happen before the wait is passed, a source's first `j` increments are certain if without them the rest is too little.
//!
//! Sums are exact when the increments that come later all depend on the wait; where one does not, the wait is weaker
//! than it seemed: [`Clocks`] notes that, and the check starts again with what it has learnt. What the last pass uses, it has
//! also found, so the first fact that a timing could violate would need one violated before it.

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

/// Increments of a semaphore whose sources all know that every earlier epoch is complete.
#[derive(Default)]
struct Epoch {
    /// Sums of all increments before it and up to its end.
    start: u64,
    end: u64,
    chains: Vec<Chain>,
    /// End of its transfers in [`Semaphore::transfers`]; they begin where those of the epoch before end.
    transfers_end: usize,
    /// What is known with it and everything before it; only of closed epochs.
    clock: Clock,
    /// Numbers of the instructions of each stream that waited for a value in it.
    waits: [Vec<u32>; STREAMS],
}

#[derive(Default)]
struct Semaphore {
    /// Epochs that a later one follows.
    closed: Vec<Epoch>,
    open: Epoch,
    /// Transfers that add to it, in the order of their triggers.
    transfers: Vec<u32>,
    /// Transfers that each stream knows by waits on this semaphore: a prefix of `transfers`.
    known: [usize; STREAMS],
}

impl Semaphore {
    /// First transfer of the open epoch, or of the closed one `k`.
    fn transfers_start(&self, k: usize) -> usize {
        k.checked_sub(1).map_or(0, |before| self.closed[before].transfers_end)
    }

    /// Joins the last closed epoch with the open one: somebody increments who does not know it complete.
    fn reopen(&mut self) {
        let Some(mut first) = self.closed.pop() else { return };
        let second = std::mem::take(&mut self.open);
        for chain in second.chains {
            match first.chains.iter_mut().find(|c| c.source == chain.source) {
                Some(c) => {
                    let before = c.total();
                    c.increments.extend(chain.increments.into_iter().map(|(sum, k)| (before + sum, k)));
                }
                None => first.chains.push(chain),
            }
        }
        for (a, b) in first.waits.iter_mut().zip(second.waits) {
            a.extend(b);
            a.sort_unstable();
        }
        (first.end, first.transfers_end) = (second.end, second.transfers_end);
        self.open = first;
    }

    /// Ends the open epoch.
    fn close(&mut self, transfers: &[TransferClock]) {
        let mut clock = self.closed.last().map(|e| e.clock).unwrap_or_default();
        for chain in &self.open.chains {
            if let Some((_, last)) = chain.increments.last() {
                clock.join(last);
            }
        }
        for &t in &self.transfers[self.transfers_start(self.closed.len())..] {
            clock.join(&transfers[t as usize].trigger);
        }
        let (end, transfers_end) = (self.open.end, self.open.transfers_end);
        let next = Epoch { start: end, end, transfers_end, ..Epoch::default() };
        let closed = std::mem::replace(&mut self.open, next);
        self.closed.push(Epoch { clock, ..closed });
    }

    /// Whether all increments of epoch `e`, the `k`th, are complete for one who knows `clock`.
    fn complete(&self, e: &Epoch, k: usize, transfers: &[TransferClock], clock: &Clock) -> bool {
        let path = |c: &Chain| {
            let last = c.increments.last().map(|i| i.1).unwrap_or_default();
            match c.source {
                Source::Path(s) => clock.completed[s as usize] >= last.completed[s as usize],
                Source::Sequencer(s) => clock.issued[s as usize] >= last.issued[s as usize],
            }
        };
        let here = &self.transfers[self.transfers_start(k)..e.transfers_end];
        // The latest is the likeliest not to be.
        e.chains.iter().all(path) && here.iter().rev().all(|&t| transfers[t as usize].complete(clock))
    }
}

struct TransferClock {
    /// Per stream, the number of the first instruction that knows it complete.
    known: [u32; STREAMS],
    trigger: Clock,
}

impl TransferClock {
    /// Whether one who knows `clock` knows that the transfer is complete.
    fn complete(&self, clock: &Clock) -> bool {
        self.known.iter().zip(&clock.issued).any(|(k, issued)| *k != 0 && issued >= k)
    }
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
        let clock = &mut self.streams[stream];
        let number = clock.issued[stream];
        let correction = self.corrections.get(&(stream as u8, number, sem.0)).copied().unwrap_or(0);
        let s = &mut self.semaphores[sem.0 as usize];
        let whole = s.closed.partition_point(|e| e.end + correction <= at_least);
        let mut known = s.known[stream];
        if let Some(e) = whole.checked_sub(1).map(|k| &s.closed[k]) {
            clock.join(&e.clock);
            known = known.max(e.transfers_end);
        }
        let part = s.closed.get(whole).unwrap_or(&s.open);
        let need = at_least.saturating_sub(part.start);
        let total = part.end - part.start + correction;
        for chain in &part.chains {
            let Some(need) = need.checked_sub(total - chain.total()).filter(|n| *n > 0) else { continue };
            let first = chain.increments.partition_point(|i| i.0 < need);
            if let Some((_, theirs)) = chain.increments.get(first) {
                clock.join(theirs);
            }
        }
        if need >= total {
            known = known.max(part.transfers_end);
        }
        for &t in &s.transfers[s.known[stream]..known] {
            let t = &mut self.transfers[t as usize];
            clock.join(&t.trigger);
            if t.known[stream] == 0 {
                t.known[stream] = number;
            }
        }
        s.known[stream] = known;
        let waited = s.closed.partition_point(|e| e.end < at_least);
        s.closed.get_mut(waited).unwrap_or(&mut s.open).waits[stream].push(number);
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
            Who::Path { stream, .. } => Some(Source::Path(stream)),
            Who::Sequencer { stream, .. } => Some(Source::Sequencer(stream)),
            Who::Transfer { .. } => None,
        };
        while let Some(last) = s.closed.last()
            && !s.complete(last, s.closed.len() - 1, &self.transfers, &clock)
        {
            s.reopen();
        }
        // A source that is alone goes on in its epoch: its increments are in order anyway.
        let empty = s.open.end == s.open.start;
        let transfers = s.open.transfers_end - s.transfers_start(s.closed.len());
        let alone = transfers == 0 && s.open.chains.iter().all(|c| Some(c.source) == source);
        if !empty && !alone && s.complete(&s.open, s.closed.len(), &self.transfers, &clock) {
            s.close(&self.transfers);
        }
        match who {
            Who::Path { stream, .. } => {
                clock.completed[stream as usize] = clock.completed[stream as usize].max(number);
            }
            Who::Sequencer { .. } => {}
            Who::Transfer { id } => {
                s.transfers.push(id);
                s.open.transfers_end = s.transfers.len();
            }
        }
        s.open.end += add;
        if let Some(source) = source {
            match s.open.chains.iter_mut().find(|c| c.source == source) {
                Some(chain) => {
                    let sum = chain.total() + add;
                    chain.increments.push((sum, clock));
                }
                None => s.open.chains.push(Chain { source, increments: vec![(add, clock)] }),
            }
        }
        // One source in order: what comes later cannot come earlier.
        let first = s.transfers_start(s.closed.len());
        if s.open.chains.len() + s.transfers.len() - first == 1 {
            return;
        }
        for (p, waits) in s.open.waits.iter().enumerate() {
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
            Who::Transfer { id } => self.transfers[id as usize].complete(clock),
        }
    }
}
