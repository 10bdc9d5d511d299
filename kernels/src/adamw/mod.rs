//! `adamw`: a step of the optimisers Adam and AdamW, in place. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::adamw::{AdamWConfig, adamw, rates};
//!
//! let one = |x: f32| Tensor::from_f32(&[1], &[x]).unwrap();
//! let cfg = AdamWConfig::default();
//! // The first step moves a parameter by the learning rate against the sign of its gradient.
//! let rates = Tensor::from_f32(&[3], &rates(&cfg, 0.1, 0.0, 1)).unwrap();
//! let zero = one(0.0);
//! let step = adamw::specialize::<f32>(&one(1.0), &one(5.0), &zero, &zero, None::<&Tensor>, &rates, cfg);
//! let results = step.run(Mode::Sim, Target::Trn2).unwrap();
//! assert!((nki::args::to_f64(&results[0])[0] - 0.9).abs() < 1e-6);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{AdamWConfig, adamw};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `adamw` takes as `rates` in step `t`, counted from 1, for a learning rate and a weight decay: the learning rate over
/// `1 - beta1^t`; `1 / √(1 - beta2^t)`; and what parameters are multiplied by (decoupled) or what of them is added to gradients.
pub fn rates(cfg: &AdamWConfig, learning_rate: f64, weight_decay: f64, t: u32) -> [f32; 3] {
    let bias = |beta: f32| 1.0 - f64::from(beta).powf(t.into());
    let decay = if cfg.decoupled { 1.0 - learning_rate * weight_decay } else { weight_decay };
    [learning_rate / bias(cfg.beta1), 1.0 / bias(cfg.beta2).sqrt(), decay].map(|x| x as f32)
}

/// What `adamw` promises.
pub static CONTRACT: Contract = Contract {
    kernel: adamw::INFO,
    dims: &[("n", 65536)],
    tensors: &[
        TensorRule::new("p", &["n"]),
        TensorRule::new("g", &["n"]),
        TensorRule::new("m", &["n"]).of(DType::F32),
        TensorRule::new("v", &["n"]).of(DType::F32).filled("uniform(0.01,1)"),
        TensorRule::new("v_max", &["n"]).of(DType::F32).optional(),
        TensorRule::new("rates", &["3"]).of(DType::F32).filled("uniform(0.5,1)"),
    ],
    results: &[
        ResultRule { name: "p", shape: &["n"] },
        ResultRule { name: "m", shape: &["n"] },
        ResultRule { name: "v", shape: &["n"] },
        ResultRule { name: "v_max", shape: &["n"] },
    ],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: stepped,
    // Means are f32 in every dtype, and pass the parameters' tolerance all the more.
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 14 * i.dim("n") as u64,
};
nki::contract!(CONTRACT);

fn stepped(i: &Inputs) -> Vec<Vec<f64>> {
    let rates = i.tensor("rates");
    let number = |name| f64::from(i.value::<f32>(name));
    let rule = reference::Rule {
        beta1: number("beta1"),
        beta2: number("beta2"),
        eps: number("eps"),
        decoupled: i.value("decoupled"),
        step: rates[0],
        unbias: rates[1],
        decay: rates[2],
    };
    reference::adamw(i.tensor("p"), i.tensor("g"), i.tensor("m"), i.tensor("v"), i.get("v_max"), &rule)
}

fn cases() -> Vec<Case> {
    let n = |n| Case::dims(&[("n", n)]);
    let mut all: Vec<Case> = [1, 7, 127, 128, 129, 1000, 65536 + 77].into_iter().map(n).collect();
    for decoupled in ["true", "false"] {
        all.push(n(1234).arg("decoupled", decoupled).arg("columns", "4"));
        all.push(n(1234).arg("decoupled", decoupled).arg("v_max", "uniform(0,2)"));
    }
    all.push(n(300).arg("beta1", "0").arg("beta2", "0.5").arg("eps", "0.1"));
    all
}
