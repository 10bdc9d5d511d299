//! `add`: the sum of two matrices. See `DESIGN.md`.

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{AddConfig, add};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `add` promises.
pub static CONTRACT: Contract = Contract {
    kernel: add::INFO,
    dims: &[("rows", 256), ("columns", 1024)],
    tensors: &[TensorRule::new("a", &["rows", "columns"]), TensorRule::new("b", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::add(i.tensor("a"), i.tensor("b"))],
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(6e-8, 0.0),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 141), ("columns", 391)], &[1, 127, 128, 129, 513]);
    all.push(Case::dims(&[("rows", 200), ("columns", 5000)]));
    all.push(Case::dims(&[("rows", 3), ("columns", 7)]).arg("columns", "2"));
    all.push(Case::dims(&[("rows", 130), ("columns", 40)]).arg("a", "special").nan_matches());
    all
}
