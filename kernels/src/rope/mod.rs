//! `rope`, `rope_columns`, `rope_pair`: rotary position embedding. See `DESIGN.md`.
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
mod layouts;
pub mod reference;

pub use kernel::{Pairs, RopeConfig, rope};
pub use layouts::{RopePairConfig, rope_columns, rope_pair};

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
    requires: None,
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
        // Four positions to a partition, and what is left; with less than four.
        for (heads, length, d) in [(9, 1161, 64), (1, 512, 2), (3, 257, 1030)] {
            let dims = [("heads", heads), ("length", length), ("d", d), ("half", d / 2)];
            all.push(Case::dims(&dims).arg("pairs", pairs));
        }
        let back = Case::dims(&[("heads", 2), ("length", 5), ("d", 64), ("half", 32)]);
        all.push(back.arg("pairs", pairs).arg("backward", "true"));
    }
    all
}

/// What `rope_columns` promises.
pub static COLUMNS_CONTRACT: Contract = Contract {
    kernel: rope_columns::INFO,
    dims: &[("d", 64), ("half", 32), ("batch", 1), ("heads", 4), ("length", 128)],
    tensors: &[
        TensorRule::new("x", &["d", "batch", "heads", "length"]),
        TensorRule::new("cos", &["half", "batch", "length"]),
        TensorRule::new("sin", &["half", "batch", "length"]),
    ],
    results: &[ResultRule { name: "out", shape: &["d", "batch", "heads", "length"] }],
    reference: |i| {
        let [d, batch, heads, length] = ["d", "batch", "heads", "length"].map(|n| i.dim(n));
        let (x, cos, sin) = (i.tensor("x"), i.tensor("cos"), i.tensor("sin"));
        let sign = if i.value("backward") { -1.0 } else { 1.0 };
        let columns = heads * length;
        let mut out = vec![0.0; x.len()];
        for b in 0..batch {
            for c in 0..columns {
                let at = |e: usize| (e * batch + b) * columns + c;
                let angle = |e: usize| (e * batch + b) * length + c % length;
                let row: Vec<f64> = (0..d).map(|e| x[at(e)]).collect();
                let of = |t: &[f64], by: f64| -> Vec<f64> { (0..d / 2).map(|e| by * t[angle(e)]).collect() };
                let turned = reference::rope(&row, &of(cos, 1.0), &of(sin, sign), 1, d, i.value("pairs"));
                turned.into_iter().enumerate().for_each(|(e, y)| out[at(e)] = y);
            }
        }
        vec![out]
    },
    cases: columns_cases,
    flops: |i| 3 * i.tensor("x").len() as u64,
    ..CONTRACT
};
nki::contract!(COLUMNS_CONTRACT);

fn columns_cases() -> Vec<Case> {
    let mut all = Vec::new();
    for pairs in ["halves", "neighbours"] {
        for (d, batch, heads, length) in [(2, 1, 1, 1), (64, 2, 5, 46), (128, 1, 2, 1025), (250, 3, 1, 7)] {
            let dims = [("d", d), ("half", d / 2), ("batch", batch), ("heads", heads), ("length", length)];
            let case = Case::dims(&dims).arg("pairs", pairs);
            all.push(case.clone());
            all.push(case.arg("backward", "true"));
        }
    }
    all
}

/// What `rope_pair` promises.
pub static PAIR_CONTRACT: Contract = Contract {
    kernel: rope_pair::INFO,
    dims: &[("batch", 1), ("heads", 4), ("kv_heads", 2), ("length", 128), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["batch", "heads", "length", "d"]),
        TensorRule::new("k", &["batch", "kv_heads", "length", "d"]),
        TensorRule::new("cos", &["batch", "length", "d"]),
        TensorRule::new("sin", &["batch", "length", "d"]),
    ],
    results: &[
        ResultRule { name: "q", shape: &["batch", "heads", "length", "d"] },
        ResultRule { name: "k", shape: &["batch", "kv_heads", "length", "d"] },
    ],
    reference: |i| {
        let one = |x, heads| {
            let shape = [i.dim("batch"), i.dim(heads), i.dim("length"), i.dim("d")];
            reference::rope_pair(i.tensor(x), i.tensor("cos"), i.tensor("sin"), shape, i.value("backward"))
        };
        vec![one("q", "heads"), one("k", "kv_heads")]
    },
    cases: pair_cases,
    flops: |i| 3 * (i.tensor("q").len() + i.tensor("k").len()) as u64,
    ..CONTRACT
};
nki::contract!(PAIR_CONTRACT);

fn pair_cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (batch, heads, kv_heads, length, d) in
        [(1, 1, 1, 1, 2), (2, 5, 1, 46, 64), (1, 3, 3, 129, 88), (2, 9, 2, 645, 64)]
    {
        let dims = [("batch", batch), ("heads", heads), ("kv_heads", kv_heads), ("length", length), ("d", d)];
        all.extend(["false", "true"].map(|b| Case::dims(&dims).arg("backward", b)));
    }
    all
}
