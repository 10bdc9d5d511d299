//! The device compiler: tile IR to a machine program.
//!
//! | Pass | File | Does |
//! |---|---|---|
//! | legalise | `legalise.rs` | instructions the machine has, engines, descriptor modes |
//! | expand | `expand.rs` | static loops to a linear stream with concrete addresses; large loops stay loops |
//! | reuse-loads | `reuse.rs` | tiles that are loaded again stay where SBUF has room |
//! | allocate | `allocate/` | SBUF, PSUM and HBM addresses, multi-buffering |
//! | depend | `depend/` | dependences from the overlap of physical accesses |
//! | schedule | `schedule/` | order, streams, rings, by estimated time |
//! | synchronise | `sync.rs` | the waits that are needed and not implied |
//! | emit | `emit.rs` | semaphores and the program |
//!
//! In: a verified kernel. Out: [`Compiled`]. No pass may change a result; optional ones can be switched off ([`Pass`]). Memory
//! and time are near-linear in the number of expanded instructions.

mod allocate;
mod cost;
mod depend;
mod emit;
mod expand;
mod legalise;
mod listing;
mod options;
mod report;
mod reuse;
mod schedule;
mod sync;

pub use allocate::SiteReport;
pub use cost::{Cost, CostModel, DmaCost, Hops, SimulatedCosts};
pub use legalise::{Template, Transfer};
pub use options::{CompileOptions, Pass};
pub use report::{CompileReport, PassNote};

use allocate::{Allocation, Timeline};
use emit::{Emitted, Scheduled, Source};
use expand::{Block, Stream};
use nki_ir::{Diagnostics, Kernel, Target, Verified};
use nki_sim::Program;
use schedule::{Costs, Problem};
use std::fmt;

/// A compiled kernel.
pub struct Compiled {
    pub program: Program,
    pub report: CompileReport,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compiled({} for {})\n{}", self.program.name, self.program.target, self.report)
    }
}

/// Compiles a kernel that has passed the gate, for the target it was checked for.
///
/// # Errors
/// `nki::sbuf_capacity` and `nki::psum_capacity` with the live buffers at the peak; `nki::start_partition` and `nki::overlap`
/// for placements that cannot be; `nki::limit` for what this compiler does not take; `nki::semaphore`.
pub fn compile(verified: &Verified, options: &CompileOptions) -> Result<Compiled, Diagnostics> {
    let (kernel, target) = (verified.kernel(), verified.target());
    let mut report = CompileReport::default();
    let mut templates = legalise::legalise(kernel, target)?;
    let stream = expand::expand(kernel, &templates, options)?;
    legalise::descriptors_for_loops(&mut templates, &stream.loops, target);
    report.expanded(kernel, &stream);
    let costs = Costs::new(&templates, &SimulatedCosts::new(target));
    let front = Front { kernel, target, templates: &templates, costs: &costs, options };
    let (stream, allocation) = front.allocate(stream, &mut report)?;
    report.allocated(&allocation);
    let blocks = schedule_blocks(kernel, &templates, &stream, &allocation, &costs, options, &mut report);
    let source =
        Source { kernel, templates: &templates, stream: &stream, allocation: &allocation, blocks: &blocks };
    let emitted = emit::emit(&source)?;
    report.emitted(&emitted);
    report.starts = listing::starts(&blocks);
    drop(blocks);
    let program = program(kernel, target, allocation, emitted);
    // A program of ours that the machine's gate rejects is a bug of this compiler; tests and debug builds look for it.
    if cfg!(debug_assertions) && report.instructions.iter().sum::<u64>() <= DEBUG_VERIFY {
        nki_sim::verify(program.clone())?;
    }
    Ok(Compiled { program, report })
}

/// What the passes before scheduling share.
struct Front<'a> {
    kernel: &'a Kernel,
    target: Target,
    templates: &'a [Template],
    costs: &'a Costs,
    options: &'a CompileOptions,
}

impl Front<'_> {
    /// Keeps repeated loads as far as there is room beside the buffering that everything else wants, and allocates.
    fn allocate(
        &self,
        stream: Stream,
        report: &mut CompileReport,
    ) -> Result<(Stream, Allocation), Diagnostics> {
        let (kernel, templates) = (self.kernel, self.templates);
        let clock = timeline(&stream, templates, self.costs);
        if self.options.runs(Pass::ReuseLoads) {
            let capacity = u64::from(self.target.sbuf_bytes_per_partition());
            let wish = allocate::wish(kernel, templates, &stream, &clock, self.options);
            let mut budget = capacity.saturating_sub(wish + capacity / 32);
            while budget > 0 {
                let Some((kept, reused)) = reuse::reuse_loads(kernel, templates, &stream, budget) else {
                    break;
                };
                let clock = timeline(&kept, templates, self.costs);
                let fits = allocate::allocate(kernel, self.target, templates, &kept, &clock, self.options);
                if let Ok(allocation) = fits
                    && allocation.granted >= ENOUGH
                {
                    report.reused(reused);
                    return Ok((kept, allocation));
                }
                budget /= 2;
            }
        }
        let allocation = allocate::allocate(kernel, self.target, templates, &stream, &clock, self.options)?;
        Ok((stream, allocation))
    }
}

/// Tiles are kept for reuse only if at least this percentage of the wished buffering remains.
const ENOUGH: u32 = 50;

/// Debug builds verify programs up to this many instructions.
const DEBUG_VERIFY: u64 = 20_000;

/// The coarse clock that multi-buffering is chosen by.
fn timeline(stream: &Stream, templates: &[Template], costs: &Costs) -> Timeline {
    let engine_time = |t: u32| {
        let cost = &costs.templates[t as usize];
        match &cost.transfer {
            // All 16 engines together.
            Some(c) => (5, (c.service.iter().map(|s| s.1).sum::<f64>() / 16.0).max(c.generate)),
            None => {
                let s = schedule::stream_of(templates[t as usize].engines[0]);
                (s, cost.compute[s].occupancy)
            }
        }
    };
    let fetch = |t: u32| costs.templates[t as usize].transfer.as_ref().map_or(0.0, DmaCost::alone);
    allocate::timeline(stream, templates, engine_time, fetch)
}

fn schedule_blocks(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    allocation: &Allocation,
    costs: &Costs,
    options: &CompileOptions,
    report: &mut CompileReport,
) -> Vec<Scheduled> {
    let program = depend::Program { kernel, templates, stream, allocation };
    let mut out = Vec::new();
    for items in straight_blocks(&stream.blocks) {
        let dependences = depend::dependences(&program, items);
        let problem = Problem { templates, stream, costs, dependences: &dependences, options };
        let (plan, tried) = schedule::schedule(&problem);
        let waits = sync::synchronise(stream, templates, &dependences, &plan, options);
        report.scheduled(&dependences, &plan, &tried, &waits);
        out.push(Scheduled { plan, waits });
    }
    out
}

/// Straight blocks in order, however deep in hardware loops.
fn straight_blocks(blocks: &[Block]) -> Vec<std::ops::Range<u32>> {
    let mut out = Vec::new();
    let mut stack: Vec<std::slice::Iter<'_, Block>> = vec![blocks.iter()];
    while let Some(top) = stack.last_mut() {
        match top.next() {
            None => {
                stack.pop();
            }
            Some(Block::Straight(r)) => out.push(r.clone()),
            Some(Block::Loop(_, body)) => stack.push(body.iter()),
        }
    }
    out
}

fn program(kernel: &Kernel, target: Target, allocation: Allocation, emitted: Emitted) -> Program {
    Program {
        name: kernel.name.clone(),
        target,
        tensors: allocation.tensors,
        placements: allocation.placements,
        streams: emitted.streams,
        semaphores: emitted.semaphores,
        registers: [emitted.registers; 5],
        locs: kernel.locs.clone(),
    }
}
