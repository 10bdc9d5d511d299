//! `depthwise_conv1d`: every channel with a filter of its own. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::depthwise_conv1d::{DepthwiseConv1dConfig, depthwise_conv1d};
//!
//! let x = Tensor::from_f32(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
//! let w = Tensor::from_f32(&[1, 2], &[-1.0, 1.0]).unwrap();
//! // Differences, the first with 0.
//! let cfg = DepthwiseConv1dConfig { left: 1, ..DepthwiseConv1dConfig::default() };
//! let s = depthwise_conv1d::specialize::<f32>(&x, &w, None::<&Tensor>, cfg);
//! let y = s.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [1.0; 4]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{DepthwiseConv1dConfig, depthwise_conv1d};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `depthwise_conv1d` promises.
pub static CONTRACT: Contract = Contract {
    kernel: depthwise_conv1d::INFO,
    dims: &[("batch", 1), ("channels", 128), ("length", 2048), ("taps", 4)],
    tensors: &[
        TensorRule::new("x", &["batch", "channels", "length"]),
        TensorRule::new("w", &["channels", "taps"]),
        TensorRule::new("bias", &["channels"]).of(DType::F32).optional(),
    ],
    results: &[ResultRule { name: "y", shape: &["batch", "channels", "outputs"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![convolved(i)],
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 2 * ["batch", "channels", "length", "taps"].iter().map(|d| i.dim(d) as u64).product::<u64>(),
};
nki::contract!(CONTRACT);

fn convolved(i: &Inputs) -> Vec<f64> {
    let sizes = [i.dim("length"), i.dim("taps"), i.value("left"), i.value("right")];
    reference::depthwise_conv1d(i.tensor("x"), i.tensor("w"), i.get("bias"), sizes, i.value("silu"))
}

fn cases() -> Vec<Case> {
    let case = |batch, channels, length, taps| {
        Case::dims(&[("batch", batch), ("channels", channels), ("length", length), ("taps", taps)])
    };
    let mut all = Vec::new();
    for (b, c, l, k) in [(1, 1, 1, 1), (1, 128, 129, 4), (2, 131, 67, 3), (3, 7, 513, 1), (1, 5, 127, 127)] {
        all.push(case(b, c, l, k));
        all.push(
            case(b, c, l, k).arg("left", format!("{}", k - 1)).arg("silu", "true").arg("bias", "normal"),
        );
    }
    // A filter longer than what it gives.
    all.push(case(2, 130, 100, 93).arg("bias", "normal"));
    all.push(case(1, 3, 4096, 4093));
    // A filter longer than the row.
    all.push(case(1, 9, 2, 5).arg("left", "2").arg("right", "2"));
    all.push(case(2, 9, 40, 5).arg("left", "2").arg("right", "3"));
    all
}
