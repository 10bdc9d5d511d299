//! `activation`: a function of the scalar engine over a matrix. See `DESIGN.md`.
//!
//! ```
//! use nki::prelude::*;
//! use nki_kernels::activation::{ActivationConfig, Function, activation};
//!
//! let cfg = ActivationConfig { function: Function::Relu, ..ActivationConfig::default() };
//! let x = nki::ir::Tensor::from_f32(&[1, 3], &[-1.0, 0.0, 2.0]).unwrap();
//! let y = activation::specialize::<f32>(&x, None::<&nki::ir::Tensor>, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [0.0, 0.0, 2.0]);
//! ```

mod kernel;
pub mod reference;

pub use kernel::{ActivationConfig, Function, activation};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `activation` promises.
pub static CONTRACT: Contract = Contract {
    kernel: activation::INFO,
    dims: &[("rows", 128), ("columns", 1024)],
    tensors: &[TensorRule::new("x", &["rows", "columns"]), TensorRule::new("bias", &["rows"]).optional()],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let (scale, f) = (i.value::<f32>("scale").into(), i.value("function"));
        vec![reference::activation(i.tensor("x"), i.dim("columns"), i.get("bias"), scale, f)]
    },
    tolerance: Tolerance::of,
    rounded_terms: None,
    cases,
    // One function, one multiplication, one addition.
    flops: |i| 3 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 128, 129]);
    let small = || Case::dims(&[("rows", 37), ("columns", 129)]);
    for function in
        ["exp", "silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu", "tanh", "sigmoid", "square", "softplus"]
    {
        all.push(small().arg("function", function).arg("bias", "normal").arg("scale", "-0.5"));
    }
    for function in ["sqrt", "rsqrt", "reciprocal"] {
        all.push(small().arg("function", function).arg("x", "uniform(0.1,4)"));
    }
    all.push(Case::dims(&[("rows", 3), ("columns", 7)]).arg("columns", "2"));
    all
}
