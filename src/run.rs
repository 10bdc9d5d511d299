//! Ways of running a kernel, all behind the one gate: [`Mode`], [`Executable`], [`Results`].

use crate::launch::{Specialization, Traced};
use crate::trace::error;
use nki_ir::interp::{InterpOptions, run_with_warnings};
use nki_ir::{Code, Diagnostics, Target, Tensor, Verified};
use nki_sim::{Constants, Core, SimOptions, SimReport};
use std::fmt;
use std::str::FromStr;

mod programs;

/// How a kernel runs. All agree: eager, interpreter and simulator bit for bit, the host within a stated bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The body itself on data: every instruction executes when it is written, so that `dbg!` and breakpoints show values.
    Eager,
    /// Tile IR, one instruction after the other: the reference.
    Interp,
    /// Native code of this machine.
    Host,
    /// The compiled machine program on a simulated NeuronCore.
    Sim,
}

impl Mode {
    /// Every mode, the quickest to find a mistake with first.
    pub const ALL: [Mode; 4] = [Mode::Eager, Mode::Interp, Mode::Host, Mode::Sim];

    /// Whether this build can run so: native execution is the feature `jit`.
    pub fn is_available(self) -> bool {
        self != Mode::Host || cfg!(feature = "jit")
    }

    /// Command-line name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Eager => "eager",
            Mode::Interp => "interp",
            Mode::Host => "host",
            Mode::Sim => "sim",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Mode::ALL.into_iter().find(|m| m.name() == s).ok_or(())
    }
}

/// A kernel made ready for one way of running: compile once, call many times, from any thread.
pub struct Executable {
    how: How,
    mode: Mode,
    target: Target,
    results: Vec<usize>,
    names: Vec<String>,
    warnings: Diagnostics,
}

enum How {
    Eager(Specialization),
    Interp(Box<Verified>),
    #[cfg(feature = "jit")]
    Host(Box<nki_backend::host::HostKernel>),
    Sim(Box<nki_sim::VerifiedProgram>),
    Programs(Box<programs::Pair>),
}

/// What a run gives: the tensors that the body returned, in its order, then the `#[inout]` arguments it did not return.
#[derive(Clone, Debug)]
pub struct Results {
    pub(crate) names: Vec<String>,
    pub(crate) tensors: Vec<Tensor>,
    /// Findings that are no errors.
    pub warnings: Diagnostics,
    /// What the simulator found out: simulated time, and where it went. Only [`Mode::Sim`] has one.
    pub report: Option<Box<SimReport>>,
}

impl Results {
    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
    /// Names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }
    /// The tensors, in order.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }
}

impl std::ops::Index<usize> for Results {
    type Output = Tensor;
    /// # Panics
    /// When the kernel returned fewer tensors.
    fn index(&self, i: usize) -> &Tensor {
        &self.tensors[i]
    }
}

impl Specialization {
    /// Records the kernel, resolves when matmuls add (isa.md section 13), and takes it through the gate.
    ///
    /// # Errors
    /// Those of [`trace`](Specialization::trace), and everything that the verifier finds, for the target.
    pub fn verify(&self, target: Target) -> Result<Verified, Diagnostics> {
        self.gate(target).map(|g| g.verified)
    }

    /// Makes the kernel ready for one way of running.
    ///
    /// # Errors
    /// Those of [`verify`](Specialization::verify), and what the backend of the mode cannot compile.
    pub fn compile(&self, mode: Mode, target: Target) -> Result<Executable, Diagnostics> {
        if let Some(pair) = self.pair() {
            return programs::compile(&pair, mode, target);
        }
        let gated = self.gate(target)?;
        if let Some((id, n)) = self.grid().filter(|g| g.1 > 1) {
            let d = error(Code::Parameter, format!("program {id} of {n} does not run alone"));
            return Err(d.help("run both: `.programs(2)`").into());
        }
        gated.executable(self, mode)
    }

    /// Through the gate, once for all modes.
    pub(crate) fn gate(&self, target: Target) -> Result<Gated, Diagnostics> {
        if self.grid().is_some_and(|g| g.1 > 1) && target.generation() < nki_ir::target::Gen::Gen3 {
            let d = error(Code::Target, format!("two programs on one logical core on {target}"));
            return Err(d.help("launch one program, or choose trn2 or later").into());
        }
        let Traced { mut kernel, results, mut warnings, .. } = self.trace()?;
        let resolved = nki_ir::verify::accumulate::resolve(&mut kernel, target);
        if resolved.has_errors() {
            return Err(resolved);
        }
        let verified = nki_ir::verify::verify(kernel, target)?;
        warnings.extend(resolved);
        warnings.extend(verified.warnings().clone());
        Ok(Gated { verified, results, warnings })
    }

    /// Runs once on the arrays that the tensor arguments were given as.
    ///
    /// # Errors
    /// Those of [`compile`](Specialization::compile) and [`Executable::run`]; `nki::argument` if a tensor was given as a shape.
    pub fn run(&self, mode: Mode, target: Target) -> Result<Results, Diagnostics> {
        let data = self.data().ok_or_else(|| {
            error(
                Code::Argument,
                format!("`{}` was specialised to shapes and has no data to run on", self.info().name),
            )
            .help("specialise it to arrays, or compile it and call `run(&tensors)`")
        })?;
        let inputs: Vec<Tensor> = data.into_iter().cloned().collect();
        self.compile(mode, target)?.run(&inputs)
    }
}

/// A kernel that has passed the gate.
pub(crate) struct Gated {
    pub verified: Verified,
    pub results: Vec<usize>,
    pub warnings: Diagnostics,
}

impl Gated {
    pub fn executable(&self, spec: &Specialization, mode: Mode) -> Result<Executable, Diagnostics> {
        let Gated { verified, results, warnings } = self;
        let outputs: Vec<&str> = verified.kernel().outputs().map(|(_, b)| b.name.as_str()).collect();
        let names = results.iter().map(|&i| outputs[i].to_string()).collect();
        let how = match mode {
            Mode::Eager => How::Eager(spec.clone()),
            Mode::Interp => How::Interp(Box::new(verified.clone())),
            Mode::Host => host(verified)?,
            Mode::Sim => {
                let compiled = nki_backend::device::compile(verified, &Default::default())?;
                How::Sim(Box::new(nki_sim::verify(compiled.program)?))
            }
        };
        let target = verified.target();
        Ok(Executable { how, mode, target, results: results.clone(), names, warnings: warnings.clone() })
    }
}

#[cfg(feature = "jit")]
fn host(verified: &Verified) -> Result<How, Diagnostics> {
    let kernel = nki_backend::host::compile(verified, &Default::default())?;
    Ok(How::Host(Box::new(kernel)))
}

#[cfg(not(feature = "jit"))]
fn host(_: &Verified) -> Result<How, Diagnostics> {
    let message = "native execution is not part of this build";
    Err(error(Code::Limit, message).help("enable the feature `jit` of crate `nki`").into())
}

impl Executable {
    /// How it runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// What it was made for.
    pub fn target(&self) -> Target {
        self.target
    }
    /// Findings that are no errors.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// Runs on tensors for the arguments that are present, in order.
    ///
    /// # Errors
    /// `nki::argument` if they do not match the signature; what goes wrong while running, with its place.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Results, Diagnostics> {
        let mut warnings = self.warnings.clone();
        let outputs = match &self.how {
            How::Programs(_) if self.mode == Mode::Sim => {
                return self.simulate(inputs, &SimOptions::default());
            }
            How::Programs(pair) => return pair.run(inputs, |_, program| program.run(inputs)),
            How::Eager(s) => {
                let outcome = s.run_eagerly(self.target, inputs)?;
                warnings.extend(outcome.warnings);
                let (names, tensors) = (self.names.clone(), outcome.tensors);
                return Ok(Results { names, tensors, warnings, report: None });
            }
            How::Interp(v) => {
                let outcome = run_with_warnings(v, inputs, &InterpOptions::default())?;
                warnings.extend(outcome.warnings);
                outcome.outputs
            }
            #[cfg(feature = "jit")]
            How::Host(k) => k.run(inputs)?,
            How::Sim(_) => return self.simulate(inputs, &SimOptions::default()),
        };
        Ok(self.results(outputs, warnings, None))
    }

    /// [`run`](Executable::run) of a kernel compiled for [`Mode::Sim`], with options of the simulator: time without data for
    /// shapes too large to compute, other constants, or an adversary's seed. An adversary completes transfers in a random
    /// order and stalls engines at random; no result may change, and the times mean nothing.
    ///
    /// # Errors
    /// As [`run`](Executable::run); `nki::argument` if the kernel was compiled for another mode.
    pub fn simulate(&self, inputs: &[Tensor], options: &SimOptions) -> Result<Results, Diagnostics> {
        if let How::Programs(pair) = &self.how {
            let constants = options.constants.clone().unwrap_or_else(|| Constants::of(self.target));
            let cores = Core::pair(&constants);
            return pair.run(inputs, |rank, program| {
                let options = SimOptions { core: Some(cores[rank].clone()), ..options.clone() };
                program.simulate(inputs, &options)
            });
        }
        let How::Sim(program) = &self.how else {
            let message =
                format!("a kernel compiled for {} does not run on the simulated machine", self.mode);
            return Err(error(Code::Argument, message).help("compile it with `Mode::Sim`").into());
        };
        let outcome = nki_sim::run(program, inputs, options)?;
        let mut warnings = self.warnings.clone();
        warnings.extend(outcome.warnings);
        Ok(self.results(outcome.outputs, warnings, Some(Box::new(outcome.report))))
    }

    fn results(
        &self,
        outputs: Vec<Tensor>,
        warnings: Diagnostics,
        report: Option<Box<SimReport>>,
    ) -> Results {
        let mut outputs: Vec<Option<Tensor>> = outputs.into_iter().map(Some).collect();
        let tensors =
            self.results.iter().filter_map(|&i| outputs.get_mut(i).and_then(Option::take)).collect();
        Results { names: self.names.clone(), tensors, warnings, report }
    }
}

impl fmt::Debug for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executable({} on {})", self.mode, self.target)
    }
}
