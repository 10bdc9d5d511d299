//! The DMA engines of two cores on one stack of HBM (machine.md 6 and 13.7).
//!
//! While both together ask for more bytes than the stack gives, each gets them in proportion to what it asks for: its engines
//! run in a time of their own, which passes more slowly. A core that runs only transfers on chip is not held up; one that runs
//! such transfers beside others is held up with them.

use super::dma::{Done, Due, Engines, Work};
use super::stats::Shared;
use crate::constants::Constants;
use crate::cost::{Ps, ps};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A transfer that has been triggered.
struct Arrival {
    at: Ps,
    order: u64,
    work: Work,
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Arrival) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Arrival {}
impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Arrival) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
/// The earliest is the greatest.
impl Ord for Arrival {
    fn cmp(&self, other: &Arrival) -> std::cmp::Ordering {
        other.key().cmp(&self.key())
    }
}
impl Arrival {
    fn key(&self) -> (Ps, u64) {
        (self.at, self.order)
    }
}

/// The DMA engines of one core, and the time that passes for them.
struct Side {
    engines: Engines,
    arrivals: BinaryHeap<Arrival>,
    order: u64,
    /// In the engines' time: moment, class, version.
    due: BinaryHeap<Reverse<(Ps, u32, u32)>>,
    /// Shares done that the core has not heard of.
    done: VecDeque<(Ps, Done)>,
    /// At this time the engines' own time is `work`.
    at: Ps,
    work: Ps,
    /// Bytes of the stack per microsecond at full speed.
    demand: u64,
    shared: Shared,
}

/// The engines' time passes `given` picoseconds in `asked`.
#[derive(Clone, Copy)]
struct Speed {
    given: u64,
    asked: u64,
}

impl Speed {
    const FULL: Speed = Speed { given: 1, asked: 1 };

    fn work(self, time: Ps) -> Ps {
        (u128::from(time) * u128::from(self.given) / u128::from(self.asked)) as Ps
    }
    fn time(self, work: Ps) -> Ps {
        (u128::from(work) * u128::from(self.asked)).div_ceil(u128::from(self.given)) as Ps
    }
}

impl Side {
    fn new(k: &Constants) -> Side {
        Side {
            engines: Engines::new(ps(k.dma.sem_write_ns), ps(k.dma.first_read_ns))
                .staggered(ps(k.dma.engine_stagger_ns)),
            arrivals: BinaryHeap::new(),
            order: 0,
            due: BinaryHeap::new(),
            done: VecDeque::new(),
            at: 0,
            work: 0,
            demand: 0,
            shared: Shared::default(),
        }
    }
    /// When the engines' own time will be `work`, if their speed does not change.
    fn time_of(&self, work: Ps, speed: Speed) -> Ps {
        self.at + speed.time(work.saturating_sub(self.work))
    }
    /// Lets time pass.
    fn pass(&mut self, to: Ps, speed: Speed) {
        let (time, work) = (to - self.at, speed.work(to - self.at));
        if speed.given < speed.asked {
            self.shared.saturated += time;
        }
        self.shared.lost += time - work;
        (self.at, self.work) = (to, self.work + work);
    }
}

/// What happens on the stack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrive,
    Finish,
}

/// Both cores' DMA engines.
pub(super) struct Stack {
    sides: [Side; 2],
    /// Bytes per microsecond.
    bandwidth: u64,
    due: Vec<Due>,
}

impl Stack {
    pub fn new(k: &Constants) -> Stack {
        // Cores that have a stack each do not share one.
        let bandwidth = if k.hbm.cores_per_stack < 2 { u64::MAX } else { (k.hbm.stack_gbps * 1e3) as u64 };
        Stack { sides: [Side::new(k), Side::new(k)], bandwidth, due: Vec::new() }
    }

    /// A transfer of core `rank` comes to the engines at `at`.
    pub fn add(&mut self, rank: usize, at: Ps, work: Work) {
        let side = &mut self.sides[rank];
        side.order += 1;
        side.arrivals.push(Arrival { at, order: side.order, work });
    }

    fn speed(&self, rank: usize) -> Speed {
        let asked = self.sides[0].demand + self.sides[1].demand;
        if self.sides[rank].demand == 0 || asked <= self.bandwidth {
            return Speed::FULL;
        }
        Speed { given: self.bandwidth, asked }
    }

    /// What comes next on the engines of a core, as things are.
    fn next(&self, rank: usize) -> Option<(Ps, What)> {
        let side = &self.sides[rank];
        let finish = side.due.peek().map(|Reverse((work, ..))| side.time_of(*work, self.speed(rank)));
        let arrive = side.arrivals.peek().map(|a| a.at);
        let all = [arrive.map(|t| (t, What::Arrive)), finish.map(|t| (t, What::Finish))];
        all.into_iter().flatten().min()
    }

    /// Before this time no share of a core is done that it has not heard of, whatever becomes known of the time from `known` on.
    pub fn earliest(&self, rank: usize, known: Ps) -> Ps {
        let side = &self.sides[rank];
        let finish = side.due.peek().map_or(Ps::MAX, |Reverse((work, ..))| {
            let speed = self.speed(rank);
            let at = side.time_of(*work, speed);
            if at <= known {
                return at;
            }
            // From there on the engines may have the stack for themselves.
            let passed = speed.work(known.saturating_sub(side.at));
            known.max(side.at) + work.saturating_sub(side.work + passed)
        });
        let arrive = side.arrivals.peek().map_or(Ps::MAX, |a| a.at);
        let done = side.done.front().map_or(Ps::MAX, |d| d.0);
        finish.min(arrive).min(done)
    }

    /// Lets the next thing happen that happens before `until`; false if there is none.
    pub fn step(&mut self, until: Ps) -> bool {
        let next = (0..2).filter_map(|rank| self.next(rank).map(|(at, what)| (at, rank, what))).min();
        let Some((at, rank, what)) = next.filter(|n| n.0 < until) else { return false };
        for other in 0..2 {
            let speed = self.speed(other);
            self.sides[other].pass(at, speed);
        }
        let side = &mut self.sides[rank];
        match what {
            What::Arrive => {
                if let Some(arrival) = side.arrivals.pop() {
                    side.engines.arrive(&arrival.work, side.work, &mut self.due);
                }
            }
            What::Finish => {
                if let Some(Reverse((at, class, version))) = side.due.pop()
                    && let Some(done) = side.engines.finish(Due { class, version, at }, &mut self.due)
                {
                    side.done.push_back((side.at, done));
                }
            }
        }
        side.due.extend(self.due.drain(..).map(|d| Reverse((d.at, d.class, d.version))));
        side.demand = side.engines.demand();
        true
    }

    /// The first share done that a core has not heard of, if it is done before `until`.
    pub fn take(&mut self, rank: usize, until: Ps) -> Option<(Ps, Done)> {
        let done = &mut self.sides[rank].done;
        if done.front()?.0 < until { done.pop_front() } else { None }
    }

    /// Whether a core waits for transfers.
    pub fn busy(&self, rank: usize) -> bool {
        let side = &self.sides[rank];
        side.engines.busy() || !side.arrivals.is_empty() || !side.done.is_empty()
    }

    pub fn shared(&self, rank: usize) -> Shared {
        let Side { engines, shared, .. } = &self.sides[rank];
        // What is lost is lost while they are at work.
        Shared { active: engines.active + shared.lost, ..*shared }
    }
}
