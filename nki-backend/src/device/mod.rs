//! The device compiler: tile IR to a machine program.
//!
//! | Pass | File | Does |
//! |---|---|---|
//! | legalise | `legalise.rs` | instructions the machine has, engines, descriptor modes |
//! | fuse | `fuse.rs` | pairs of element-wise instructions to one |
//! | expand | `expand.rs` | static loops to a linear stream with concrete addresses; large loops stay loops |
//! | spill | `spill.rs` | on request: tiles that do not fit wait in device memory |
//! | reuse-loads | `reuse.rs` | tiles that are loaded again stay where SBUF has room |
//! | allocate | `allocate/` | SBUF, PSUM and HBM addresses, multi-buffering |
//! | depend | `depend/` | dependences from the overlap of physical accesses |
//! | schedule | `schedule/` | order, streams, rings, by estimated time |
//! | synchronise | `sync.rs` | the waits that are needed and not implied |
//! | emit | `emit.rs` | semaphores and the program |
//! | split-transfers | `split.rs` | transfers at the ends of a small program in pieces, if that is faster |
//!
//! `front.rs` runs what comes before scheduling, `back.rs` the rest, and chooses between schedules.
//!
//! In: a verified kernel. Out: [`Compiled`]. No pass may change a result; optional ones can be switched off ([`Pass`]). Memory
//! and time are near-linear in the number of expanded instructions.

mod allocate;
mod back;
mod cost;
mod decided;
mod depend;
mod emit;
mod expand;
mod front;
mod fuse;
mod legalise;
mod listing;
mod numbers;
mod options;
mod report;
mod reuse;
mod schedule;
mod spill;
mod split;
mod sync;

pub use allocate::SiteReport;
pub use cost::{Cost, CostModel, DmaCost, Hops, SimulatedCosts};
pub use decided::{BufferChoice, LoopChoice};
pub use legalise::{Template, Transfer};
pub use options::{CompileOptions, Pass};
pub use report::{CompileReport, PassNote};
pub use spill::SpillReport;

use back::Back;
use expand::Stream;
use front::Front;
use nki_ir::{Code, Diagnostics, Kernel, Target, Verified};
use nki_sim::Program;
use schedule::Costs;
use spill::Which;
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
/// ```
/// use nki_backend::device::{CompileOptions, compile};
/// let text = "nki-ir 1
/// kernel @double(%x: in hbm<f32, [128, 64]>, %out: out hbm<f32, [128, 64]>) {
///   %t = alloc sbuf<f32, [128, 64]>
///   dma_copy %t, %x
///   tensor_scalar %t, %t, operand0: 2.0 {op0 = multiply}
///   dma_copy %out, %t
/// }
/// ";
/// let kernel = nki_ir::text::parse(text, "double.nkir").unwrap();
/// let verified = nki_ir::verify(kernel, nki_ir::Target::Trn2).unwrap();
/// let compiled = compile(&verified, &CompileOptions::default()).unwrap();
/// assert_eq!(compiled.report.sbuf_peak, 256);
/// println!("{}", compiled.listing(20));
/// ```
///
/// # Errors
/// `nki::sbuf_capacity` and `nki::psum_capacity` with the live buffers at the peak; `nki::start_partition` and `nki::overlap`
/// for placements that cannot be; `nki::limit` for what this compiler does not take; `nki::semaphore`.
pub fn compile(verified: &Verified, options: &CompileOptions) -> Result<Compiled, Diagnostics> {
    let (kernel, target) = (verified.kernel(), verified.target());
    let mut report = CompileReport::default();
    let mut templates = legalise::legalise(kernel, target)?;
    let model = SimulatedCosts::new(target);
    if options.runs(Pass::Fuse) {
        report.fused(fuse::fuse(kernel, target, &mut templates, &model));
    }
    let stream = expand::expand(kernel, &templates, options)?;
    legalise::descriptors_for_loops(&mut templates, &stream.loops, target);
    report.expanded(kernel, &stream);
    if !options.spill {
        return place_and_order(kernel, target, &templates, stream, options, report);
    }
    let found = place_and_order(kernel, target, &templates, stream.clone(), options, report.clone());
    let no_room = |e: &Diagnostics| e.first_code() == Some(Code::SbufCapacity);
    let Some(error) = found.as_ref().err().filter(|e| no_room(e)).cloned() else { return found };
    if !stream.is_straight() {
        let note = "spilling does not reach into loops that stay loops, on registers or by `unroll`";
        let mut noted = Diagnostics::new();
        error.into_iter().for_each(|d| noted.push(d.note(note)));
        return Err(noted);
    }
    let capacity = u64::from(target.sbuf_bytes_per_partition());
    let largest = spill::largest(kernel, &stream);
    let beside = largest.map(|(of_one_size, others)| (of_one_size, capacity.saturating_sub(others)));
    let mut best: Option<Compiled> = None;
    for (which, room) in [(Which::All, capacity)].into_iter().chain(beside) {
        // Room that is too scattered to use is found out by trying, and so is what buffering gains that has it instead.
        let mut fit = 0;
        for limit in (0..8).map(|k| room.saturating_sub(capacity / 16 * k)) {
            let Some(s) = spill::spill(kernel, target, &templates, &stream, which, limit)? else { break };
            let mut report = report.clone();
            report.spilled(s.report);
            match place_and_order(&s.kernel, target, &s.templates, s.stream, options, report) {
                Err(e) if no_room(&e) => continue,
                Err(e) => return Err(e),
                Ok(c) if best.as_ref().is_none_or(|b| c.report.estimate_ns < b.report.estimate_ns) => {
                    best = Some(c);
                }
                Ok(_) => {}
            }
            fit += 1;
            if fit == SPILLED {
                break;
            }
        }
    }
    best.ok_or(error)
}

/// Everything behind expansion.
fn place_and_order(
    kernel: &Kernel,
    target: Target,
    templates: &[Template],
    stream: Stream,
    options: &CompileOptions,
    mut report: CompileReport,
) -> Result<Compiled, Diagnostics> {
    let model = SimulatedCosts::new(target);
    let costs = Costs::new(templates, &model);
    let front = Front { kernel, target, templates, costs: &costs, options };
    let (stream, allocation) = front.allocate(stream, &mut report)?;
    report.allocated(&allocation);
    let back =
        Back { kernel, target, templates, costs: &costs, options, stream: &stream, allocation: &allocation };
    let mut split_report = report.clone();
    let mut program = back.compile(&mut report)?;
    let small = stream.is_straight() && stream.items.len() <= SPLIT;
    let passes = [Pass::SplitTransfers, Pass::Schedule, Pass::Measure];
    let split = match small && passes.iter().all(|p| options.runs(*p)) {
        true => split::split_ends(kernel, target, templates, &costs, &stream)?,
        false => None,
    };
    let (mut templates, mut chosen) = (templates, &stream);
    if let Some(s) = &split {
        let costs = Costs::new(&s.templates, &model);
        let back = Back { templates: &s.templates, costs: &costs, stream: &s.stream, ..back };
        let pieces = back.compile(&mut split_report)?;
        if let (Some(before), Some(after)) = (back::simulated_time(&program), back::simulated_time(&pieces))
            && after < GAIN * before
        {
            split_report.split(s, before, after);
            (program, report) = (pieces, split_report);
            (templates, chosen) = (&s.templates, &s.stream);
        }
    }
    (report.buffers, report.loops) = decided::decided(kernel, templates, chosen, &allocation, &program);
    // A program of ours that the machine's gate rejects is a bug of this compiler; tests and debug builds look for it.
    if cfg!(debug_assertions) && report.instructions.iter().sum::<u64>() <= DEBUG_VERIFY {
        nki_sim::verify(program.clone())?;
    }
    Ok(Compiled { program, report })
}

/// Programs up to this many instructions are also tried with split transfers.
const SPLIT: usize = 8_000;
/// A program with split transfers takes at most this share of the time of the one without: more instructions are to gain something.
const GAIN: f64 = 0.99;

/// As many limits of live bytes that fit are tried when tiles are spilled.
const SPILLED: u32 = 4;

/// Debug builds verify programs up to this many instructions.
const DEBUG_VERIFY: u64 = 20_000;
