//! `cumsum`: running sums along rows. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::cumsum::{CumsumConfig, cumsum};
//!
//! let x = Tensor::from_f32(&[1, 4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
//! let y = cumsum::specialize::<f32>(&x, CumsumConfig::default()).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [1.0, 3.0, 6.0, 10.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{CumsumConfig, cumsum};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `cumsum` promises.
pub static CONTRACT: Contract = Contract {
    kernel: cumsum::INFO,
    dims: &[("rows", 128), ("columns", 2048)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::cumsum(i.tensor("x"), i.dim("columns"))],
    tolerance: |dtype| match dtype {
        // Every partial sum is rounded: of n of them the last is off by up to √n units in the last place of the largest.
        DType::F32 => Tolerance::new(2e-5, 2e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 131), ("columns", 67)], &[1, 7, 127, 129, 513]);
    for columns in [2047, 2049, 6144] {
        all.push(Case::dims(&[("rows", 3), ("columns", columns)]));
    }
    // Many chunks, the last of one column.
    all.push(Case::dims(&[("rows", 130), ("columns", 129)]).arg("columns", "32"));
    all
}
