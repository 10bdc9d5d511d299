//! Two cores in one simulated time, each simulated on a thread of its own: what they share of a stack of HBM, and when they meet.
//!
//! A core may go on to a time when it is known what the other brings to the stack until then. A transfer reaches the engines
//! some time after its trigger; by so much the cores' times may differ, and each goes on without the other meanwhile.
//! What happens on the stack happens in the order of simulated time, so that results do not depend on which thread is faster.

use super::dma::{Done, Work};
use super::stack::Stack;
use super::stats::Shared;
use crate::constants::Constants;
use crate::cost::{Ps, ps};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// One of the two cores of a logical core: an option of the run that simulates it. Both runs have to be made, at the same time.
#[derive(Clone)]
pub struct Core {
    both: Arc<Both>,
    rank: usize,
}

struct Both {
    shared: Mutex<Joint>,
    changed: Condvar,
}

struct Joint {
    stack: Stack,
    cores: [Progress; 2],
    /// What each core brings to the stack before this time is known.
    known: Ps,
    /// From a trigger to the first byte, at least.
    ahead: Ps,
}

/// How far a core is.
#[derive(Default)]
struct Progress {
    /// Nothing but shares of its transfers happens on it before this time.
    next: Ps,
    ended: bool,
    /// When it came to its meetings, and when their results were visible if it were alone.
    meetings: Vec<(Ps, Ps)>,
    /// Meetings that it knows to be complete.
    met: usize,
}

/// What a core learns when it wants to go on.
pub(super) enum Happened {
    /// It may go on until then, included.
    Nothing {
        until: Ps,
    },
    Share {
        done: Done,
        at: Ps,
    },
    /// The other core has come to a meeting too: both go on at `at`.
    Met {
        at: Ps,
        visible: Ps,
    },
    /// Nothing more will happen.
    End,
    /// It waits for the other core at a meeting, and that core has ended.
    Alone,
}

impl Joint {
    /// When both cores go on that have come to meeting `i`.
    fn meeting(&self, i: usize) -> Option<(Ps, Ps)> {
        let (a, b) = (self.cores[0].meetings.get(i)?, self.cores[1].meetings.get(i)?);
        // Each knows of the other by then.
        let at = a.0.max(b.0) + self.ahead;
        Some((at, a.1.max(b.1).max(at)))
    }

    /// Nothing happens on a core before this time.
    fn earliest(&self, rank: usize) -> Ps {
        let core = &self.cores[rank];
        if core.ended {
            return Ps::MAX;
        }
        let met = self.meeting(core.met).map_or(Ps::MAX, |m| m.0);
        core.next.min(met).min(self.stack.earliest(rank, self.known))
    }

    /// Lets happen on the stack what is known.
    fn run(&mut self) {
        loop {
            let before = self.known;
            let until = self.earliest(0).min(self.earliest(1)).saturating_add(self.ahead);
            self.known = self.known.max(until);
            if !self.stack.step(self.known) && self.known == before {
                return;
            }
        }
    }
}

impl Core {
    /// The two cores of a logical core.
    pub fn pair(k: &Constants) -> [Core; 2] {
        let joint = Joint {
            stack: Stack::new(k),
            cores: Default::default(),
            known: 0,
            ahead: ps(k.dma.start_load_ns.min(k.dma.start_store_ns)).max(1),
        };
        let both = Arc::new(Both { shared: Mutex::new(joint), changed: Condvar::new() });
        [0, 1].map(|rank| Core { both: both.clone(), rank })
    }

    fn lock(&self) -> MutexGuard<'_, Joint> {
        self.both.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    /// Its transfer comes to the engines at `at`.
    pub(super) fn arrive(&self, at: Ps, work: Work) {
        self.lock().stack.add(self.rank, at, work);
    }

    /// It comes to its next meeting.
    pub(super) fn come(&self, issued: Ps, visible: Ps) {
        self.lock().cores[self.rank].meetings.push((issued, visible));
    }

    /// Goes on to `next`, or as far as something happens before. `Ps::MAX`: the core has nothing to do but wait.
    pub(super) fn advance(&self, next: Ps) -> Happened {
        let mut joint = self.lock();
        joint.cores[self.rank].next = next;
        loop {
            joint.run();
            // The other core may be able to go on now.
            self.both.changed.notify_all();
            let joint_now = &mut *joint;
            let (at, happened) =
                if let Some((at, visible)) = joint_now.meeting(joint_now.cores[self.rank].met) {
                    joint_now.cores[self.rank].met += 1;
                    (at.min(next), Happened::Met { at, visible })
                } else if let Some((at, done)) = joint_now.stack.take(self.rank, next) {
                    (at, Happened::Share { done, at })
                } else if next < Ps::MAX && next <= joint_now.known {
                    let until = joint_now.known.min(joint_now.stack.earliest(self.rank, joint_now.known));
                    (next, Happened::Nothing { until: until.max(next) })
                } else {
                    let core = &joint_now.cores[self.rank];
                    let waits = core.meetings.len() > core.met;
                    if next == Ps::MAX && !joint_now.stack.busy(self.rank) {
                        match (waits, joint_now.cores[1 - self.rank].ended) {
                            (false, _) => return Happened::End,
                            (true, true) => return Happened::Alone,
                            (true, false) => {}
                        }
                    }
                    joint = self.both.changed.wait(joint).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
            joint_now.cores[self.rank].next = at;
            return happened;
        }
    }

    pub(super) fn shared(&self) -> Shared {
        self.lock().stack.shared(self.rank)
    }

    /// Tells the other core that this one has ended, whatever way it ends.
    pub(crate) fn ends(&self) -> impl Drop + use<'_> {
        Ends(self)
    }
}

struct Ends<'a>(&'a Core);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut joint = self.0.lock();
        joint.cores[self.0.rank].ended = true;
        joint.run();
        drop(joint);
        self.0.both.changed.notify_all();
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core({})", self.rank)
    }
}
