//! `reduce` and `reduce_columns`: a number for each row, or for each column, of a matrix. See `DESIGN.md`.
//!
//! ```
//! use nki::prelude::*;
//! use nki_kernels::reduce::{ReduceConfig, Reduction, reduce};
//!
//! let cfg = ReduceConfig { reduction: Reduction::AbsMax, ..ReduceConfig::default() };
//! let x = nki::ir::Tensor::from_f32(&[2, 2], &[1.0, -3.0, 2.0, 0.0]).unwrap();
//! let y = reduce::specialize::<f32>(&x, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [3.0, 2.0]);
//! ```

mod columns;
mod kernel;
pub mod reference;

pub use columns::{ReduceColumnsConfig, reduce_columns};
pub use kernel::{ReduceConfig, Reduction, reduce};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `reduce` promises.
pub static CONTRACT: Contract = Contract {
    kernel: reduce::INFO,
    dims: &[("rows", 128), ("columns", 1024)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["rows"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::reduce(i.tensor("x"), i.dim("columns"), i.value("reduction"))],
    // f32 whatever the dtype of `x`. A sum of n values near 1 passes through magnitudes up to √n; each of its n roundings is
    // off by at most 2^-24 of that: for the 1,025 columns of the cases 32 · 32 · 6e-8 in all.
    tolerance: |_| Tolerance::new(1e-5, 6e-5),
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

/// What `reduce_columns` promises.
pub static COLUMNS_CONTRACT: Contract = Contract {
    kernel: reduce_columns::INFO,
    results: &[ResultRule { name: "out", shape: &["columns"] }],
    reference: |i| vec![reference::reduce_columns(i.tensor("x"), i.dim("columns"), i.value("reduction"))],
    cases: || {
        let mut all = Vec::new();
        for reduction in ["sum", "mean", "max", "min", "abs_max"] {
            let mut more = sweep(&[("rows", 37), ("columns", 67)], &[1, 127, 129]);
            more.push(Case::dims(&[("rows", 300), ("columns", 1025)]));
            all.extend(more.into_iter().map(|c| c.arg("reduction", reduction)));
        }
        all
    },
    ..CONTRACT
};
nki::contract!(COLUMNS_CONTRACT);

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for reduction in ["sum", "mean", "max", "min", "abs_max"] {
        let more = sweep(&[("rows", 37), ("columns", 67)], &[1, 127, 129]);
        all.extend(more.into_iter().map(|c| c.arg("reduction", reduction)));
        // Several tiles of columns, the last of one column.
        all.push(
            Case::dims(&[("rows", 131), ("columns", 1025)]).arg("columns", "512").arg("reduction", reduction),
        );
    }
    all
}
