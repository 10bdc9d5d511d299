//! `projection`, `projection_fp8` and `projection_transposed`: a linear layer, with bias and residual. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::projection::{ProjectionConfig, projection};
//!
//! let x = Tensor::from_f32(&[1, 1], &[2.0]).unwrap();
//! let weight = Tensor::from_f32(&[1, 2], &[3.0, 4.0]).unwrap();
//! let bias = Tensor::from_f32(&[2], &[0.5, 0.0]).unwrap();
//! let spec = projection::specialize::<f32>(&x, &weight, Some(&bias), None::<&Tensor>, ProjectionConfig::default());
//! let y = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [6.5, 8.0]);
//! ```
//!
//! With 8-bit weights, each half of what the weight holds; and with the result's columns on partitions:
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::projection::{Order, ProjectionConfig, TransposedConfig, projection_fp8, projection_transposed};
//!
//! let x = Tensor::from_f32(&[1, 1], &[2.0]).unwrap();
//! let (weight, scale) = (from_f64(DType::F8E4M3, &[1, 2], &[3.0, 4.0]).unwrap(), Tensor::from_f32(&[1], &[0.5]).unwrap());
//! let none = None::<&Tensor>;
//! let spec = projection_fp8::specialize::<f32>(&x, &weight, &scale, none, none, none, ProjectionConfig::default());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0, 4.0]);
//!
//! let weight: Vec<f32> = (0..256).map(|c| c as f32).collect();
//! let weight = Tensor::from_f32(&[1, 256], &weight).unwrap();
//! let cfg = TransposedConfig { order: Order::Consecutive };
//! let spec = projection_transposed::specialize::<f32>(&x, &weight, none, cfg);
//! let y = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! // Partition 1 holds columns 1 and 129.
//! assert_eq!(to_f64(&y[0])[2..4], [2.0, 258.0]);
//! ```

pub(crate) mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{
    Order, ProjectionConfig, TransposedConfig, projection, projection_fp8, projection_transposed,
};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;
use reference::Projection;

/// What `projection` promises.
pub static CONTRACT: Contract = Contract {
    kernel: projection::INFO,
    dims: &[("tokens", 128), ("hidden", 256), ("columns", 512)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("weight", &["hidden", "columns"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["columns"]).optional(),
        TensorRule::new("residual", &["tokens", "columns"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "columns"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        let (rows, columns) = (i.dim("hidden"), i.dim("columns"));
        let layer = Projection { weight: i.tensor("weight"), bias: i.get("bias"), rows, columns };
        vec![reference::projection(i.tensor("x"), i.dim("tokens"), layer, i.get("residual"))]
    },
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 2 * (i.dim("tokens") * i.dim("hidden") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let base = [("tokens", 37), ("hidden", 67), ("columns", 131)];
    let mut all = sweep(&base, &[1, 127, 129, 513]);
    all.push(Case::dims(&base).arg("bias", "normal"));
    all.push(Case::dims(&base).arg("residual", "normal"));
    let blocks = Case::dims(&[("tokens", 261), ("hidden", 200), ("columns", 300)]);
    let blocks = blocks.arg("tokens", "256").arg("columns", "128");
    all.push(blocks.arg("bias", "normal").arg("residual", "normal"));
    all
}

/// What `projection_fp8` promises.
pub static FP8_CONTRACT: Contract = Contract {
    kernel: projection_fp8::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("weight", &["hidden", "columns"]).of(DType::F8E4M3).filled("normal(0,30)"),
        TensorRule::new("scale", &["1"]).of(DType::F32).filled("full(0.002)"),
        TensorRule::new("x_scale", &["1"]).of(DType::F32).optional(),
        TensorRule::new("bias", &["columns"]).optional(),
        TensorRule::new("residual", &["tokens", "columns"]).optional(),
    ],
    reference: |i| {
        let (rows, columns) = (i.dim("hidden"), i.dim("columns"));
        let scale = i.tensor("scale")[0];
        let weight: Vec<f64> = i.tensor("weight").iter().map(|w| w * scale).collect();
        let layer = Projection { weight: &weight, bias: i.get("bias"), rows, columns };
        let x = match i.get("x_scale") {
            Some(scale) => reference::rounded(i.tensor("x"), scale[0]),
            None => i.tensor("x").to_vec(),
        };
        vec![reference::projection(&x, i.dim("tokens"), layer, i.get("residual"))]
    },
    // kernels.md 1.7. A quotient in the middle of two 8-bit floats may be rounded to either, 1/8 apart at most: rare, one term of many.
    tolerance: |_| Tolerance::new(4e-2, 1e-2),
    requires: Some(|i| i.get("x_scale").map_or(Ok(()), |_| i.within("x_scale", 1e-30..1e30))),
    cases: || {
        let mut all = cases();
        for (tokens, hidden, columns) in [(1, 300, 7), (37, 67, 131), (129, 128, 513)] {
            let case = Case::dims(&[("tokens", tokens), ("hidden", hidden), ("columns", columns)]);
            let rounded = case.arg("x_scale", "full(0.02)");
            all.push(rounded.clone().arg("bias", "normal").arg("residual", "normal"));
            // Some are clipped.
            all.push(rounded.arg("x", "normal(0,3)"));
        }
        all
    },
    ..CONTRACT
};
nki::contract!(FP8_CONTRACT);

/// What `projection_transposed` promises.
pub static TRANSPOSED_CONTRACT: Contract = Contract {
    kernel: projection_transposed::INFO,
    dims: &[("tokens", 4), ("hidden", 256), ("columns", 512), ("per_lane", 4)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("weight", &["hidden", "columns"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["columns"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["128", "per_lane", "tokens"] }],
    reference: |i| {
        let (rows, columns, tokens) = (i.dim("hidden"), i.dim("columns"), i.dim("tokens"));
        let layer = Projection { weight: i.tensor("weight"), bias: i.get("bias"), rows, columns };
        let y = reference::projection(i.tensor("x"), tokens, layer, None);
        vec![reference::transposed(&y, tokens, i.value::<Order>("order") == Order::Strided)]
    },
    cases: transposed_cases,
    ..CONTRACT
};
nki::contract!(TRANSPOSED_CONTRACT);

fn transposed_cases() -> Vec<Case> {
    let case = |tokens, hidden, per_lane: usize| {
        let dims =
            [("tokens", tokens), ("hidden", hidden), ("columns", 128 * per_lane), ("per_lane", per_lane)];
        Case::dims(&dims)
    };
    let mut all = Vec::new();
    for order in ["strided", "consecutive"] {
        for (tokens, hidden, per_lane) in
            [(1, 1, 1), (3, 67, 2), (5, 200, 3), (127, 128, 1), (128, 129, 18), (1, 256, 40)]
        {
            all.push(case(tokens, hidden, per_lane).arg("order", order));
            all.push(case(tokens, hidden, per_lane).arg("order", order).arg("bias", "normal"));
        }
    }
    all
}
