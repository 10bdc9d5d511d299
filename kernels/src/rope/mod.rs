//! `rope`: rotary position embedding. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::rope::{RopeConfig, rope};
//!
//! // One head, one position, a quarter turn of the only pair.
//! let x = Tensor::from_f32(&[1, 1, 2], &[1.0, 3.0]).unwrap();
//! let (cos, sin) = (Tensor::from_f32(&[1, 1], &[0.0]).unwrap(), Tensor::from_f32(&[1, 1], &[1.0]).unwrap());
//! let y = rope::specialize::<f32>(&x, &cos, &sin, RopeConfig::default()).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [-3.0, 1.0]);
//! ```

mod kernel;
pub mod reference;

pub use kernel::{Pairs, RopeConfig, rope};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `rope` promises.
pub static CONTRACT: Contract = Contract {
    kernel: rope::INFO,
    dims: &[("heads", 4), ("length", 128), ("d", 64), ("half", 32)],
    tensors: &[
        TensorRule::new("x", &["heads", "length", "d"]),
        TensorRule::new("cos", &["length", "half"]),
        TensorRule::new("sin", &["length", "half"]),
    ],
    results: &[ResultRule { name: "out", shape: &["heads", "length", "d"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| vec![rotated(i)],
    // kernels.md 3.2: each element adds two products, and is rounded once.
    tolerance: |dtype| match dtype {
        DType::BF16 => Tolerance::new(7.8125e-3, 1e-3),
        dtype => Tolerance::of(dtype),
    },
    rounded_terms: None,
    cases,
    flops: |i| 3 * (i.dim("heads") * i.dim("length") * i.dim("d")) as u64,
};
nki::contract!(CONTRACT);

fn rotated(i: &Inputs) -> Vec<f64> {
    let back = if i.value("backward") { -1.0 } else { 1.0 };
    let sin: Vec<f64> = i.tensor("sin").iter().map(|s| s * back).collect();
    reference::rope(i.tensor("x"), i.tensor("cos"), &sin, i.dim("length"), i.dim("d"), i.value("pairs"))
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for pairs in ["halves", "neighbours"] {
        for d in [2, 64, 88, 128] {
            for (heads, length) in [(1, 1), (2, 129), (3, 37)] {
                let dims = [("heads", heads), ("length", length), ("d", d), ("half", d / 2)];
                all.push(Case::dims(&dims).arg("pairs", pairs));
            }
        }
        let back = Case::dims(&[("heads", 2), ("length", 5), ("d", 64), ("half", 32)]);
        all.push(back.arg("pairs", pairs).arg("backward", "true"));
    }
    all
}
