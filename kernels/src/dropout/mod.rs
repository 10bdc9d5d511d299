//! `dropout`: zeroing elements at random, and scaling the others. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::dropout::{DropoutConfig, dropout};
//!
//! let x = Tensor::from_f32(&[2, 4], &[1.0; 8]).unwrap();
//! let cfg = DropoutConfig { p: 0.5, ..DropoutConfig::default() };
//! let y = dropout::specialize::<f32>(&x, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert!(nki::args::to_f64(&y[0]).iter().all(|&v| v == 0.0 || v == 2.0));
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{DropoutConfig, dropout};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::{DType, Target};

/// What `dropout` promises.
pub static CONTRACT: Contract = Contract {
    kernel: dropout::INFO,
    dims: &[("rows", 128), ("columns", 2048)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![dropped(i)],
    // One product, rounded once; which elements are zeros must agree exactly.
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn dropped(i: &Inputs) -> Vec<f64> {
    let states = if i.target() == Target::Trn3 { 4 } else { 1 };
    let p = i.value("p");
    let kept =
        reference::keeps(i.dim("rows"), i.dim("columns"), p, i.value("seed"), i.value("columns"), states);
    reference::dropout(i.tensor("x"), &kept, p)
}

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 131), ("columns", 67)], &[1, 7, 127, 129, 513]);
    let dims = [("rows", 130), ("columns", 77)];
    for (p, seed) in [("0", "1"), ("0.5", "4294967295"), ("0.99", "2")] {
        all.push(Case::dims(&dims).arg("p", p).arg("seed", seed));
    }
    // Several chunks, the last ragged.
    all.push(Case::dims(&dims).arg("p", "0.3").arg("columns", "32"));
    // What is dropped is 0 even where it was not a number.
    all.push(Case::dims(&dims).arg("p", "0.5").arg("x", "special").nan_matches());
    all
}
