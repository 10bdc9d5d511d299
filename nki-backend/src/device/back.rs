//! The passes behind allocation: dependences, candidate schedules, their waits and programs, and the choice between them.
//!
//! Small programs are simulated, each candidate as it would run, so that the choice does not depend on an estimate; large
//! ones are chosen by estimated time.

use crate::device::allocate::Allocation;
use crate::device::depend::{self, Dependences};
use crate::device::emit::{self, Scheduled, Source};
use crate::device::expand::{Block, Stream};
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use crate::device::report::CompileReport;
use crate::device::schedule::{self, Costs, Plan, Problem};
use crate::device::sync;
use nki_ir::{Diagnostics, Kernel, Target};
use nki_sim::{Mode, Program, SimOptions, VerifyOptions};

/// What these passes read.
pub struct Back<'a> {
    pub kernel: &'a Kernel,
    pub target: Target,
    pub templates: &'a [Template],
    pub costs: &'a Costs,
    pub options: &'a CompileOptions,
    pub stream: &'a Stream,
    pub allocation: &'a Allocation,
}

/// Programs up to this many instructions are simulated.
const MEASURED: usize = 20_000;

/// Programs up to this many instructions are simulated with every schedule of which the estimate is up to twice the best; of
/// larger ones, [`SEVERAL`] within a few percent.
const FEW: usize = 8_000;
const SEVERAL: usize = 3;

/// Executed instructions after which a simulation is not worth the time.
const MEASURED_TURNS: u64 = 200_000;

/// A straight block with everything that may become its schedule.
struct Candidates {
    dependences: Dependences,
    plans: Vec<Plan>,
}

/// A finished program and what its making says.
struct Finished {
    /// Simulated if it was measured, else estimated, in nanoseconds.
    time: f64,
    program: Program,
    forced_waits: u32,
    waits: usize,
    dropped: usize,
}

impl Back<'_> {
    /// The best program found.
    pub fn compile(&self, report: &mut CompileReport) -> Result<Program, Diagnostics> {
        let blocks = self.candidates();
        let by_estimate: Vec<usize> = blocks.iter().map(|b| fastest(&b.plans)).collect();
        let mut choices = vec![by_estimate];
        let short = self.stream.items.len() <= MEASURED && executed(&self.stream.blocks) <= MEASURED_TURNS;
        if self.options.runs(Pass::Measure) && short {
            // And each way of scheduling throughout.
            let ways = blocks.iter().map(|b| b.plans.len()).max().unwrap_or(0);
            let throughout = |k: usize| blocks.iter().map(|b| k.min(b.plans.len() - 1)).collect();
            let estimate =
                |choice: &[usize]| -> f64 { blocks.iter().zip(choice).map(|(b, &k)| b.plans[k].time).sum() };
            let few = self.stream.items.len() <= FEW;
            let hopeless = estimate(&choices[0]) * if few { 2.0 } else { 1.03 };
            let mut others: Vec<Vec<usize>> = (0..ways).map(throughout).collect();
            others.retain(|c| estimate(c) <= hopeless);
            others.sort_by(|a, b| estimate(a).total_cmp(&estimate(b)));
            for choice in others {
                if (few || choices.len() < SEVERAL) && !choices.contains(&choice) {
                    choices.push(choice);
                }
            }
        }
        let mut best: Option<(Finished, &Vec<usize>)> = None;
        for choice in &choices {
            let finished = self.finish(&blocks, choice, choices.len() > 1)?;
            if best.as_ref().is_none_or(|b| finished.time < b.0.time) {
                best = Some((finished, choice));
            }
        }
        let (best, choice) = best.expect("there is at least one choice");
        for (b, &k) in blocks.iter().zip(choice) {
            report.scheduled(&b.dependences, &b.plans, k);
        }
        if choices.len() > 1 {
            report.measured(choices.len(), best.time);
        }
        report.emitted(&best.program, best.waits, best.dropped, best.forced_waits);
        Ok(best.program)
    }

    /// The program of one choice of plans.
    fn finish(
        &self,
        blocks: &[Candidates],
        choice: &[usize],
        measure: bool,
    ) -> Result<Finished, Diagnostics> {
        let scheduled: Vec<Scheduled> = blocks
            .iter()
            .zip(choice)
            .map(|(b, &k)| {
                let plan = b.plans[k].clone();
                let waits =
                    sync::synchronise(self.stream, self.templates, &b.dependences, &plan, self.options);
                Scheduled { plan, waits }
            })
            .collect();
        let source = Source {
            kernel: self.kernel,
            templates: self.templates,
            stream: self.stream,
            allocation: self.allocation,
            blocks: &scheduled,
        };
        let emitted = emit::emit(&source)?;
        let program = Program {
            name: self.kernel.name.clone(),
            target: self.target,
            tensors: self.allocation.tensors.clone(),
            placements: self.allocation.placements.clone(),
            streams: emitted.streams,
            semaphores: emitted.semaphores,
            registers: [emitted.registers; 5],
            locs: self.kernel.locs.clone(),
        };
        let estimate = scheduled.iter().map(|s| s.plan.time).sum();
        let time = if measure { simulated_time(&program).unwrap_or(estimate) } else { estimate };
        Ok(Finished {
            time,
            program,
            forced_waits: emitted.forced_waits,
            waits: scheduled.iter().map(|s| s.waits.count()).sum(),
            dropped: scheduled.iter().map(|s| s.waits.dropped).sum(),
        })
    }

    fn candidates(&self) -> Vec<Candidates> {
        let (kernel, templates, stream, allocation) =
            (self.kernel, self.templates, self.stream, self.allocation);
        let program = depend::Program { kernel, templates, stream, allocation };
        let one = |items| {
            let dependences = depend::dependences(&program, items);
            let (costs, options) = (self.costs, self.options);
            let plans = schedule::candidates(&Problem {
                templates,
                stream,
                costs,
                dependences: &dependences,
                options,
            });
            Candidates { dependences, plans }
        };
        straight_blocks(&stream.blocks).into_iter().map(one).collect()
    }
}

fn fastest(plans: &[Plan]) -> usize {
    let mut best = 0;
    for (k, p) in plans.iter().enumerate() {
        if p.time < plans[best].time {
            best = k;
        }
    }
    best
}

/// Simulated kernel time in nanoseconds; `None` if the program takes too many turns to find out.
pub fn simulated_time(program: &Program) -> Option<f64> {
    // The order of accesses is not a question here: it is proved of the program that runs, when it is verified.
    let unproved = VerifyOptions { budget: 0 };
    let verified = nki_sim::verify_with(program.clone(), &unproved).ok()?;
    let options = SimOptions {
        mode: Mode::TimeOnly,
        max_instructions: MEASURED_TURNS,
        max_path_events: 0,
        ..SimOptions::default()
    };
    Some(nki_sim::run(&verified, &[], &options).ok()?.report.kernel_ns)
}

/// Instructions that are executed; what depends on registers counts once.
fn executed(blocks: &[Block]) -> u64 {
    let mut stack: Vec<(u64, std::slice::Iter<'_, Block>)> = vec![(1, blocks.iter())];
    let mut sum = 0u64;
    while let Some((turns, top)) = stack.last_mut() {
        let turns = *turns;
        let Some(block) = top.next() else {
            stack.pop();
            continue;
        };
        let inner = match block {
            Block::Straight(r) => {
                sum = sum.saturating_add(turns.saturating_mul(r.len() as u64));
                continue;
            }
            Block::Loop(l, _) if l.dynamic.is_none() => turns.saturating_mul(l.trip),
            _ => turns,
        };
        stack.extend(block.bodies().into_iter().map(|b| (inner, b.iter())));
    }
    sum
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
            Some(block) => stack.extend(block.bodies().into_iter().rev().map(|b| b.iter())),
        }
    }
    out
}
