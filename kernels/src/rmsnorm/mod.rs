//! `rmsnorm`, `add_rmsnorm`, `norm_decode`: root-mean-square normalisation of rows. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::rmsnorm::{RmsNormConfig, add_rmsnorm};
//!
//! let row = |x: &[f32]| Tensor::from_f32(&[1, 2], x).unwrap();
//! let gamma = Tensor::from_f32(&[2], &[1.0, 2.0]).unwrap();
//! let cfg = RmsNormConfig { eps: 3.5, ..RmsNormConfig::default() };
//! let spec = add_rmsnorm::specialize::<f32>(&row(&[1.0, 6.0]), &row(&[2.0, -2.0]), &gamma, cfg);
//! let y = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[1]), [3.0, 4.0]);
//! assert!((nki::args::to_f64(&y[0])[1] - 2.0).abs() < 1e-5);
//! ```

mod decode;
mod fused;
mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use decode::{HiddenConfig, HiddenOrder, norm_decode};
pub use fused::add_rmsnorm;
pub use kernel::{RmsNormConfig, rmsnorm};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `rmsnorm` promises.
pub static CONTRACT: Contract = Contract {
    kernel: rmsnorm::INFO,
    dims: &[("rows", 128), ("columns", 512)],
    tensors: &[TensorRule::new("x", &["rows", "columns"]), TensorRule::new("gamma", &["columns"])],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![normed(i, i.tensor("x"))],
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    // Square, sum, two products.
    flops: |i| 4 * (i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

/// The norm of `x` by the configuration.
fn normed(i: &Inputs, x: &[f64]) -> Vec<f64> {
    let width = i.value::<Option<usize>>("actual").unwrap_or(i.dim("columns"));
    reference::rmsnorm_of(x, i.tensor("gamma"), i.value::<f32>("eps").into(), width)
}

/// What `add_rmsnorm` promises.
pub static ADD_CONTRACT: Contract = Contract {
    kernel: add_rmsnorm::INFO,
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("residual", &["rows", "columns"]),
        TensorRule::new("gamma", &["columns"]),
    ],
    results: &[
        ResultRule { name: "out", shape: &["rows", "columns"] },
        ResultRule { name: "sum", shape: &["rows", "columns"] },
    ],
    reference: |i| {
        let sum: Vec<f64> = i.tensor("x").iter().zip(i.tensor("residual")).map(|(x, r)| x + r).collect();
        vec![normed(i, &sum), sum]
    },
    flops: |i| 5 * (i.dim("rows") * i.dim("columns")) as u64,
    ..CONTRACT
};
nki::contract!(ADD_CONTRACT);

/// What `norm_decode` promises.
pub static DECODE_CONTRACT: Contract = Contract {
    kernel: norm_decode::INFO,
    dims: &[("tokens", 16), ("blocks", 32), ("hidden", 4096)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("beta", &["hidden"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["128", "tokens", "blocks"] }],
    reference: |i| {
        let (hidden, norm) = (i.dim("hidden"), (i.value("norm"), i.value::<f32>("eps").into()));
        let gains = [i.get("gamma"), i.get("beta")];
        let [normed, _] = crate::mlp::reference::prologue(i.tensor("x"), None, gains, hidden, norm);
        vec![reference::decode_layout(&normed, hidden, i.value("order"))]
    },
    cases: || {
        let dims = |tokens, blocks: usize| {
            Case::dims(&[("tokens", tokens), ("blocks", blocks), ("hidden", 128 * blocks)])
        };
        let mut all = Vec::new();
        for order in ["strided", "consecutive"] {
            let shapes = [(1, 1), (1, 16), (7, 3), (128, 5), (16, 32), (3, 40)];
            all.extend(shapes.map(|(t, b)| dims(t, b).arg("order", order).arg("gamma", "normal")));
            all.push(
                dims(5, 3)
                    .arg("order", order)
                    .arg("norm", "layer")
                    .arg("gamma", "normal")
                    .arg("beta", "normal"),
            );
            all.push(dims(5, 3).arg("order", order).arg("norm", "layer").arg("beta", "normal"));
            all.push(dims(5, 3).arg("order", order).arg("norm", "none"));
            all.push(dims(5, 3).arg("order", order).arg("eps", "77"));
        }
        all
    },
    flops: |i| 4 * (i.dim("tokens") * i.dim("hidden")) as u64,
    ..CONTRACT
};
nki::contract!(DECODE_CONTRACT);

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
    all.push(Case::dims(&[("rows", 5), ("columns", 100)]).arg("actual", "70"));
    all
}
