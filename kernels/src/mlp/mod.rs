//! `mlp`, `mlp_block` and `mlp_fp8`: the feed-forward layer of a transformer, with the norm before it, with 8-bit weights. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::activation::Function;
//! use nki_kernels::mlp::{MlpConfig, mlp};
//!
//! let one = Tensor::from_f32(&[1, 1], &[1.0]).unwrap();
//! let x = Tensor::from_f32(&[2, 1], &[3.0, -2.0]).unwrap();
//! let (gate, bias) = (None::<&Tensor>, None::<&Tensor>);
//! let cfg = MlpConfig { activation: Function::Relu, up_high: Some(2.0), ..MlpConfig::default() };
//! let y = mlp::specialize::<f32>(&x, gate, &one, &one, bias, bias, bias, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [2.0, 0.0]);
//! ```
//!
//! With 8-bit weights, of which those of up count twice what they hold:
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::activation::Function;
//! use nki_kernels::mlp::{MlpConfig, mlp_fp8};
//!
//! let one = nki::args::from_f64(DType::F8E4M3, &[1, 1], &[1.0]).unwrap();
//! let x = Tensor::from_f32(&[2, 1], &[3.0, -2.0]).unwrap();
//! let (gate, bias, scales) = (None::<&Tensor>, None::<&Tensor>, Tensor::from_f32(&[3], &[1.0, 2.0, 1.0]).unwrap());
//! let cfg = MlpConfig { activation: Function::Relu, ..MlpConfig::default() };
//! let s = mlp_fp8::specialize::<f32>(&x, gate, &one, &one, &scales, bias, bias, bias, cfg);
//! assert_eq!(nki::args::to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0]), [6.0, 0.0]);
//! ```

mod decode;
mod kernel;
mod plan;
mod prefill;
pub mod reference;
#[cfg(test)]
mod tests;

pub(crate) use kernel::gated;
pub use kernel::{BlockConfig, MlpConfig, Mode, mlp, mlp_block, mlp_fp8};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;
use reference::{Projection, UNLIMITED};

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
    requires: None,
    rounded_terms: Some(|i| vec![with_reference(i, i.tensor("x"), reference::down_norm)]),
    cases,
    flops: |i| {
        let products = if i.get("w_gate").is_some() { 3 } else { 2 };
        2 * products * (i.dim("tokens") * i.dim("hidden") * i.dim("inner")) as u64
    },
};
nki::contract!(CONTRACT);

fn reference(i: &Inputs) -> Vec<Vec<f64>> {
    vec![with_reference(i, i.tensor("x"), reference::mlp)]
}

fn limits(i: &Inputs, low: &str, high: &str) -> [f64; 2] {
    let limit = |name, none| i.value::<Option<f32>>(name).map_or(none, f64::from);
    [limit(low, UNLIMITED[0]), limit(high, UNLIMITED[1])]
}

/// Calls a function of the reference with the layer that `i` describes, on `x`.
fn with_reference<R>(i: &Inputs, x: &[f64], f: impl Fn(&reference::Layer, &[f64], usize) -> R) -> R {
    let (hidden, inner) = (i.dim("hidden"), i.dim("inner"));
    // 8-bit elements stand for so many times themselves.
    let weight = |name, at: usize| -> Option<Vec<f64>> {
        let scale = i.get("scales").map_or(1.0, |s| s[at]);
        Some(i.get(name)?.iter().map(|w| w * scale).collect())
    };
    let (gate, up, down) = (weight("w_gate", 0), weight("w_up", 1), weight("w_down", 2));
    let wide = |weight, bias| Projection { weight, bias, rows: hidden, columns: inner };
    let layer = reference::Layer {
        gate: gate.as_deref().map(|weight| wide(weight, i.get("b_gate"))),
        up: wide(up.as_deref().unwrap_or(&[]), i.get("b_up")),
        down: Projection {
            weight: down.as_deref().unwrap_or(&[]),
            bias: i.get("b_down"),
            rows: inner,
            columns: hidden,
        },
        activation: i.value("activation"),
        gate_limits: limits(i, "gate_low", "gate_high"),
        up_limits: limits(i, "up_low", "up_high"),
        up_offset: i.value::<f32>("up_offset").into(),
    };
    f(&layer, x, i.dim("tokens"))
}

/// What `mlp_block` promises.
pub static BLOCK_CONTRACT: Contract = Contract {
    kernel: mlp_block::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("residual", &["tokens", "hidden"]).optional(),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("beta", &["hidden"]).optional(),
        TensorRule::new("w_gate", &["hidden", "inner"]).optional(),
        TensorRule::new("w_up", &["hidden", "inner"]).filled(WEIGHT),
        TensorRule::new("w_down", &["inner", "hidden"]).filled(WEIGHT),
        TensorRule::new("b_gate", &["inner"]).optional(),
        TensorRule::new("b_up", &["inner"]).optional(),
        TensorRule::new("b_down", &["hidden"]).optional(),
    ],
    results: &[
        ResultRule { name: "out", shape: &["tokens", "hidden"] },
        ResultRule { name: "sum", shape: &["tokens", "hidden"] },
    ],
    reference: |i| {
        let [normed, sum] = prologue(i);
        let out = with_reference(i, &normed, reference::mlp);
        if i.value("store_sum") { vec![out, sum] } else { vec![out] }
    },
    requires: None,
    rounded_terms: Some(|i| vec![with_reference(i, &prologue(i)[0], reference::down_norm), 0.0]),
    cases: block_cases,
    ..CONTRACT
};
nki::contract!(BLOCK_CONTRACT);

fn prologue(i: &Inputs) -> [Vec<f64>; 2] {
    let gains = [i.get("gamma"), i.get("beta")];
    let norm = (i.value("norm"), i.value::<f32>("eps").into());
    reference::prologue(i.tensor("x"), i.get("residual"), gains, i.dim("hidden"), norm)
}

fn block_cases() -> Vec<Case> {
    let dims =
        |tokens, hidden, inner| Case::dims(&[("tokens", tokens), ("hidden", hidden), ("inner", inner)]);
    let mut all = Vec::new();
    for mode in ["prefill", "decode"] {
        let of = |tokens, hidden, inner| swiglu(dims(tokens, hidden, inner)).arg("mode", mode);
        let gains = "normal(1,0.2)";
        all.extend([of(1, 129, 67), of(37, 67, 131), of(127, 256, 129)]);
        all.push(of(5, 200, 131).arg("gamma", gains).arg("residual", "normal").arg("store_sum", "true"));
        all.push(of(37, 200, 131).arg("gamma", gains).arg("beta", "normal").arg("norm", "layer"));
        all.push(of(37, 129, 67).arg("beta", "normal").arg("norm", "layer").arg("residual", "normal"));
        all.push(of(33, 129, 67).arg("norm", "none").arg("residual", "normal").arg("store_sum", "true"));
        all.push(of(6, 288, 67).arg("eps", "77").arg("gamma", gains));
    }
    all.push(biased(swiglu(dims(131, 200, 300))).arg("gamma", "normal").arg("residual", "normal"));
    all.push(biased(dims(9, 128, 145)).arg("gamma", "normal").arg("activation", "relu"));
    all
}

fn cases() -> Vec<Case> {
    let base = [("tokens", 37), ("hidden", 67), ("inner", 131)];
    let mut all: Vec<Case> = sweep(&base, &[1, 127, 128, 129, 513]).into_iter().map(swiglu).collect();
    for activation in ["relu", "gelu", "gelu_tanh", "silu", "gelu_sigmoid"] {
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
    // Few tokens the other way, many tokens the wide way, several wide blocks, the last of each ragged.
    all.push(swiglu(Case::dims(&base)).arg("mode", "prefill"));
    all.push(swiglu(Case::dims(&[("tokens", 128), ("hidden", 131), ("inner", 1100)])).arg("mode", "decode"));
    all.push(
        biased(swiglu(Case::dims(&[("tokens", 1), ("hidden", 2100), ("inner", 2200)])))
            .arg("b_gate", "normal"),
    );
    for mode in ["prefill", "decode"] {
        let limited = |case: Case| case.arg("mode", mode).arg("up_low", "-0.2").arg("up_high", "0.3");
        all.push(limited(biased(swiglu(Case::dims(&base)))).arg("gate_high", "0.25").arg("up_offset", "1"));
        all.push(limited(Case::dims(&base)));
        all.push(
            biased(swiglu(Case::dims(&base))).arg("mode", mode).arg("up_offset", "1").arg("gate_low", "-0.1"),
        );
        all.push(
            swiglu(Case::dims(&base))
                .arg("mode", mode)
                .arg("up_offset", "1")
                .arg("activation", "gelu_sigmoid"),
        );
    }
    all
}

fn swiglu(case: Case) -> Case {
    case.arg("w_gate", WEIGHT)
}

fn biased(case: Case) -> Case {
    case.arg("b_up", "normal").arg("b_down", "normal")
}

/// What `mlp_fp8` promises.
pub static FP8_CONTRACT: Contract = Contract {
    kernel: mlp_fp8::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("w_gate", &["hidden", "inner"]).of(DType::F8E4M3).optional(),
        TensorRule::new("w_up", &["hidden", "inner"]).of(DType::F8E4M3).filled(EIGHT_BITS),
        TensorRule::new("w_down", &["inner", "hidden"]).of(DType::F8E4M3).filled(EIGHT_BITS),
        TensorRule::new("scales", &["3"]).of(DType::F32).filled("iota(0.001,0.0007)"),
        TensorRule::new("b_gate", &["inner"]).optional(),
        TensorRule::new("b_up", &["inner"]).optional(),
        TensorRule::new("b_down", &["hidden"]).optional(),
    ],
    cases: || {
        let gated = |case: Case| case.arg("w_gate", EIGHT_BITS);
        let dims =
            |tokens, hidden, inner| Case::dims(&[("tokens", tokens), ("hidden", hidden), ("inner", inner)]);
        let mut all = Vec::new();
        for mode in ["prefill", "decode"] {
            for (tokens, hidden, inner) in [(1, 1, 131), (37, 67, 131), (127, 129, 67), (5, 256, 1100)] {
                all.push(gated(dims(tokens, hidden, inner)).arg("mode", mode));
                all.push(
                    biased(gated(dims(tokens, hidden, inner)).arg("mode", mode)).arg("b_gate", "normal"),
                );
            }
            all.push(biased(dims(9, 128, 145)).arg("mode", mode).arg("activation", "gelu"));
            let limited =
                gated(dims(37, 67, 131)).arg("mode", mode).arg("up_low", "-0.2").arg("up_high", "0.3");
            all.push(limited.arg("gate_high", "0.25").arg("up_offset", "1"));
        }
        all.push(gated(dims(513, 131, 129)));
        all
    },
    ..CONTRACT
};
nki::contract!(FP8_CONTRACT);

/// Far from the largest, 240.
const EIGHT_BITS: &str = "normal(0,30)";
