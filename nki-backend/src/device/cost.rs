//! What the scheduler believes about time: one question per template, answered by the simulator's cost functions on an idle
//! machine. Only choices depend on it, never correctness.

use crate::device::emit::bare_operands;
use crate::device::legalise::Template;
use nki_ir::target::Gen;
use nki_ir::{Engine, Space, Target};
use nki_sim::Constants;
use nki_sim::cost::{ActTable, compute_cost, dma_cost, ns};

/// Time of a compute instruction in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Until the same engine can start its next independent instruction.
    pub occupancy: f64,
    /// Until a dependent instruction can read the result.
    pub latency: f64,
    /// The function table it needs.
    pub table: Option<ActTable>,
    /// Memory ports that no other engine may use meanwhile: SBUF (vector and GpSimd), PSUM (vector and scalar).
    pub ports: [bool; 2],
}

/// Time of a transfer in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DmaCost {
    /// The issuing sequencer is busy.
    pub trigger: f64,
    /// The descriptor generator of the issuer is busy; 0 for static descriptors.
    pub generate: f64,
    /// Trigger to first byte.
    pub start: f64,
    /// Service time on each DMA engine that takes part, with the engine's number.
    pub service: Vec<(u8, f64)>,
    /// Writes HBM, and is queued apart from loads.
    pub store: bool,
    /// Extra time of the first element of a load on an idle engine.
    pub first: f64,
    /// Each engine starts this much after the one before it.
    pub stagger: f64,
    /// Last byte to a waiting instruction.
    pub done: f64,
}

impl DmaCost {
    /// From trigger to a waiting instruction on an idle machine.
    pub fn alone(&self) -> f64 {
        let last = self.service.iter().map(|&(k, s)| f64::from(k) * self.stagger + s).fold(0.0, f64::max);
        self.start + self.first + last + self.done
    }
}

/// Times that belong to no single instruction, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hops {
    /// From a result to a waiter on another engine, and on the same.
    pub other_engine: f64,
    pub same_engine: f64,
    /// The scalar engine changes its function table.
    pub table_load: f64,
}

/// Estimates time.
pub trait CostModel {
    /// A compute instruction on one of its engines.
    fn compute(&self, t: &Template, engine: Engine) -> Cost;
    /// A transfer.
    fn transfer(&self, t: &Template) -> DmaCost;
    /// Synchronisation.
    fn hops(&self) -> Hops;
}

/// The simulator's model of a target.
pub struct SimulatedCosts {
    constants: Constants,
    shared_ports: bool,
}

impl SimulatedCosts {
    /// The model of a target.
    pub fn new(target: Target) -> Self {
        let shared_ports = target.generation() == Gen::Gen2;
        SimulatedCosts { constants: Constants::of(target).clone(), shared_ports }
    }
}

impl CostModel for SimulatedCosts {
    fn compute(&self, t: &Template, engine: Engine) -> Cost {
        let c = compute_cost(&self.constants, engine, t.op, &bare_operands(t), &t.attrs);
        let touches = |space| t.views().any(|v| v.space == space);
        // machine.md 13.6, gen2.
        let sbuf = matches!(engine, Engine::Vector | Engine::GpSimd) && touches(Space::Sbuf);
        let psum = matches!(engine, Engine::Vector | Engine::Scalar) && touches(Space::Psum);
        let ports = [self.shared_ports && sbuf, self.shared_ports && psum];
        Cost { occupancy: ns(c.occupancy), latency: ns(c.latency), table: c.table, ports }
    }

    fn transfer(&self, t: &Template) -> DmaCost {
        let Some(dma) = &t.dma else { return DmaCost::default() };
        let c = dma_cost(&self.constants, t.op, &bare_operands(t), &t.attrs, dma.dge);
        let k = &self.constants.dma;
        let shares = c.shares.iter().enumerate().filter(|(_, s)| s.elements > 0);
        DmaCost {
            trigger: ns(c.trigger),
            generate: ns(c.issue),
            start: ns(c.start),
            service: shares.map(|(e, s)| (e as u8, ns(s.service) + k.sem_write_ns)).collect(),
            store: !c.load,
            first: if c.load { k.first_read_ns } else { 0.0 },
            stagger: k.engine_stagger_ns,
            done: k.done_ns,
        }
    }

    fn hops(&self) -> Hops {
        let k = &self.constants.sync;
        let table_load = self.constants.act.table_load_ns;
        Hops { other_engine: k.hop_ns, same_engine: k.same_engine_ns, table_load }
    }
}
