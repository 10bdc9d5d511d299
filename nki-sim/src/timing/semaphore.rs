//! Semaphores in simulated time: increments carry the instant at which they happen, so that one made now may lie ahead.

use crate::constants::Constants;
use crate::cost::{Ps, ps};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Who incremented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The data path or sequencer of an engine.
    Engine(u8),
    Dma,
}

/// The executed instruction that incremented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause {
    pub by: By,
    pub event: u32,
    pub inst: u32,
    /// When it issued, or was triggered.
    pub issued: Ps,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Increment {
    pub time: Ps,
    pub cause: Cause,
    /// Value after it.
    value: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Semaphore {
    /// Value before the increments in `recent`.
    base: u64,
    /// By time. Increments that no waiter can still be late for are folded into `base`.
    recent: VecDeque<Increment>,
    /// Streams to wake when it changes.
    pub waiters: SmallVec<[u8; 4]>,
}

/// Latencies from an increment to a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    hop: Ps,
    same: Ps,
    dma: Ps,
    longest: Ps,
}

impl Delays {
    pub fn new(k: &Constants) -> Delays {
        let (hop, same, dma) = (ps(k.sync.hop_ns), ps(k.sync.same_engine_ns), ps(k.dma.done_ns));
        Delays { hop, same, dma, longest: hop.max(same).max(dma) }
    }
    fn of(&self, by: By, waiter: u8) -> Ps {
        match by {
            By::Engine(e) if e == waiter => self.same,
            By::Engine(_) => self.hop,
            By::Dma => self.dma,
        }
    }
}

/// When a wait is satisfied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Satisfied {
    pub at: Ps,
    /// The increment that arrived last; `None` if it was long ago.
    pub last: Option<Increment>,
}

impl Semaphore {
    /// The value once everything known has happened.
    pub fn value(&self) -> u64 {
        self.recent.back().map_or(self.base, |i| i.value)
    }

    /// Adds at `time`. `now` is the time that the simulation has reached.
    pub fn add(&mut self, time: Ps, cause: Cause, add: u64, now: Ps, delays: &Delays) {
        while let Some(old) = self.recent.front().filter(|i| i.time + delays.longest <= now) {
            self.base = old.value;
            self.recent.pop_front();
        }
        let at = self.recent.partition_point(|i| i.time <= time);
        let before = if at == 0 { self.base } else { self.recent[at - 1].value };
        self.recent.insert(at, Increment { time, cause, value: before + add });
        for later in self.recent.iter_mut().skip(at + 1) {
            later.value += add;
        }
    }

    /// When a wait of stream `waiter` is satisfied; `None`: not by what is known.
    pub fn satisfied(&self, at_least: i64, waiter: u8, delays: &Delays) -> Option<Satisfied> {
        let mut out = Satisfied { at: 0, last: None };
        let Ok(want) = u64::try_from(at_least) else { return Some(out) };
        if self.base >= want {
            return Some(out);
        }
        for i in &self.recent {
            let at = i.time + delays.of(i.cause.by, waiter);
            if at >= out.at {
                out = Satisfied { at, last: Some(*i) };
            }
            if i.value >= want {
                return Some(out);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nki_ir::Target;

    fn cause(by: By) -> Cause {
        Cause { by, event: 0, inst: 0, issued: 0 }
    }

    #[test]
    fn increments_are_seen_after_their_producers_latency() {
        let d = Delays::new(&Constants::of(Target::Trn2));
        let mut s = Semaphore::default();
        s.add(1_000_000, cause(By::Dma), 16, 0, &d);
        s.add(1_200_000, cause(By::Engine(2)), 1, 0, &d);
        let at = |s: &Semaphore, want, waiter| s.satisfied(want, waiter, &d).map(|s| s.at);
        assert_eq!(at(&s, 0, 2), Some(0));
        assert_eq!(at(&s, 16, 2), Some(1_360_000));
        // The transfer's increment arrives after the engine's.
        assert_eq!(at(&s, 17, 2), Some(1_360_000));
        assert_eq!(at(&s, 18, 2), None);
        s.add(1_900_000, cause(By::Engine(2)), 1, 0, &d);
        assert_eq!(at(&s, 18, 2), Some(1_910_000));
        assert_eq!(at(&s, 18, 0), Some(1_925_000));
        // An earlier increment that becomes known later moves the rest up.
        s.add(1_500_000, cause(By::Engine(0)), 1, 0, &d);
        assert_eq!(at(&s, 18, 0), Some(1_510_000));
        assert_eq!(s.value(), 19);
    }

    #[test]
    fn old_increments_are_forgotten() {
        let d = Delays::new(&Constants::of(Target::Trn2));
        let mut s = Semaphore::default();
        for i in 0..1000u64 {
            s.add(i * 100_000, cause(By::Engine(0)), 1, i * 100_000, &d);
        }
        assert!(s.recent.len() < 10);
        assert_eq!(s.value(), 1000);
    }
}
