//! What the kernels cost, in simulated time: the shapes that are measured, and how. The file `kernels/ratchet.txt` and the book's
//! gallery are made of it.

use nki::backend::device::compile;
use nki::check::{Contract, Given, Prepared, Problem, gate};
use nki::ir::{Code, DType, Diagnostic, Diagnostics, Target};
use nki::registry::Arguments;
use nki::sim::{Mode, SimOptions, SimReport, VerifiedProgram};
use std::fmt;

/// A kernel with dtype, dimensions and configuration.
#[derive(Clone, Debug)]
pub struct Shape {
    pub kernel: &'static str,
    pub dtype: DType,
    /// Those that differ from the contract's default ones.
    pub dims: &'static [(&'static str, usize)],
    /// Configuration values, and generators of optional tensors.
    pub args: &'static [(&'static str, &'static str)],
}

/// Targets of the figures. Inf2 has the core of trn1.
pub const TARGETS: [Target; 3] = [Target::Trn1, Target::Trn2, Target::Trn3];

const fn shape(kernel: &'static str, dims: &'static [(&'static str, usize)]) -> Shape {
    Shape { kernel, dtype: DType::BF16, dims, args: &[] }
}

const fn swiglu(dims: &'static [(&'static str, usize)]) -> Shape {
    Shape { kernel: "mlp", dtype: DType::BF16, dims, args: &[("w_gate", "normal")] }
}

/// Shapes that are measured besides each contract's default one, in bf16.
const LARGER: &[Shape] = &[
    shape("add", &[("rows", 1024), ("columns", 4096)]),
    shape("adamw", &[("n", 1 << 20)]),
    shape("attention", &[("heads", 4), ("kv_heads", 1), ("queries", 1024), ("keys", 1024), ("d", 128)]),
    Shape {
        kernel: "attention_cached",
        dtype: DType::BF16,
        dims: &[("heads", 4), ("kv_heads", 1), ("queries", 1024), ("slots", 1024), ("d", 128)],
        args: &[("causal", "true")],
    },
    shape("attention_decode", &[("batch", 1), ("heads", 32), ("kv_heads", 8), ("slots", 1024), ("d", 128)]),
    Shape {
        kernel: "attention_decode_blocks",
        dtype: DType::BF16,
        dims: &[("batch", 1), ("heads", 32), ("kv_heads", 8), ("rows", 1024), ("n", 64), ("d", 128)],
        args: &[],
    },
    shape(
        "attention_decode_fp8",
        &[("batch", 1), ("heads", 32), ("kv_heads", 8), ("slots", 1024), ("d", 128)],
    ),
    shape("attention_backward", &[("heads", 2), ("queries", 1024), ("keys", 1024), ("d", 128)]),
    shape("cross_entropy", &[("rows", 256), ("classes", 32128)]),
    shape("cross_entropy_backward", &[("rows", 256), ("classes", 32128)]),
    shape("cumsum", &[("rows", 1024), ("columns", 4096)]),
    shape("depthwise_conv1d", &[("channels", 512), ("length", 4096)]),
    shape("dropout", &[("rows", 1024), ("columns", 4096)]),
    Shape {
        kernel: "lm_head",
        dtype: DType::BF16,
        dims: &[("tokens", 1), ("hidden", 2048), ("vocabulary", 32064)],
        args: &[("gamma", "normal")],
    },
    shape("matmul", &[("k", 1024), ("m", 1024), ("n", 1024)]),
    shape("matmul_blocked", &[("k", 1024), ("m", 1024), ("n", 1024)]),
    Shape {
        kernel: "qkv",
        dtype: DType::BF16,
        dims: &[
            ("tokens", 1),
            ("hidden", 2048),
            ("slots", 48),
            ("heads", 32),
            ("kv_heads", 8),
            ("d", 64),
            ("half", 32),
        ],
        args: &[("kv_heads", "8"), ("gamma", "normal"), ("cos", "normal"), ("sin", "normal")],
    },
    Shape {
        kernel: "qkv_update",
        dtype: DType::BF16,
        dims: &[
            ("tokens", 4),
            ("hidden", 2048),
            ("slots", 48),
            ("heads", 32),
            ("kv_heads", 8),
            ("d", 64),
            ("half", 32),
            ("batch", 4),
            ("length", 1024),
        ],
        args: &[("kv_heads", "8"), ("gamma", "normal"), ("cos", "normal"), ("sin", "normal")],
    },
    swiglu(&[("tokens", 1), ("hidden", 4096), ("inner", 14336)]),
    swiglu(&[("tokens", 512), ("hidden", 1024), ("inner", 2816)]),
    shape("moe", &[("tokens", 512), ("hidden", 1024), ("inner", 512), ("block", 128)]),
    Shape {
        kernel: "mlp_fp8",
        dtype: DType::BF16,
        dims: &[("tokens", 1), ("hidden", 2048), ("inner", 8192)],
        args: &[("w_gate", "normal")],
    },
    shape("projection_transposed", &[("tokens", 4), ("hidden", 2048), ("columns", 2048), ("per_lane", 16)]),
    shape("pool", &[("planes", 256), ("rows", 112), ("columns", 112)]),
    shape("resize", &[("planes", 64)]),
    shape("rmsnorm", &[("rows", 1024), ("columns", 4096)]),
    shape("rmsnorm_backward", &[("rows", 1024), ("columns", 4096)]),
    shape("rmsnorm_quant", &[("rows", 1024), ("columns", 4096)]),
    shape("router", &[("tokens", 512), ("hidden", 4096), ("experts", 128)]),
    shape("selective_scan", &[("channels", 256), ("length", 1024)]),
    shape("softmax", &[("rows", 1024), ("columns", 4096)]),
];

/// Operands without which kernels do not run.
const NEEDS: &[(&str, &[(&str, &str)])] = &[
    ("elementwise", &[("y", "normal")]),
    ("matmul_general", &[("lhs_t", "normal"), ("rhs", "normal")]),
    ("foreach", &[("op", "add"), ("y", "uniform(0.5,2)"), ("scalar", "uniform(0.5,2)")]),
];

/// Every shape that is measured: the default one of each contract, then larger ones, by kernel.
pub fn shapes() -> Vec<Shape> {
    let mut all = Vec::new();
    for contract in Contract::all() {
        let (kernel, dtype) = (contract.kernel.name, contract.dtypes[0]);
        let args = NEEDS.iter().find(|n| n.0 == kernel).map_or(&[][..], |n| n.1);
        all.push(Shape { kernel, dtype, dims: &[], args });
        all.extend(LARGER.iter().filter(|s| s.kernel == kernel).cloned());
    }
    all
}

impl fmt::Display for Shape {
    /// Dtype, all dimensions, configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kernel, self.dtype)?;
        for (name, size) in self.all_dims() {
            write!(f, " {name}={size}")?;
        }
        self.args.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Shape {
    /// The contract of its kernel.
    pub fn contract(&self) -> Option<&'static Contract> {
        Contract::all().into_iter().find(|c| c.kernel.name == self.kernel)
    }

    fn all_dims(&self) -> Vec<(&'static str, usize)> {
        let given = |name| self.dims.iter().find(|d| d.0 == name);
        let defaults = self.contract().map_or(&[][..], |c| c.dims);
        defaults.iter().map(|d| given(d.0).copied().unwrap_or(*d)).collect()
    }

    /// The kernel, compiled for a target.
    ///
    /// # Errors
    /// `nki::usage` for a kernel without contract; what trace, gate or compiler find, such as `nki::target` for instructions that
    /// the target lacks.
    pub fn compile(&self, target: Target) -> Result<VerifiedProgram, Diagnostics> {
        let kernel = self.specialize()?.trace()?.kernel;
        let verified = gate(kernel, target, &mut Diagnostics::new())?;
        nki::sim::verify(compile(&verified, &Default::default())?.program)
    }

    /// Simulates the kernel on a target: time alone, or with generated data if its control flow depends on them.
    ///
    /// # Errors
    /// Those of [`compile`](Shape::compile), and what goes wrong while running.
    pub fn simulate(&self, target: Target) -> Result<SimReport, Diagnostics> {
        let program = self.compile(target)?;
        let (mode, inputs) = match program.depends_on_data() {
            false => (Mode::TimeOnly, Vec::new()),
            true => (Mode::Full, Prepared::of(&self.problem()?, target)?.inputs().to_vec()),
        };
        let options = SimOptions { mode, ..SimOptions::default() };
        Ok(nki::sim::run(&program, &inputs, &options)?.report)
    }

    fn given(&self) -> Result<&'static Contract, Diagnostics> {
        self.contract().ok_or_else(|| {
            let text = format!("`{}` has no contract", self.kernel);
            Diagnostic::error(Code::Usage, text).help("`nki list` shows all kernels").into()
        })
    }

    /// By shapes alone: large tensors need no data to be timed.
    fn specialize(&self) -> Result<nki::Specialization, Diagnostics> {
        let contract = self.given()?;
        let launch = contract.kernel.launch.ok_or_else(|| {
            Diagnostic::error(Code::Usage, format!("`{}` cannot be launched by name", self.kernel))
        })?;
        let dims = self.all_dims();
        let size = |name: &str| {
            let named = dims.iter().find(|d| d.0 == name).map(|d| d.1);
            named.or_else(|| name.parse().ok()).unwrap_or(0)
        };
        let mut arguments = Arguments::new();
        for rule in contract.tensors {
            let given = self.args.iter().any(|(name, _)| *name == rule.name);
            if given || !rule.optional {
                let shape: Vec<usize> = rule.shape.iter().map(|d| size(d)).collect();
                arguments = arguments.shape(rule.name, rule.dtype.unwrap_or(self.dtype), &shape);
            }
        }
        let values = self.args.iter().filter(|(name, _)| contract.tensor(name).is_none());
        launch(&values.fold(arguments, |a, (name, value)| a.value(name, value)))
    }

    fn problem(&self) -> Result<Problem, Diagnostics> {
        let given = Given {
            args: self.args.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            dims: self.dims.iter().map(|(n, d)| (n.to_string(), *d)).collect(),
            dtype: Some(self.dtype),
            seed: 0,
        };
        Problem::new(self.given()?.kernel, &given)
    }
}

/// Computes `f` of every item on all cores, in order.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match items.get(i) {
                Some(item) => done.push((i, f(item))),
                None => return done,
            }
        }
    };
    let mut all: Vec<(usize, R)> = std::thread::scope(|s| {
        let workers: Vec<_> = (0..threads).map(|_| s.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    all.sort_by_key(|r| r.0);
    all.into_iter().map(|r| r.1).collect()
}
