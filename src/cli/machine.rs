//! A machine program that a command runs: compiled from a kernel, or from a `.nkim` file.

use super::command::{Simulation, Subject};
use super::context::source;
use super::schedule::compiler;
use super::subject::{FileKind, Input, check_given, describe, inputs, load_for, read_text};
use crate::args::FileWriter;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::kernel::BufKind;
use nki_ir::{Code, Diagnostic, Diagnostics, Tensor};
use nki_sim::program::{HbmTensor, Program};
use nki_sim::trace::ChromeTrace;
use nki_sim::view::Recorder;
use nki_sim::{Mode, SimOptions, SimOutput, VerifiedProgram};
use serde_json::Value;
use std::path::Path;

/// A machine program that has passed its gate, with data.
pub struct Machine {
    pub program: VerifiedProgram,
    /// Absent where only time is asked for.
    pub inputs: Vec<Tensor>,
    /// One line about it.
    pub what: String,
    /// Findings that are no errors.
    pub warnings: Diagnostics,
    /// What the compiler did, as text and JSON; absent for a file.
    pub compiler: Option<(String, Value)>,
    mode: Mode,
    adversary: Option<u64>,
}

/// Loads what the command line names, compiled.
///
/// # Errors
/// Everything that keeps it from running.
pub fn load_machine(args: &Simulation) -> Result<Machine, Diagnostics> {
    let mode = if args.time_only { Mode::TimeOnly } else { Mode::Full };
    let mut machine = match FileKind::of(&args.subject.kernel) {
        Some(FileKind::Machine) => from_file(args, mode)?,
        _ => compiled(args, mode)?,
    };
    machine.adversary = args.adversary;
    Ok(machine)
}

/// Loads what the command line names to find out its time: without data, unless its control flow depends on them.
///
/// # Errors
/// Everything that keeps it from running.
pub fn load_timed(args: &Simulation) -> Result<Machine, Diagnostics> {
    let machine = load_machine(&Simulation { time_only: true, ..args.clone() })?;
    if !machine.program.depends_on_data() {
        return Ok(machine);
    }
    load_machine(&Simulation { time_only: false, ..args.clone() })
}

fn compiled(args: &Simulation, mode: Mode) -> Result<Machine, Diagnostics> {
    let loaded = load_for(&args.subject, mode != Mode::TimeOnly, args.spill)?;
    let options = options(&args.without, args.spill);
    let compiled = loaded.prepared.compile_with(&options)?;
    let report = (compiled.report.to_string(), compiler(&compiled));
    let inputs = loaded.prepared.inputs().to_vec();
    Ok(Machine {
        program: nki_sim::verify(compiled.program)?,
        inputs,
        what: loaded.what,
        warnings: loaded.prepared.warnings,
        compiler: Some(report),
        mode,
        adversary: None,
    })
}

/// How the command line wants a kernel compiled.
pub fn options(without: &[Pass], spill: bool) -> CompileOptions {
    let spilling = CompileOptions { spill, ..CompileOptions::default() };
    without.iter().fold(spilling, |o, &pass| o.without(pass))
}

fn from_file(args: &Simulation, mode: Mode) -> Result<Machine, Diagnostics> {
    let subject = &args.subject;
    let asked = match args.without.first() {
        Some(pass) => Some(format!("--without {}", pass.name())),
        None => args.spill.then(|| "--spill".to_string()),
    };
    if let Some(asked) = asked {
        let text = format!("`{asked}`: {} is compiled already", subject.kernel);
        return Err(Diagnostic::error(Code::Usage, text).into());
    }
    let program = read_machine(subject)?;
    let takes: Vec<Input> = program.tensors.iter().filter(|t| is_input(t)).map(input).collect();
    let what = describe(&program.name, &takes);
    let inputs = match mode {
        Mode::TimeOnly => check_given(&program.name, &takes, subject).map(|()| Vec::new())?,
        _ => inputs(&program.name, &takes, subject)?,
    };
    let program = nki_sim::verify(program)?;
    let warnings = Diagnostics::new();
    Ok(Machine { program, inputs, what, warnings, compiler: None, mode, adversary: None })
}

/// Reads the `.nkim` file that `subject` names.
///
/// # Errors
/// `nki::file`, what the parser reports, `nki::usage` if the program is for another target than the one asked for.
pub fn read_machine(subject: &Subject) -> Result<Program, Diagnostics> {
    let program = nki_sim::text::parse(&read_text(&subject.kernel)?, &subject.kernel)?;
    match subject.target {
        Some(target) if target != program.target => {
            let text = format!("`--target {target}`: {} is a program for {}", subject.kernel, program.target);
            Err(Diagnostic::error(Code::Usage, text).into())
        }
        _ => Ok(program),
    }
}

fn is_input(t: &HbmTensor) -> bool {
    matches!(t.kind, BufKind::Input | BufKind::InOut)
}

fn input(t: &HbmTensor) -> Input {
    (t.name.clone(), t.dtype, t.shape.iter().map(|&d| d as usize).collect())
}

impl Machine {
    fn options(&self) -> SimOptions {
        SimOptions { mode: self.mode, adversary: self.adversary, ..SimOptions::default() }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What goes wrong while running.
    pub fn run(&self) -> Result<SimOutput, Diagnostics> {
        nki_sim::run(&self.program, &self.inputs, &self.options())
    }

    /// Runs it and writes the events to a file, which appears when all is well.
    ///
    /// # Errors
    /// What goes wrong while running; `nki::file`.
    pub fn trace(&self, path: &Path) -> Result<SimOutput, Diagnostics> {
        let mut sink = ChromeTrace::new(&self.program, FileWriter::create(path)?);
        let output = nki_sim::run_traced(&self.program, &self.inputs, &self.options(), &mut sink)?;
        let file =
            sink.finish().map_err(|e| Diagnostic::error(Code::File, format!("{}: {e}", path.display())))?;
        file.finish()?;
        Ok(output)
    }

    /// Runs it and writes a page about the run, which appears when all is well. `more` is what stands on it beside the report.
    ///
    /// # Errors
    /// What goes wrong while running; `nki::file`.
    pub fn page(
        &self,
        path: &Path,
        more: impl FnOnce(&SimOutput) -> Value,
    ) -> Result<SimOutput, Diagnostics> {
        let mut file = FileWriter::create(path)?;
        let mut recorder = Recorder::new(&self.program);
        let output = nki_sim::run_traced(&self.program, &self.inputs, &self.options(), &mut recorder)?;
        let written = recorder.page(&output.report, &more(&output), &source, &mut file);
        written.map_err(|e| Diagnostic::error(Code::File, format!("{}: {e}", path.display())))?;
        file.finish()?;
        Ok(output)
    }

    /// Names of the tensors that a run gives back, in its order.
    pub fn results(&self) -> impl Iterator<Item = &str> {
        let out = |t: &&HbmTensor| matches!(t.kind, BufKind::Output | BufKind::InOut);
        self.program.header().tensors.iter().filter(out).map(|t| t.name.as_str())
    }
}
