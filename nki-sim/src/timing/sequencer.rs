//! A sequencer: takes instructions in order, waits for semaphores, runs control flow.

use super::semaphore::{By, Cause};
use super::stats::{Executed, Link, Stall};
use super::{Info, Machine};
use crate::code::{CodeOp, Regs};
use crate::cost::{Ps, ps};
use crate::deadlock::Blocked;
use crate::exec::overflow;
use crate::program::SEMAPHORE_MAX;
use crate::program::{MKind, STREAM_ENGINES, Sem};
use crate::trace::{Producer, Stalled};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::Space;
use std::rc::Rc;

pub(super) struct Sequencer {
    pub pc: usize,
    pub regs: Regs,
    /// Counts plans, to recognise outdated events.
    pub version: u32,
    /// It cannot go on before this time, whatever wakes it.
    pub floor: Ps,
    /// When it came to the current instruction.
    pub since: Option<Ps>,
    /// Its latest executed instruction, for the critical path.
    pub last: Link,
    /// The random delay of the current instruction has been taken (adversarial runs).
    pub delayed: bool,
}

impl Sequencer {
    pub fn new(registers: u32) -> Sequencer {
        Sequencer {
            pc: 0,
            regs: Regs::new(registers),
            version: 0,
            floor: 0,
            since: None,
            last: Link::None,
            delayed: false,
        }
    }
}

/// When the waits of an instruction are satisfied, and what came last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub at: Ps,
    pub last: Option<super::semaphore::Increment>,
}

/// Whether the sequencer goes on at once.
pub(super) enum Step {
    /// Done with the instruction; the next one is taken at this time.
    Next(Ps),
    /// Come back at this time.
    Again(Ps),
    /// Come back when a semaphore or ring changes.
    Blocked,
}

impl Machine<'_> {
    /// Runs a stream from `now` until time has to pass.
    pub(super) fn step(&mut self, s: usize, mut now: Ps) -> Result<(), Diagnostics> {
        loop {
            let flat = self.flat;
            let Some(code) = flat.streams[s].get(self.sequencers[s].pc) else {
                self.stats.engines[s].end = now;
                return Ok(());
            };
            let inst = code.inst;
            let step = match code.op {
                CodeOp::Inst => self.instruction(s, inst, now)?,
                CodeOp::Enter => match self.wait(s, inst, now) {
                    Ok(_) => {
                        if let Some(tracker) = &mut self.tracker {
                            tracker.enter(s, inst, &self.sequencers[s].regs);
                        }
                        Step::Next(now)
                    }
                    Err(step) => step,
                },
                op => Step::Next(self.control(s, op, inst, now)?),
            };
            match step {
                Step::Next(at) => {
                    let seq = &mut self.sequencers[s];
                    if matches!(code.op, CodeOp::Inst | CodeOp::Enter | CodeOp::Leave) {
                        seq.pc += 1;
                    }
                    (seq.since, seq.delayed) = (None, false);
                    self.stats.total += 1;
                    if self.stats.total > self.options.max_instructions {
                        return Err(self.limit());
                    }
                    if at > now {
                        self.sequencers[s].floor = at;
                        if !self.is_next(s, at) {
                            self.wake(s, at);
                            return Ok(());
                        }
                        now = at;
                    }
                }
                Step::Again(at) if at > now && self.is_next(s, at) => now = at,
                Step::Again(at) => {
                    self.wake(s, at);
                    return Ok(());
                }
                Step::Blocked => return Ok(()),
            }
        }
    }

    /// Control flow; returns when the sequencer goes on. Moves `pc` itself, except past a `Leave`.
    fn control(&mut self, s: usize, op: CodeOp, inst: u32, now: Ps) -> Result<Ps, Diagnostics> {
        let node = &self.flat.insts[inst as usize];
        let (alu, branch) = (ps(self.k.sync.seq_alu_ns), ps(self.k.sync.seq_branch_ns));
        let seq = &mut self.sequencers[s];
        let mut jump = |to: u32| seq.pc = to as usize;
        let time = match (op, &node.kind) {
            (CodeOp::ForEnter { exit }, MKind::For { reg, lo, hi, max, .. }) => {
                let bounds = seq.regs.bounds(*lo, *hi, *max);
                let (lo, hi) = bounds.map_err(|what| crate::exec::bound_error(self.flat, inst, what))?;
                seq.regs.set(*reg, lo);
                if lo < hi {
                    seq.pc += 1;
                    alu
                } else {
                    seq.pc = exit as usize;
                    branch
                }
            }
            (CodeOp::ForNext { body }, MKind::For { reg, hi, step, .. }) => {
                let next = seq.regs.get(*reg).saturating_add(*step);
                seq.regs.set(*reg, next);
                if next < seq.regs.bound(*hi) {
                    seq.pc = body as usize;
                    branch
                } else {
                    seq.pc += 1;
                    alu
                }
            }
            (CodeOp::WhileTest { exit }, MKind::While { cond, .. }) => {
                let go_on = seq.regs.get(*cond) != 0;
                seq.pc = if go_on { seq.pc + 1 } else { exit as usize };
                if go_on { alu } else { branch }
            }
            (CodeOp::If { otherwise }, MKind::If { cond, .. }) => {
                let then = seq.regs.get(*cond) != 0;
                seq.pc = if then { seq.pc + 1 } else { otherwise as usize };
                if then { alu } else { branch }
            }
            (CodeOp::WhileNext { test }, _) => {
                jump(test);
                branch
            }
            (CodeOp::Else { leave }, _) => {
                jump(leave);
                branch
            }
            (CodeOp::Leave, _) => {
                if !node.signals.is_empty() {
                    if let Some(tracker) = &mut self.tracker {
                        tracker.leave(s, inst);
                    }
                    let event = self.executed(s, inst, now, now, Link::None);
                    self.signal(s, inst, [now, now], now, event)?;
                }
                0
            }
            _ => 0,
        };
        self.stall(s, inst, Stall::Sequencer, now, now + time);
        Ok(now + time)
    }

    fn instruction(&mut self, s: usize, inst: u32, now: Ps) -> Result<Step, Diagnostics> {
        let since = *self.sequencers[s].since.get_or_insert(now);
        let ready = match self.wait(s, inst, now) {
            Ok(ready) => ready,
            Err(step) => return Ok(step),
        };
        if let Some(at) = self.random_stall(s, now) {
            return Ok(Step::Again(at));
        }
        let flat = self.flat;
        let infos = self.infos;
        match (&infos[inst as usize], &flat.insts[inst as usize].kind) {
            (Info::Compute(info), _) => self.issue(s, inst, now, ready, info),
            (Info::Dma(info), _) => self.trigger(s, inst, now, ready, info),
            (Info::Other, kind) => {
                self.prepare(s, inst)?;
                let time = match kind {
                    MKind::Sync => ps(self.k.sync.sem_instr_ns),
                    MKind::RegLoad { src: a, .. } | MKind::RegStore { dst: a, .. }
                        if a.space == Space::Hbm =>
                    {
                        ps(self.k.sync.seq_load_hbm_ns)
                    }
                    MKind::RegLoad { .. } | MKind::RegStore { .. } => ps(self.k.sync.seq_load_sbuf_ns),
                    _ => ps(self.k.sync.seq_alu_ns),
                };
                if let MKind::RegMove { reg, src } = kind {
                    let v = src.eval(&self.sequencers[s].regs);
                    self.sequencers[s].regs.set(*reg, v);
                }
                if let MKind::RegLoad { .. } | MKind::RegStore { .. } = kind {
                    self.register_data(s, inst)?;
                }
                self.waited(s, inst, since, now, ready);
                self.stall(s, inst, Stall::Sequencer, now, now + time);
                let link = ready.last.map_or(self.sequencers[s].last, |l| Link::Result(l.cause.event));
                let event = self.executed(s, inst, now, now + time, link);
                let stats = &mut self.stats.insts[inst as usize];
                stats.start(now);
                stats.last = now + time;
                self.signal(s, inst, [now, now + time], now, event)?;
                Ok(Step::Next(now + time))
            }
        }
    }

    /// A register and memory: needs data.
    fn register_data(&mut self, s: usize, inst: u32) -> Result<(), Diagnostics> {
        if let Some(data) = &mut self.data {
            return Ok(data.register(s, inst, &mut self.sequencers[s].regs)?);
        }
        let d =
            Diagnostic::error(Code::Limit, "a register depends on data, which this mode does not compute");
        Err(d.at(&self.flat.header.locs, self.flat.loc(inst)).help("run in full mode").into())
    }

    /// Records an executed instruction and makes it the sequencer's latest.
    pub(super) fn executed(&mut self, s: usize, inst: u32, start: Ps, end: Ps, link: Link) -> u32 {
        self.stats.first = Some(self.stats.first.map_or(start, |f| f.min(start)));
        let event = self.stats.push(Executed { inst, start, end, link }, self.options.max_path_events);
        self.sequencers[s].last = Link::Order(event);
        self.stats.finish(event, end);
        event
    }

    /// When the waits of `inst` are satisfied: `Err` says when to come back.
    pub(super) fn wait(&mut self, s: usize, inst: u32, now: Ps) -> Result<Ready, Step> {
        let mut ready = Ready { at: 0, last: None };
        let waits = self.sync.waits(inst);
        for w in waits {
            let at_least = self.sync.at_least(w, &self.sequencers[s].regs);
            let sem = &mut self.semaphores[w.sem.0 as usize];
            match sem.satisfied(at_least, s as u8, &self.delays) {
                Some(found) if found.at >= ready.at => ready = Ready { at: found.at, last: found.last },
                Some(_) => {}
                None => {
                    if !sem.waiters.contains(&(s as u8)) {
                        sem.waiters.push(s as u8);
                    }
                    return Err(Step::Blocked);
                }
            }
        }
        let free = match &self.infos[inst as usize] {
            Info::Compute(_) => self.paths[s].free,
            _ => 0,
        };
        if ready.at > now && ready.at > free {
            // Something that is not known yet may still increment it earlier.
            for w in waits {
                let sem = &mut self.semaphores[w.sem.0 as usize];
                if !sem.waiters.contains(&(s as u8)) {
                    sem.waiters.push(s as u8);
                }
            }
            return Err(Step::Again(ready.at));
        }
        Ok(ready)
    }

    /// The wait that keeps a stream from going on, at the end of a run.
    pub(super) fn unsatisfied(&self, s: usize) -> Option<Blocked> {
        let seq = &self.sequencers[s];
        let inst = self.flat.streams[s].get(seq.pc)?.inst;
        self.flat.insts[inst as usize].waits.iter().find_map(|w| {
            let at_least = w.at_least.eval(&seq.regs);
            let value = self.semaphores[w.sem.0 as usize].value();
            let open = u64::try_from(at_least).is_ok_and(|want| want > value);
            open.then_some(Blocked { inst, sem: w.sem, at_least, value })
        })
    }

    /// Increments the semaphores of `inst` at `at`.
    pub(super) fn signal(
        &mut self,
        s: usize,
        inst: u32,
        [issued, at]: [Ps; 2],
        now: Ps,
        event: u32,
    ) -> Result<(), Diagnostics> {
        let sync = Rc::clone(&self.sync);
        for signal in sync.signals(inst) {
            let cause = Cause { by: By::Engine(s as u8), event, inst, issued };
            self.increment(signal.sem, at, cause, signal.add.into(), now);
            if self.semaphores[signal.sem.0 as usize].value() > SEMAPHORE_MAX {
                return Err(overflow(self.flat, inst, signal.sem).into());
            }
        }
        Ok(())
    }

    pub(super) fn increment(&mut self, sem: Sem, at: Ps, cause: Cause, add: u64, now: Ps) {
        let semaphore = &mut self.semaphores[sem.0 as usize];
        semaphore.add(at, cause, add, now, &self.delays);
        for w in std::mem::take(&mut semaphore.waiters) {
            // It looks again and comes back at the right time.
            let at = now.max(self.sequencers[w as usize].floor);
            self.wake(w as usize, at);
        }
    }

    /// Accounts the time from `since` to `issue` that an instruction waited for semaphores.
    pub(super) fn waited(&mut self, s: usize, inst: u32, since: Ps, issue: Ps, ready: Ready) {
        let Some(last) = ready.last.filter(|_| ready.at > since) else { return };
        let producer = last.cause.inst;
        let reason = match (last.cause.by, &self.infos[producer as usize]) {
            (By::Engine(e), _) => Stall::Engine(e),
            (By::Dma, Info::Dma(d)) if d.cost.load => Stall::Load,
            (By::Dma, _) => Stall::Store,
        };
        let time = self.stall(s, inst, reason, since, ready.at.min(issue));
        if time > 0 {
            self.stats.waits.add(inst, producer, time);
        }
    }

    /// Whom an instruction waited for last, for the trace.
    pub(super) fn producer(ready: Ready) -> Option<Producer> {
        let last = ready.last?;
        let engine = match last.cause.by {
            By::Engine(e) => Some(STREAM_ENGINES[e as usize]),
            By::Dma => None,
        };
        Some(Producer { event: last.cause.event, engine, issued: last.cause.issued, signalled: last.time })
    }

    pub(super) fn stall(&mut self, s: usize, inst: u32, reason: Stall, from: Ps, to: Ps) -> Ps {
        let time = self.stats.engines[s].stall(reason, from, to);
        if time > 0 {
            self.stats.insts[inst as usize].stalled[reason.index()] += time;
            if reason != Stall::Sequencer
                && let Some(sink) = &mut self.trace
            {
                sink.stalled(&Stalled { inst, engine: STREAM_ENGINES[s], reason, from: to - time, to });
            }
        }
        time
    }

    /// Adversarial runs: sometimes a sequencer dawdles.
    fn random_stall(&mut self, s: usize, now: Ps) -> Option<Ps> {
        let random = self.random.as_mut()?;
        let seq = &mut self.sequencers[s];
        if std::mem::replace(&mut seq.delayed, true) || random.next() % 4 != 0 {
            return None;
        }
        let delay = random.spread(22);
        (delay > 0).then_some(now + delay)
    }
}
