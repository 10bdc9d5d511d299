//! A coarse machine in estimated time: five sequencers with data paths, descriptor generators, 16 DMA engines.

use crate::device::cost::{Cost, CostModel, DmaCost, Hops};
use crate::device::depend::{Edge, Kind};
use crate::device::legalise::Template;
use nki_ir::Engine;
use nki_sim::cost::ActTable;
use nki_sim::program::STREAM_ENGINES;

/// Costs of one template: by stream for compute, or of the transfer.
#[derive(Clone, Debug)]
pub struct TemplateCost {
    pub compute: [Cost; 5],
    pub transfer: Option<DmaCost>,
}

/// Costs of all templates.
#[derive(Clone, Debug)]
pub struct Costs {
    pub templates: Vec<TemplateCost>,
    pub hops: Hops,
}

impl Costs {
    /// Asks the model once per template.
    pub fn new(templates: &[Template], model: &dyn CostModel) -> Self {
        let one = |t: &Template| {
            let mut compute = [Cost::default(); 5];
            for &e in t.engines.iter().filter(|_| !t.is_dma()) {
                compute[stream_of(e)] = model.compute(t, e);
            }
            TemplateCost { compute, transfer: t.is_dma().then(|| model.transfer(t)) }
        };
        Costs { templates: templates.iter().map(one).collect(), hops: model.hops() }
    }
}

/// Index of an engine's stream. Transfers have none of their own; they are issued from the sync engine by default.
pub fn stream_of(e: Engine) -> usize {
    STREAM_ENGINES.iter().position(|&s| s == e).unwrap_or(SYNC)
}

/// Index of the sync engine's stream.
pub const SYNC: usize = 4;

/// When an item ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran {
    pub start: f64,
    /// Its result can be used (of a transfer: by a waiting instruction).
    pub done: f64,
    pub stream: u8,
    pub transfer: bool,
}

/// Resources and until when they are taken, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub sequencer: [f64; 5],
    path: [f64; 5],
    generator: [f64; 5],
    /// When each DMA engine has served what is queued: loads, stores.
    dma: [[f64; 2]; 16],
    /// Until when the shared memory ports are taken.
    ports: [f64; 2],
    /// Stores are in line behind loads, on one ring.
    pub one_ring: bool,
    table: Option<ActTable>,
    table_load: f64,
    pub end: f64,
}

impl Machine {
    /// An idle machine.
    pub fn new(hops: Hops) -> Self {
        Machine { table_load: hops.table_load, ..Machine::default() }
    }

    /// Whether the scalar engine would have to load a function table first.
    pub fn changes_table(&self, cost: &Cost) -> bool {
        cost.table.is_some() && cost.table != self.table
    }

    /// Earliest start of a compute instruction on a stream that has nothing to wait for.
    pub fn free(&self, stream: usize) -> f64 {
        self.sequencer[stream].max(self.path[stream])
    }

    /// Issues a compute instruction.
    pub fn compute(&mut self, cost: Cost, stream: usize, ready: f64) -> Ran {
        let mut start = self.free(stream).max(ready);
        for (port, _) in self.ports.iter().zip(cost.ports).filter(|p| p.1) {
            start = start.max(*port);
        }
        if self.changes_table(&cost) {
            self.table = cost.table;
            start += self.table_load;
        }
        self.sequencer[stream] = start;
        self.path[stream] = start + cost.occupancy;
        for (port, _) in self.ports.iter_mut().zip(cost.ports).filter(|p| p.1) {
            *port = start + cost.occupancy;
        }
        let done = start + cost.latency;
        self.end = self.end.max(done);
        Ran { start, done, stream: stream as u8, transfer: false }
    }

    /// Issues a transfer from a stream.
    pub fn transfer(&mut self, cost: &DmaCost, stream: usize, ready: f64) -> Ran {
        let start = self.sequencer[stream].max(ready);
        self.sequencer[stream] = start + cost.trigger;
        let begin = if cost.generate > 0.0 {
            let begin = start.max(self.generator[stream]);
            self.generator[stream] = begin + cost.generate;
            if stream == stream_of(Engine::GpSimd) {
                self.path[stream] = self.path[stream].max(begin) + cost.generate;
            }
            begin
        } else {
            start
        };
        let mut complete = begin;
        let mine = usize::from(cost.store && !self.one_ring);
        for &(k, service) in &cost.service {
            let until = &mut self.dma[usize::from(k)];
            let arrives = begin + cost.start + cost.stagger * f64::from(k);
            // An engine that was idle pays the first read.
            let start = if arrives >= until[mine] { arrives + cost.first } else { until[mine] };
            // Loads and stores are on different rings, which an engine serves in turn: both slow down while both queue.
            let shared = (until[1 - mine] - start).clamp(0.0, service);
            until[mine] = start + service + shared;
            if shared > 0.0 {
                until[1 - mine] += shared;
            }
            complete = complete.max(until[mine]);
        }
        self.end = self.end.max(complete);
        Ran { start, done: complete + cost.done, stream: stream as u8, transfer: true }
    }
}

/// When an item on `stream` may start because of an edge to an item that ran.
pub fn ready_after(edge: Edge, before: &Ran, stream: usize, transfer: bool, hops: Hops) -> f64 {
    if before.transfer {
        return before.done;
    }
    if usize::from(before.stream) != stream {
        return before.done + hops.other_engine;
    }
    match edge.kind {
        Kind::ReadAfterWrite | Kind::Order => before.done + hops.same_engine,
        _ if transfer => before.done + hops.same_engine,
        // In-order issue is enough.
        _ => before.start,
    }
}
