//! `rmsnorm_quant`: normalisation and quantisation of rows to fp8. See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::rmsnorm_quant::{RmsNormQuantConfig, rmsnorm_quant};
//!
//! let x = Tensor::from_f32(&[1, 2], &[-12.0, 6.0]).unwrap();
//! let cfg = RmsNormQuantConfig { normalise: false, ..RmsNormQuantConfig::default() };
//! let s = rmsnorm_quant::specialize::<f32>(&x, None::<&Tensor>, None::<&Tensor>, cfg);
//! let results = s.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(to_f64(&results[0]), [-240.0, 120.0]);
//! assert!((to_f64(&results[1])[0] - 0.05).abs() < 1e-8);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{RmsNormQuantConfig, rmsnorm_quant};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `rmsnorm_quant` promises.
pub static CONTRACT: Contract = Contract {
    kernel: rmsnorm_quant::INFO,
    dims: &[("rows", 128), ("columns", 1024)],
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("gamma", &["columns"]).optional(),
        TensorRule::new("scale", &["1"]).of(DType::F32).optional(),
    ],
    results: &[
        ResultRule { name: "q", shape: &["rows", "columns"] },
        ResultRule { name: "scales", shape: &["rows"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| quantised(i).into(),
    // Half a step of f8e4m3 is at most 1/17 of a number, just above a power of two; its subnormals are 2^-9 apart. Scales are
    // f32, and tests of their own hold them to that.
    tolerance: |_| Tolerance::new(1.0 / 16.9, 1e-3),
    requires: None,
    rounded_terms: None,
    cases,
    // Square, sum, two products, magnitude, maximum, quotient.
    flops: |i| 7 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn quantised(i: &Inputs) -> [Vec<f64>; 2] {
    let number = |name| f64::from(i.value::<f32>(name));
    let eps = i.value::<bool>("normalise").then(|| number("eps"));
    let scale = i.get("scale").map(|s| s[0]);
    reference::rmsnorm_quant(i.tensor("x"), i.dim("columns"), i.get("gamma"), eps, number("floor"), scale)
}

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 131), ("columns", 67)], &[1, 7, 127, 129, 513]);
    let case = || Case::dims(&[("rows", 130), ("columns", 300)]);
    for normalise in ["true", "false"] {
        all.push(case().arg("normalise", normalise).arg("gamma", "normal"));
        // A scale that clips some.
        all.push(case().arg("normalise", normalise).arg("scale", "full(0.01)"));
    }
    all.push(case().arg("x", "zeros").arg("gamma", "normal"));
    all.push(case().arg("floor", "5").arg("eps", "77"));
    all.push(Case::dims(&[("rows", 3), ("columns", 8192)]).arg("gamma", "normal"));
    all
}
