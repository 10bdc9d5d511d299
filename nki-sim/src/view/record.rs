//! What happened, track by track.

use crate::cost::Ps;
use crate::program::STREAM_ENGINES;
use crate::timing::Stall;
use crate::trace::{Completed, Issued, Life, Lives, Stalled, TraceSink, Triggered};
use crate::verify::VerifiedProgram;
use nki_ir::op::Engine;
use std::collections::BTreeMap;

/// No event.
pub(super) const NONE: u32 = u32::MAX;
/// Reason of a wait that is no [`Stall`]: a sequencer that triggers a transfer.
pub(super) const TRIGGER: u8 = Stall::COUNT as u8;
/// Tracks of one queue, for transfers that overlap; more share the last.
const LANES: usize = 8;

/// Something that took an engine or a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub start: Ps,
    pub end: Ps,
    pub inst: u32,
    /// Number of the executed instruction.
    pub event: u32,
    /// Number of the one whose result it waited for last, or [`NONE`].
    pub producer: u32,
}

/// Something that kept a sequencer from going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub start: Ps,
    pub end: Ps,
    pub inst: u32,
    pub reason: u8,
}

/// One ring number: its lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub lanes: Vec<Vec<Slice>>,
}

/// Keeps what a run tells, for a page. The first [`limit`](Recorder::with_limit) events are kept.
pub struct Recorder<'a> {
    pub(super) program: &'a VerifiedProgram,
    pub(super) engines: [Vec<Slice>; 5],
    pub(super) gaps: [Vec<Gap>; 5],
    pub(super) queues: Vec<Queue>,
    pub(super) lives: Vec<Life>,
    follow: Lives,
    /// Whom transfers under way waited for.
    waiting: BTreeMap<u32, u32>,
    limit: usize,
    kept: usize,
    /// Events that were not kept.
    pub(super) dropped: u64,
}

impl<'a> Recorder<'a> {
    /// Records a run of `program`, up to four million events.
    pub fn new(program: &'a VerifiedProgram) -> Recorder<'a> {
        Recorder::with_limit(program, 4_000_000)
    }

    /// Records at most `limit` events.
    pub fn with_limit(program: &'a VerifiedProgram, limit: usize) -> Recorder<'a> {
        Recorder {
            program,
            engines: Default::default(),
            gaps: Default::default(),
            queues: vec![Queue::default(); 16],
            lives: Vec::new(),
            follow: Lives::new(&program.flat),
            waiting: BTreeMap::new(),
            limit,
            kept: 0,
            dropped: 0,
        }
    }

    /// Events kept.
    pub fn events(&self) -> usize {
        self.kept
    }

    fn keep(&mut self) -> bool {
        let room = self.kept < self.limit;
        if room {
            self.kept += 1;
        } else {
            self.dropped += 1;
        }
        room
    }

    /// The buffers of `inst` are in use from `start` to `end`.
    fn touch(&mut self, inst: u32, start: Ps, end: Ps) {
        self.follow.touch(inst, start, end, |life| self.lives.push(life));
    }

    /// Ends what is open and brings every track into the order of time.
    pub(super) fn finish(&mut self) {
        self.follow.finish(|life| self.lives.push(life));
        self.lives.sort_by_key(|l| (l.start, l.placement));
        self.gaps.iter_mut().for_each(|g| g.sort_by_key(|g| g.start));
        let lanes = self.queues.iter_mut().flat_map(|q| &mut q.lanes);
        self.engines.iter_mut().chain(lanes).for_each(|t| t.sort_by_key(|s| (s.start, s.event)));
    }
}

fn engine(e: Engine) -> usize {
    STREAM_ENGINES.iter().position(|x| *x == e).unwrap_or(4)
}

impl TraceSink for Recorder<'_> {
    fn issued(&mut self, e: &Issued) {
        if self.keep() {
            let producer = e.waited_for.map_or(NONE, |p| p.event);
            let slice = Slice { start: e.issued, end: e.released, inst: e.inst, event: e.event, producer };
            self.engines[engine(e.engine)].push(slice);
            self.touch(e.inst, e.issued, e.visible);
        }
    }

    fn triggered(&mut self, e: &Triggered) {
        if self.keep() {
            let gap = Gap { start: e.at, end: e.until, inst: e.inst, reason: TRIGGER };
            self.gaps[engine(e.engine)].push(gap);
        }
        if let Some(p) = e.waited_for {
            self.waiting.insert(e.event, p.event);
        }
    }

    fn completed(&mut self, e: &Completed) {
        let producer = self.waiting.remove(&e.event).unwrap_or(NONE);
        if self.keep() {
            let queue = &mut self.queues[usize::from(e.queue).min(15)];
            let free = |lane: &Vec<Slice>| lane.last().is_none_or(|s| s.end <= e.started);
            let lane = match queue.lanes.iter().position(free) {
                Some(lane) => lane,
                None if queue.lanes.len() < LANES => {
                    queue.lanes.push(Vec::new());
                    queue.lanes.len() - 1
                }
                None => LANES - 1,
            };
            let slice = Slice { start: e.started, end: e.at, inst: e.inst, event: e.event, producer };
            queue.lanes[lane].push(slice);
            self.touch(e.inst, e.started, e.at);
        }
    }

    fn stalled(&mut self, e: &Stalled) {
        if self.keep() {
            let gap = Gap { start: e.from, end: e.to, inst: e.inst, reason: e.reason.index() as u8 };
            self.gaps[engine(e.engine)].push(gap);
        }
    }
}
