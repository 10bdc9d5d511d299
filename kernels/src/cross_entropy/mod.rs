//! `cross_entropy` and `cross_entropy_backward`: the loss of classification, and its gradient. See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::cross_entropy::*;
//!
//! // Two classes, as likely as each other; the target is the second.
//! let logits = Tensor::from_f32(&[1, 2], &[0.0, 0.0]).unwrap();
//! let target = nki::args::from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let forward = cross_entropy::specialize::<f32>(&logits, &target, CrossEntropyConfig::default());
//! let results = forward.run(Mode::Sim, Target::Trn2).unwrap();
//! assert!((to_f64(&results[0])[0] - 2f64.ln()).abs() < 1e-6);
//!
//! let cfg = CrossEntropyBackwardConfig::default();
//! let backward = cross_entropy_backward::specialize::<f32>(&logits, &target, &results[1], cfg);
//! let grad = to_f64(&backward.run(Mode::Sim, Target::Trn2).unwrap()[0]);
//! assert!((grad[0] - 0.5).abs() < 1e-6 && (grad[1] + 0.5).abs() < 1e-6);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{CrossEntropyBackwardConfig, CrossEntropyConfig, cross_entropy, cross_entropy_backward};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `cross_entropy` promises.
pub static CONTRACT: Contract = Contract {
    kernel: cross_entropy::INFO,
    dims: &[("rows", 128), ("classes", 4096)],
    tensors: &[
        TensorRule::new("logits", &["rows", "classes"]),
        TensorRule::new("targets", &["rows"]).of(DType::I32).filled("uniform(0,4096)"),
    ],
    results: &[ResultRule { name: "loss", shape: &["rows"] }, ResultRule { name: "lse", shape: &["rows"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| reference::cross_entropy(i.tensor("logits"), i.tensor("targets"), i.dim("classes")).into(),
    // Logits are exact in f32, and everything from there on is f32. A loss near 0 is what two larger numbers leave.
    tolerance: |_| Tolerance::new(1e-5, 4e-6),
    requires: None,
    rounded_terms: None,
    cases: || sized(|c| c),
    // Maximum, subtract, exponential, sum.
    flops: |i| 4 * (i.dim("rows") * i.dim("classes")) as u64,
};
nki::contract!(CONTRACT);

/// What `cross_entropy_backward` promises.
pub static BACKWARD_CONTRACT: Contract = Contract {
    kernel: cross_entropy_backward::INFO,
    tensors: &[
        TensorRule::new("logits", &["rows", "classes"]),
        TensorRule::new("targets", &["rows"]).of(DType::I32).filled("uniform(0,4096)"),
        TensorRule::new("lse", &["rows"]).of(DType::F32).filled("uniform(1,6)"),
    ],
    results: &[ResultRule { name: "grad", shape: &["rows", "classes"] }],
    reference: |i| vec![gradient(i)],
    tolerance: Tolerance::of,
    cases: || {
        let mut all = sized(|c| c);
        all.extend(sized(|c| c.arg("scale", "3")).into_iter().take(2));
        all
    },
    ..CONTRACT
};
nki::contract!(BACKWARD_CONTRACT);

fn gradient(i: &Inputs) -> Vec<f64> {
    let scale = i.value::<Option<f32>>("scale").map_or(1.0 / i.dim("rows") as f64, f64::from);
    reference::backward(i.tensor("logits"), i.tensor("targets"), i.tensor("lse"), i.dim("classes"), scale)
}

/// Shapes with targets that are classes, and some that are none.
fn sized(also: fn(Case) -> Case) -> Vec<Case> {
    let case = |rows, classes: usize, targets: String| {
        also(Case::dims(&[("rows", rows), ("classes", classes)]).arg("targets", targets))
    };
    let mut all = Vec::new();
    for (rows, classes) in [(1, 1), (1, 513), (7, 2), (127, 131), (128, 512), (129, 1000), (131, 67)] {
        all.push(case(rows, classes, format!("uniform(0,{classes})")));
    }
    all.push(case(130, 77, "uniform(-20,100)".into()));
    // Several chunks, the last of one class.
    all.push(case(130, 129, "uniform(0,129)".into()).arg("columns", "32"));
    all.push(case(3, 32128, "uniform(0,32128)".into()));
    all.push(case(37, 300, "uniform(0,300)".into()).arg("logits", "uniform(-80,80)"));
    all
}
