//! `lm_head`: from hidden states to logits. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::lm_head::{LmHeadConfig, lm_head};
//!
//! let x = Tensor::from_f32(&[1, 2], &[1.0, 2.0]).unwrap();
//! let weight = Tensor::from_f32(&[2, 3], &[1.0, 0.0, 3.0, 0.0, 1.0, 0.5]).unwrap();
//! let spec = lm_head::specialize::<f32>(&x, None::<&Tensor>, &weight, LmHeadConfig::default());
//! assert_eq!(nki::args::to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [1.0, 2.0, 4.0]);
//! ```

mod kernel;
pub mod reference;

pub use kernel::{LmHeadConfig, lm_head};

use crate::mlp::reference::Projection;
use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `lm_head` promises.
pub static CONTRACT: Contract = Contract {
    kernel: lm_head::INFO,
    dims: &[("tokens", 1), ("hidden", 256), ("vocabulary", 1000)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("weight", &["hidden", "vocabulary"]).filled("normal(0,0.05)"),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "vocabulary"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        let (x, eps) = (i.tensor("x"), i.value::<f32>("eps").into());
        vec![reference::lm_head(x, i.get("gamma"), eps, weight(i, i.tensor("weight")), i.dim("tokens"))]
    },
    // Logits are f32, what they add up is rounded to the dtype (kernels.md 1.8).
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(3e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: Some(|i| {
        let Some(gamma) = i.get("gamma") else { return vec![0.0] };
        let normed = crate::rmsnorm::reference::rmsnorm(i.tensor("x"), gamma, i.value::<f32>("eps").into());
        let squares = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| x * x).collect() };
        let sums = weight(i, &squares(i.tensor("weight"))).apply(&squares(&normed), i.dim("tokens"));
        vec![sums.into_iter().fold(0.0, f64::max).sqrt()]
    }),
    cases,
    flops: |i| 2 * (i.dim("tokens") * i.dim("hidden") * i.dim("vocabulary")) as u64,
};
nki::contract!(CONTRACT);

fn weight<'a>(i: &Inputs, values: &'a [f64]) -> Projection<'a> {
    Projection { weight: values, bias: None, rows: i.dim("hidden"), columns: i.dim("vocabulary") }
}

fn cases() -> Vec<Case> {
    let base = [("tokens", 5), ("hidden", 67), ("vocabulary", 131)];
    let mut all = sweep(&base, &[1, 127, 129, 513]);
    for tokens in [1, 16, 128, 131] {
        let dims = [("tokens", tokens), ("hidden", 256), ("vocabulary", 2200)];
        all.push(Case::dims(&dims).arg("gamma", "normal"));
    }
    all.push(Case::dims(&base).arg("gamma", "normal").arg("eps", "0.5"));
    all
}
