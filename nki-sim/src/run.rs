//! Runs a verified program.

use crate::code::Flat;
use crate::constants::Constants;
use crate::data::Data;
use crate::functional;
use crate::hazard::{Corrections, MAX_PASSES, Tracker};
use crate::options::{Mode, SimOptions};
use crate::report::{SimReport, Work, fill};
use crate::timing::{Core, Info, MANY, Machine, Stats, infos};
use crate::trace::TraceSink;
use crate::verify::{Proof, VerifiedProgram};
use nki_ir::Tensor;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};

/// What a run gives.
#[derive(Debug)]
pub struct SimOutput {
    /// Outputs and inouts, in the order of the program's tensors; none in time-only mode.
    pub outputs: Vec<Tensor>,
    pub report: SimReport,
    /// What was noticed but did not end the run.
    pub warnings: Diagnostics,
}

/// Runs a program on inputs (its inputs and inouts, in the order of its tensors; none in time-only mode).
///
/// # Errors
/// Arguments that do not match, and everything that only shows while running: uninitialised reads, dynamic indices out of
/// bounds, misuse of PSUM accumulation, unordered accesses and deadlock where the verifier could not decide, limits of this
/// implementation. Each names the source line.
pub fn run(
    program: &VerifiedProgram,
    inputs: &[Tensor],
    options: &SimOptions,
) -> Result<SimOutput, Diagnostics> {
    run_with(program, inputs, options, None)
}

/// [`run`] that tells `trace` what happens.
pub fn run_traced(
    program: &VerifiedProgram,
    inputs: &[Tensor],
    options: &SimOptions,
    trace: &mut dyn TraceSink,
) -> Result<SimOutput, Diagnostics> {
    run_with(program, inputs, options, Some(trace))
}

fn run_with(
    program: &VerifiedProgram,
    inputs: &[Tensor],
    options: &SimOptions,
    trace: Option<&mut dyn TraceSink>,
) -> Result<SimOutput, Diagnostics> {
    let ends = options.core.as_ref().map(Core::ends);
    let flat = &program.flat;
    let k = options.constants.clone().unwrap_or_else(|| Constants::of(flat.header.target));
    let infos = infos(flat, &k, options.threads());
    let data = match options.mode {
        Mode::TimeOnly => None,
        _ => Some(Data::new(flat, inputs, options)?),
    };
    let tracker = checks_order(program, options).then(|| Tracker::new(flat, Corrections::new()));
    // What the report needs and the run does not change is found out meanwhile.
    let mut works = vec![Work::default(); flat.insts.len()];
    let apart = works.len() >= MANY && options.threads() > 1;
    let run = std::thread::scope(|scope| {
        match apart {
            true => drop(scope.spawn(|| fill(&mut works, flat, &infos))),
            false => fill(&mut works, flat, &infos),
        }
        simulate(flat, &k, &infos, options, (data, tracker), trace.map(|t| t as &mut dyn TraceSink))
    });
    drop(ends);
    let (data, stats, tracker) = run?;
    let mut order = Diagnostics::new();
    if let Some(tracker) = tracker
        && !settle(flat, inputs, options, tracker)?
    {
        order.push(Diagnostic::warning(Code::Race, "the order of all accesses could not be decided"));
    }
    let report = SimReport::new(flat, &k, &stats, &infos, &works);
    let (outputs, mut warnings) = data.map_or_else(Default::default, Data::finish);
    warnings.extend(order);
    Ok(SimOutput { outputs, report, warnings })
}

/// Executes the program: what the memories hold then, times, and what the order of accesses was.
fn simulate<'a>(
    flat: &'a Flat,
    k: &'a Constants,
    infos: &'a [Info],
    options: &'a SimOptions,
    (data, tracker): (Option<Data<'a>>, Option<Tracker<'a>>),
    trace: Option<&'a mut (dyn TraceSink + 'a)>,
) -> Result<(Option<Data<'a>>, Stats, Option<Tracker<'a>>), Diagnostics> {
    match (options.mode, data) {
        (Mode::Functional, Some(data)) => {
            let (data, stats, tracker) = functional::run(flat, data, tracker, options)?;
            Ok((Some(data), stats, tracker))
        }
        (_, data) => {
            let mut machine = Machine::new(flat, k, infos, options);
            (machine.data, machine.tracker, machine.trace) = (data, tracker, trace);
            machine.run()?;
            Ok((machine.data, machine.stats, machine.tracker))
        }
    }
}

/// Repeats the check of a run until what its waits prove is settled. False: it does not settle.
fn settle<'a>(
    flat: &'a Flat,
    inputs: &'a [Tensor],
    options: &SimOptions,
    mut tracker: Tracker<'a>,
) -> Result<bool, Diagnostics> {
    for _ in 0..MAX_PASSES {
        if tracker.clocks.settled() {
            return Ok(!tracker.overflowed());
        }
        if options.mode == Mode::TimeOnly {
            break;
        }
        let learnt = std::mem::take(&mut tracker.clocks.found);
        let data = Data::new(flat, inputs, options)?;
        let again = Some(Tracker::new(flat, learnt));
        // It has printed already.
        let (repeated, _) = nki_ir::print::capture(|| functional::run(flat, data, again, options));
        match repeated?.2 {
            Some(t) => tracker = t,
            None => break,
        }
    }
    Ok(false)
}

fn checks_order(program: &VerifiedProgram, options: &SimOptions) -> bool {
    let unproven = *program.proof() != Proof::Proven;
    unproven && options.check_order.unwrap_or(options.mode != Mode::TimeOnly)
}
