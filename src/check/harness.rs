//! Checking one specialisation in a test: every way of running, against a reference and against each other.

use super::compare::{Tolerance, compare, compare_bits};
use crate::args::{Generator, to_f64};
use crate::launch::Specialization;
use crate::run::{Mode, Results};
use crate::trace::error;
use nki_ir::op::Engine;
use nki_ir::{Code, Diagnostics, Target, Tensor};
use nki_sim::SimReport;
use std::collections::BTreeMap;
use std::ops::{Index, RangeInclusive};

/// Sizes at which tiling goes wrong if it does: around one tile of partitions and one bank of columns.
pub const AWKWARD: [usize; 6] = [1, 7, 127, 128, 129, 513];

/// Starts a check. Arguments that were given as shapes are filled from seeds; then every mode of this build runs.
///
/// ```
/// use nki::prelude::*;
///
/// #[nki::kernel]
/// fn double(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
///     let [rows, columns] = x.dims();
///     let out = nc.hbm([rows, columns]);
///     for r in nc.tiles(rows, 128) {
///         nc.store(out.at((r, ..)), nc.load(x.at((r, ..))) * 2.0);
///     }
///     out
/// }
///
/// # fn main() {
/// for rows in nki::check::AWKWARD {
///     nki::check(double::specialize([rows, 33]))
///         .reference(|args| args["x"].iter().map(|v| 2.0 * v).collect::<Vec<_>>())
///         .passes();
/// }
/// # }
/// ```
pub fn check(specialization: Specialization) -> Check {
    Check {
        specialization,
        reference: None,
        tolerance: None,
        nan_matches: false,
        modes: Mode::ALL.into_iter().filter(|m| m.is_available()).collect(),
        targets: vec![Target::Trn2],
        seed: 0,
        fills: BTreeMap::new(),
        costs: Vec::new(),
    }
}

/// The values of the arguments by name, row-major, as the reference sees them.
pub struct Values(BTreeMap<&'static str, (Vec<usize>, Vec<f64>)>);

impl Values {
    /// The shape of an argument; `None` if it is absent.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(|a| a.0.as_slice())
    }
    /// The values of an argument; `None` if it is absent.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.0.get(name).map(|a| a.1.as_slice())
    }
}

impl Index<&str> for Values {
    type Output = [f64];
    /// # Panics
    /// When the kernel has no such argument, or it is absent.
    fn index(&self, name: &str) -> &[f64] {
        self.get(name).unwrap_or_else(|| {
            panic!("no tensor argument `{name}`; there are {:?}", self.0.keys().collect::<Vec<_>>())
        })
    }
}

/// What a reference returns: the values of one result, or of several.
pub trait Expected {
    #[doc(hidden)]
    fn __results(self) -> Vec<Vec<f64>>;
}
impl Expected for Vec<f64> {
    fn __results(self) -> Vec<Vec<f64>> {
        vec![self]
    }
}
impl Expected for Vec<Vec<f64>> {
    fn __results(self) -> Vec<Vec<f64>> {
        self
    }
}
impl<const N: usize> Expected for [Vec<f64>; N] {
    fn __results(self) -> Vec<Vec<f64>> {
        self.into()
    }
}

type Reference = Box<dyn Fn(&Values) -> Vec<Vec<f64>>>;

/// A bound on what the simulator reports.
enum Cost {
    Nanoseconds(RangeInclusive<f64>),
    Instructions(Engine, RangeInclusive<u64>),
}

/// A check being described; see [`check`].
#[must_use = "a check does nothing until `passes()`, `fails_with(..)` or `run()`"]
pub struct Check {
    specialization: Specialization,
    reference: Option<Reference>,
    tolerance: Option<Tolerance>,
    nan_matches: bool,
    modes: Vec<Mode>,
    targets: Vec<Target>,
    seed: u64,
    fills: BTreeMap<&'static str, String>,
    costs: Vec<Cost>,
}

impl Check {
    /// What the results should be, in `f64`. Without one the modes are only compared with each other.
    pub fn reference<E: Expected>(mut self, f: impl Fn(&Values) -> E + 'static) -> Self {
        self.reference = Some(Box::new(move |v| f(v).__results()));
        self
    }
    /// How far results may lie from the reference; by default what their dtype allows ([`Tolerance::of`]).
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = Some(tolerance);
        self
    }
    /// Expects NaN where the reference has it.
    pub fn nan_matches(mut self) -> Self {
        self.nan_matches = true;
        self
    }
    /// The ways to run; by default all that this build has.
    pub fn modes(mut self, modes: &[Mode]) -> Self {
        self.modes = modes.to_vec();
        self
    }
    /// The targets to check for; by default trn2.
    pub fn targets(mut self, targets: &[Target]) -> Self {
        self.targets = targets.to_vec();
        self
    }
    /// What arguments given as shapes are filled from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
    /// What an argument given as a shape is filled with, e.g. `uniform(-1, 1)`; by default standard normal values, or for
    /// integers anything. See [`crate::args::generate`].
    pub fn fill(mut self, argument: &'static str, generator: &str) -> Self {
        self.fills.insert(argument, generator.into());
        self
    }
    /// Pins the simulated time of the kernel, in nanoseconds.
    pub fn simulated_ns(mut self, within: RangeInclusive<f64>) -> Self {
        self.costs.push(Cost::Nanoseconds(within));
        self
    }
    /// Pins the number of instructions that an engine executes.
    pub fn instructions(mut self, engine: Engine, within: RangeInclusive<u64>) -> Self {
        self.costs.push(Cost::Instructions(engine, within));
        self
    }

    /// Runs the check.
    ///
    /// # Panics
    /// When it does not pass, with everything that was found.
    #[track_caller]
    pub fn passes(self) {
        if let Err(found) = self.run() {
            panic!("{:?} does not pass\n\n{found}", self.specialization);
        }
    }

    /// Runs the check, which must find an error with this code; returns everything found.
    ///
    /// # Panics
    /// When it passes, or fails otherwise.
    #[track_caller]
    pub fn fails_with(self, code: Code) -> Diagnostics {
        match self.run() {
            Ok(()) => panic!("{:?} passes, and {code} was expected", self.specialization),
            Err(found) if found.first_code() == Some(code) => found,
            Err(found) => panic!("{:?} fails otherwise than with {code}\n\n{found}", self.specialization),
        }
    }

    /// Runs the check.
    ///
    /// # Errors
    /// What the trace, the gate, a backend or a run finds; `nki::mismatch` for results and costs that are not as expected.
    pub fn run(&self) -> Result<(), Diagnostics> {
        let inputs = self.inputs()?;
        let want = self.reference.as_ref().map(|f| f(&self.values(&inputs)));
        let mut found = Diagnostics::new();
        for &target in &self.targets {
            self.on(target, &inputs, want.as_deref(), &mut found)?;
        }
        if found.has_errors() { Err(found) } else { Ok(()) }
    }

    fn inputs(&self) -> Result<Vec<Tensor>, Diagnostics> {
        let filled =
            self.specialization.arguments_with_data().enumerate().map(|(i, (name, dtype, shape, data))| {
                if let Some(tensor) = data {
                    return Ok(tensor.clone());
                }
                let generator = match self.fills.get(name) {
                    Some(text) => text.parse::<Generator>()?,
                    None => Generator::natural(dtype),
                };
                // Arguments must not hold the same numbers.
                generator.tensor(dtype, shape, self.seed.wrapping_add((i as u64) << 32))
            });
        filled.collect()
    }

    fn values(&self, inputs: &[Tensor]) -> Values {
        let names = self.specialization.arguments().map(|a| a.0);
        Values(names.zip(inputs).map(|(n, t)| (n, (t.shape.clone(), to_f64(t)))).collect())
    }

    fn on(
        &self,
        target: Target,
        inputs: &[Tensor],
        want: Option<&[Vec<f64>]>,
        found: &mut Diagnostics,
    ) -> Result<(), Diagnostics> {
        let gated = self.specialization.gate(target)?;
        let mut first: Option<(Mode, Results)> = None;
        for &mode in &self.modes {
            let results = gated.executable(&self.specialization, mode)?.run(inputs)?;
            let place = format!("{mode} on {target}");
            if let Some(want) = want {
                self.against_reference(&place, &results, want, found);
            }
            if let Some(report) = &results.report {
                self.against_costs(&place, report, found);
            }
            match &first {
                None => first = Some((mode, results)),
                Some((other, before)) => self.against_mode(&place, mode, &results, *other, before, found),
            }
        }
        Ok(())
    }

    fn tolerance_of(&self, result: &Tensor) -> Tolerance {
        let tolerance = self.tolerance.unwrap_or_else(|| Tolerance::of(result.dtype));
        if self.nan_matches { tolerance.nan_matches() } else { tolerance }
    }

    fn against_reference(&self, place: &str, results: &Results, want: &[Vec<f64>], found: &mut Diagnostics) {
        if results.tensors().len() != want.len() {
            let message =
                format!("the kernel has {} results, the reference {}", results.tensors().len(), want.len());
            found.push(error(Code::Mismatch, message));
        }
        for ((name, got), want) in results.iter().zip(want) {
            let c = compare(got, want, self.tolerance_of(got));
            if !c.passed() {
                found.push(error(Code::Mismatch, format!("{place}: `{name}` is not as the reference: {c}")));
            }
        }
    }

    /// Eager, interpreter and simulator agree in every bit; native code as closely as with a reference.
    fn against_mode(
        &self,
        place: &str,
        mode: Mode,
        results: &Results,
        other: Mode,
        before: &Results,
        found: &mut Diagnostics,
    ) {
        let exact = mode != Mode::Host && other != Mode::Host;
        for ((name, got), (_, want)) in results.iter().zip(before.iter()) {
            let bits = compare_bits(want, got);
            let close = || compare(got, &to_f64(want), self.tolerance_of(got).nan_matches()).passed();
            if !bits.equal() && (exact || !close()) {
                let message = format!("{place}: `{name}` is not as in mode {other}: {bits}");
                found.push(error(Code::Mismatch, message));
            }
        }
    }

    fn against_costs(&self, place: &str, report: &SimReport, found: &mut Diagnostics) {
        for cost in &self.costs {
            let (what, got, within, kept) = match cost {
                Cost::Nanoseconds(r) => {
                    let ns = report.kernel_ns;
                    ("simulated time, ns".to_string(), ns.to_string(), format!("{r:?}"), r.contains(&ns))
                }
                Cost::Instructions(engine, r) => {
                    let of_engine = report.engines.iter().filter(|e| e.engine == *engine);
                    let n: u64 = of_engine.map(|e| e.instructions).sum();
                    (
                        format!("instructions of engine {engine}"),
                        n.to_string(),
                        format!("{r:?}"),
                        r.contains(&n),
                    )
                }
            };
            if !kept {
                let message = format!("{place}: {what}: {got}, pinned to {within}");
                found.push(error(Code::Mismatch, message).help("pin the new cost if the change is meant"));
            }
        }
    }
}
