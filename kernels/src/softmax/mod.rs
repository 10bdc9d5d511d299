//! `softmax` and `masked_softmax`: over the rows of a matrix. See `DESIGN.md`.
//!
//! ```
//! use nki::prelude::*;
//! use nki_kernels::softmax::{SoftmaxConfig, softmax};
//!
//! let x = nki::ir::Tensor::from_f32(&[1, 2], &[0.0, 0.0]).unwrap();
//! let cfg = SoftmaxConfig { log: true, ..SoftmaxConfig::default() };
//! let y = softmax::specialize::<f32>(&x, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert!((nki::args::to_f64(&y[0])[1] + 2f64.ln()).abs() < 1e-6);
//! ```

mod kernel;
mod masked;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{SoftmaxConfig, softmax};
pub use masked::{MaskedConfig, masked_softmax};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `softmax` promises.
pub static CONTRACT: Contract = Contract {
    kernel: softmax::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let scale = i.value::<f32>("scale").into();
        vec![reference::scaled(i.tensor("x"), i.dim("columns"), scale, i.value("log"))]
    },
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    // Subtract, exponential, sum, multiply.
    flops: |i| 4 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 90), ("columns", 777)], &[1, 7, 127, 128, 129, 513]);
    // Wider than the chunk: two passes, with a ragged last chunk and with one of a single column.
    for columns in [512, 777, 1025] {
        all.push(Case::dims(&[("rows", 131), ("columns", columns)]).arg("columns", "256"));
    }
    all.push(Case::dims(&[("rows", 2), ("columns", 50257)]));
    for columns in ["100", "8192"] {
        let wild = Case::dims(&[("rows", 130), ("columns", 300)]).arg("columns", columns);
        all.push(wild.clone().arg("x", "uniform(-10000,10000)"));
        all.push(wild.clone().arg("x", "full(-inf)"));
        all.push(wild.arg("x", "special").nan_matches());
    }
    for columns in ["256", "8192"] {
        let rows = Case::dims(&[("rows", 131), ("columns", 777)]).arg("columns", columns);
        all.push(rows.clone().arg("scale", "0.125"));
        all.push(rows.clone().arg("scale", "3").arg("log", "true"));
        all.push(rows.arg("log", "true").arg("x", "full(-inf)"));
    }
    all
}

/// What `masked_softmax` promises.
pub static MASKED_CONTRACT: Contract = Contract {
    kernel: masked_softmax::INFO,
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("mask", &["rows", "columns"]).of(DType::F32).optional(),
        TensorRule::new("row_mask", &["columns"]).of(DType::F32).optional(),
        TensorRule::new("sink", &["rows"]).of(DType::F32).optional(),
    ],
    reference: |i| {
        let (scale, mask) = (i.value::<f32>("scale").into(), i.get("mask").or(i.get("row_mask")));
        vec![reference::masked(i.tensor("x"), i.dim("columns"), scale, mask, i.get("sink"))]
    },
    cases: || {
        let mut all = sweep(&[("rows", 90), ("columns", 77)], &[1, 7, 127, 129, 513]);
        let some = || Case::dims(&[("rows", 131), ("columns", 300)]).arg("scale", "0.5");
        all.extend(["mask", "row_mask"].map(|m| some().arg(m, "normal(0,5)")));
        all.push(some().arg("mask", "full(-inf)"));
        all.push(some().arg("mask", "full(-inf)").arg("sink", "normal"));
        // A sink above and one far below every score.
        all.extend(
            ["uniform(15,25)", "full(-1000)"].map(|s| some().arg("sink", s).arg("row_mask", "normal")),
        );
        all
    },
    flops: |i| 6 * (i.dim("rows") * i.dim("columns")) as u64,
    ..CONTRACT
};
nki::contract!(MASKED_CONTRACT);
