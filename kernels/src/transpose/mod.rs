//! `transpose`: of a matrix. See `DESIGN.md`.
//!
//! ```
//! use nki::prelude::*;
//! use nki_kernels::transpose::transpose;
//!
//! let x = nki::ir::Tensor::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
//! let y = transpose::specialize::<f32>(&x).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
//! ```

mod kernel;
pub mod reference;

pub use kernel::transpose;

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `transpose` promises.
pub static CONTRACT: Contract = Contract {
    kernel: transpose::INFO,
    dims: &[("rows", 256), ("columns", 512)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["columns", "rows"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::transpose(i.tensor("x"), i.dim("rows"), i.dim("columns"))],
    tolerance: |_| Tolerance::EXACT,
    rounded_terms: None,
    cases,
    flops: |_| 0,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("rows", 45), ("columns", 201)], &[1, 2, 127, 128, 129, 513]);
    all.push(Case::dims(&[("rows", 130), ("columns", 40)]).arg("x", "special").nan_matches());
    all
}
