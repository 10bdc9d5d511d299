//! One kernel of tile IR in every way of running: eagerly, by the interpreter, simulated (three orders of transfers) and
//! natively. All give the same bits, or what is wrong is returned.

#[path = "eager.rs"]
mod eager;

use nki::ir::interp::{self, InterpOptions};
use nki::ir::sem::cast;
use nki::ir::testgen::Rng;
use nki::ir::verify::{resolve_and_verify, verify};
use nki::ir::{Code, Diagnostics, Kernel, Target, Tensor};
use nki_backend::device::{self, CompileOptions};
use nki_backend::host::{self, HostOptions};
use nki_sim::SimOptions;

/// Floats that operations treat in ways of their own.
const SPECIAL: [f32; 10] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-40,
    -1e-40,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
];

/// Small arguments: floats in quarters of magnitude 2 at most, small integers. `special`: one float in four is one of
/// [`SPECIAL`].
fn arguments(kernel: &Kernel, seed: u64, special: bool) -> Vec<Tensor> {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let fill = |(_, b): (_, &nki::ir::BufData)| {
        let shape: Vec<usize> = b.shape.iter().map(|&n| n as usize).collect();
        let mut t = Tensor::zeros(b.dtype, &shape);
        for element in t.data.chunks_mut(b.dtype.bytes()) {
            let bits = if b.dtype.is_float() {
                match special && rng.below(4) == 0 {
                    true => cast::down(b.dtype, rng.pick(&SPECIAL)),
                    false => cast::down(b.dtype, rng.below(17) as f32 / 4.0 - 2.0),
                }
            } else {
                rng.below(4)
            };
            element.copy_from_slice(&bits.to_le_bytes()[..b.dtype.bytes()]);
        }
        t
    };
    kernel.inputs().map(fill).collect()
}

/// Where a kernel fails, and how.
pub type Failure = (&'static str, String);

/// What is wrong with a kernel, if anything. `faults`: it may fail on an index outside, but then in every way.
pub fn disagreement(
    kernel: &Kernel,
    target: Target,
    seed: u64,
    special: bool,
    faults: bool,
) -> Option<Failure> {
    let verified = match verify(kernel.clone(), target) {
        Ok(v) => v,
        Err(e) => return Some(("the gate", e.to_string())),
    };
    let inputs = arguments(kernel, seed, special);
    let reference = match interp::run(&verified, &inputs, &InterpOptions::default()) {
        Ok(out) => Some(out),
        Err(e) if faults && is_index(&e) => None,
        Err(e) => return Some(("the interpreter", e.to_string())),
    };
    let differs = |way, got: Result<Vec<Tensor>, Diagnostics>| match (got, &reference) {
        (Err(e), None) if is_index(&e) => None,
        (Ok(_), None) => Some((way, "takes no notice of an index outside".to_string())),
        (Err(e), _) => Some((way, e.to_string())),
        (Ok(out), Some(reference)) => {
            let first = out.iter().zip(reference).position(|(a, b)| a != b)?;
            let at = out[first].data.iter().zip(&reference[first].data).position(|(a, b)| a != b);
            let name = kernel.outputs().nth(first).map(|(_, b)| &b.name);
            Some((way, format!("differs from the interpreter in {name:?} at byte {at:?}")))
        }
    };
    if let Some(failure) = differs("eager execution", eager::run(kernel, target, &inputs)) {
        return Some(failure);
    }
    if reference.is_some()
        && let Some(failure) = undecided_disagreement(kernel, target, &inputs)
    {
        return Some(failure);
    }
    let native = host::compile(&verified, &HostOptions::default()).and_then(|k| k.run(&inputs));
    if let Some(failure) = differs("native code", native) {
        return Some(failure);
    }
    let program = device::compile(&verified, &CompileOptions::default())
        .and_then(|compiled| nki_sim::verify(compiled.program));
    let program = match program {
        Ok(p) => p,
        Err(e) => return Some(("the device compiler", e.to_string())),
    };
    [None, Some(seed), Some(seed.wrapping_mul(31) + 7)].into_iter().find_map(|adversary| {
        let options = SimOptions { adversary, ..SimOptions::default() };
        differs("the simulator", nki_sim::run(&program, &inputs, &options).map(|o| o.outputs))
    })
}

/// Whether all that went wrong is an index outside.
fn is_index(e: &Diagnostics) -> bool {
    e.iter().all(|d| d.code == Code::RuntimeIndex)
}

/// A recorded body leaves open whether its matmuls add. Eagerly each element decides while running; for the other ways it is
/// decided before. Both must give the same bits, where it can be decided at all: generated kernels also overwrite sums.
fn undecided_disagreement(kernel: &Kernel, target: Target, inputs: &[Tensor]) -> Option<Failure> {
    let open = eager::undecided(kernel)?;
    let decided = resolve_and_verify(open.clone(), target).ok()?;
    let reference = interp::run(&decided, inputs, &InterpOptions::default());
    let eagerly = eager::run(&open, target, inputs);
    let same = matches!((&reference, &eagerly), (Ok(a), Ok(b)) if a == b);
    (!same).then(|| {
        let problem =
            |r: Result<Vec<Tensor>, _>| r.err().map_or("ran".to_string(), |e: Diagnostics| e.to_string());
        let (reference, eagerly) = (problem(reference), problem(eagerly));
        ("deciding whether to add", format!("interpreter: {reference}; eagerly: {eagerly}; results differ"))
    })
}
