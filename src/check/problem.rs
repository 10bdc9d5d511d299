//! A kernel with all its arguments: what was given, and what the contract fills in.

use super::contract::{Contract, Inputs};
use crate::args::{Source, did_you_mean, to_f64};
use crate::registry::Arguments;
use crate::steps::{OWN, is_step, schedule_of};
use crate::{KernelInfo, ParamKind, Specialization};
use nki_ir::{Code, DType, Diagnostic, Diagnostics, Target, Tensor};
use std::collections::BTreeMap;

/// What is given for a kernel; everything else has defaults.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Name and text of tensors and configuration values.
    pub args: Vec<(String, String)>,
    /// Named dimensions.
    pub dims: Vec<(String, usize)>,
    pub dtype: Option<DType>,
    pub seed: u64,
}

/// A kernel with data, or with their shapes alone.
pub struct Problem {
    pub kernel: &'static KernelInfo,
    pub contract: Option<&'static Contract>,
    pub dtype: DType,
    /// Named dimensions, in the contract's order.
    pub dims: Vec<(&'static str, usize)>,
    /// Dtype and shape of every argument, in the kernel's order.
    pub signature: Vec<(&'static str, DType, Vec<usize>)>,
    /// The arguments, in the same order; none in a problem of [`Problem::timed`].
    pub tensors: Vec<(&'static str, Tensor)>,
    /// Configuration values that were given.
    pub values: Vec<(String, String)>,
}

fn fail<T>(code: Code, text: String, help: Option<String>) -> Result<T, Diagnostics> {
    let d = Diagnostic::error(code, text);
    Err(help.into_iter().fold(d, Diagnostic::help).into())
}

impl Problem {
    /// Completes what is given.
    ///
    /// # Errors
    /// `nki::usage`: unknown names, malformed values. `nki::argument`: shapes that contradict each other, tensors without a
    /// value. `nki::file`: a file that cannot be read.
    pub fn new(kernel: &'static KernelInfo, given: &Given) -> Result<Problem, Diagnostics> {
        Self::complete(kernel, given, true)
    }

    /// Completes what is given, for finding out the time alone: no element of any tensor is made, so that the shapes may be
    /// larger than any memory. Files are read for their dtypes and shapes.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn timed(kernel: &'static KernelInfo, given: &Given) -> Result<Problem, Diagnostics> {
        Self::complete(kernel, given, false)
    }

    fn complete(kernel: &'static KernelInfo, given: &Given, data: bool) -> Result<Problem, Diagnostics> {
        let contract = Contract::of(kernel);
        let (sources, values) = sort_arguments(kernel, contract, given)?;
        let mut shapes = Shapes::new(kernel, contract, given)?;
        let first = sources.iter().find_map(|(name, s)| match s {
            Source::Generator(g) if !has_own_dtype(contract, name) => g.dtype,
            _ => None,
        });
        let mut dtype = given.dtype.or(first);
        let mut tensors: BTreeMap<&'static str, (DType, Vec<usize>, Option<Tensor>)> = BTreeMap::new();
        // Files first: what they hold decides dtype and dimensions for the rest.
        for (name, source) in &sources {
            if let Source::File(file) = source {
                let tensor = file.read(name)?;
                shapes.bind(name, &tensor.shape)?;
                if !has_own_dtype(contract, name) {
                    dtype = dtype.or(Some(tensor.dtype));
                }
                tensors.insert(name, (tensor.dtype, tensor.shape.clone(), data.then_some(tensor)));
            }
        }
        for (name, source) in &sources {
            if let Source::Generator(g) = source {
                g.shape.as_ref().map_or(Ok(()), |shape| shapes.bind(name, shape))?;
            }
        }
        let fallback = contract.and_then(|c| c.dtypes.first().copied()).unwrap_or(DType::F32);
        let dtype = dtype.unwrap_or(fallback);
        for (i, (name, source)) in generators(kernel, contract, &sources)?.into_iter().enumerate() {
            // Parameters without a seed of their own must not hold the same numbers.
            let seed = given.seed.wrapping_add((i as u64) << 32);
            let own = contract.and_then(|c| c.tensor(name)).and_then(|t| t.dtype);
            if let Some(Source::Generator(g)) = source {
                let shape = match &g.shape {
                    Some(shape) => shape.clone(),
                    None => shapes.of(name)?,
                };
                let dtype = g.dtype.or(own).unwrap_or(dtype);
                let tensor = data.then(|| g.tensor(dtype, &shape, seed)).transpose()?;
                tensors.insert(name, (dtype, shape, tensor));
            }
        }
        let dims = shapes.complete();
        let mut problem =
            Problem { kernel, contract, dtype, dims, signature: vec![], tensors: vec![], values };
        for p in kernel.params {
            let Some((name, (dtype, shape, tensor))) = tensors.remove_entry(p.name) else { continue };
            problem.signature.push((name, dtype, shape));
            problem.tensors.extend(tensor.map(|t| (name, t)));
        }
        Ok(problem)
    }

    /// The kernel, specialised to the arguments.
    ///
    /// # Errors
    /// What the kernel's signature does not take.
    pub fn specialize(&self) -> Result<Specialization, Diagnostics> {
        self.specialize_with(&[])
    }

    /// The kernel, specialised to the arguments and further configuration values and schedule steps (see [`crate::tune`]).
    ///
    /// # Errors
    /// What the kernel's signature does not take.
    pub fn specialize_with(&self, values: &[(String, String)]) -> Result<Specialization, Diagnostics> {
        let Some(launch) = self.kernel.launch else {
            let text = format!("`{}` has parameters that cannot be given by name", self.kernel.name);
            return fail(Code::Usage, text, Some("call it from another kernel, or from Rust".into()));
        };
        let mut arguments = Arguments::new();
        for (name, dtype, shape) in &self.signature {
            arguments = match self.tensors.iter().find(|t| t.0 == *name) {
                Some((_, tensor)) => arguments.tensor(name, tensor.clone()),
                None => arguments.shape(name, *dtype, shape),
            };
        }
        let (steps, values): (Vec<_>, Vec<_>) =
            self.values.iter().chain(values).cloned().partition(|(name, _)| is_step(name));
        for (name, text) in &values {
            arguments = arguments.value(name, text);
        }
        let kernel = launch(&arguments)?;
        if steps.iter().all(|(_, value)| value == OWN) {
            return Ok(kernel);
        }
        // What labels there are is known once the kernel has been traced.
        let labels = kernel.trace()?.labels;
        Ok(kernel.schedule(schedule_of(&labels, &steps)?))
    }

    /// The arguments as the reference sees them; `None` without a contract or without data.
    pub fn inputs(&self) -> Option<Inputs> {
        self.contract.filter(|_| self.tensors.len() == self.signature.len())?;
        let fields = self.kernel.params.iter().flat_map(|p| (p.fields)(p.name));
        let mut values: BTreeMap<String, String> =
            fields.map(|f| (f.name.to_string(), f.default.clone())).collect();
        values.extend(self.values.iter().cloned());
        Some(Inputs {
            dims: self.dims.iter().map(|(n, d)| (n.to_string(), *d)).collect(),
            tensors: self.tensors.iter().map(|(n, t)| (n.to_string(), to_f64(t))).collect(),
            dtypes: self.tensors.iter().map(|(n, t)| (n.to_string(), t.dtype)).collect(),
            values,
            target: None,
        })
    }

    /// Whether the values of the arguments are such that the kernel is defined for them ([`Contract::requires`]); anything goes without a
    /// contract.
    ///
    /// # Errors
    /// `nki::argument`: a value outside of what it points into.
    pub fn admit(&self, target: Target) -> Result<(), Diagnostics> {
        let contract = self.contract.filter(|c| c.requires.is_some());
        contract.zip(self.inputs()).map_or(Ok(()), |(contract, inputs)| contract.admit(&inputs.on(target)))
    }

    /// One line: dtype, dimensions or shapes, configuration.
    pub fn describe(&self) -> String {
        let mut parts = vec![self.dtype.to_string()];
        if self.dims.is_empty() {
            parts.extend(self.signature.iter().map(|(n, dtype, shape)| format!("{n}={dtype}{shape:?}")));
        } else {
            parts.extend(self.dims.iter().map(|(n, d)| format!("{n}={d}")));
        }
        parts.extend(self.values.iter().map(|(n, v)| format!("{n}={v}")));
        parts.join(" ")
    }
}

fn has_own_dtype(contract: Option<&Contract>, name: &str) -> bool {
    contract.and_then(|c| c.tensor(name)).is_some_and(|t| t.dtype.is_some())
}

type Sources = Vec<(&'static str, Source)>;

/// Tells tensors from configuration values.
fn sort_arguments(
    kernel: &'static KernelInfo,
    contract: Option<&Contract>,
    given: &Given,
) -> Result<(Sources, Vec<(String, String)>), Diagnostics> {
    let tensor = |n: &str| {
        let p = kernel.params.iter().find(|p| p.name == n)?;
        matches!(p.kind, ParamKind::Tensor { .. }).then_some(p.name)
    };
    let mut values: Vec<String> = Vec::new();
    for p in kernel.params.iter().filter(|p| p.kind == ParamKind::Value) {
        let fields = (p.fields)(p.name);
        values.extend(fields.iter().map(|f| f.name.to_string()));
        if fields.is_empty() {
            values.push(p.name.to_string());
        }
    }
    let (mut sources, mut texts): (Sources, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for (name, text) in &given.args {
        if sources.iter().any(|s| s.0 == name) || texts.iter().any(|t| &t.0 == name) {
            return fail(Code::Usage, format!("argument `{name}` is given twice"), None);
        }
        if let Some(name) = tensor(name) {
            sources.push((name, text.parse()?));
        } else if values.contains(name) {
            texts.push((name.clone(), text.clone()));
        } else {
            let names = kernel.params.iter().map(|p| p.name).chain(values.iter().map(String::as_str));
            let hint = did_you_mean(name, names);
            let dim = contract.is_some_and(|c| c.dims.iter().any(|d| d.0 == name));
            let help = dim.then(|| format!("`{name}` is a dimension: `--dim {name}={text}`"));
            let help = help.or_else(|| Some(format!("`nki list {}` shows the parameters", kernel.name)));
            return fail(Code::Usage, format!("`{}` has no parameter `{name}`{hint}", kernel.name), help);
        }
    }
    Ok((sources, texts))
}

/// For every tensor parameter what generates it: as given, or by the contract. `None`: it comes from a file, or is absent.
fn generators(
    kernel: &'static KernelInfo,
    contract: Option<&'static Contract>,
    sources: &Sources,
) -> Result<Vec<(&'static str, Option<Source>)>, Diagnostics> {
    let mut all = Vec::new();
    for p in kernel.params {
        let ParamKind::Tensor { optional, .. } = p.kind else { continue };
        let rule = contract.and_then(|c| c.tensor(p.name));
        let source = match (sources.iter().find(|s| s.0 == p.name), rule) {
            (Some((_, source)), _) => Some(source.clone()),
            (None, Some(rule)) if !rule.optional => Some(rule.generator.parse()?),
            (None, None) if !optional => {
                let text = format!("the tensor argument `{}` of `{}` is missing", p.name, kernel.name);
                let help = format!("`--arg {0}=normal:f32[128,512]@1` or `--arg {0}=FILE.npy`", p.name);
                return fail(Code::Argument, text, Some(help));
            }
            (None, _) => None,
        };
        all.push((p.name, source.filter(|s| matches!(s, Source::Generator(_)))));
    }
    Ok(all)
}

/// The named dimensions, as far as they are known.
struct Shapes {
    kernel: &'static str,
    contract: Option<&'static Contract>,
    /// Size, and what said so.
    known: BTreeMap<&'static str, (usize, String)>,
}

impl Shapes {
    fn new(
        kernel: &KernelInfo,
        contract: Option<&'static Contract>,
        given: &Given,
    ) -> Result<Shapes, Diagnostics> {
        let mut known = BTreeMap::new();
        let names = || contract.iter().flat_map(|c| c.dims.iter().map(|d| d.0));
        for (name, size) in &given.dims {
            let Some(name) = names().find(|n| n == name) else {
                let list: Vec<&str> = names().collect();
                let hint = did_you_mean(name, names());
                let text = format!("`{}` has no dimension `{name}`{hint}", kernel.name);
                return fail(Code::Usage, text, Some(format!("its dimensions: {}", list.join(", "))));
            };
            known.insert(name, (*size, format!("--dim {name}={size}")));
        }
        Ok(Shapes { kernel: kernel.name, contract, known })
    }

    /// Learns dimensions from the shape of a tensor that is given.
    fn bind(&mut self, name: &str, shape: &[usize]) -> Result<(), Diagnostics> {
        let Some(contract) = self.contract else { return Ok(()) };
        let Some(rule) = contract.tensor(name) else { return Ok(()) };
        let wants = || format!("`{name}` of `{}` has the shape [{}]", self.kernel, rule.shape.join(", "));
        if rule.shape.len() != shape.len() {
            return fail(Code::Argument, format!("{}, the given tensor {shape:?}", wants()), None);
        }
        for (dim, &size) in rule.shape.iter().zip(shape) {
            let fixed = dim.parse::<usize>().ok().map(|n| (n, format!("the kernel, which takes {n}")));
            let before = fixed.as_ref().or_else(|| self.known.get(dim));
            match before {
                Some((n, why)) if *n != size => {
                    let text = format!("{}: `{dim}` is {size} in {shape:?} but {n} by {why}", wants());
                    return fail(Code::Argument, text, None);
                }
                Some(_) => {}
                None => {
                    self.known.insert(dim, (size, format!("`{name}` {shape:?}")));
                }
            }
        }
        Ok(())
    }

    /// The shape of a tensor.
    fn of(&self, name: &str) -> Result<Vec<usize>, Diagnostics> {
        let Some(rule) = self.contract.and_then(|c| c.tensor(name)) else {
            let text = format!("the shape of `{name}` is not known");
            return fail(Code::Argument, text, Some(format!("write it: `--arg {name}=normal:f32[128,512]`")));
        };
        Ok(rule.shape.iter().map(|dim| dim.parse().unwrap_or_else(|_| self.size(dim))).collect())
    }

    fn size(&self, dim: &str) -> usize {
        let default = || self.contract.and_then(|c| c.dims.iter().find(|d| d.0 == dim)).map(|d| d.1);
        self.known.get(dim).map(|k| k.0).or_else(default).expect("a contract lists every dimension it uses")
    }

    fn complete(&self) -> Vec<(&'static str, usize)> {
        self.contract.iter().flat_map(|c| c.dims).map(|(name, _)| (*name, self.size(name))).collect()
    }
}
