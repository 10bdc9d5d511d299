//! What a kernel promises beyond its Rust signature: how its shapes hang together, what it computes, how exactly.

use super::compare::Tolerance;
use crate::KernelInfo;
use nki_ir::{Code, DType, Diagnostic, Diagnostics, Target};
use std::collections::BTreeMap;
use std::ops::Range;

/// A kernel's named dimensions, tensors, reference, tolerances and cases. With it `nki run` can fill in arguments that are
/// not given, and `nki check` knows what the results should be. Registered with [`contract!`](crate::contract).
pub struct Contract {
    pub kernel: &'static KernelInfo,
    /// Named dimensions and their sizes where nothing says otherwise.
    pub dims: &'static [(&'static str, usize)],
    /// The tensor parameters.
    pub tensors: &'static [TensorRule],
    /// The results, in order.
    pub results: &'static [ResultRule],
    /// Dtypes that the kernel is checked in; the first is the default.
    pub dtypes: &'static [DType],
    /// What must hold of the values of arguments that are positions, numbers of rows or counts; the text says what does not.
    /// The reference is called only with arguments of which it holds. `None`: anything goes.
    pub requires: Option<Requires>,
    /// The results' values, from the arguments, in plain `f64`.
    pub reference: fn(&Inputs) -> Vec<Vec<f64>>,
    pub tolerance: fn(DType) -> Tolerance,
    /// For kernels that add up terms which they have rounded to the dtype: for each result the largest root of the sum of
    /// the terms' squares, which the tolerance then allows for ([`Tolerance::with_rounded_terms`]).
    pub rounded_terms: Option<fn(&Inputs) -> Vec<f64>>,
    /// Shapes and configurations that `nki check` and the kernel's tests run.
    pub cases: fn() -> Vec<Case>,
    /// Floating-point operations that the computation needs.
    pub flops: fn(&Inputs) -> u64,
}

/// Whether arguments are such that a kernel is defined for them; else what is wrong with them, in words.
pub type Requires = fn(&Inputs) -> Result<(), String>;

inventory::collect!(&'static Contract);

/// Registers a [`Contract`], given as the path of a `static`.
#[macro_export]
macro_rules! contract {
    ($contract:path) => {
        $crate::__private::inventory::submit! { &$contract as &'static $crate::check::Contract }
    };
}

/// A tensor parameter.
pub struct TensorRule {
    pub name: &'static str,
    /// Names of dimensions, or numbers.
    pub shape: &'static [&'static str],
    /// A dtype of its own; `None`: the kernel's.
    pub dtype: Option<DType>,
    /// Absent unless given.
    pub optional: bool,
    /// What it is filled with where nothing is given: see [`crate::args::generate`].
    pub generator: &'static str,
}

impl TensorRule {
    /// A required tensor of standard normal values.
    pub const fn new(name: &'static str, shape: &'static [&'static str]) -> TensorRule {
        TensorRule { name, shape, dtype: None, optional: false, generator: "normal" }
    }
    /// Absent unless given.
    pub const fn optional(self) -> TensorRule {
        TensorRule { optional: true, ..self }
    }
    /// With a dtype of its own.
    pub const fn of(self, dtype: DType) -> TensorRule {
        TensorRule { dtype: Some(dtype), ..self }
    }
    /// Filled with something else than standard normal values.
    pub const fn filled(self, generator: &'static str) -> TensorRule {
        TensorRule { generator, ..self }
    }
}

/// A result.
pub struct ResultRule {
    pub name: &'static str,
    /// Names of dimensions, or numbers.
    pub shape: &'static [&'static str],
}

impl Contract {
    /// The contract of a kernel, if it has one.
    pub fn of(kernel: &KernelInfo) -> Option<&'static Contract> {
        inventory::iter::<&'static Contract>.into_iter().copied().find(|c| c.kernel.path == kernel.path)
    }
    /// All contracts, by the kernel's name and path.
    pub fn all() -> Vec<&'static Contract> {
        let mut all: Vec<_> = inventory::iter::<&'static Contract>.into_iter().copied().collect();
        all.sort_by_key(|c| (c.kernel.name, c.kernel.path));
        all
    }
    /// Whether the arguments' values are such that the kernel and its reference are defined for them.
    ///
    /// # Errors
    /// `nki::argument`: a value outside of what it points into.
    pub fn admit(&self, inputs: &Inputs) -> Result<(), Diagnostics> {
        self.requires.map_or(Ok(()), |requires| requires(inputs)).map_err(|text| {
            let d = Diagnostic::error(Code::Argument, format!("`{}`: {text}", self.kernel.name));
            d.help("give other values, as in `--arg NAME=uniform(0,10)`, or larger sizes").into()
        })
    }
    /// How far each result in `dtype` may lie from the reference.
    pub fn tolerances(&self, dtype: DType, inputs: &Inputs) -> Vec<Tolerance> {
        let tolerance = (self.tolerance)(dtype);
        match self.rounded_terms {
            None => vec![tolerance; self.results.len()],
            Some(norms) => {
                norms(inputs).into_iter().map(|norm| tolerance.with_rounded_terms(dtype, norm)).collect()
            }
        }
    }
    /// The rule of a tensor.
    pub fn tensor(&self, name: &str) -> Option<&'static TensorRule> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "contract of {}", self.kernel.path)
    }
}

/// The arguments as a reference sees them.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub(super) dims: BTreeMap<String, usize>,
    pub(super) tensors: BTreeMap<String, Vec<f64>>,
    pub(super) dtypes: BTreeMap<String, DType>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) target: Option<Target>,
}

impl Inputs {
    /// The same, for a run on `target`.
    pub(crate) fn on(self, target: Target) -> Inputs {
        Inputs { target: Some(target), ..self }
    }
    /// The target that the results come from, trn2 unless told: random numbers differ between generations, and hardly anything
    /// else should.
    pub fn target(&self) -> Target {
        self.target.unwrap_or(Target::Trn2)
    }
    /// The size of a named dimension.
    ///
    /// # Panics
    /// If the contract has no such dimension.
    pub fn dim(&self, name: &str) -> usize {
        *self.dims.get(name).unwrap_or_else(|| panic!("the contract has no dimension `{name}`"))
    }
    /// The values of a tensor, row-major.
    ///
    /// # Panics
    /// If the tensor is absent.
    pub fn tensor(&self, name: &str) -> &[f64] {
        self.get(name).unwrap_or_else(|| panic!("the contract has no required tensor `{name}`"))
    }
    /// The values of a tensor that may be absent.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.tensors.get(name).map(Vec::as_slice)
    }
    /// The dtype of a tensor.
    ///
    /// # Panics
    /// If the tensor is absent.
    pub fn dtype(&self, name: &str) -> DType {
        *self.dtypes.get(name).unwrap_or_else(|| panic!("the contract has no required tensor `{name}`"))
    }
    /// Whether every element of a tensor is in `range`; the text names the first that is not.
    ///
    /// # Panics
    /// If the tensor is absent.
    pub fn within(&self, name: &str, range: Range<f64>) -> Result<(), String> {
        let outside = self.tensor(name).iter().enumerate().find(|(_, v)| !range.contains(v));
        outside.map_or(Ok(()), |(i, v)| {
            Err(format!("element {i} of `{name}` is {v}, outside of {}..{}", range.start, range.end))
        })
    }
    /// A configuration value.
    ///
    /// # Panics
    /// If the kernel has no such value, or its text is not a `T`: the kernel has been specialised with it before.
    pub fn value<T: crate::config::ConfigValue>(&self, name: &str) -> T {
        let text =
            self.values.get(name).unwrap_or_else(|| panic!("the kernel has no configuration value `{name}`"));
        T::parse(text).unwrap_or_else(|e| panic!("configuration value `{name}` is `{text}`: {e}"))
    }
}

/// A shape and configuration to check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    pub dims: Vec<(&'static str, usize)>,
    /// Texts as after `--arg`: configuration values, and generators of tensors (which makes optional ones present).
    pub args: Vec<(&'static str, String)>,
    /// Dtypes; empty: the contract's.
    pub dtypes: Vec<DType>,
    /// NaN in a result is right where the reference has NaN.
    pub nan_matches: bool,
}

impl Case {
    /// Sizes of dimensions.
    pub fn dims(dims: &[(&'static str, usize)]) -> Case {
        Case { dims: dims.to_vec(), ..Case::default() }
    }
    /// With a configuration value or a generator.
    pub fn arg(mut self, name: &'static str, value: impl Into<String>) -> Case {
        self.args.push((name, value.into()));
        self
    }
    /// Only in these dtypes.
    pub fn dtypes(self, dtypes: &[DType]) -> Case {
        Case { dtypes: dtypes.to_vec(), ..self }
    }
    /// With NaN expected where the reference has it.
    pub fn nan_matches(self) -> Case {
        Case { nan_matches: true, ..self }
    }
}

/// One case a dimension and size, the other dimensions at `base`; then every dimension at each size together.
pub fn sweep(base: &[(&'static str, usize)], sizes: &[usize]) -> Vec<Case> {
    let mut all = Vec::new();
    for i in 0..base.len() {
        for &size in sizes {
            let mut dims = base.to_vec();
            dims[i].1 = size;
            all.push(Case::dims(&dims));
        }
    }
    for &size in sizes {
        all.push(Case::dims(&base.iter().map(|d| (d.0, size)).collect::<Vec<_>>()));
    }
    let mut seen = Vec::new();
    all.retain(|c| {
        !seen.contains(&c.dims) && {
            seen.push(c.dims.clone());
            true
        }
    });
    all
}
