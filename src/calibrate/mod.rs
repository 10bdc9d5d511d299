//! Simulated against measured: kernels whose device time has been published, run through the compiler and the timing model.
//!
//! A [`Case`] is a kernel written with the instruction stream that was measured, and the published figures. Cases register
//! themselves with [`calibration_case!`](crate::calibration_case); `nki calibrate` runs all of them. [`measure`] simulates one,
//! [`Summary`] states the errors over several, and [`leave_one_out`] how well the others predict each.

mod fit;

pub use fit::{Left, leave_one_out};

use crate::launch::Specialization;
use nki_backend::device::{CompileOptions, Pass, compile};
use nki_ir::{Diagnostics, Engine, Target};
use nki_sim::report::Counters;
use nki_sim::{Constants, Mode, SimOptions, SimReport, VerifiedProgram};

/// What a published duration contains (machine.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The profiler's total time.
    Profiled,
    /// `nc_latency` of a benchmark.
    NcLatency,
}

/// How far the description decides the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The instruction stream decides it.
    WellDetermined,
    /// What the original compiler chose, such as which tiles spill, takes part in it.
    ScheduleDependent,
}

/// A measured kernel.
pub struct Case {
    /// As in calibration.md: `C1`.
    pub id: &'static str,
    pub title: &'static str,
    pub target: Target,
    pub group: Group,
    pub kernel: fn() -> Specialization,
    /// Passes that would change the instruction stream.
    pub without: &'static [Pass],
    pub clock: Clock,
    pub latency_ms: f64,
    /// Duration of the one run that active times and counters belong to; `latency_ms` is the mean of others.
    pub run_ms: f64,
    /// Time that engines were active in that run.
    pub active_ms: &'static [(Engine, f64)],
    /// Published counters by the names of calibration.md section 2; what the publication leaves out is absent.
    pub counters: &'static [(Counter, u64)],
    /// Why what is left of the error is there.
    pub remark: &'static str,
}

inventory::collect!(&'static Case);

/// Registers a [`Case`], given as the path of a `static`.
#[macro_export]
macro_rules! calibration_case {
    ($case:path) => {
        $crate::__private::inventory::submit! { &$case as &'static $crate::calibrate::Case }
    };
}

/// A published time that is no kernel's: of a single instruction.
pub struct Figure {
    pub id: &'static str,
    pub title: &'static str,
    pub target: Target,
    pub measured_ns: f64,
    pub simulate: fn() -> Result<f64, Diagnostics>,
}

inventory::collect!(&'static Figure);

/// Registers a [`Figure`], given as the path of a `static`.
#[macro_export]
macro_rules! calibration_figure {
    ($figure:path) => {
        $crate::__private::inventory::submit! { &$figure as &'static $crate::calibrate::Figure }
    };
}

/// Every registered figure, by its number.
pub fn figures() -> Vec<&'static Figure> {
    let mut all: Vec<_> = inventory::iter::<&'static Figure>.into_iter().copied().collect();
    all.sort_by_key(|f| (number(f.id), f.id));
    all
}

impl Figure {
    /// Simulated beside measured, in nanoseconds.
    ///
    /// # Errors
    /// What the gate, the compiler or the simulator find.
    pub fn measure(&self) -> Result<Pair, Diagnostics> {
        Ok(Pair { measured: self.measured_ns, simulated: (self.simulate)()? })
    }
}

/// Compiles a kernel as it is written and simulates its time.
///
/// # Errors
/// What the gate, the compiler or the simulator find.
pub fn simulated(kernel: &Specialization, target: Target) -> Result<SimReport, Diagnostics> {
    let disabled = vec![Pass::Fuse, Pass::ReuseLoads, Pass::Balance];
    let options = CompileOptions { disabled, ..CompileOptions::default() };
    let program = nki_sim::verify(compile(&kernel.verify(target)?, &options)?.program)?;
    simulate(&program, None)
}

/// Every registered case, by its number.
pub fn cases() -> Vec<&'static Case> {
    let mut all: Vec<_> = inventory::iter::<&'static Case>.into_iter().copied().collect();
    all.sort_by_key(|c| (number(c.id), c.id));
    all
}

/// The first number in a name: `C10` is after `C4b`.
fn number(id: &str) -> u32 {
    let digits = id.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap_or(0)
}

/// A counter of the profiler (calibration.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    HbmRead,
    HbmWrite,
    PsumRead,
    PsumWrite,
    SbufRead,
    SbufWrite,
    HardwareFlops,
    TransposeFlops,
}

impl Counter {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Counter::HbmRead => "hbm_read",
            Counter::HbmWrite => "hbm_write",
            Counter::PsumRead => "psum_read",
            Counter::PsumWrite => "psum_write",
            Counter::SbufRead => "sbuf_read",
            Counter::SbufWrite => "sbuf_write",
            Counter::HardwareFlops => "hardware_flops",
            Counter::TransposeFlops => "transpose_flops",
        }
    }
    fn of(self, c: &Counters) -> u64 {
        match self {
            Counter::HbmRead => c.hbm_read,
            Counter::HbmWrite => c.hbm_write,
            Counter::PsumRead => c.psum_read,
            Counter::PsumWrite => c.psum_write,
            Counter::SbufRead => c.sbuf_read,
            Counter::SbufWrite => c.sbuf_write,
            Counter::HardwareFlops => c.hardware_flops,
            Counter::TransposeFlops => c.transpose_flops,
        }
    }
}

/// A measured number and its simulated twin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub measured: f64,
    pub simulated: f64,
}

impl Pair {
    /// `simulated / measured`.
    pub fn ratio(&self) -> f64 {
        self.simulated / self.measured
    }
}

/// A case that has been simulated.
pub struct Measurement {
    pub case: &'static Case,
    pub report: SimReport,
    pub program: VerifiedProgram,
}

/// Compiles a case and simulates its time.
///
/// # Errors
/// What the gate, the compiler or the simulator find.
pub fn measure(case: &'static Case) -> Result<Measurement, Diagnostics> {
    let verified = (case.kernel)().verify(case.target)?;
    let options = CompileOptions { disabled: case.without.to_vec(), ..CompileOptions::default() };
    let program = nki_sim::verify(compile(&verified, &options)?.program)?;
    let report = simulate(&program, None)?;
    Ok(Measurement { case, report, program })
}

fn simulate(program: &VerifiedProgram, constants: Option<Constants>) -> Result<SimReport, Diagnostics> {
    let options = SimOptions { mode: Mode::TimeOnly, constants, ..SimOptions::default() };
    Ok(nki_sim::run(program, &[], &options)?.report)
}

fn latency_ns(case: &Case, report: &SimReport) -> f64 {
    match case.clock {
        Clock::Profiled => report.profiled_ns,
        Clock::NcLatency => report.nc_latency_ns,
    }
}

impl Measurement {
    /// Latency in milliseconds.
    pub fn latency(&self) -> Pair {
        let simulated = latency_ns(self.case, &self.report) * 1e-6;
        Pair { measured: self.case.latency_ms, simulated }
    }
    /// Active time of engines in milliseconds.
    pub fn active(&self) -> Vec<(Engine, Pair)> {
        let simulated = |engine| {
            let of = self.report.engines.iter().find(|e| e.engine == engine);
            of.map_or(0.0, |e| e.active_ns * 1e-6)
        };
        let pair = |&(engine, measured)| (engine, Pair { measured, simulated: simulated(engine) });
        self.case.active_ms.iter().map(pair).collect()
    }
    /// Simulated time of engines in milliseconds by other definitions than [`active`](Self::active): occupied, so that nothing
    /// else could issue, and the sum of all times from issue to visible result.
    pub fn occupied_and_summed(&self) -> Vec<(Engine, [f64; 2])> {
        let of = |&(engine, _): &(Engine, f64)| {
            let found = self.report.engines.iter().find(|e| e.engine == engine);
            (engine, found.map_or([0.0; 2], |e| [e.busy_ns * 1e-6, e.instruction_ns * 1e-6]))
        };
        self.case.active_ms.iter().map(of).collect()
    }
    /// Active share of engines, of 1: of the run that it was measured in.
    pub fn active_shares(&self) -> Vec<(Engine, Pair)> {
        let simulated = self.latency().simulated;
        let share =
            |p: Pair| Pair { measured: p.measured / self.case.run_ms, simulated: p.simulated / simulated };
        self.active().into_iter().map(|(e, p)| (e, share(p))).collect()
    }
    /// Largest difference of an engine's active share, in points of 100.
    pub fn active_points(&self) -> f64 {
        let points = |p: Pair| 100.0 * (p.simulated - p.measured).abs();
        self.active_shares().into_iter().map(|(_, p)| points(p)).fold(0.0, f64::max)
    }
    /// Counters: name, measured, simulated.
    pub fn counters(&self) -> Vec<(&'static str, u64, u64)> {
        let all = self.case.counters.iter();
        all.map(|&(c, measured)| (c.name(), measured, c.of(&self.report.counters))).collect()
    }
}

/// Errors over several cases.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub cases: usize,
    /// Geometric mean of the factor between simulated and measured latency, less 1.
    pub geometric_mean_error: f64,
    /// Largest factor, less 1, and whose it is.
    pub worst: f64,
    pub worst_case: &'static str,
}

fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

impl Summary {
    /// Of `(id, ratio of simulated to measured)`.
    pub fn of(ratios: &[(&'static str, f64)]) -> Summary {
        let mut out = Summary { cases: ratios.len(), geometric_mean_error: 0.0, worst: 0.0, worst_case: "" };
        let mut sum = 0.0;
        for &(id, ratio) in ratios {
            sum += factor(ratio).ln();
            if factor(ratio) - 1.0 > out.worst {
                (out.worst, out.worst_case) = (factor(ratio) - 1.0, id);
            }
        }
        out.geometric_mean_error = (sum / ratios.len().max(1) as f64).exp() - 1.0;
        out
    }
}
