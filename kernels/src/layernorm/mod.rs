//! `layernorm`: layer normalisation of rows. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::layernorm::{LayerNormConfig, layernorm};
//!
//! let x = Tensor::from_f32(&[1, 2], &[1.0, 5.0]).unwrap();
//! let gamma = Tensor::from_f32(&[2], &[3.0, 6.0]).unwrap();
//! let cfg = LayerNormConfig { eps: 5.0, ..LayerNormConfig::default() };
//! let y = layernorm::specialize::<f32>(&x, &gamma, None::<&Tensor>, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert!((nki::args::to_f64(&y[0])[1] - 4.0).abs() < 1e-5);
//! ```

mod kernel;
pub mod reference;

pub use kernel::{LayerNormConfig, layernorm};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `layernorm` promises.
pub static CONTRACT: Contract = Contract {
    kernel: layernorm::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("gamma", &["columns"]),
        TensorRule::new("beta", &["columns"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let eps = i.value::<f32>("eps").into();
        vec![reference::layernorm(i.tensor("x"), i.tensor("gamma"), i.get("beta"), eps)]
    },
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    // Mean, variance, centring, two products, a sum.
    flops: |i| 7 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    // A row of one value has no variance: what is left of it is the rounding of its mean, magnified by 1/√eps.
    let mut all = sweep(&[("rows", 131), ("columns", 67)], &[1, 7, 127, 129, 513]);
    all.retain(|c| c.dims.iter().all(|d| d != &("columns", 1)));
    all.push(Case::dims(&[("rows", 5), ("columns", 1)]).arg("eps", "1"));
    all.push(Case::dims(&[("rows", 37), ("columns", 1025)]).arg("columns", "512").arg("beta", "normal"));
    // An eps this large shows that it is used, and inside the root.
    all.push(Case::dims(&[("rows", 5), ("columns", 2880)]).arg("eps", "77").arg("beta", "normal"));
    all.push(Case::dims(&[("rows", 5), ("columns", 100)]).arg("x", "zeros").arg("beta", "normal"));
    all
}
