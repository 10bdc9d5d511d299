//! The 16 DMA engines and their rings (machine.md 13.5 and 14.6).
//!
//! Engines that have had the same work so far form a class and are simulated once: engine k runs k staggers behind engine 0, and
//! otherwise alike. A transfer that loads the members of a class differently splits it; idleness joins all of them again. Within
//! a class the rings take turns packet by packet; the turns are counted, not stepped through.

use crate::constants::DMA_RINGS;
use crate::cost::{Ps, Share};
use std::collections::VecDeque;
use std::sync::Arc;

/// A transfer's part on the engines of one class.
#[derive(Clone, Copy, Debug)]
struct Job {
    transfer: u32,
    /// Bytes that an engine moves to and from the stack of HBM meanwhile, per microsecond.
    demand: u32,
    /// Service time left.
    left: Ps,
    /// Service time of a packet.
    packet: Ps,
}

impl Job {
    /// Turns until it is done.
    fn turns(&self) -> Ps {
        self.left.div_ceil(self.packet).max(1)
    }
    fn next_packet(&self) -> Ps {
        self.packet.min(self.left)
    }
}

#[derive(Clone, Debug)]
struct Class {
    /// Members, one bit each.
    mask: u16,
    rings: [VecDeque<Job>; DMA_RINGS],
    /// Rings with work, in the order of their turns.
    order: VecDeque<u8>,
    /// When the front of `order` starts, in the time of engine 0.
    at: Ps,
    /// The ring whose packet ends at `at`; it is last in `order`.
    served: Option<u8>,
    /// Counts changes, to recognise outdated events.
    version: u32,
}

/// What a transfer brings to the engines.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub transfer: u32,
    pub ring: u8,
    pub shares: Arc<[Share; 16]>,
    /// Reads HBM.
    pub load: bool,
    /// Bytes that cross the interface of HBM for each byte moved.
    pub stack: f64,
}

/// What happened on a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub transfer: u32,
    /// Engines that have finished their share.
    pub mask: u16,
}

/// A moment at which a class finishes a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub class: u32,
    pub version: u32,
    pub at: Ps,
}

#[derive(Clone, Debug)]
pub(crate) struct Engines {
    classes: Vec<Class>,
    sem_write: Ps,
    first_read: Ps,
    /// Jobs on all classes.
    jobs: usize,
    /// Total time with at least one class at work, and since when; in the engines' time.
    pub active: Ps,
    active_since: Option<Ps>,
    /// When the last of the engines, which are a stagger each behind engine 0, was done with what is counted.
    active_until: Ps,
    stagger: Ps,
    /// How far the last engine that has work is behind engine 0.
    behind: Ps,
    /// Highest version given to a class.
    version: u32,
}

impl Class {
    /// Turns of all rings until the first share is done, and which ring's that is.
    fn first_done(&self) -> Option<(Ps, usize)> {
        let heads = self.order.iter().map(|&r| self.rings[r as usize].front().map_or(1, Job::turns));
        let mut best: Option<(Ps, usize)> = None;
        for (i, turns) in heads.enumerate() {
            if best.is_none_or(|(b, _)| turns < b) {
                best = Some((turns, i));
            }
        }
        best
    }

    fn heads_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        let order: smallvec::SmallVec<[u8; 16]> = self.order.iter().copied().collect();
        let mut by_place: smallvec::SmallVec<[(usize, &mut Job); 16]> = smallvec::SmallVec::new();
        for (r, ring) in self.rings.iter_mut().enumerate() {
            if let (Some(place), Some(job)) = (order.iter().position(|&o| o as usize == r), ring.front_mut())
            {
                by_place.push((place, job));
            }
        }
        by_place.sort_by_key(|x| x.0);
        by_place.into_iter().map(|x| x.1)
    }

    /// Serves `turns` packets of every ring.
    fn serve_turns(&mut self, turns: Ps) {
        let mut spent = 0;
        for job in self.heads_mut() {
            let time = job.left.min(turns * job.packet);
            job.left -= time;
            spent += time;
        }
        self.at += spent;
        self.served = self.order.back().copied();
    }

    /// Serves one packet of the front ring; true if that ended its share, which then stays in front with nothing left.
    fn serve_front(&mut self) -> bool {
        let Some(&ring) = self.order.front() else { return true };
        let Some(job) = self.rings[ring as usize].front_mut() else { return true };
        let time = job.next_packet();
        job.left -= time;
        self.at += time;
        self.served = None;
        if job.left > 0 {
            self.order.rotate_left(1);
            self.served = Some(ring);
        }
        job_done(self, ring)
    }

    /// Brings the state to the first packet boundary at or after `to`, or to the end of the first share.
    fn advance(&mut self, to: Ps) {
        let Some((turns, _)) = self.first_done() else { return };
        if self.at >= to {
            return;
        }
        let round: Ps = self.heads_mut().map(|j| j.packet).sum();
        let whole = ((to - self.at) / round.max(1)).min(turns - 1);
        if whole > 0 {
            self.serve_turns(whole);
        }
        while self.at < to {
            if self.serve_front() {
                return;
            }
        }
    }

    /// What its members ask of the stack of HBM, bytes per microsecond: rings in turns, a packet each.
    fn demand(&self) -> u64 {
        let heads = || self.rings.iter().filter_map(VecDeque::front);
        let time: u64 = heads().map(|j| j.packet).sum();
        let bytes: u128 = heads().map(|j| u128::from(j.demand) * u128::from(j.packet)).sum();
        let each = bytes / u128::from(time.max(1));
        each as u64 * u64::from(self.mask.count_ones())
    }

    /// When the first share is done, its semaphore update included.
    fn due(&self, sem_write: Ps) -> Option<Ps> {
        let (turns, place) = self.first_done()?;
        let mut at = self.at;
        for (i, &r) in self.order.iter().enumerate() {
            let Some(job) = self.rings[r as usize].front() else { continue };
            // Rings before the one that finishes have had one turn more.
            let served = if i <= place { turns } else { turns - 1 };
            at += job.left.min(served * job.packet);
        }
        Some(at + sem_write)
    }

    /// Ends the first share.
    fn finish(&mut self, sem_write: Ps) -> Option<u32> {
        let (turns, place) = self.first_done()?;
        if turns > 1 {
            self.serve_turns(turns - 1);
        }
        for _ in 0..=place {
            if self.serve_front() {
                break;
            }
        }
        let ring = self.order.pop_front()?;
        let job = self.rings[ring as usize].pop_front()?;
        self.at += sem_write;
        self.served = None;
        if !self.rings[ring as usize].is_empty() {
            self.order.push_back(ring);
        }
        Some(job.transfer)
    }
}

fn job_done(class: &Class, ring: u8) -> bool {
    class.rings[ring as usize].front().is_none_or(|j| j.left == 0)
}

impl Engines {
    pub fn new(sem_write: Ps, first_read: Ps) -> Engines {
        let class = Class {
            mask: u16::MAX,
            rings: Default::default(),
            order: VecDeque::new(),
            at: 0,
            served: None,
            version: 0,
        };
        Engines {
            classes: vec![class],
            sem_write,
            first_read,
            jobs: 0,
            active: 0,
            active_since: None,
            active_until: 0,
            stagger: 0,
            behind: 0,
            version: 0,
        }
    }

    /// Whether an engine has work.
    pub fn busy(&self) -> bool {
        self.jobs > 0
    }

    /// What all engines ask of the stack of HBM, bytes per microsecond.
    pub fn demand(&self) -> u64 {
        if self.jobs == 0 { 0 } else { self.classes.iter().map(Class::demand).sum() }
    }

    /// Puts a transfer on its ring of all engines at `now`. Adds the new due moments.
    pub fn arrive(&mut self, work: &Work, now: Ps, due: &mut Vec<Due>) {
        let Work { transfer, ring, ref shares, load, stack } = *work;
        if self.jobs == 0 {
            let at = self.classes.iter().map(|c| c.at).max().unwrap_or(0);
            self.classes.truncate(1);
            self.classes[0].mask = u16::MAX;
            self.classes[0].at = at.min(now);
        }
        self.split(shares);
        self.active_since.get_or_insert(now.max(self.active_until));
        let last = shares.iter().rposition(|s| s.elements > 0).unwrap_or(0);
        self.behind = last as Ps * self.stagger;
        for i in 0..self.classes.len() {
            let share = shares[self.classes[i].mask.trailing_zeros() as usize];
            let class = &mut self.classes[i];
            class.advance(now);
            if class.order.is_empty() && class.at <= now {
                let first = if load && share.elements > 0 { self.first_read } else { 0 };
                class.at = now + first;
            }
            let packet = (share.service / share.packets.max(1)).max(1);
            let queue = &mut class.rings[ring as usize];
            let demand = share.bytes as f64 * stack / share.service.max(1) as f64 * 1e6;
            queue.push_back(Job { transfer, demand: demand as u32, left: share.service, packet });
            if queue.len() == 1 {
                // It comes before the ring whose packet is under way, which has not queued up again yet.
                let under_way = class.at > now && class.served.is_some();
                let place = class.order.len() - usize::from(under_way && !class.order.is_empty());
                class.order.insert(place, ring);
            }
            self.jobs += 1;
            self.schedule(i, due);
        }
    }

    fn schedule(&mut self, class: usize, due: &mut Vec<Due>) {
        self.version = self.version.wrapping_add(1);
        self.classes[class].version = self.version;
        if let Some(at) = self.classes[class].due(self.sem_write) {
            due.push(Due { class: class as u32, version: self.version, at });
        }
    }

    /// Engine k runs k staggers behind engine 0.
    pub fn staggered(self, stagger: Ps) -> Engines {
        Engines { stagger, ..self }
    }

    /// Splits classes whose members get different shares.
    fn split(&mut self, shares: &[Share; 16]) {
        for i in 0..self.classes.len() {
            let mask = self.classes[i].mask;
            let first = shares[mask.trailing_zeros() as usize];
            let same = (0..16).filter(|e| mask >> e & 1 == 1 && shares[*e] == first);
            let same = same.fold(0u16, |m, e| m | 1 << e);
            if same != mask {
                let mut rest = self.classes[i].clone();
                rest.mask = mask & !same;
                self.classes[i].mask = same;
                // Its members may differ among themselves; the loop comes to it later.
                self.jobs += rest.rings.iter().map(VecDeque::len).sum::<usize>();
                self.classes.push(rest);
                return self.split(shares);
            }
        }
    }

    /// Ends the share that is due, unless the moment is outdated.
    pub fn finish(&mut self, moment: Due, due: &mut Vec<Due>) -> Option<Done> {
        let i = moment.class as usize;
        let class = self.classes.get_mut(i).filter(|c| c.version == moment.version)?;
        let transfer = class.finish(self.sem_write)?;
        let done = Done { transfer, mask: class.mask };
        self.jobs -= 1;
        if self.jobs == 0
            && let Some(since) = self.active_since.take()
        {
            let until = self.active_until.max(moment.at + self.behind);
            self.active += until - since.min(until);
            self.active_until = until;
        }
        self.schedule(i, due);
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(packets: u64, packet: Ps) -> Share {
        Share { elements: packets, bytes: packets * 4096, service: packets * packet, packets }
    }

    /// Runs arrivals `(time, transfer, ring, shares)` and returns `(transfer, mask, time)` in order of completion.
    fn simulate(arrivals: &[(Ps, u32, u8, [Share; 16])]) -> Vec<(u32, u16, Ps)> {
        let mut e = Engines::new(10, 0);
        let (mut out, mut pending, mut due) = (Vec::new(), Vec::<Due>::new(), Vec::new());
        let mut next = arrivals.iter().peekable();
        loop {
            pending.sort_by_key(|d| std::cmp::Reverse((d.at, d.class)));
            let at = pending.last().map_or(Ps::MAX, |d| d.at);
            match next.peek() {
                Some(a) if a.0 <= at => {
                    let (transfer, ring, shares) = (a.1, a.2, Arc::new(a.3));
                    let work = Work { transfer, ring, shares, load: false, stack: 1.0 };
                    e.arrive(&work, a.0, &mut due);
                    next.next();
                }
                _ => {
                    let Some(d) = pending.pop() else { return out };
                    if let Some(done) = e.finish(d, &mut due) {
                        out.push((done.transfer, done.mask, d.at));
                    }
                }
            }
            pending.append(&mut due);
        }
    }

    #[test]
    fn one_ring_is_served_in_order() {
        let s = [share(4, 100); 16];
        let got = simulate(&[(0, 1, 0, s), (50, 2, 0, s)]);
        assert_eq!(got, [(1, u16::MAX, 410), (2, u16::MAX, 820)]);
    }

    #[test]
    fn rings_take_turns_at_packet_boundaries() {
        let (a, b) = ([share(4, 100); 16], [share(2, 30); 16]);
        // b arrives during a's second packet: a a b a b(done) a(done).
        let got = simulate(&[(0, 1, 0, a), (150, 2, 1, b)]);
        assert_eq!(got, [(2, u16::MAX, 200 + 30 + 100 + 30 + 10), (1, u16::MAX, 370 + 100 + 10)]);
    }

    #[test]
    fn many_turns_at_once_equal_single_ones() {
        let (a, b) = ([share(1000, 7); 16], [share(600, 11); 16]);
        let got = simulate(&[(0, 1, 0, a), (3, 2, 5, b)]);
        // a's first packet, then pairs b a; b ends after 600 pairs.
        let b_done = 7 + 599 * 18 + 11 + 10;
        assert_eq!(got[0], (2, u16::MAX, b_done));
        assert_eq!(got[1], (1, u16::MAX, b_done + (1000 - 600) * 7 + 10));
    }

    #[test]
    fn unequal_shares_split_the_engines_and_idleness_joins_them() {
        let mut half = [share(4, 100); 16];
        half[8..].fill(Share::default());
        let all = [share(1, 100); 16];
        let got = simulate(&[(0, 1, 0, half), (20, 2, 0, all), (1000, 3, 0, all)]);
        assert_eq!(
            got,
            [(1, 0xff00, 10), (2, 0xff00, 130), (1, 0x00ff, 410), (2, 0x00ff, 520), (3, u16::MAX, 1110)]
        );
    }

    #[test]
    fn an_arrival_during_the_semaphore_update_changes_nothing_before_it() {
        let s = [share(2, 100); 16];
        let got = simulate(&[(0, 1, 0, s), (205, 2, 1, s)]);
        assert_eq!(got, [(1, u16::MAX, 210), (2, u16::MAX, 420)]);
    }
}
