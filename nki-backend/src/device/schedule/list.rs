//! List scheduling: in estimated time, whichever unit can issue next takes its best ready item.

use super::machine::{Machine, Ran, ready_after, stream_of};
use super::{Engines, Plan, Problem, SYNC};
use crate::device::cost::Cost;
use crate::device::depend::Kind;
use crate::device::legalise::Template;
use nki_ir::Engine;
use smallvec::{SmallVec, smallvec};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What "best" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// First in the source, a load by its first use: keeps few tiles alive and pipelines what the buffers allow.
    Oldest,
    /// Longest path to the end, then first in the source.
    CriticalPath,
}

impl Priority {
    fn name(self) -> &'static str {
        match self {
            Priority::Oldest => "oldest first",
            Priority::CriticalPath => "critical path",
        }
    }
    fn name_with(self, split: bool, spread: bool, engines: Engines) -> &'static str {
        let oldest = self == Priority::Oldest;
        match (engines, split, spread) {
            (Engines::First, ..) if oldest => "oldest first, first engines",
            (Engines::First, ..) => "critical path, first engines",
            (Engines::NotForTwoTensors, true, _) if oldest => "oldest first, copies level",
            (Engines::NotForTwoTensors, true, _) => "critical path, copies level",
            (Engines::NotForTwoTensors, false, true) if oldest => "oldest first, copies balanced",
            (Engines::NotForTwoTensors, false, true) => "critical path, copies balanced",
            (Engines::NotForTwoTensors, false, false) if oldest => {
                "oldest first, copies balanced, transfers from one engine"
            }
            (Engines::NotForTwoTensors, false, false) => {
                "critical path, copies balanced, transfers from one engine"
            }
            (Engines::Any, false, true) => self.name(),
            (Engines::Any, true, _) if oldest => "oldest first, level engines",
            (Engines::Any, true, _) => "critical path, level engines",
            (Engines::Any, false, false) if oldest => "oldest first, transfers from one engine",
            (Engines::Any, false, false) => "critical path, transfers from one engine",
        }
    }
}

/// The unit that stands for all sequencers when they issue transfers.
const DMA: usize = 5;

/// A sequencer other than the sync engine issues a transfer only if that is this much earlier, in nanoseconds: its own
/// instructions wait behind a trigger that comes too soon.
const GPSIMD_RELUCTANCE: f64 = 100.0;
const SCALAR_RELUCTANCE: f64 = 400.0;

/// How many ready items are looked at to avoid a change of the function table.
const TABLE_WINDOW: usize = 8;

/// Items of one unit: those whose time has come by rank, the others by time.
#[derive(Default)]
struct Unit {
    ready: BinaryHeap<Reverse<(u64, u32)>>,
    pending: BinaryHeap<Reverse<(u64, u32)>>,
}

struct Scheduler<'p, 'a> {
    p: &'p Problem<'a>,
    first: u32,
    rank: Vec<u64>,
    missing: Vec<u32>,
    ready: Vec<f64>,
    ran: Vec<Ran>,
    issued: Vec<bool>,
    /// Units in whose queues an item stands.
    holders: Vec<u8>,
    units: [Unit; 6],
    machine: Machine,
    order: Vec<u32>,
    spread: bool,
    engines: Engines,
    /// Stream of each item that several could run, if it was decided beforehand.
    split: Option<Vec<u8>>,
    /// Stores wait until every load is issued, or nothing else can be.
    late: bool,
    /// Loads that are not issued, and stores that wait for them, oldest first.
    loads: usize,
    held: VecDeque<u32>,
    /// The sequencer of the last load: a store from another would not wait for it.
    load_issuer: usize,
}

/// How far, in nanoseconds, one engine may fall behind another in [`even_split`] and still be given the work to catch up:
/// roughly what a pipeline of a few tiles can move about.
const CATCH_UP: f64 = 50_000.0;

/// Streams for the items that several engines can run, chosen so that the engines' sums of work stay level from the start of
/// the block on. `None` if there is nothing to choose.
pub fn even_split(p: &Problem<'_>, engines: Engines) -> Option<Vec<u8>> {
    let items = p.dependences.items.clone();
    let mut load = [0.0f64; 5];
    let mut out = Vec::with_capacity(items.len());
    let mut chosen = false;
    for i in items {
        let template = p.stream.items[i as usize].template as usize;
        let (t, cost) = (&p.templates[template], &p.costs.templates[template]);
        if t.is_dma() {
            out.push(SYNC as u8);
            continue;
        }
        let level = load.iter().copied().fold(0.0, f64::max) - CATCH_UP;
        for l in &mut load {
            *l = l.max(level);
        }
        let streams = engines.of(t).iter().map(|&e| stream_of(e));
        let then = |s: usize| load[s] + cost.compute[s].occupancy;
        let best = streams.reduce(|a, b| if then(b) < then(a) { b } else { a }).unwrap_or(SYNC);
        chosen |= best != stream_of(t.engines[0]);
        load[best] = then(best);
        out.push(best as u8);
    }
    chosen.then_some(out)
}

/// Schedules a block; engines that are not in `split` are chosen on the way. `spread`: several engines issue
/// transfers. `engines`: among which they are chosen.
pub fn schedule(
    p: &Problem<'_>,
    priority: Priority,
    split: Option<Vec<u8>>,
    spread: bool,
    engines: Engines,
    late: bool,
) -> Plan {
    let items = p.dependences.items.clone();
    let n = items.len();
    let (offsets, successors) = successors(p);
    let rank = match priority {
        Priority::Oldest => first_uses(p),
        Priority::CriticalPath => ranks(p),
    };
    let mut s = Scheduler {
        p,
        first: items.start,
        rank,
        missing: items.clone().map(|i| p.dependences.of(i).len() as u32).collect(),
        ready: vec![0.0; n],
        ran: vec![Ran::default(); n],
        issued: vec![false; n],
        holders: vec![0; n],
        units: Default::default(),
        machine: Machine::new(p.costs.hops),
        order: Vec::with_capacity(n),
        spread,
        engines,
        split,
        late,
        loads: 0,
        held: VecDeque::new(),
        load_issuer: SYNC,
    };
    s.machine.one_ring = late;
    s.loads = (0..n as u32).filter(|&k| s.is_load(k)).count();
    for k in 0..n as u32 {
        if s.missing[k as usize] == 0 {
            s.offer(k);
        }
    }
    while let Some(k) = s.step() {
        for &next in &successors[offsets[k as usize] as usize..offsets[k as usize + 1] as usize] {
            s.missing[next as usize] -= 1;
            if s.missing[next as usize] == 0 {
                s.offer(next);
            }
        }
    }
    debug_assert_eq!(s.order.len(), n, "dependences point backwards, so every item becomes ready");
    let name = match (late, priority) {
        (true, Priority::Oldest) => "oldest first, stores last",
        (true, Priority::CriticalPath) => "critical path, stores last",
        _ => priority.name_with(s.split.is_some(), spread, engines),
    };
    let plan = Plan::new(name, items, s.order, &s.ran, s.machine.end);
    Plan { one_ring: late, ..plan }
}

/// Successors of every item, as offsets into one list; both count from the start of the block.
fn successors(p: &Problem<'_>) -> (Vec<u32>, Vec<u32>) {
    let items = p.dependences.items.clone();
    let mut offsets = vec![0u32; items.len() + 1];
    for i in items.clone() {
        for e in p.dependences.of(i) {
            offsets[(e.item - items.start) as usize + 1] += 1;
        }
    }
    for k in 1..offsets.len() {
        offsets[k] += offsets[k - 1];
    }
    let mut at = offsets.clone();
    let mut list = vec![0u32; p.dependences.count()];
    for i in items.clone() {
        for e in p.dependences.of(i) {
            let slot = &mut at[(e.item - items.start) as usize];
            list[*slot as usize] = i - items.start;
            *slot += 1;
        }
    }
    (offsets, list)
}

/// Smaller is more urgent: the position in the source; of a transfer, the position of the first item that reads its data.
fn first_uses(p: &Problem<'_>) -> Vec<u64> {
    let items = p.dependences.items.clone();
    let mut rank: Vec<u64> = vec![u64::MAX; items.len()];
    for i in items.clone() {
        for e in p.dependences.of(i).iter().filter(|e| e.kind == Kind::ReadAfterWrite) {
            let before = &mut rank[(e.item - items.start) as usize];
            *before = (*before).min((i - items.start).into());
        }
    }
    for i in items.clone() {
        let k = (i - items.start) as usize;
        let transfer = p.templates[p.stream.items[i as usize].template as usize].is_dma();
        if !transfer || rank[k] == u64::MAX {
            rank[k] = k as u64;
        }
    }
    rank
}

/// Smaller is more urgent: the longest path from an item to the end, in nanoseconds, counted down from a large number.
fn ranks(p: &Problem<'_>) -> Vec<u64> {
    let items = p.dependences.items.clone();
    let mut path = vec![0.0f64; items.len()];
    for i in items.clone().rev() {
        let k = (i - items.start) as usize;
        let item = &p.stream.items[i as usize];
        let t = &p.templates[item.template as usize];
        let cost = &p.costs.templates[item.template as usize];
        path[k] += match &cost.transfer {
            Some(c) => c.alone(),
            None => cost.compute[stream_of(t.engines[0])].latency,
        };
        let below = path[k];
        for e in p.dependences.of(i) {
            let before = &mut path[(e.item - items.start) as usize];
            *before = before.max(below);
        }
    }
    path.iter().map(|&ns| u64::MAX / 2 - ns as u64).collect()
}

impl Scheduler<'_, '_> {
    fn template(&self, k: u32) -> &Template {
        &self.p.templates[self.p.stream.items[(self.first + k) as usize].template as usize]
    }

    /// Units that may take an item.
    fn units_of(&self, k: u32) -> SmallVec<[usize; 3]> {
        let t = self.template(k);
        if t.is_dma() {
            return smallvec![DMA];
        }
        if let Some(split) = &self.split {
            return smallvec![split[k as usize].into()];
        }
        self.engines.of(t).iter().map(|&e| stream_of(e)).collect()
    }

    /// All predecessors of `k` have been issued: it becomes ready when their results are.
    fn offer(&mut self, k: u32) {
        let units = self.units_of(k);
        let stream = units[0];
        let transfer = stream == DMA;
        let edges = self.p.dependences.of(self.first + k);
        let ready = edges.iter().fold(0.0f64, |r, &e| {
            let before = &self.ran[(e.item - self.first) as usize];
            r.max(ready_after(e, before, if transfer { SYNC } else { stream }, transfer, self.p.costs.hops))
        });
        self.ready[k as usize] = ready;
        self.holders[k as usize] = units.len() as u8;
        for u in units {
            // Times are not negative, so their bits order like the numbers.
            self.units[u].pending.push(Reverse((ready.to_bits(), k)));
        }
    }

    /// When a unit could issue something again.
    fn free(&self, unit: usize) -> f64 {
        if unit != DMA {
            return self.machine.free(unit);
        }
        let s = &self.machine.sequencer;
        if self.spread { s[SYNC].min(s[stream_of(Engine::GpSimd)]) } else { s[SYNC] }
    }

    fn is_load(&self, k: u32) -> bool {
        let item = &self.p.stream.items[(self.first + k) as usize];
        self.p.costs.templates[item.template as usize].transfer.as_ref().is_some_and(|c| !c.store)
    }

    /// Issues the next item; `None` when all are issued.
    fn step(&mut self) -> Option<u32> {
        loop {
            if self.loads == 0 {
                let due = self.held.drain(..).map(|k| Reverse((self.rank[k as usize], k)));
                self.units[DMA].ready.extend(due);
            }
            let mut best: Option<(f64, usize)> = None;
            for u in 0..self.units.len() {
                self.drop_issued(u);
                let free = self.free(u);
                let at = match (self.units[u].ready.peek(), self.units[u].pending.peek()) {
                    (Some(_), _) => free,
                    (None, Some(Reverse((bits, _)))) => free.max(f64::from_bits(*bits)),
                    (None, None) => continue,
                };
                if best.is_none_or(|b| at < b.0) {
                    best = Some((at, u));
                }
            }
            let Some((now, unit)) = best else {
                // What else there is waits for a store.
                let k = self.held.pop_front()?;
                self.issue(k, DMA);
                return Some(k);
            };
            self.mature(unit, now);
            let Some(k) = self.take(unit) else { continue };
            // Maturing may have brought up an item that another unit has taken in the meantime.
            if self.issued[k as usize] {
                continue;
            }
            if self.late && unit == DMA && self.loads > 0 && !self.is_load(k) {
                self.held.push_back(k);
                continue;
            }
            if self.holders[k as usize] > 1 && self.better_elsewhere(k, unit, now) {
                self.holders[k as usize] -= 1;
                continue;
            }
            self.issue(k, unit);
            return Some(k);
        }
    }

    /// The best ready item of a unit; one of the next few instead, if the best would make the scalar engine change its
    /// function table and the other would not.
    fn take(&mut self, unit: usize) -> Option<u32> {
        let Reverse(best) = self.units[unit].ready.pop()?;
        if unit == DMA || !self.machine.changes_table(&self.cost(best.1, unit)) {
            return Some(best.1);
        }
        let mut aside: SmallVec<[(u64, u32); 8]> = smallvec![best];
        let mut found = None;
        while aside.len() < TABLE_WINDOW && found.is_none() {
            let Some(Reverse(next)) = self.units[unit].ready.pop() else { break };
            let stale = self.issued[next.1 as usize];
            match self.machine.changes_table(&self.cost(next.1, unit)) {
                _ if stale => {}
                false => found = Some(next.1),
                true => aside.push(next),
            }
        }
        if found.is_none() {
            aside.remove(0);
        }
        self.units[unit].ready.extend(aside.into_iter().map(Reverse));
        Some(found.unwrap_or(best.1))
    }

    fn cost(&self, k: u32, unit: usize) -> Cost {
        self.p.costs.templates[self.p.stream.items[(self.first + k) as usize].template as usize].compute[unit]
    }

    /// Items offered to several units stay in the queues of the others after one has taken them.
    fn drop_issued(&mut self, unit: usize) {
        let (u, issued) = (&mut self.units[unit], &self.issued);
        while u.ready.peek().is_some_and(|Reverse((_, k))| issued[*k as usize]) {
            u.ready.pop();
        }
        while u.pending.peek().is_some_and(|Reverse((_, k))| issued[*k as usize]) {
            u.pending.pop();
        }
    }

    fn mature(&mut self, unit: usize, now: f64) {
        let (u, issued) = (&mut self.units[unit], &self.issued);
        while let Some(&Reverse((bits, k))) = u.pending.peek() {
            if f64::from_bits(bits) > now {
                break;
            }
            u.pending.pop();
            // Another unit may have taken it while it waited behind others here.
            if !issued[k as usize] {
                u.ready.push(Reverse((self.rank[k as usize], k)));
            }
        }
    }

    /// Whether another engine would finish the item sooner.
    fn better_elsewhere(&self, k: u32, unit: usize, now: f64) -> bool {
        let units = self.units_of(k);
        let cost = &self.p.costs.templates[self.p.stream.items[(self.first + k) as usize].template as usize];
        let here = now + cost.compute[unit].latency;
        let position = units.iter().position(|&u| u == unit).unwrap_or(0);
        units.iter().enumerate().any(|(n, &u)| {
            let there = self.machine.free(u).max(self.ready[k as usize]) + cost.compute[u].latency;
            u != unit && (there < here || (there == here && n < position))
        })
    }

    fn issue(&mut self, k: u32, unit: usize) {
        let cost = &self.p.costs.templates[self.p.stream.items[(self.first + k) as usize].template as usize];
        let ready = self.ready[k as usize];
        self.ran[k as usize] = match &cost.transfer {
            Some(c) => {
                let stream = self.issuer(k, ready);
                self.machine.transfer(c, stream, ready)
            }
            None => self.machine.compute(cost.compute[unit], unit, ready),
        };
        self.issued[k as usize] = true;
        if self.is_load(k) {
            self.loads -= 1;
            self.load_issuer = self.ran[k as usize].stream.into();
        }
        self.order.push(self.first + k);
    }

    /// The sequencer that issues a transfer soonest; others than the sync engine only if they gain enough.
    fn issuer(&self, k: u32, ready: f64) -> usize {
        let Some(dma) = &self.template(k).dma else { return SYNC };
        if !self.spread {
            return stream_of(dma.issuers[0]);
        }
        let at = |e: Engine| {
            let reluctance = match e {
                Engine::GpSimd => GPSIMD_RELUCTANCE,
                Engine::Scalar => SCALAR_RELUCTANCE,
                _ => 0.0,
            };
            self.machine.sequencer[stream_of(e)].max(ready) + reluctance
        };
        if self.late && !self.is_load(k) && dma.issuers.iter().any(|&e| stream_of(e) == self.load_issuer) {
            return self.load_issuer;
        }
        let mut best = dma.issuers[0];
        for &e in &dma.issuers[1..] {
            if at(e) < at(best) {
                best = e;
            }
        }
        stream_of(best)
    }
}
