//! `rmsnorm`: root-mean-square normalisation of rows. See `DESIGN.md`.

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{RmsNormConfig, rmsnorm};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `rmsnorm` promises.
pub static CONTRACT: Contract = Contract {
    kernel: rmsnorm::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[TensorRule::new("x", &["rows", "columns"]), TensorRule::new("gamma", &["columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::rmsnorm(i.tensor("x"), i.tensor("gamma"), i.value::<f32>("eps").into())],
    tolerance: Tolerance::of,
    rounded_terms: None,
    cases,
    // Square, sum, two products.
    flops: |i| 4 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 200), ("columns", 576)], &[1, 7, 127, 128, 129, 513]);
    // Wider than the chunk: two passes.
    for columns in [512, 577, 1025] {
        all.push(Case::dims(&[("rows", 131), ("columns", columns)]).arg("columns", "256"));
    }
    all.push(Case::dims(&[("rows", 3), ("columns", 16384)]));
    // An eps this large shows that it is used, and inside the root.
    all.push(Case::dims(&[("rows", 5), ("columns", 2880)]).arg("eps", "77"));
    all.push(Case::dims(&[("rows", 5), ("columns", 100)]).arg("x", "zeros"));
    all
}
