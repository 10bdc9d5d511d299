//! `projection`: a linear layer, with bias and residual. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::projection::{ProjectionConfig, projection};
//!
//! let x = Tensor::from_f32(&[1, 1], &[2.0]).unwrap();
//! let weight = Tensor::from_f32(&[1, 2], &[3.0, 4.0]).unwrap();
//! let bias = Tensor::from_f32(&[2], &[0.5, 0.0]).unwrap();
//! let spec = projection::specialize::<f32>(&x, &weight, Some(&bias), None::<&Tensor>, ProjectionConfig::default());
//! let y = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [6.5, 8.0]);
//! ```

mod kernel;
pub mod reference;

pub use kernel::{ProjectionConfig, projection};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;
use reference::Projection;

/// What `projection` promises.
pub static CONTRACT: Contract = Contract {
    kernel: projection::INFO,
    dims: &[("tokens", 128), ("hidden", 256), ("columns", 512)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("weight", &["hidden", "columns"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["columns"]).optional(),
        TensorRule::new("residual", &["tokens", "columns"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "columns"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        let (rows, columns) = (i.dim("hidden"), i.dim("columns"));
        let layer = Projection { weight: i.tensor("weight"), bias: i.get("bias"), rows, columns };
        vec![reference::projection(i.tensor("x"), i.dim("tokens"), layer, i.get("residual"))]
    },
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 2 * (i.dim("tokens") * i.dim("hidden") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let base = [("tokens", 37), ("hidden", 67), ("columns", 131)];
    let mut all = sweep(&base, &[1, 127, 129, 513]);
    all.push(Case::dims(&base).arg("bias", "normal"));
    all.push(Case::dims(&base).arg("residual", "normal"));
    let blocks = Case::dims(&[("tokens", 261), ("hidden", 200), ("columns", 300)]);
    let blocks = blocks.arg("tokens", "256").arg("columns", "128");
    all.push(blocks.arg("bias", "normal").arg("residual", "normal"));
    all
}
