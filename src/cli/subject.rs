//! What a command works on: a kernel by name, a file of tile IR, or a machine program.

use super::command::Subject;
use super::list::find;
use crate::args::{Generator, Source, did_you_mean};
use crate::check::{Prepared, Problem};
use crate::tune::Tuned;
use nki_ir::{Code, DType, Diagnostic, Diagnostics, Kernel, Tensor};
use std::path::Path;

/// A kernel with data, through the gate, and one line about it.
pub struct Loaded {
    pub prepared: Prepared,
    pub what: String,
    /// Present for kernels by name.
    pub problem: Option<Problem>,
}

/// The two kinds of files that stand where a kernel's name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    TileIr,
    Machine,
}

impl FileKind {
    /// By the extension, `.nkir` or `.nkim`.
    pub fn of(name: impl AsRef<Path>) -> Option<FileKind> {
        match name.as_ref().extension()?.to_str()? {
            "nkir" => Some(FileKind::TileIr),
            "nkim" => Some(FileKind::Machine),
            _ => None,
        }
    }
}

/// Loads a kernel that the command line names, or its file of tile IR.
///
/// # Errors
/// Everything that keeps it from running; `nki::usage` for a machine program.
pub fn load(subject: &Subject) -> Result<Loaded, Diagnostics> {
    load_with(subject, true)
}

/// Loads a kernel that the command line names, or its file of tile IR: without `data`, no element of an argument is made.
///
/// # Errors
/// As [`load`].
pub fn load_with(subject: &Subject, data: bool) -> Result<Loaded, Diagnostics> {
    load_for(subject, data, false)
}

/// [`load_with`], with `spill` for a compilation that may move tiles to device memory.
///
/// # Errors
/// As [`load`]; that SBUF has no room for a tile is left to the compiler then.
pub fn load_for(subject: &Subject, data: bool, spill: bool) -> Result<Loaded, Diagnostics> {
    match FileKind::of(&subject.kernel) {
        Some(FileKind::TileIr) => {
            let kernel = read_ir(&subject.kernel)?;
            let inputs = match data {
                true => inputs(&kernel.name, &signature(&kernel), subject)?,
                false => check_given(&kernel.name, &signature(&kernel), subject).map(|()| Vec::new())?,
            };
            let what = describe(&kernel.name, &signature(&kernel));
            let prepare = if spill { Prepared::from_ir_spilling } else { Prepared::from_ir };
            Ok(Loaded { prepared: prepare(kernel, inputs, subject.target())?, what, problem: None })
        }
        Some(FileKind::Machine) => {
            let text =
                format!("{}: a machine program, where a kernel or a .nkir file is expected", subject.kernel);
            let help = "a machine program can be verified, run, simulated, reported on and traced";
            Err(Diagnostic::error(Code::Usage, text).help(help).into())
        }
        None => {
            not_another_file(&subject.kernel)?;
            let complete = if data { Problem::new } else { Problem::timed };
            let mut problem = complete(find(&subject.kernel)?, &subject.given())?;
            if let Some(path) = &subject.tuned {
                apply_tuned(&mut problem, path, subject)?;
            }
            let what = format!("{} {}", problem.kernel.name, problem.describe());
            let prepare = if spill { Prepared::of_spilling } else { Prepared::of };
            let prepared = prepare(&problem, subject.target())?;
            if data {
                problem.admit(subject.target())?;
            }
            Ok(Loaded { prepared, what, problem: Some(problem) })
        }
    }
}

/// Sets the values of a tuned file that the command line leaves open.
fn apply_tuned(problem: &mut Problem, path: &str, subject: &Subject) -> Result<(), Diagnostics> {
    let tuned = Tuned::parse(&read_text(path)?, path)?;
    tuned.check(problem, subject.target())?;
    for (name, value) in tuned.given.into_iter().chain(tuned.winner) {
        if problem.values.iter().all(|(n, _)| *n != name) {
            problem.values.push((name, value));
        }
    }
    Ok(())
}

/// A name with a path in it is meant to be a file.
fn not_another_file(name: &str) -> Result<(), Diagnostics> {
    if !name.contains(['/', '\\']) && !Path::new(name).is_file() {
        return Ok(());
    }
    let text = format!("{name}: neither the name of a kernel nor a .nkir or .nkim file");
    Err(Diagnostic::error(Code::Usage, text).help("`nki list` shows all kernels").into())
}

/// Reads a text file.
///
/// # Errors
/// `nki::file`.
pub fn read_text(path: &str) -> Result<String, Diagnostics> {
    let fail = |what: String| Diagnostic::error(Code::File, format!("{path}: {what}"));
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| {
        fail(format!("byte {} is not UTF-8 text", e.utf8_error().valid_up_to()))
            .help("text is expected; is it another kind of file?")
            .into()
    })
}

/// Reads a `.nkir` file.
///
/// # Errors
/// `nki::file`, or what the parser reports.
pub fn read_ir(path: &str) -> Result<Kernel, Diagnostics> {
    nki_ir::text::parse(&read_text(path)?, path)
}

/// An input by name, dtype and shape.
pub type Input = (String, DType, Vec<usize>);

fn signature(kernel: &Kernel) -> Vec<Input> {
    let shape = |s: &[u32]| s.iter().map(|&d| d as usize).collect();
    kernel.inputs().map(|(_, b)| (b.name.clone(), b.dtype, shape(&b.shape))).collect()
}

/// One line about what comes from a file.
pub fn describe(name: &str, inputs: &[Input]) -> String {
    let shapes: Vec<String> =
        inputs.iter().map(|(n, dtype, shape)| format!("{n}={dtype}{shape:?}")).collect();
    format!("{name} {}", shapes.join(" ")).trim_end().to_string()
}

/// Values for the inputs of what comes from a file: as given, or generated.
///
/// # Errors
/// `nki::usage`: unknown names. `nki::argument`: another dtype or shape. `nki::file`.
pub fn inputs(kernel: &str, inputs: &[Input], subject: &Subject) -> Result<Vec<Tensor>, Diagnostics> {
    check_given(kernel, inputs, subject)?;
    let mut all = Vec::new();
    for (i, (name, dtype, shape)) in inputs.iter().enumerate() {
        let source = match subject.args.iter().find(|(given, _)| given == name) {
            Some((_, text)) => text.parse()?,
            None => Source::Generator(Generator::natural(*dtype)),
        };
        let seed = subject.seed.wrapping_add((i as u64) << 32);
        let tensor = source.tensor(name, *dtype, shape, seed)?;
        if (tensor.dtype, &tensor.shape) != (*dtype, shape) {
            let text =
                format!("`{name}` is {dtype}{shape:?}, the given tensor {}{:?}", tensor.dtype, tensor.shape);
            return Err(Diagnostic::error(Code::Argument, text).into());
        }
        all.push(tensor);
    }
    Ok(all)
}

/// What is given for something from a file names its inputs and nothing else.
///
/// # Errors
/// `nki::usage`.
pub fn check_given(kernel: &str, inputs: &[Input], subject: &Subject) -> Result<(), Diagnostics> {
    let usage = |text: String| Err(Diagnostics::from(Diagnostic::error(Code::Usage, text)));
    if subject.tuned.is_some() {
        return usage("`--tuned`: the configuration of a file is fixed".to_string());
    }
    if let Some((name, _)) = subject.dims.first() {
        return usage(format!("`--dim {name}=..`: the shapes of {} are fixed", subject.kernel));
    }
    if let Some(dtype) = subject.dtype {
        return usage(format!("`--dtype {dtype}`: the element types of {} are fixed", subject.kernel));
    }
    for (i, (name, _)) in subject.args.iter().enumerate() {
        if !inputs.iter().any(|input| &input.0 == name) {
            let hint = did_you_mean(name, inputs.iter().map(|input| input.0.as_str()));
            return usage(format!("`{kernel}` has no input `{name}`{hint}"));
        }
        if subject.args[..i].iter().any(|(other, _)| other == name) {
            return usage(format!("argument `{name}` is given twice"));
        }
    }
    Ok(())
}
