//! Data paths: occupancy, latency, and what instructions of different engines contend for (machine.md 13.1 to 13.4, 13.6).

use super::sequencer::{Ready, Step};
use super::stats::{Link, Stall};
use super::{ComputeInfo, Machine};
use crate::code::Regs;
use crate::cost::{Ps, ps};
use crate::program::{Access, MKind, MOperand, STREAM_ENGINES};
use crate::trace::Issued;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::Space;
use nki_ir::op::TimingClass;
use nki_ir::target::{PSUM_BANK_BYTES, PSUM_BANKS};
use std::collections::VecDeque;

pub(super) const TENSOR: usize = 0;
pub(super) const SCALAR: usize = 1;
pub(super) const VECTOR: usize = 2;
pub(super) const GPSIMD: usize = 3;

/// Locks: the two ports of gen2, then a PSUM bank each.
pub(super) const LOCKS: usize = 2 + PSUM_BANKS as usize;
const SBUF_PORT: u32 = 0;
const PSUM_PORT: u32 = 1;

/// The data path of one engine.
pub(super) struct Path {
    /// It accepts the next instruction from here on.
    pub free: Ps,
    /// Results become visible in order.
    pub visible: Ps,
    /// Issue of the latest instruction.
    issue: Ps,
    /// When the instructions in flight become visible.
    in_flight: VecDeque<Ps>,
    depth: usize,
    /// Per 32 x 32 block of the array: free from here on (tensor engine).
    blocks: [[Ps; 4]; 4],
    /// Event of the latest instruction.
    last: Link,
    /// Until when, and since when, an instruction works on SBUF (GpSimd).
    pub sbuf_busy: (Ps, Ps),
}

impl Path {
    pub fn new(depth: usize) -> Path {
        Path {
            free: 0,
            visible: 0,
            issue: 0,
            in_flight: VecDeque::new(),
            depth: depth.max(1),
            blocks: [[0; 4]; 4],
            last: Link::None,
            sbuf_busy: (0, 0),
        }
    }
    /// When there is room for one more instruction in flight.
    fn room(&self) -> Ps {
        if self.in_flight.len() < self.depth { 0 } else { self.in_flight.front().copied().unwrap_or(0) }
    }
    fn commit(&mut self, issue: Ps, released: Ps, visible: Ps) -> Ps {
        self.issue = issue;
        self.free = self.free.max(released);
        self.visible = self.visible.max(visible);
        if self.in_flight.len() >= self.depth {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(self.visible);
        self.visible
    }
}

/// Banks that an access touches, one bit each.
pub(super) fn banks(a: &Access, regs: &Regs) -> u8 {
    let (lo, hi) = crate::access::Place::new(a, regs).hull();
    let bank = i128::from(PSUM_BANK_BYTES);
    let last = i128::from(PSUM_BANKS) - 1;
    let (first, last) = ((lo / bank).clamp(0, last), ((hi - 1) / bank).clamp(0, last));
    (first..=last).fold(0, |m, b| m | 1 << b)
}

/// Rows and columns of 32 x 32 blocks that a matmul occupies.
fn blocks(tile: [u8; 4]) -> impl Iterator<Item = (usize, usize)> {
    let span = |start: u8, size: u8| {
        let first = usize::from(start) / 32;
        first..(usize::from(start) + usize::from(size)).div_ceil(32).clamp(first + 1, 4)
    };
    let (rows, cols) = (span(tile[0].min(127), tile[2]), span(tile[1].min(127), tile[3]));
    rows.flat_map(move |r| cols.clone().map(move |c| (r, c)))
}

/// A meeting of both programs that this core has come to.
pub(super) struct Meeting {
    stream: usize,
    inst: u32,
    issued: Ps,
    visible: Ps,
    /// When the stream goes on, and when results are visible, once both have come.
    resume: Option<Ps>,
    met: Option<Ps>,
    /// Streams that come to the next meeting.
    waiters: u8,
}

/// What issuing an instruction comes to.
struct Issue {
    /// The data path accepts it.
    at: Ps,
    released: Ps,
    visible: Ps,
}

impl Machine<'_> {
    /// Issues a data instruction whose waits are satisfied.
    pub(super) fn issue(
        &mut self,
        s: usize,
        inst: u32,
        now: Ps,
        ready: Ready,
        info: &ComputeInfo,
    ) -> Result<Step, Diagnostics> {
        let since = self.sequencers[s].since.unwrap_or(now);
        let meets = self.meets(inst);
        if meets && let Some(step) = self.meet(s, now) {
            return Ok(step);
        }
        let free = self.path_free(s, info);
        let room = self.paths[s].room();
        let request = now.max(ready.at).max(free).max(room);
        let locks = self.lock_mask(s, inst, info);
        if locks != 0 && request > now {
            // Locks are granted in order of request time.
            return Ok(Step::Again(request));
        }
        let (granted, holder) = self.lock_free(locks, s, request);
        let idle = request > free;
        let (extra, reason) = self.preparation(s, info, idle);
        let mut issue = self.occupy(s, info, granted + extra);
        if meets {
            let Some(met) = self.meeting.take_if(|m| m.met.is_some()) else {
                return self.come(s, inst, &issue);
            };
            // The other program's data is here when both have come.
            issue.at = met.issued;
            issue.visible = met.met.unwrap_or(met.visible);
            issue.released = issue.visible;
            (0..5).filter(|w| met.waiters >> w & 1 == 1).for_each(|w| self.wake(w, now));
        }
        for lock in (0..LOCKS as u32).filter(|l| locks >> l & 1 == 1) {
            self.locks[lock as usize] = (issue.released, s as u8);
        }
        let visible = self.paths[s].commit(issue.at, issue.released, issue.visible);
        if s == GPSIMD && info.sbuf {
            self.paths[s].sbuf_busy = (issue.at, issue.released);
        }

        self.effect(s, inst)?;
        self.waited(s, inst, since, issue.at, ready);
        self.stall(s, inst, Stall::InFlight, ready.at.max(free).max(since), room);
        self.stall(s, inst, Stall::Port, request, granted);
        self.stall(s, inst, reason, granted, issue.at);
        let link = match ready.last {
            Some(l) if ready.at >= free => Link::Result(l.cause.event),
            _ if granted > request => self.paths[holder as usize].last,
            _ if free >= since => self.paths[s].last,
            _ => self.sequencers[s].last,
        };
        let event = self.executed(s, inst, issue.at - extra, visible, link);
        self.paths[s].last = Link::Order(event);
        let stats = &mut self.stats.insts[inst as usize];
        stats.start(issue.at);
        stats.last = visible;
        stats.busy += issue.released - issue.at;
        stats.in_flight += visible - issue.at;
        self.stats.engines[s].occupy(issue.at, issue.released, visible);
        self.stats.timeline.add(s, issue.at, issue.released, issue.released - issue.at);
        if let Some(sink) = &mut self.trace {
            sink.issued(&Issued {
                inst,
                event,
                engine: STREAM_ENGINES[s],
                issued: issue.at,
                released: issue.released,
                visible,
                waited_for: Self::producer(ready),
            });
        }
        self.signal(s, inst, [issue.at, visible], now, event)?;
        // A sequencer stalls at the semaphore by which programs meet.
        Ok(Step::Next(if meets { visible } else { issue.at }))
    }

    /// What a stream does at a meeting: `None`, it looks when it can come, or goes on from where both have come.
    fn meet(&mut self, s: usize, now: Ps) -> Option<Step> {
        let m = self.meeting.as_mut()?;
        if m.stream != s {
            // One meeting after the other.
            m.waiters |= 1 << s;
            return Some(Step::Blocked);
        }
        match m.resume {
            None => Some(Step::Blocked),
            Some(at) => (at > now).then_some(Step::Again(at)),
        }
    }

    /// Tells the other core that this one has come.
    fn come(&mut self, s: usize, inst: u32, issue: &Issue) -> Result<Step, Diagnostics> {
        let (issued, visible) = (issue.at, issue.visible);
        self.meeting =
            Some(Meeting { stream: s, inst, issued, visible, resume: None, met: None, waiters: 0 });
        let Some(core) = self.core else {
            return Err(self.alone().into());
        };
        core.come(issued, visible);
        Ok(Step::Blocked)
    }

    /// Both cores have come: results are visible at `visible`; the stream goes on at `at`, which is not later.
    pub(super) fn met(&mut self, at: Ps, visible: Ps) {
        if let Some(m) = &mut self.meeting {
            (m.resume, m.met) = (Some(at), Some(visible));
            let stream = m.stream;
            self.wake(stream, at);
        }
    }

    /// The error of a program that meets nobody.
    pub(super) fn alone(&self) -> Diagnostic {
        let inst = self.meeting.as_ref().map_or(0, |m| m.inst);
        let what = match &self.flat.insts[inst as usize].kind {
            MKind::Compute { op, .. } => op.name(),
            _ => "a meeting",
        };
        let d = match self.core {
            Some(core) => {
                let (me, other) = (core.rank(), 1 - core.rank());
                let message = format!("program {me} waits in {what}, and program {other} has ended");
                Diagnostic::error(Code::Deadlock, message)
            }
            None => Diagnostic::error(Code::Argument, format!("{what} needs two programs that run together")),
        };
        d.at(&self.flat.header.locs, self.flat.loc(inst))
    }

    /// What the instruction does to the memories.
    fn effect(&mut self, s: usize, inst: u32) -> Result<(), Diagnostics> {
        let resolved = self.prepare(s, inst)?;
        if let (Some(data), Some(resolved)) = (&mut self.data, &resolved) {
            data.compute(STREAM_ENGINES[s], inst, resolved, &self.sequencers[s].regs)?;
        }
        Ok(())
    }

    /// Whether the instruction waits for the other program of a logical core.
    fn meets(&self, inst: u32) -> bool {
        let MKind::Compute { op, .. } = &self.flat.insts[inst as usize].kind else { return false };
        op.row().timing == TimingClass::Barrier
    }

    /// When the data path, or the part of the array that the instruction needs, is free.
    fn path_free(&self, s: usize, info: &ComputeInfo) -> Ps {
        let path = &self.paths[s];
        let Some(mm) = info.cost.matmul.as_ref().filter(|_| s == TENSOR) else { return path.free };
        let whole = mm.tile[2..] == [128, 128];
        if whole {
            return path.free;
        }
        let spaced = path.issue + ps(self.k.pe.subarray_start_cyc / self.k.pe.clock_ghz);
        let start = if path.last == Link::None { 0 } else { spaced };
        blocks(mm.tile).map(|(r, c)| path.blocks[r][c]).fold(start, Ps::max)
    }

    /// The exclusive resources that the instruction takes, one bit each.
    fn lock_mask(&self, s: usize, inst: u32, info: &ComputeInfo) -> u32 {
        if self.k.port_locks {
            let sbuf = info.sbuf && matches!(s, VECTOR | GPSIMD);
            let psum = info.psum && matches!(s, VECTOR | SCALAR);
            return u32::from(sbuf) << SBUF_PORT | u32::from(psum) << PSUM_PORT;
        }
        if !info.psum || !matches!(s, VECTOR | SCALAR) {
            return 0;
        }
        let banks = info.banks.unwrap_or_else(|| self.banks_now(s, inst));
        u32::from(banks) << 2
    }

    fn banks_now(&self, s: usize, inst: u32) -> u8 {
        let MKind::Compute { operands, .. } = &self.flat.insts[inst as usize].kind else { return 0 };
        let regs = &self.sequencers[s].regs;
        operands.iter().fold(0, |m, o| match o {
            MOperand::Access(a) if a.space == Space::Psum => m | banks(a, regs),
            _ => m,
        })
    }

    /// When all of `locks` are free of other engines, and who held the last one.
    fn lock_free(&self, locks: u32, s: usize, request: Ps) -> (Ps, u8) {
        let mut out = (request, s as u8);
        for (l, &(until, holder)) in self.locks.iter().enumerate() {
            if locks >> l & 1 == 1 && holder as usize != s && until > out.0 {
                out = (until, holder);
            }
        }
        out
    }

    /// Time before the issue that the engine needs for itself.
    fn preparation(&mut self, s: usize, info: &ComputeInfo, idle: bool) -> (Ps, Stall) {
        if s == TENSOR && idle {
            return (ps(self.k.pe.ls_lat_ns), Stall::Stationary);
        }
        if s == SCALAR && info.cost.table.is_some() && info.cost.table != self.table {
            return (ps(self.k.act.table_load_ns), Stall::Table);
        }
        (0, Stall::Sequencer)
    }

    /// Takes the data path from `at` on.
    fn occupy(&mut self, s: usize, info: &ComputeInfo, at: Ps) -> Issue {
        let cost = &info.cost;
        let (mut occupancy, mut latency) = (cost.occupancy, cost.latency);
        if let Some(mm) = &cost.matmul
            && s == TENSOR
        {
            let (stream, cold) = self.throttle.stream(at, mm.stream, mm.stream_throttled);
            self.stats.engines[s].throttled += cold;
            self.throttle.occupy(at + stream, mm.overhead);
            occupancy = stream + mm.overhead;
            latency = occupancy + ps(self.k.pe.lat_ovh_ns);
            let path = &mut self.paths[s];
            // A transpose right behind another instruction runs in the background (gen4).
            if info.transpose && self.k.pe.bg_transpose < 1.0 && path.free == at {
                occupancy = (occupancy as f64 * self.k.pe.bg_transpose).round() as Ps;
            }
            for (r, c) in blocks(mm.tile) {
                path.blocks[r][c] = path.blocks[r][c].max(at + occupancy);
            }
        }
        if s == SCALAR && cost.table.is_some() && cost.table != self.table {
            self.table = cost.table;
            let after = ps(self.k.act.after_table_ns);
            occupancy += after;
            latency += after;
        }
        if s == VECTOR && cost.base_occupancy > occupancy && !self.k.port_locks {
            // Fast modes are suspended while GpSimd works on SBUF: that part of the work takes longer.
            let (from, to) = self.paths[GPSIMD].sbuf_busy;
            let slow = cost.base_occupancy as f64 / occupancy as f64;
            let overlap = to.min(at + cost.base_occupancy).saturating_sub(from.max(at)) as f64;
            let done_slowly = (overlap / slow).min(occupancy as f64);
            let longer = (done_slowly * (slow - 1.0)).round() as Ps;
            occupancy += longer;
            latency += longer;
        }
        Issue { at, released: at + occupancy, visible: at + latency }
    }
}
