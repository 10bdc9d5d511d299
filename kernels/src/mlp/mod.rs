//! `mlp`: the feed-forward layer of a transformer. See `DESIGN.md`.

mod kernel;
mod plan;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{Activation, MlpConfig, mlp};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;
use reference::Projection;

/// Weights that keep the size of what passes through them.
const WEIGHT: &str = "normal(0,0.05)";

/// What `mlp` promises.
pub static CONTRACT: Contract = Contract {
    kernel: mlp::INFO,
    dims: &[("tokens", 128), ("hidden", 256), ("inner", 512)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("w_gate", &["hidden", "inner"]).optional(),
        TensorRule::new("w_up", &["hidden", "inner"]).filled(WEIGHT),
        TensorRule::new("w_down", &["inner", "hidden"]).filled(WEIGHT),
        TensorRule::new("b_gate", &["inner"]).optional(),
        TensorRule::new("b_up", &["inner"]).optional(),
        TensorRule::new("b_down", &["hidden"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "hidden"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference,
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(3e-5, 1e-6),
        dtype => Tolerance::of(dtype),
    },
    // The inner activations are rounded before the down projection adds them up.
    rounded_terms: Some(|i| vec![with_reference(i, reference::down_norm)]),
    cases,
    flops: |i| {
        let products = if i.get("w_gate").is_some() { 3 } else { 2 };
        2 * products * (i.dim("tokens") * i.dim("hidden") * i.dim("inner")) as u64
    },
};
nki::contract!(CONTRACT);

fn reference(i: &Inputs) -> Vec<Vec<f64>> {
    vec![with_reference(i, reference::mlp)]
}

/// Calls a function of the reference with the layer that `i` describes.
fn with_reference<R>(i: &Inputs, f: impl Fn(&reference::Layer, &[f64], usize) -> R) -> R {
    let (hidden, inner) = (i.dim("hidden"), i.dim("inner"));
    let wide = |weight, bias| Projection { weight, bias, rows: hidden, columns: inner };
    let layer = reference::Layer {
        gate: i.get("w_gate").map(|weight| wide(weight, i.get("b_gate"))),
        up: wide(i.tensor("w_up"), i.get("b_up")),
        down: Projection { weight: i.tensor("w_down"), bias: i.get("b_down"), rows: inner, columns: hidden },
        activation: match i.value("activation") {
            Activation::Relu => reference::Activation::Relu,
            Activation::Gelu => reference::Activation::Gelu,
            Activation::Silu => reference::Activation::Silu,
        },
    };
    f(&layer, i.tensor("x"), i.dim("tokens"))
}

fn cases() -> Vec<Case> {
    let base = [("tokens", 37), ("hidden", 67), ("inner", 131)];
    let mut all: Vec<Case> = sweep(&base, &[1, 127, 128, 129, 513]).into_iter().map(swiglu).collect();
    for activation in ["relu", "gelu", "silu"] {
        let plain = Case::dims(&base).arg("activation", activation);
        all.push(plain.clone());
        all.push(biased(plain.clone()));
        all.push(swiglu(plain));
    }
    all.push(biased(
        swiglu(Case::dims(&[("tokens", 65), ("hidden", 256), ("inner", 145)])).arg("b_gate", "normal"),
    ));
    // One result that adds up many terms: it may cancel to less than the roundings of the terms.
    all.push(swiglu(Case::dims(&[("tokens", 1), ("hidden", 1), ("inner", 131)])));
    // The boundary at which upstream changes its algorithm.
    all.extend([96, 97].map(|t| swiglu(Case::dims(&[("tokens", t), ("hidden", 128), ("inner", 384)]))));
    all
}

fn swiglu(case: Case) -> Case {
    case.arg("w_gate", WEIGHT)
}

fn biased(case: Case) -> Case {
    case.arg("b_up", "normal").arg("b_down", "normal")
}
