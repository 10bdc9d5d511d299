//! Arguments by name: how a kernel is specialised without knowing its Rust types, from a command line for instance.

use crate::config::{ConfigValue, KernelConfig, SetError};
use crate::elem::Elem;
use crate::info::{KernelInfo, ParamKind};
use crate::launch::{Described, TensorArg};
use crate::trace::error;
use nki_ir::{Code, DType, Diagnostics, Tensor};
use std::collections::BTreeMap;

/// Arguments by name: tensors (by shape and dtype, or with data) and texts of configuration values.
#[derive(Clone, Default)]
pub struct Arguments {
    tensors: BTreeMap<String, Described>,
    values: Vec<(String, String)>,
}

impl Arguments {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }
    /// A tensor by dtype and shape.
    pub fn shape(mut self, name: &str, dtype: DType, shape: &[usize]) -> Self {
        self.tensors.insert(name.into(), Described { dtype, shape: shape.to_vec(), data: None });
        self
    }
    /// A tensor with its data.
    pub fn tensor(mut self, name: &str, tensor: Tensor) -> Self {
        let described = Described { dtype: tensor.dtype, shape: tensor.shape.clone(), data: Some(tensor) };
        self.tensors.insert(name.into(), described);
        self
    }
    /// A configuration value as text; `name` is a field of a configuration structure or a parameter.
    pub fn value(mut self, name: &str, text: &str) -> Self {
        self.values.push((name.into(), text.into()));
        self
    }
    /// Names of the tensors given.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A configuration: its defaults, with the fields that are given by name, `tile_n` or `cfg.tile_n`.
    pub(crate) fn config<C: KernelConfig>(&self, parameter: &str) -> Result<C, Diagnostics> {
        let mut config = C::default();
        let fields = C::fields();
        for (name, text) in &self.values {
            let field = name.strip_prefix(parameter).and_then(|n| n.strip_prefix('.')).unwrap_or(name);
            if !fields.iter().any(|f| f.name == field) {
                continue;
            }
            if let Err(SetError::Value(why)) = config.set(field, text) {
                return Err(bad_value(name, text, &why));
            }
        }
        Ok(config)
    }
    /// A parameter that is one value.
    pub(crate) fn single<V: ConfigValue>(&self, name: &str) -> Result<V, Diagnostics> {
        let Some((_, text)) = self.values.iter().rev().find(|(n, _)| n == name) else {
            let d = error(Code::Config, format!("the value `{name}` is missing"));
            return Err(d.help(format!("give it: `--arg {name}=..` ({})", V::type_name())).into());
        };
        V::parse(text).map_err(|why| bad_value(name, text, &why))
    }
    /// Every name given is one of the kernel's.
    #[doc(hidden)]
    pub fn __check(&self, info: &KernelInfo) -> Result<(), Diagnostics> {
        let mut known: Vec<String> = Vec::new();
        for p in info.params {
            match p.kind {
                ParamKind::Tensor { .. } => known.push(p.name.into()),
                ParamKind::Value => {
                    let fields = (p.fields)(p.name);
                    known.extend(fields.iter().map(|f| f.name.to_string()));
                    known.extend(fields.iter().map(|f| format!("{}.{}", p.name, f.name)));
                }
            }
        }
        let given = self.tensors.keys().chain(self.values.iter().map(|(n, _)| n));
        let mut all = Diagnostics::new();
        for name in given.filter(|n| !known.contains(n)) {
            let d = error(Code::Argument, format!("the kernel `{}` has no argument `{name}`", info.name));
            let names: Vec<&str> = known.iter().map(String::as_str).filter(|n| !n.contains('.')).collect();
            all.push(d.help(format!("its arguments are {}", names.join(", "))));
        }
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// The dtype of the first of `names` that is given.
    #[doc(hidden)]
    pub fn __dtype(&self, names: &[&str]) -> Result<DType, Diagnostics> {
        let found = names.iter().find_map(|n| self.tensors.get(*n));
        found.map(|d| d.dtype).ok_or_else(|| missing(names.first().copied().unwrap_or("?")))
    }
    /// The error of a dtype that the kernel does not take.
    #[doc(hidden)]
    pub fn __unsupported(&self, parameter: &str, dtype: DType) -> Diagnostics {
        error(Code::Argument, format!("argument `{parameter}` is {dtype}, which the kernel does not take"))
            .help("a kernel over `T: Float` takes f32, bf16 and f16")
            .into()
    }
    /// A tensor that must be given.
    #[doc(hidden)]
    pub fn __tensor(&self, name: &str) -> Result<ByName, Diagnostics> {
        self.__optional(name).ok_or_else(|| missing(name))
    }
    /// A tensor that may be absent.
    #[doc(hidden)]
    pub fn __optional(&self, name: &str) -> Option<ByName> {
        self.tensors.get(name).cloned().map(ByName)
    }
}

fn bad_value(name: &str, text: &str, why: &str) -> Diagnostics {
    error(Code::Config, format!("`{text}` is not a value of `{name}`: {why}")).into()
}

fn missing(name: &str) -> Diagnostics {
    error(Code::Argument, format!("the tensor argument `{name}` is missing"))
        .help(format!("give it a value: `--arg {name}=normal:f32[128,512]@1` or `--arg {name}=FILE.npy`"))
        .into()
}

/// A tensor argument of any dtype; the trace checks it against the kernel's signature.
#[doc(hidden)]
pub struct ByName(Described);

impl<T: Elem> TensorArg<T> for ByName {
    fn __describe(self) -> Described {
        self.0
    }
}
