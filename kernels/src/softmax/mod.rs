//! `softmax`: over the rows of a matrix. See `DESIGN.md`.

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{SoftmaxConfig, softmax};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `softmax` promises.
pub static CONTRACT: Contract = Contract {
    kernel: softmax::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::softmax(i.tensor("x"), i.dim("columns"))],
    tolerance: Tolerance::of,
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
    all
}
