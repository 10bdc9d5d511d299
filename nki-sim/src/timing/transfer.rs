//! Transfers: trigger, descriptor generation, rings, completion (machine.md 13.5).

use super::dma::{Done, Due, Work};
use super::path::GPSIMD;
use super::semaphore::{By, Cause};
use super::sequencer::{Ready, Step};
use super::stats::{Executed, Link, Stall};
use super::{DMA_ROW, DmaInfo, Machine, What};
use crate::cost::{Ps, Share, ps};
use crate::data::Resolved;
use crate::program::{MKind, MOperand, STREAM_ENGINES};
use crate::trace::{Completed, Triggered};
use nki_ir::diag::Diagnostics;
use nki_ir::op::DgeMode;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;

/// A transfer under way.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    inst: u32,
    event: u32,
    ring: u8,
    shares: Arc<[Share; 16]>,
    load: bool,
    /// See [`DmaCost::stack`](crate::cost::DmaCost::stack).
    stack: f64,
    trigger: Ps,
    /// First byte on engine 0.
    start: Ps,
    /// Engines that have finished.
    done: u16,
    /// Completion on the engines that have finished.
    latest: Ps,
    /// Its operands, if data are computed and no index skips it.
    resolved: Option<Resolved>,
}

/// One ring number, on all engines.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    outstanding: usize,
    /// Streams that wait for room.
    waiters: SmallVec<[u8; 2]>,
    /// The ring is in order: nothing starts before its predecessor.
    last_start: Ps,
}

impl Machine<'_> {
    /// Triggers a transfer whose waits are satisfied.
    pub(super) fn trigger(
        &mut self,
        s: usize,
        inst: u32,
        now: Ps,
        ready: Ready,
        info: &DmaInfo,
    ) -> Result<Step, Diagnostics> {
        let flat = self.flat;
        let MKind::Dma { queue, dge, operands, .. } = &flat.insts[inst as usize].kind else {
            return Ok(Step::Next(now));
        };
        let since = self.sequencers[s].since.unwrap_or(now);
        let software = *dge == DgeMode::Swdge;
        if software && self.paths[GPSIMD].free > now {
            return Ok(Step::Again(self.paths[GPSIMD].free));
        }
        let ring = &mut self.rings[*queue as usize];
        if ring.outstanding >= self.k.dma.ring_depth {
            if !ring.waiters.contains(&(s as u8)) {
                ring.waiters.push(s as u8);
            }
            return Ok(Step::Blocked);
        }
        ring.outstanding += 1;
        self.waited(s, inst, since, now, ready);
        self.stall(s, inst, Stall::Ring, ready.at.max(since), now);

        let generated = match dge {
            DgeMode::Hwdge if !self.dge_free.is_empty() => {
                // One unit commanded by the scalar engine's sequencer, the other by sync (machine.md 5.3).
                let units = self.dge_free.len();
                let unit = &mut self.dge_free[s % units];
                let from = now.max(*unit);
                *unit = from + info.cost.issue;
                self.stats.dge_busy.resize(units, 0);
                self.stats.dge_busy[s % units] += info.cost.issue;
                from
            }
            DgeMode::Swdge => {
                let path = &mut self.paths[GPSIMD];
                path.free = now + info.cost.issue;
                path.visible = path.visible.max(path.free);
                self.stats.engines[GPSIMD].occupy(now, now + info.cost.issue, now + info.cost.issue);
                self.stats.timeline.add(GPSIMD, now, now + info.cost.issue, info.cost.issue);
                now
            }
            _ => now,
        };
        let delay = self.random.as_mut().map_or(0, |r| r.spread(25));
        let start = (generated + info.cost.start + delay).max(self.rings[*queue as usize].last_start);
        self.rings[*queue as usize].last_start = start;

        let busy = if software { 0 } else { info.cost.trigger };
        self.stall(s, inst, Stall::Sequencer, now, now + busy);
        let link = match ready.last {
            Some(l) if ready.at >= since => Link::Result(l.cause.event),
            _ => self.sequencers[s].last,
        };
        let event = self.executed(s, inst, now, now + busy, link);
        self.stats.insts[inst as usize].start(now);
        if let Some(sink) = &mut self.trace {
            sink.triggered(&Triggered {
                inst,
                event,
                engine: STREAM_ENGINES[s],
                queue: *queue,
                at: now,
                until: now + busy,
                bytes: info.cost.bytes,
                waited_for: Self::producer(ready),
            });
        }
        let shares = match info.moving.and_then(|o| operands.get(o)) {
            Some(MOperand::Access(a)) => {
                let start = a.partition.eval(&self.sequencers[s].regs).clamp(0, 127);
                Arc::new(info.shape.distribute(self.k, start as u32))
            }
            _ => Arc::clone(&info.shares),
        };
        let resolved = self.prepare(s, inst)?;
        let transfer = Transfer {
            inst,
            event,
            ring: *queue,
            shares: self.jitter(shares),
            load: info.cost.load,
            stack: info.cost.stack,
            trigger: now,
            start,
            done: 0,
            latest: 0,
            resolved,
        };
        let number = match self.free_transfers.pop() {
            Some(n) => {
                self.transfers[n as usize] = transfer;
                n
            }
            None => {
                self.transfers.push(transfer);
                (self.transfers.len() - 1) as u32
            }
        };
        match &self.core {
            Some(core) => core.arrive(start, self.work(number)),
            None => self.push(start, What::Arrive { transfer: number }),
        }
        Ok(Step::Next(now + busy))
    }

    /// Adversarial runs: engines differ in speed.
    fn jitter(&mut self, mut shares: Arc<[Share; 16]>) -> Arc<[Share; 16]> {
        if let Some(random) = &mut self.random {
            for share in Arc::make_mut(&mut shares) {
                share.service += random.spread(20);
            }
        }
        shares
    }

    fn work(&self, number: u32) -> Work {
        let t = &self.transfers[number as usize];
        Work { transfer: number, ring: t.ring, shares: Arc::clone(&t.shares), load: t.load, stack: t.stack }
    }

    pub(super) fn arrive(&mut self, number: u32, now: Ps) {
        let work = self.work(number);
        let mut due = std::mem::take(&mut self.due);
        self.engines.arrive(&work, now, &mut due);
        self.plan(&mut due);
        self.due = due;
    }

    fn plan(&mut self, due: &mut Vec<Due>) {
        for d in due.drain(..) {
            self.push(d.at, What::Finish { class: d.class, version: d.version });
        }
    }

    /// A class of engines finishes its share of a transfer.
    pub(super) fn finish_share(&mut self, moment: Due) -> Result<(), Diagnostics> {
        let mut due = std::mem::take(&mut self.due);
        let done = self.engines.finish(moment, &mut due);
        self.plan(&mut due);
        self.due = due;
        done.map_or(Ok(()), |done| self.share_done(done, moment.at))
    }

    /// What follows from a share that is done at `now`.
    pub(super) fn share_done(&mut self, done: Done, now: Ps) -> Result<(), Diagnostics> {
        // Engine k runs k staggers behind; the last member completes the class.
        let last = 15 - done.mask.leading_zeros() as u64;
        let at = now + last * ps(self.k.dma.engine_stagger_ns);
        let t = &mut self.transfers[done.transfer as usize];
        t.done |= done.mask;
        t.latest = t.latest.max(at);
        let (inst, complete) = (t.inst, t.done == u16::MAX);
        let cause = Cause { by: By::Dma, event: t.event, inst, issued: t.trigger };
        if complete {
            self.complete(done.transfer)?;
        }
        let sync = Rc::clone(&self.sync);
        for signal in sync.signals(inst) {
            self.increment(signal.sem, at, cause, done.mask.count_ones().into(), now);
        }
        Ok(())
    }

    fn complete(&mut self, number: u32) -> Result<(), Diagnostics> {
        let resolved = self.transfers[number as usize].resolved.take();
        let t = self.transfers[number as usize].clone();
        if let (Some(data), Some(resolved)) = (&mut self.data, &resolved) {
            data.transfer(t.inst, resolved)?;
        }
        self.free_transfers.push(number);
        let service: Ps = t.shares.iter().map(|s| s.service).sum();
        let bytes: u64 = t.shares.iter().map(|s| s.bytes).sum();
        self.stats.dma_service += service;
        self.stats.timeline.add(DMA_ROW, t.start, t.latest, service);
        let stats = &mut self.stats.insts[t.inst as usize];
        stats.busy += service;
        stats.in_flight += t.latest - t.trigger;
        stats.last = stats.last.max(t.latest);
        let totals = &mut self.stats.rings[t.ring as usize];
        *totals = (totals.0 + 1, totals.1 + bytes, totals.2 + (t.latest - t.trigger));
        if let Some(executed) = self.stats.executed.get_mut(t.event as usize) {
            *executed = Executed { end: t.latest, ..*executed };
        }
        self.stats.finish(t.event, t.latest);
        if let Some(sink) = &mut self.trace {
            sink.completed(&Completed {
                inst: t.inst,
                event: t.event,
                queue: t.ring,
                triggered: t.trigger,
                started: t.start,
                at: t.latest,
                bytes,
            });
        }
        let ring = &mut self.rings[t.ring as usize];
        ring.outstanding -= 1;
        for w in std::mem::take(&mut ring.waiters) {
            let at = t.latest.max(self.sequencers[w as usize].floor);
            self.wake(w as usize, at);
        }
        Ok(())
    }
}
