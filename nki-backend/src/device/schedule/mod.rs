//! Schedule: an issue order, a stream for every instruction, a ring for every transfer. Several orders are made, program
//! order among them, so that the one taken is never slower than the source.

mod list;
mod machine;

pub use list::Priority;
pub use machine::{Costs, SYNC, stream_of};

use crate::device::depend::Dependences;
use crate::device::expand::{Stream, writes};
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use machine::{Machine, Ran, ready_after};
use nki_ir::{Engine, Op, Space};
use std::ops::Range;

/// The order of one straight block.
#[derive(Clone, Debug)]
pub struct Plan {
    pub items: Range<u32>,
    /// Items in order of issue. Each stream issues its own in this order, and every dependence points backwards in it.
    pub order: Vec<u32>,
    /// Stream of each item, by position in the block.
    pub streams: Vec<u8>,
    /// Stores are on the ring of loads.
    pub one_ring: bool,
    /// Estimated duration of the block, in nanoseconds.
    pub time: f64,
    pub name: &'static str,
}

impl Plan {
    /// Stream of item `i`.
    pub fn stream(&self, i: u32) -> usize {
        self.streams[(i - self.items.start) as usize].into()
    }

    fn new(name: &'static str, items: Range<u32>, order: Vec<u32>, ran: &[Ran], time: f64) -> Self {
        Plan { items, order, streams: ran.iter().map(|r| r.stream).collect(), one_ring: false, time, name }
    }
}

/// What a scheduler needs to know.
pub struct Problem<'a> {
    pub templates: &'a [Template],
    pub stream: &'a Stream,
    pub costs: &'a Costs,
    pub dependences: &'a Dependences,
    pub options: &'a CompileOptions,
}

/// Which of its engines an instruction may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    First,
    /// `tensor_tensor` the first, others any.
    NotForTwoTensors,
    Any,
}

impl Engines {
    fn of(self, t: &Template) -> &[Engine] {
        let first = self == Engines::First || (self == Engines::NotForTwoTensors && t.op == Op::TensorTensor);
        &t.engines[..if first { 1 } else { t.engines.len() }]
    }
}

/// Blocks of up to this many items are also scheduled without spreading transfers, smaller ones without balancing engines.
const SMALL: usize = 20_000;

/// Everything that may become the schedule of a block; program order comes first.
pub fn candidates(p: &Problem<'_>) -> Vec<Plan> {
    let mut plans = vec![program_order(p)];
    if p.options.runs(Pass::Schedule) {
        let ways = [Priority::Oldest, Priority::CriticalPath];
        let runs = |pass| p.options.runs(pass);
        let (spread, balance) =
            (runs(Pass::SpreadDma), if runs(Pass::Balance) { Engines::Any } else { Engines::First });
        let items = p.dependences.items.len();
        plans.extend(ways.map(|way| list::schedule(p, way, None, spread, balance, false)));
        let split = list::even_split(p, balance);
        let several_engines = split.is_some();
        if let Some(split) = split {
            plans.extend(ways.map(|way| list::schedule(p, way, Some(split.clone()), spread, balance, false)));
        }
        // What the estimate sees only roughly: triggers hold up what their sequencer computes, and engines share ports.
        if spread && items <= SMALL {
            plans.extend(ways.map(|way| list::schedule(p, way, None, false, balance, false)));
        }
        if runs(Pass::LateStores) && items <= SMALL && few_stores(p) {
            plans.extend(ways.map(|way| list::schedule(p, way, None, spread, balance, true)));
        }
        if several_engines && items <= SMALL / 4 {
            plans.extend(ways.map(|way| list::schedule(p, way, None, spread, Engines::First, false)));
            // GpSimd slows the fast modes of the vector engine down, and results come back late.
            let own = Engines::NotForTwoTensors;
            for spread in if spread { vec![true, false] } else { vec![false] } {
                plans.extend(ways.map(|way| list::schedule(p, way, None, spread, own, false)));
            }
            if let Some(split) = list::even_split(p, own) {
                plans.extend(ways.map(|way| list::schedule(p, way, Some(split.clone()), spread, own, false)));
            }
        }
    }
    let mut different: Vec<Plan> = Vec::with_capacity(plans.len());
    for plan in plans {
        if !different
            .iter()
            .any(|d| d.order == plan.order && d.streams == plan.streams && d.one_ring == plan.one_ring)
        {
            different.push(plan);
        }
    }
    different
}

/// Whether the DMA engines spend much more time on loads than on stores, of which there are some.
fn few_stores(p: &Problem<'_>) -> bool {
    let mut time = [0.0; 2];
    for i in p.dependences.items.clone() {
        let cost = &p.costs.templates[p.stream.items[i as usize].template as usize].transfer;
        if let Some(c) = cost {
            time[usize::from(c.store)] += c.service.iter().map(|s| s.1).sum::<f64>();
        }
    }
    time[1] > 0.0 && 3.0 * time[1] < time[0]
}

/// Issues everything in the order of the source, transfers from their first issuer.
fn program_order(p: &Problem<'_>) -> Plan {
    let items = p.dependences.items.clone();
    let mut machine = Machine::new(p.costs.hops);
    let mut ran: Vec<Ran> = Vec::with_capacity(items.len());
    for i in items.clone() {
        let item = &p.stream.items[i as usize];
        let t = &p.templates[item.template as usize];
        let stream = match &t.dma {
            Some(d) => stream_of(d.issuers[0]),
            None => stream_of(t.engines[0]),
        };
        let cost = &p.costs.templates[item.template as usize];
        let ready = p.dependences.of(i).iter().fold(0.0f64, |r, &e| {
            let before = &ran[(e.item - items.start) as usize];
            r.max(ready_after(e, before, stream, t.is_dma(), p.costs.hops))
        });
        ran.push(match &cost.transfer {
            Some(c) => machine.transfer(c, stream, ready),
            None => machine.compute(cost.compute[stream], stream, ready),
        });
    }
    Plan::new("program order", items.clone(), items.collect(), &ran, machine.end)
}

/// The ring of a transfer: one for loads and one for stores, so that a store never waits in line behind loads. Rings are
/// served in turn, and within a ring in order, which keeps the order of the schedule; more rings would only blur it.
/// A plan may put both on one, so that stores wait behind loads. The author may ask for another.
pub fn ring(t: &Template, one_ring: bool) -> u8 {
    if let Some(asked) = t.dma.as_ref().and_then(|d| d.queue) {
        return asked;
    }
    u8::from(!one_ring && t.views().any(|v| v.space == Space::Hbm && writes(v)))
}
