//! `argmax` and `top_k`: the largest elements of rows, and where they are. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::argmax::{TopKConfig, argmax, top_k};
//!
//! let x = Tensor::from_f32(&[1, 4], &[1.0, 3.0, 2.0, 3.0]).unwrap();
//! let best = argmax::specialize::<f32>(&x).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&best[1]), [1.0]);
//! let three = top_k::specialize::<f32>(&x, TopKConfig { k: 3 }).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&three[1]), [1.0, 3.0, 2.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{TopKConfig, argmax, top_k};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `argmax` promises.
pub static CONTRACT: Contract = Contract {
    kernel: argmax::INFO,
    dims: &[("rows", 4), ("columns", 1000)],
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    results: &[
        ResultRule { name: "value", shape: &["rows", "1"] },
        ResultRule { name: "index", shape: &["rows", "1"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| reference(i, 1),
    // Nothing is computed.
    tolerance: |_| Tolerance::EXACT,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |_| 0,
};
nki::contract!(CONTRACT);

/// What `top_k` promises.
pub static TOP_K_CONTRACT: Contract = Contract {
    kernel: top_k::INFO,
    dims: &[("rows", 4), ("columns", 1000), ("k", 8)],
    results: &[
        ResultRule { name: "value", shape: &["rows", "k"] },
        ResultRule { name: "index", shape: &["rows", "k"] },
    ],
    reference: |i| reference(i, i.value("k")),
    cases: top_k_cases,
    ..CONTRACT
};
nki::contract!(TOP_K_CONTRACT);

fn reference(i: &Inputs, k: usize) -> Vec<Vec<f64>> {
    let (values, indices) = reference::top_k(i.tensor("x"), i.dim("columns"), k);
    vec![values, indices]
}

fn case(rows: usize, columns: usize) -> Case {
    Case::dims(&[("rows", rows), ("columns", columns)])
}

/// Few different values: most are equal to others.
const TIES: &str = "uniform(-3,3)";

fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = [1, 2, 7, 8, 9, 127, 512, 1000, 3001, 16385].map(|n| case(3, n)).to_vec();
    all.push(case(5, 700).arg("x", "zeros"));
    all.push(case(2, 8193).arg("x", "full(-7)"));
    all.push(case(129, 65).arg("x", "iota(0,0.5)"));
    all
}

fn top_k_cases() -> Vec<Case> {
    let case = |rows, columns, k: usize| {
        Case::dims(&[("rows", rows), ("columns", columns), ("k", k)]).arg("k", k.to_string())
    };
    let mut all = Vec::new();
    for k in [1, 5, 8, 9, 40] {
        all.push(case(2, 3001, k));
        all.push(case(3, k, k));
        all.push(case(1, 700, k).arg("x", "zeros"));
    }
    // bf16 has some hundred values in this range, 5,000 elements share them.
    all.push(case(2, 5000, 50).arg("x", TIES));
    all.push(case(1, 20000, 256));
    all
}
