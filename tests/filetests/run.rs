//! The tests `run` and `compile`: files that are executed.
//!
//! ```text
//! ; test run
//! ; arg x = 1.5 -2 nan        elements in row-major order, repeated as often as needed
//! ; result y = 3 -4 nan       the first elements of an output
//! ```
//!
//! Inputs without an `arg` line get small random values. The interpreter's findings are compared with the `expect` lines;
//! the simulator (transfers finishing in two orders) and native code must give the interpreter's bytes. With `NKI_BLESS=1` the
//! values of `result` lines are rewritten, as many as there were.

use super::{Case, Finding, Outcome};
use nki_backend::{device, host};
use nki_ir::interp::{self, InterpOptions};
use nki_ir::sem::cast;
use nki_ir::verify::{Verified, resolve_and_verify};
use nki_ir::{BufData, Diagnostics, Kernel, Target, Tensor, testgen};
use nki_sim::SimOptions;

fn outcome(case: &Case, found: &Diagnostics) -> Outcome {
    Outcome { findings: found.iter().map(|d| Finding::new(d, &case.name)).collect(), ..Outcome::default() }
}

/// `; word NAME = values`
pub fn values<'t>(header: &'t str, word: &str) -> Vec<(&'t str, Vec<&'t str>)> {
    let line = |line: &'t str| {
        let rest = line.trim_start_matches([';', ' ']).strip_prefix(word)?.strip_prefix(' ')?;
        let (name, values) = rest.split_once('=')?;
        Some((name.trim(), values.split_whitespace().collect()))
    };
    header.lines().filter_map(line).collect()
}

fn element(data: &BufData, text: &str) -> Result<u32, String> {
    let bad = |_| format!("`{text}` is not a value of {} `{}`", data.dtype, data.name);
    if data.dtype.is_float() {
        // The same words as in a kernel's text.
        let x: f32 = if text == "nan" { f32::NAN } else { text.parse().map_err(|_| bad(()))? };
        return Ok(cast::down(data.dtype, x));
    }
    let n: i64 = text.parse().map_err(|_| bad(()))?;
    Ok(n as u32)
}

fn arguments(case: &Case, kernel: &Kernel) -> Result<Vec<Tensor>, String> {
    let given = values(case.header_text(), "arg");
    if let Some((name, _)) = given.iter().find(|g| !kernel.inputs().any(|(_, b)| b.name == g.0)) {
        return Err(format!("there is no input `{name}`"));
    }
    let mut tensors = testgen::arguments(kernel, 1, false);
    for ((_, data), tensor) in kernel.inputs().zip(&mut tensors) {
        let Some((_, words)) = given.iter().find(|g| g.0 == data.name).filter(|g| !g.1.is_empty()) else {
            continue;
        };
        for (chunk, word) in tensor.data.chunks_mut(data.dtype.bytes()).zip(words.iter().cycle()) {
            chunk.copy_from_slice(&element(data, word)?.to_le_bytes()[..data.dtype.bytes()]);
        }
    }
    Ok(tensors)
}

/// The first `n` elements of a tensor as text.
fn show(tensor: &Tensor, n: usize) -> String {
    let bytes = tensor.dtype.bytes();
    let one = |e: &[u8]| {
        let mut bits = [0; 4];
        bits[..bytes].copy_from_slice(e);
        let bits = u32::from_le_bytes(bits);
        match tensor.dtype.kind() {
            nki_ir::dtype::DKind::Float => nki_ir::text::float(cast::up(tensor.dtype, bits)),
            nki_ir::dtype::DKind::Signed => {
                let unused = 32 - 8 * bytes as u32;
                (((bits << unused) as i32) >> unused).to_string()
            }
            _ => bits.to_string(),
        }
    };
    tensor.data.chunks(bytes).take(n).map(one).collect::<Vec<_>>().join(" ")
}

/// Runs the kernel in every way.
pub fn run(case: &Case, kernel: &Kernel, target: Target) -> Outcome {
    let verified = match resolve_and_verify(kernel.clone(), target) {
        Ok(verified) => verified,
        Err(found) => return outcome(case, &found),
    };
    let inputs = match arguments(case, kernel) {
        Ok(inputs) => inputs,
        Err(why) => return Outcome { broken: vec![why], ..Outcome::default() },
    };
    let outputs = match interp::run(&verified, &inputs, &InterpOptions::default()) {
        Ok(outputs) => outputs,
        Err(found) => return outcome(case, &found),
    };
    let mut out = outcome(case, verified.warnings());
    out.broken = others(&verified, &inputs, &outputs);
    for (name, words) in values(case.header_text(), "result") {
        match kernel.outputs().zip(&outputs).find(|((_, b), _)| b.name == name) {
            Some((_, tensor)) => out.results.push((name.into(), show(tensor, words.len().max(1)))),
            None => out.broken.push(format!("there is no output `{name}`")),
        }
    }
    out
}

/// Where simulator and native code differ from the interpreter.
fn others(verified: &Verified, inputs: &[Tensor], expected: &[Tensor]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut compare = |way: &str, got: Result<Vec<Tensor>, Diagnostics>| match got {
        Err(found) => broken.push(format!("{way}:\n{found}")),
        Ok(got) => {
            for ((_, data), (a, b)) in verified.kernel().outputs().zip(expected.iter().zip(&got)) {
                if let Some(i) = a.data.iter().zip(&b.data).position(|(x, y)| x != y) {
                    let i = i / data.dtype.bytes();
                    let what = format!("{way}: element {i} of `{}` differs from the interpreter", data.name);
                    broken.push(format!("{what}\n  {}\n  {}", show(a, i + 1), show(b, i + 1)));
                }
            }
        }
    };
    let native = host::compile(verified, &host::HostOptions::default()).and_then(|k| k.run(inputs));
    compare("native code", native);
    match device::compile(verified, &device::CompileOptions::default())
        .and_then(|c| nki_sim::verify(c.program))
    {
        Err(found) => compare("the device compiler", Err(found)),
        Ok(program) => {
            for adversary in [None, Some(1)] {
                let options = SimOptions { adversary, ..SimOptions::default() };
                compare("the simulator", nki_sim::run(&program, inputs, &options).map(|o| o.outputs));
            }
        }
    }
    broken
}

/// Compiles the kernel; the program must pass the checks of the machine.
pub fn compile(case: &Case, kernel: &Kernel, target: Target) -> Outcome {
    let verified = match resolve_and_verify(kernel.clone(), target) {
        Ok(verified) => verified,
        Err(found) => return outcome(case, &found),
    };
    match device::compile(&verified, &device::CompileOptions::default()) {
        Err(found) => outcome(case, &found),
        Ok(compiled) => match nki_sim::verify(compiled.program) {
            Ok(_) => Outcome::default(),
            Err(found) => Outcome {
                broken: vec![format!("the compiled program is rejected:\n{found}")],
                ..Outcome::default()
            },
        },
    }
}
