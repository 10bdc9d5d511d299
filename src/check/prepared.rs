//! A kernel with data that has passed the gate, and the ways of running it.

use super::problem::Problem;
use crate::{Labelled, Mode, Specialization};
use nki_backend::device::{CompileOptions, Compiled, compile};
use nki_ir::interp::InterpOptions;
use nki_ir::verify::{Verified, accumulate, verify, verify_spilling};
use nki_ir::{Code, Diagnostic, Diagnostics, Kernel, Target, Tensor};
use nki_sim::{SimOptions, SimReport};
use std::time::{Duration, Instant};

/// A kernel that may be run, with its arguments.
pub struct Prepared {
    /// What the eager mode runs; absent for kernels from files.
    source: Option<Specialization>,
    verified: Verified,
    inputs: Vec<Tensor>,
    /// Name of each result and its position among the kernel's outputs.
    results: Vec<(String, usize)>,
    /// Findings of the trace and of the gate that are no errors.
    pub warnings: Diagnostics,
    /// What each label of a schedule stands for; none for kernels from files.
    pub labels: Vec<Labelled>,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Results by name, in the order in which the kernel returns them.
    pub results: Vec<(String, Tensor)>,
    /// Real time of the run itself, without preparation.
    pub took: Duration,
    /// What the simulator reports.
    pub report: Option<SimReport>,
    /// What was found on the way and is no error; findings of the gate are in [`Prepared::warnings`].
    pub warnings: Diagnostics,
}

/// Why no second program runs what a file holds.
pub(crate) fn holds_one_program() -> Diagnostic {
    let d = Diagnostic::error(Code::Argument, "a file holds one program");
    d.help("name the kernel that the file was made of")
}

impl Prepared {
    /// Traces a kernel and puts it through the gate.
    ///
    /// # Errors
    /// What the trace or the gate finds.
    pub fn of(problem: &Problem, target: Target) -> Result<Prepared, Diagnostics> {
        Self::with_values(problem, &[], target)
    }

    /// [`Prepared::of`] for a kernel that is compiled with [`CompileOptions::spill`]: the gate lets tiles pass for which SBUF
    /// has no room.
    ///
    /// # Errors
    /// What the trace or the gate finds.
    pub fn of_spilling(problem: &Problem, target: Target) -> Result<Prepared, Diagnostics> {
        Self::traced(problem, &[], target, true)
    }

    /// Traces a kernel with further configuration values, and puts it through the gate.
    ///
    /// # Errors
    /// What the trace or the gate finds.
    pub fn with_values(
        problem: &Problem,
        values: &[(String, String)],
        target: Target,
    ) -> Result<Prepared, Diagnostics> {
        Self::traced(problem, values, target, false)
    }

    fn traced(
        problem: &Problem,
        values: &[(String, String)],
        target: Target,
        spill: bool,
    ) -> Result<Prepared, Diagnostics> {
        let source = problem.specialize_with(values)?;
        let mut traced = source.trace()?;
        let labels = std::mem::take(&mut traced.labels);
        let rules = problem.contract.map_or(&[][..], |c| c.results);
        let outputs: Vec<String> = traced.kernel.outputs().map(|(_, b)| b.name.clone()).collect();
        let named = traced.results.iter().enumerate().map(|(i, &at)| {
            let name = rules.get(i).map_or_else(|| outputs[at].clone(), |r| r.name.to_string());
            (name, at)
        });
        let results = named.collect();
        let mut warnings = traced.warnings;
        let verified = gate_for(traced.kernel, target, spill, &mut warnings)?;
        let inputs = problem.tensors.iter().map(|(_, t)| t.clone()).collect();
        Ok(Prepared { source: Some(source), verified, inputs, results, warnings, labels })
    }

    /// Puts a kernel that was read from a file through the gate.
    ///
    /// # Errors
    /// What the gate finds.
    pub fn from_ir(kernel: Kernel, inputs: Vec<Tensor>, target: Target) -> Result<Prepared, Diagnostics> {
        Self::read(kernel, inputs, target, false)
    }

    /// [`Prepared::from_ir`] for a kernel that is compiled with [`CompileOptions::spill`].
    ///
    /// # Errors
    /// What the gate finds.
    pub fn from_ir_spilling(
        kernel: Kernel,
        inputs: Vec<Tensor>,
        target: Target,
    ) -> Result<Prepared, Diagnostics> {
        Self::read(kernel, inputs, target, true)
    }

    fn read(
        kernel: Kernel,
        inputs: Vec<Tensor>,
        target: Target,
        spill: bool,
    ) -> Result<Prepared, Diagnostics> {
        let results = kernel.outputs().enumerate().map(|(i, (_, b))| (b.name.clone(), i)).collect();
        let mut warnings = Diagnostics::new();
        let verified = gate_for(kernel, target, spill, &mut warnings)?;
        Ok(Prepared { source: None, verified, inputs, results, warnings, labels: Vec::new() })
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        self.verified.kernel()
    }

    /// The target that the kernel was checked for.
    pub fn target(&self) -> Target {
        self.verified.target()
    }

    /// The arguments, in the kernel's order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// The kernel, past the gate.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The kernel, compiled for its target.
    ///
    /// # Errors
    /// What the device compiler finds: capacities above all.
    pub fn compile(&self) -> Result<Compiled, Diagnostics> {
        self.compile_with(&CompileOptions::default())
    }

    /// The kernel, compiled for its target with other options than the default ones.
    ///
    /// # Errors
    /// What the device compiler finds.
    pub fn compile_with(&self, options: &CompileOptions) -> Result<Compiled, Diagnostics> {
        compile(&self.verified, options)
    }

    /// Native code of the kernel.
    ///
    /// # Errors
    /// What the host backend cannot compile.
    #[cfg(feature = "jit")]
    pub fn native(&self) -> Result<nki_backend::host::HostKernel, Diagnostics> {
        nki_backend::host::compile(&self.verified, &Default::default())
    }

    /// The kernel, to be launched as so many program instances.
    pub(crate) fn programs(&self, n: usize) -> Result<Specialization, Diagnostics> {
        Ok(self.source.as_ref().ok_or_else(holds_one_program)?.clone().programs(n))
    }

    /// Runs it one way by so many program instances: with 2, on a logical core of two.
    ///
    /// # Errors
    /// As [`run`](Prepared::run); `nki::argument` if two are to run a kernel from a file, `nki::target` on targets whose cores are alone.
    pub fn run_on(&self, programs: usize, mode: Mode) -> Result<Ran, Diagnostics> {
        if programs == 1 {
            return self.run(mode);
        }
        let executable = self.programs(programs)?.compile(mode, self.target())?;
        let start = Instant::now();
        let mut results = executable.run(&self.inputs)?;
        let took = start.elapsed();
        let (report, warnings) = (results.report.take().map(|r| *r), std::mem::take(&mut results.warnings));
        let names = self.results.iter().map(|(name, _)| name.clone());
        Ok(Ran { results: names.zip(results.into_tensors()).collect(), took, report, warnings })
    }

    /// Runs it one way.
    ///
    /// # Errors
    /// What goes wrong while compiling or running.
    pub fn run(&self, mode: Mode) -> Result<Ran, Diagnostics> {
        let (mut took, mut report, mut warnings) = (Duration::ZERO, None, Diagnostics::new());
        let outputs = match mode {
            Mode::Eager => return self.run_eagerly(),
            Mode::Interp => {
                let start = Instant::now();
                let options = InterpOptions::default();
                let outcome = nki_ir::interp::run_with_warnings(&self.verified, &self.inputs, &options)?;
                took = start.elapsed();
                warnings = outcome.warnings;
                outcome.outputs
            }
            Mode::Sim => {
                let program = nki_sim::verify(self.compile()?.program)?;
                let start = Instant::now();
                let simulated = nki_sim::run(&program, &self.inputs, &SimOptions::default())?;
                took = start.elapsed();
                report = Some(simulated.report);
                warnings = simulated.warnings;
                simulated.outputs
            }
            Mode::Host => self.run_native(&mut took)?,
        };
        let mut outputs: Vec<Option<Tensor>> = outputs.into_iter().map(Some).collect();
        let take = |(name, at): &(String, usize)| {
            let tensor = outputs.get_mut(*at).and_then(Option::take);
            tensor.map(|t| (name.clone(), t))
        };
        let results = self.results.iter().filter_map(take).collect();
        Ok(Ran { results, took, report, warnings })
    }

    fn run_eagerly(&self) -> Result<Ran, Diagnostics> {
        let Some(source) = &self.source else {
            let text = "a kernel from a file has no body to run";
            return Err(Diagnostic::error(Code::Usage, text).help("use `--mode interp`").into());
        };
        let executable = source.compile(Mode::Eager, self.target())?;
        let start = Instant::now();
        let ran = executable.run(&self.inputs)?;
        let took = start.elapsed();
        // The first are those of the trace, which `self.warnings` has.
        let mut warnings = Diagnostics::new();
        ran.warnings.iter().skip(executable.warnings().iter().count()).for_each(|d| warnings.push(d.clone()));
        let tensors = ran.into_tensors();
        let names = self.results.iter().map(|r| r.0.clone());
        Ok(Ran { results: names.zip(tensors).collect(), took, report: None, warnings })
    }

    #[cfg(feature = "jit")]
    fn run_native(&self, took: &mut Duration) -> Result<Vec<Tensor>, Diagnostics> {
        let native = self.native()?;
        let start = Instant::now();
        let outputs = native.run(&self.inputs)?;
        *took = start.elapsed();
        Ok(outputs)
    }

    #[cfg(not(feature = "jit"))]
    fn run_native(&self, _: &mut Duration) -> Result<Vec<Tensor>, Diagnostics> {
        Err(Diagnostic::error(Code::Limit, "this build has no native execution")
            .help("enable the feature `jit` of crate `nki`")
            .into())
    }
}

/// Decides what automatic matmuls do, and verifies.
///
/// # Errors
/// What the gate finds.
pub fn gate(kernel: Kernel, target: Target, warnings: &mut Diagnostics) -> Result<Verified, Diagnostics> {
    gate_for(kernel, target, false, warnings)
}

/// [`gate`]; with `spill`, that SBUF has no room for a tile is left to the compiler.
fn gate_for(
    mut kernel: Kernel,
    target: Target,
    spill: bool,
    warnings: &mut Diagnostics,
) -> Result<Verified, Diagnostics> {
    let found = accumulate::resolve(&mut kernel, target);
    if found.has_errors() {
        return Err(found);
    }
    warnings.extend(found);
    let verified = if spill { verify_spilling(kernel, target)? } else { verify(kernel, target)? };
    warnings.extend(verified.warnings().clone());
    Ok(verified)
}
