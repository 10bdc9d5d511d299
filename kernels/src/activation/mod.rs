//! `activation`, `activation_sum`, `gated`: a function of the scalar engine over a matrix. See `DESIGN.md`.
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
mod product;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{ActivationConfig, Function, activation, activation_sum};
pub use product::{GatedConfig, GatedTiles, gated};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `activation` promises.
pub static CONTRACT: Contract = Contract {
    kernel: activation::INFO,
    dims: &[("rows", 128), ("columns", 1024)],
    tensors: &[TensorRule::new("x", &["rows", "columns"]), TensorRule::new("bias", &["rows"]).optional()],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![acted(i)],
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    // One function, one multiplication, one addition.
    flops: |i| 3 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn acted(i: &Inputs) -> Vec<f64> {
    let (scale, f) = (i.value::<f32>("scale").into(), i.value("function"));
    reference::activation(i.tensor("x"), i.dim("columns"), i.get("bias"), scale, f)
}

/// What `activation_sum` promises.
pub static SUM_CONTRACT: Contract = Contract {
    kernel: activation_sum::INFO,
    results: &[
        ResultRule { name: "out", shape: &["rows", "columns"] },
        ResultRule { name: "sums", shape: &["rows"] },
    ],
    reference: |i| {
        let out = acted(i);
        let sums = reference::row_sums(&out, i.dim("columns"));
        vec![out, sums]
    },
    // The sums are f32 sums of the functions' values: some 300 roundings of partial sums below 100.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(1e-5, 1e-4),
        dtype => Tolerance::of(dtype),
    },
    cases: || {
        let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 129]);
        let wide = || Case::dims(&[("rows", 130), ("columns", 301)]).arg("columns", "100");
        all.extend(
            ["exp", "silu", "square"]
                .map(|f| wide().arg("function", f).arg("bias", "normal").arg("scale", "0.5")),
        );
        all.push(wide().arg("function", "exp"));
        all
    },
    ..CONTRACT
};
nki::contract!(SUM_CONTRACT);

/// What `gated` promises.
pub static GATED_CONTRACT: Contract = Contract {
    kernel: gated::INFO,
    tensors: &[TensorRule::new("gate", &["rows", "columns"]), TensorRule::new("up", &["rows", "columns"])],
    reference: |i| {
        let limit = |name, none| i.value::<Option<f32>>(name).map_or(none, f64::from);
        let limits = |low, high| [limit(low, f64::NEG_INFINITY), limit(high, f64::INFINITY)];
        let limits = [limits("gate_low", "gate_high"), limits("up_low", "up_high")];
        let offset = i.value::<f32>("up_offset").into();
        vec![reference::gated(i.tensor("gate"), i.tensor("up"), i.value("function"), limits, offset)]
    },
    cases: || {
        let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 129]);
        let small = || Case::dims(&[("rows", 37), ("columns", 201)]).arg("columns", "100");
        all.extend(["relu", "gelu", "gelu_tanh", "gelu_sigmoid"].map(|f| small().arg("function", f)));
        let wild =
            small().arg("gate", "normal(0,10)").arg("up", "normal(0,10)").arg("function", "gelu_sigmoid");
        let wild = wild.arg("gate_high", "7").arg("up_low", "-7").arg("up_high", "7");
        all.extend([wild.clone(), wild.arg("up_offset", "1")]);
        all.push(small().arg("gate_low", "-0.5").arg("up_offset", "-2"));
        all
    },
    // One function, limits, two operations.
    flops: |i| 5 * (i.dim("rows") * i.dim("columns")) as u64,
    ..CONTRACT
};
nki::contract!(GATED_CONTRACT);

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
    all.extend(
        ["silu_dx", "gelu_dx", "gelu_sigmoid_dx"].map(|f| small().arg("function", f).arg("x", "normal(0,2)")),
    );
    all.push(Case::dims(&[("rows", 3), ("columns", 7)]).arg("columns", "2"));
    all
}
