//! The command line.

use crate::Mode;
use crate::check::Given;
use clap::{Args, Parser, Subcommand};
use nki_backend::device::Pass;
use nki_ir::{DType, Target};
use std::path::PathBuf;

/// Run, check, compile and simulate NeuronCore kernels written in Rust.
#[derive(Parser)]
#[command(name = "nki", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// List kernels, or show the parameters of one
    List(List),
    /// Run a kernel on data
    Run(Run),
    /// Run kernels every way and compare the results with each other and with the reference
    Check(Check),
    /// Print a kernel's tile IR
    Ir(Ir),
    /// Print the engine streams that a kernel compiles to
    Schedule(Schedule),
    /// Run a kernel on the simulated machine, and show where its time went
    Simulate(Simulate),
    /// Show what a kernel compiles to and where its simulated time goes, without computing results
    Report(Report),
    /// Compare simulated with published times of kernels that have been measured
    Calibrate(Calibrate),
    /// Write a timeline of the simulated run, for ui.perfetto.dev or chrome://tracing
    Trace(Trace),
    /// Measure native execution, and simulate the time on the target
    Bench(Bench),
    /// Compile a kernel ahead of time: an object file and a C header, for fixed shapes
    Build(Build),
    /// Search configuration values for the least simulated time
    Tune(Tune),
    /// Put files through the gate
    Verify(Verify),
    /// Explain an error code, with an example that fails and one that works
    Explain(Explain),
    /// Show the instructions: operands, engines, limits
    Isa(Isa),
    /// Show what this machine and this build can do
    Doctor,
}

#[derive(Args)]
pub struct List {
    /// A kernel; all kernels if absent
    pub kernel: Option<String>,
}

/// A kernel and its arguments.
#[derive(Args, Clone)]
#[command(after_help = VALUES)]
pub struct Subject {
    /// A kernel by name (see `nki list`), a .nkir file of tile IR, or a .nkim file with a machine program
    #[arg(value_name = "KERNEL|FILE")]
    pub kernel: String,
    /// A tensor or a configuration value; what is not given has a default
    #[arg(long = "arg", short = 'a', value_name = "NAME=VALUE", value_parser = pair)]
    pub args: Vec<(String, String)>,
    /// Size of a named dimension
    #[arg(long = "dim", short = 'd', value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, usize)>,
    /// Element type of tensors that do not say their own
    #[arg(long, value_parser = dtype)]
    pub dtype: Option<DType>,
    /// Seed of generated tensors that do not say their own
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Use the configuration that `nki tune` found for these arguments
    #[arg(long, value_name = "FILE.json")]
    pub tuned: Option<String>,
    /// The machine to compile for: trn1, inf2, trn2 (the default), trn3
    #[arg(long, value_parser = target)]
    pub target: Option<Target>,
}

const VALUES: &str = "\
VALUES
  normal:bf16[512,1024]@7   generated: KIND:DTYPE[SHAPE]@SEED, each part but the kind optional
                            kinds: normal(mean,deviation) uniform(low,high) zeros ones full(x) iota(start,step) special
  x.npy, x.npy:bf16         a NumPy file, as it is or converted
  w.safetensors#NAME        a tensor of a .safetensors file
  512, 1e-6, silu, none     a configuration value";

impl Subject {
    /// The machine to compile for.
    pub fn target(&self) -> Target {
        self.target.unwrap_or(Target::Trn2)
    }

    /// What is given, in the form that kernels are completed from.
    pub fn given(&self) -> Given {
        Given { args: self.args.clone(), dims: self.dims.clone(), dtype: self.dtype, seed: self.seed }
    }
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub subject: Subject,
    /// How to run: eager, interp, sim, host (the default; sim for a .nkim file)
    #[arg(long, value_parser = mode)]
    pub mode: Option<Mode>,
    /// Compare the results with the kernel's reference
    #[arg(long)]
    pub reference: bool,
    /// Program instances: 2 for a logical core of two, whose programs share the work
    #[arg(long, default_value_t = 1)]
    pub programs: usize,
    /// Write results: FILE.npy, FILE.npy:f32, FILE.safetensors, NAME=FILE.npy
    #[arg(long, short, value_name = "FILE")]
    pub output: Vec<String>,
}

#[derive(Args)]
pub struct Check {
    /// Kernels by name
    #[arg(value_name = "KERNEL", required_unless_present = "all")]
    pub kernels: Vec<String>,
    /// Check every kernel
    #[arg(long, conflicts_with = "kernels")]
    pub all: bool,
    /// Ways of running
    #[arg(long = "mode", value_delimiter = ',', value_parser = mode)]
    pub modes: Vec<Mode>,
    /// Element types; the kernel's own if absent
    #[arg(long = "dtype", value_delimiter = ',', value_parser = dtype)]
    pub dtypes: Vec<DType>,
    /// Sizes of named dimensions, comma-separated: every combination is checked instead of the kernel's own cases
    #[arg(long = "dim", short = 'd', value_name = "NAME=SIZE,..", value_parser = dims)]
    pub dims: Vec<(String, Vec<usize>)>,
    /// A tensor or a configuration value for every case
    #[arg(long = "arg", short = 'a', value_name = "NAME=VALUE", value_parser = pair)]
    pub args: Vec<(String, String)>,
    /// How many sets of numbers. A kernel's own cases are run with the first; each further one comes with shapes that are drawn.
    /// Sizes that are given are run with all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,
    /// One set of numbers, instead of those from 0 on
    #[arg(long, conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// The machine to compile for: trn1, inf2, trn2, trn3
    #[arg(long, default_value = "trn2", value_parser = target)]
    pub target: Target,
    /// Program instances: 2 for a logical core of two, whose programs share the work
    #[arg(long, default_value_t = 1)]
    pub programs: usize,
}

#[derive(Args)]
pub struct Ir {
    #[command(flatten)]
    pub subject: Subject,
    /// The machine program that the kernel compiles to, instead of its tile IR
    #[arg(long)]
    pub machine: bool,
    /// Write to a file instead of printing: FILE.nkir, or FILE.nkim for the machine program
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct Schedule {
    #[command(flatten)]
    pub subject: Subject,
    /// Instructions shown of each engine
    #[arg(long, default_value_t = 40)]
    pub limit: usize,
    /// Compile without a pass: fuse, pipeline-loops, reuse-loads, balance, multi-buffer, share-buffers, schedule, measure, spread-dma, late-stores, split-transfers, reduce-waits
    #[arg(long, value_name = "PASS", value_delimiter = ',', value_parser = pass)]
    pub without: Vec<Pass>,
    /// Let tiles for which SBUF has no room wait in device memory, and say which
    #[arg(long)]
    pub spill: bool,
    /// Write the machine program to a file
    #[arg(long, short, value_name = "FILE.nkim")]
    pub output: Option<PathBuf>,
    /// Print the compiler's choices as a schedule to start from
    #[arg(long, conflicts_with = "ablate")]
    pub show: bool,
    /// Compile without each pass in turn, and without any: what each gains, and that no result changes
    #[arg(long)]
    pub ablate: bool,
    /// With --ablate: compare times only, for shapes too large to compute
    #[arg(long, requires = "ablate")]
    pub time_only: bool,
}

/// What to simulate, and how.
#[derive(Args, Clone)]
pub struct Simulation {
    #[command(flatten)]
    pub subject: Subject,
    /// Compile without a pass: fuse, pipeline-loops, reuse-loads, balance, multi-buffer, share-buffers, schedule, measure, spread-dma, late-stores, split-transfers, reduce-waits
    #[arg(long, value_name = "PASS", value_delimiter = ',', value_parser = pass)]
    pub without: Vec<Pass>,
    /// Let tiles for which SBUF has no room wait in device memory, and say which
    #[arg(long)]
    pub spill: bool,
    /// Do not compute results: for shapes too large to compute
    #[arg(long)]
    pub time_only: bool,
    /// Delay transfers and engines at random from this seed: results must not change, times mean nothing
    #[arg(long, value_name = "SEED", conflicts_with = "time_only")]
    pub adversary: Option<u64>,
}

impl Simulation {
    /// `subject` with its data.
    pub fn full(subject: &Subject) -> Simulation {
        Simulation {
            subject: subject.clone(),
            without: Vec::new(),
            spill: false,
            time_only: false,
            adversary: None,
        }
    }
    /// The time of `subject` alone.
    pub fn time_only(subject: &Subject) -> Simulation {
        Simulation { time_only: true, ..Simulation::full(subject) }
    }
}

#[derive(Args)]
pub struct Simulate {
    #[command(flatten)]
    pub simulation: Simulation,
    /// Write a page with the timeline, the memories over time and the report, for a browser
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Program instances: 2 for a logical core of two, of which the one that ends last is shown
    #[arg(long, default_value_t = 1, conflicts_with_all = ["html", "without", "spill", "adversary"])]
    pub programs: usize,
}

#[derive(Args)]
pub struct Trace {
    #[command(flatten)]
    pub simulation: Simulation,
    /// The file to write
    #[arg(long, short, value_name = "FILE.json")]
    pub output: PathBuf,
}

#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    pub subject: Subject,
    /// Another kernel or file, or a run that was kept (FILE.json, from --json): explains what differs
    #[arg(value_name = "B")]
    pub other: Option<String>,
    /// Compile without a pass: balance, multi-buffer, schedule, spread-dma, late-stores, split-transfers, reduce-waits
    #[arg(long, value_name = "PASS", value_delimiter = ',', value_parser = pass)]
    pub without: Vec<Pass>,
    /// Let tiles for which SBUF has no room wait in device memory, and say which
    #[arg(long)]
    pub spill: bool,
    /// Compare with the same on another target
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub vs_target: Option<Target>,
    /// Compare with the same, compiled without a pass
    #[arg(long, value_name = "PASS", value_delimiter = ',', value_parser = pass)]
    pub vs_without: Vec<Pass>,
    /// Compare with the same, with another argument
    #[arg(long = "vs-arg", value_name = "NAME=VALUE", value_parser = pair)]
    pub vs_args: Vec<(String, String)>,
    /// Write a page with the timeline, the memories over time and the report, for a browser
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
}

#[derive(Args)]
pub struct Calibrate {
    /// Cases by name, such as C1 or "C8 v2"; all of them if absent
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,
}

#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    pub subject: Subject,
    /// Seconds to measure native execution for
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
}

#[derive(Args)]
#[cfg_attr(not(feature = "aot"), allow(dead_code, reason = "read where object files are written"))]
pub struct Build {
    #[command(flatten)]
    pub subject: Subject,
    /// The object file to write
    #[arg(long, short, value_name = "FILE.o")]
    pub output: PathBuf,
    /// The C header to write
    #[arg(long, value_name = "FILE.h")]
    pub header: Option<PathBuf>,
    /// The function that runs the kernel; `nki_` and the kernel's name if absent
    #[arg(long, value_name = "SYMBOL")]
    pub name: Option<String>,
}

#[derive(Args)]
pub struct Tune {
    #[command(flatten)]
    pub subject: Subject,
    /// A configuration value and what to try for it; what the kernel declares if absent
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE,..", value_parser = values)]
    pub params: Vec<(String, Vec<String>)>,
    /// Also try schedule steps: buffers, engines, rings and turns to unroll, for every label
    #[arg(long)]
    pub schedule: bool,
    /// Candidates measured at most; a space that is not larger is measured completely
    #[arg(long, default_value_t = 500)]
    pub budget: usize,
    /// Candidates measured at a time; all cores if absent
    #[arg(long, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Where the search of a large space starts again
    #[arg(long, default_value_t = 0)]
    pub search_seed: u64,
    /// Write everything measured; a file that is there is continued
    #[arg(long, short, value_name = "FILE.json")]
    pub output: Option<PathBuf>,
    /// Measure everything again
    #[arg(long, requires = "output")]
    pub fresh: bool,
}

#[derive(Args)]
pub struct Verify {
    /// Files of tile IR (.nkir) and machine programs (.nkim)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// The machine to check tile IR for: trn1, inf2, trn2 (the default), trn3; a machine program names its own
    #[arg(long, value_parser = target)]
    pub target: Option<Target>,
}

#[derive(Args)]
pub struct Explain {
    /// A code such as `psum_bank` or `nki::psum_bank`; all codes if absent
    pub code: Option<String>,
}

#[derive(Args)]
pub struct Isa {
    /// An instruction such as `nc_matmul`; all instructions if absent
    pub instruction: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("expected NAME=VALUE".to_string()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is not a size"))
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, value) = pair(text)?;
    Ok((name, size(&value)?))
}

fn dims(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, values) = pair(text)?;
    let sizes: Result<_, _> = values.split(',').map(size).collect();
    Ok((name, sizes?))
}

fn values(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, values) = pair(text)?;
    let mut all: Vec<String> = Vec::new();
    for value in values.split(',') {
        match value {
            "" => return Err(format!("a value of `{name}` is missing")),
            twice if all.iter().any(|v| v == twice) => return Err(format!("`{twice}` stands twice")),
            value => all.push(value.to_string()),
        }
    }
    Ok((name, all))
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a number from 1".to_string())
}

fn dtype(text: &str) -> Result<DType, String> {
    crate::args::parse_dtype(text)
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|()| {
        let names = || Target::ALL.iter().map(|t| t.name());
        format!(
            "unknown target{} (targets: {})",
            crate::args::did_you_mean(text, names()),
            names().collect::<Vec<_>>().join(", ")
        )
    })
}

fn mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|()| {
        let names = || Mode::ALL.iter().map(|m| m.name());
        let hint = crate::args::did_you_mean(text, names());
        format!("unknown mode{hint} (modes: {})", names().collect::<Vec<_>>().join(", "))
    })
}

fn pass(text: &str) -> Result<Pass, String> {
    text.parse().map_err(|()| {
        let names = || Pass::ALL.iter().map(|p| p.name());
        let hint = crate::args::did_you_mean(text, names());
        format!("unknown pass{hint} (passes: {})", names().collect::<Vec<_>>().join(", "))
    })
}
