//! What a command works on: a kernel by name, or a file of tile IR.

use super::command::Subject;
use super::list::find;
use crate::args::{Generator, Source, did_you_mean};
use crate::check::{Prepared, Problem};
use nki_ir::{Code, Diagnostic, Diagnostics, Kernel, Tensor};
use std::path::Path;

/// A kernel with data, through the gate, and one line about it.
pub struct Loaded {
    pub prepared: Prepared,
    pub what: String,
    /// Present for kernels by name.
    pub problem: Option<Problem>,
}

/// Loads what the command line names.
///
/// # Errors
/// Everything that keeps it from running.
pub fn load(subject: &Subject) -> Result<Loaded, Diagnostics> {
    if is_file(&subject.kernel, "nkir") {
        let kernel = read_ir(&subject.kernel)?;
        let inputs = inputs(&kernel, subject)?;
        let shapes: Vec<String> = kernel
            .inputs()
            .zip(&inputs)
            .map(|((_, b), t)| format!("{}={}{:?}", b.name, t.dtype, t.shape))
            .collect();
        let what = format!("{} {}", kernel.name, shapes.join(" "));
        return Ok(Loaded {
            prepared: Prepared::from_ir(kernel, inputs, subject.target)?,
            what,
            problem: None,
        });
    }
    let problem = Problem::new(find(&subject.kernel)?, &subject.given())?;
    let what = format!("{} {}", problem.kernel.name, problem.describe());
    Ok(Loaded { prepared: Prepared::of(&problem, subject.target)?, what, problem: Some(problem) })
}

/// Whether `name` is the name of a file with this extension.
pub fn is_file(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == extension)
}

/// Reads a text file.
///
/// # Errors
/// `nki::file`.
pub fn read_text(path: &str) -> Result<String, Diagnostics> {
    std::fs::read_to_string(path).map_err(|e| Diagnostic::error(Code::File, format!("{path}: {e}")).into())
}

/// Reads a `.nkir` file.
///
/// # Errors
/// `nki::file`, or what the parser reports.
pub fn read_ir(path: &str) -> Result<Kernel, Diagnostics> {
    nki_ir::text::parse(&read_text(path)?, path)
}

/// Values for the inputs of a kernel from a file: as given, or generated.
fn inputs(kernel: &Kernel, subject: &Subject) -> Result<Vec<Tensor>, Diagnostics> {
    let usage = |text: String| Err(Diagnostics::from(Diagnostic::error(Code::Usage, text)));
    if let Some((name, _)) = subject.dims.first() {
        return usage(format!("`--dim {name}=..`: the shapes of a .nkir file are fixed"));
    }
    for (name, _) in &subject.args {
        if !kernel.inputs().any(|(_, b)| &b.name == name) {
            let hint = did_you_mean(name, kernel.inputs().map(|(_, b)| b.name.as_str()));
            return usage(format!("`{}` has no input `{name}`{hint}", kernel.name));
        }
    }
    let mut all = Vec::new();
    for (i, (_, buf)) in kernel.inputs().enumerate() {
        let source = match subject.args.iter().find(|(name, _)| *name == buf.name) {
            Some((_, text)) => text.parse()?,
            None => Source::Generator(Generator::natural(buf.dtype)),
        };
        let shape: Vec<usize> = buf.shape.iter().map(|&d| d as usize).collect();
        let seed = subject.seed.wrapping_add((i as u64) << 32);
        let tensor = source.tensor(&buf.name, buf.dtype, &shape, seed)?;
        if (tensor.dtype, &tensor.shape) != (buf.dtype, &shape) {
            let text = format!(
                "`{}` is {}{shape:?}, the given tensor {}{:?}",
                buf.name, buf.dtype, tensor.dtype, tensor.shape
            );
            return Err(Diagnostic::error(Code::Argument, text).into());
        }
        all.push(tensor);
    }
    Ok(all)
}
