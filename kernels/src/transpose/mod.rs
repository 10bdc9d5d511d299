//! `transpose` of a matrix, and other layout moves: `transpose_inside`, `swap_axes`, `transpose_dma`, `transpose_blocks`. See `DESIGN.md`.
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
mod layout;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::transpose;
pub use layout::{
    broadcast_column, interleaved_copy, swap_axes, transpose_blocks, transpose_dma, transpose_inside,
};

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
    requires: None,
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

/// What `transpose_inside` promises.
pub static INSIDE_CONTRACT: Contract = Contract {
    kernel: transpose_inside::INFO,
    dims: &[("p", 128), ("f1", 32), ("f2", 64)],
    tensors: &[TensorRule::new("x", &["p", "f1", "f2"]).filled("uniform")],
    results: &[ResultRule { name: "out", shape: &["p", "f2", "f1"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16, DType::I8, DType::I32],
    reference: |i| vec![reference::permuted(i.tensor("x"), axes(i), [0, 2, 1])],
    cases: || {
        let mut all = sweep(&[("p", 5), ("f1", 3), ("f2", 4)], &[1, 7, 129]);
        all.push(Case::dims(&[("p", 130), ("f1", 3), ("f2", 50)]).arg("x", "special").nan_matches());
        // A partition holds a part of it.
        all.push(Case::dims(&[("p", 1), ("f1", 300), ("f2", 401)]));
        all
    },
    ..CONTRACT
};
nki::contract!(INSIDE_CONTRACT);

/// What `swap_axes` promises.
pub static SWAP_CONTRACT: Contract = Contract {
    kernel: swap_axes::INFO,
    dims: &[("p", 128), ("f1", 64), ("f2", 16)],
    tensors: &[TensorRule::new("x", &["p", "f1", "f2"])],
    results: &[ResultRule { name: "out", shape: &["f1", "p", "f2"] }],
    reference: |i| vec![reference::permuted(i.tensor("x"), axes(i), [1, 0, 2])],
    cases: || {
        let mut all = sweep(&[("p", 37), ("f1", 5), ("f2", 3)], &[1, 7]);
        all.extend([[130, 129, 2], [1, 200, 3], [129, 1, 5], [1, 513, 239]].map(|[p, f1, f2]| {
            Case::dims(&[("p", p), ("f1", f1), ("f2", f2)]).arg("x", "special").nan_matches()
        }));
        all
    },
    ..CONTRACT
};
nki::contract!(SWAP_CONTRACT);

/// What `transpose_dma` promises.
pub static DMA_CONTRACT: Contract =
    Contract { kernel: transpose_dma::INFO, dtypes: &[DType::BF16, DType::F16], ..CONTRACT };
nki::contract!(DMA_CONTRACT);

/// What `transpose_blocks` promises.
pub static BLOCKS_CONTRACT: Contract = Contract {
    kernel: transpose_blocks::INFO,
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    reference: |i| vec![reference::blocks(i.tensor("x"), i.dim("columns"))],
    cases: || {
        let dims = |rows, columns| Case::dims(&[("rows", rows), ("columns", columns)]);
        vec![dims(32, 32), dims(64, 96), dims(160, 64), dims(96, 2080).arg("x", "special").nan_matches()]
    },
    ..CONTRACT
};
nki::contract!(BLOCKS_CONTRACT);

fn axes(i: &nki::check::Inputs) -> [usize; 3] {
    [i.dim("p"), i.dim("f1"), i.dim("f2")]
}
