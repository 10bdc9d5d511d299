//! `rmsnorm_backward`: the gradients of [`rmsnorm`](mod@crate::rmsnorm). See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::rmsnorm_backward::{RmsNormBackwardConfig, rmsnorm_backward};
//!
//! let row = |x: [f32; 2]| Tensor::from_f32(&[1, 2], &x).unwrap();
//! let gamma = Tensor::from_f32(&[2], &[1.0, 1.0]).unwrap();
//! // A change along the row itself changes nothing, since the norm is divided out.
//! let cfg = RmsNormBackwardConfig { eps: 0.0 };
//! let s = rmsnorm_backward::specialize::<f32>(&row([3.0, 4.0]), &gamma, &row([3.0, 4.0]), cfg);
//! let results = s.run(Mode::Sim, Target::Trn2).unwrap();
//! assert!(to_f64(&results[0]).iter().all(|g| g.abs() < 1e-6));
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{RmsNormBackwardConfig, rmsnorm_backward};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `rmsnorm_backward` promises.
pub static CONTRACT: Contract = Contract {
    kernel: rmsnorm_backward::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("gamma", &["columns"]),
        TensorRule::new("dy", &["rows", "columns"]),
    ],
    results: &[
        ResultRule { name: "dx", shape: &["rows", "columns"] },
        ResultRule { name: "dgamma", shape: &["columns"] },
    ],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let eps = i.value::<f32>("eps").into();
        reference::rmsnorm_backward(i.tensor("x"), i.tensor("gamma"), i.tensor("dy"), eps).into()
    },
    tolerance: |dtype| match dtype {
        // Both results are differences of, or sums over, terms of either sign.
        DType::F32 => Tolerance::new(2e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 11 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 131), ("columns", 67)], &[7, 127, 128, 129, 513]);
    // A single column normalises to its sign, whose gradient is 0 but for eps.
    all.push(Case::dims(&[("rows", 130), ("columns", 1)]).arg("eps", "1"));
    all.push(Case::dims(&[("rows", 1), ("columns", 300)]));
    all.push(Case::dims(&[("rows", 5), ("columns", 2880)]).arg("eps", "77"));
    all.push(Case::dims(&[("rows", 300), ("columns", 100)]).arg("x", "zeros").arg("eps", "1"));
    all
}
