//! The ladder: the matrix product from one instruction to what a model needs, one idea a rung. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::matmul::ladder::{GeneralConfig, matmul_general};
//!
//! let matrix = |x: &[f32]| Tensor::from_f32(&[1, 2, 2], x).unwrap();
//! let (lhs, rhs) = (matrix(&[1.0, 2.0, 3.0, 4.0]), matrix(&[1.0, 0.0, 0.0, 10.0]));
//! let none = None::<&Tensor>;
//! let cfg = GeneralConfig::default();
//! let spec = matmul_general::specialize::<f32>(Some(&lhs), none, Some(&rhs), none, none, none, cfg);
//! let y = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [1.0, 20.0, 3.0, 40.0]);
//! ```

mod decode;
mod double_row;
mod general;
pub mod reference;
mod steps;
#[cfg(test)]
mod tests;

pub use decode::{DecodeConfig, matmul_decode};
pub use double_row::{DoubleRowConfig, matmul_double_row};
pub use general::{GeneralConfig, matmul_general};
pub use steps::{matmul_basic, matmul_blocked_free, matmul_hoisted, matmul_tiled};

use super::PRODUCT;
use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;
use reference::Epilogue;

/// What `matmul_basic` promises.
pub static BASIC_CONTRACT: Contract = Contract {
    kernel: matmul_basic::INFO,
    dims: &[("k", 128), ("m", 64), ("n", 512)],
    cases: || vec![Case::dims(&[])],
    ..PRODUCT
};
nki::contract!(BASIC_CONTRACT);

/// Whole tiles, one and several in each dimension.
fn whole() -> Vec<Case> {
    let shapes = [[128, 128, 512], [384, 128, 512], [128, 384, 512], [128, 128, 1536], [256, 640, 1024]];
    shapes.map(|[k, m, n]| Case::dims(&[("k", k), ("m", m), ("n", n)])).into()
}

/// What `matmul_tiled` promises.
pub static TILED_CONTRACT: Contract = Contract { kernel: matmul_tiled::INFO, cases: whole, ..PRODUCT };
nki::contract!(TILED_CONTRACT);

/// What `matmul_hoisted` promises.
pub static HOISTED_CONTRACT: Contract = Contract { kernel: matmul_hoisted::INFO, cases: whole, ..PRODUCT };
nki::contract!(HOISTED_CONTRACT);

/// What `matmul_blocked_free` promises.
pub static BLOCKED_FREE_CONTRACT: Contract =
    Contract { kernel: matmul_blocked_free::INFO, cases: whole, ..PRODUCT };
nki::contract!(BLOCKED_FREE_CONTRACT);

/// What `matmul_decode` promises.
pub static DECODE_CONTRACT: Contract = Contract {
    kernel: matmul_decode::INFO,
    dims: &[("k", 512), ("m", 16), ("n", 2048)],
    cases: || {
        let mut all = Vec::new();
        for (groups, m) in [(1, 1), (1, 7), (1, 128), (2, 64), (2, 3), (4, 32), (4, 1)] {
            for (k, n) in [(1, 1), (129, 67), (512, 513), (700, 2100)] {
                let case = Case::dims(&[("k", k), ("m", m), ("n", n)]);
                all.push(case.arg("groups", groups.to_string()));
            }
        }
        all
    },
    ..PRODUCT
};
nki::contract!(DECODE_CONTRACT);

/// What `matmul_general` promises.
pub static GENERAL_CONTRACT: Contract = Contract {
    kernel: matmul_general::INFO,
    dims: &[("batch", 2), ("k", 512), ("m", 256), ("n", 512)],
    tensors: &[
        TensorRule::new("lhs", &["batch", "m", "k"]).optional(),
        TensorRule::new("lhs_t", &["batch", "k", "m"]).optional(),
        TensorRule::new("rhs", &["batch", "k", "n"]).optional(),
        TensorRule::new("rhs_t", &["batch", "n", "k"]).optional(),
        TensorRule::new("bias", &["n"]).optional(),
        TensorRule::new("residual", &["batch", "m", "n"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["batch", "m", "n"] }],
    reference: |i| {
        let operands = [(i.get("lhs"), i.get("lhs_t")), (i.get("rhs_t"), i.get("rhs"))];
        let end =
            Epilogue { bias: i.get("bias"), activation: i.value("activation"), residual: i.get("residual") };
        vec![reference::general(operands, ["batch", "k", "m", "n"].map(|d| i.dim(d)), end)]
    },
    cases: general_cases,
    flops: |i| 2 * ["batch", "k", "m", "n"].map(|d| i.dim(d) as u64).iter().product::<u64>(),
    ..PRODUCT
};
nki::contract!(GENERAL_CONTRACT);

fn general_cases() -> Vec<Case> {
    let dims = |b, k, m, n| Case::dims(&[("batch", b), ("k", k), ("m", m), ("n", n)]);
    let mut all = Vec::new();
    for left in ["lhs", "lhs_t"] {
        for right in ["rhs", "rhs_t"] {
            let of = |c: Case| c.arg(left, "normal").arg(right, "normal");
            all.extend([of(dims(2, 131, 37, 67)), of(dims(1, 1, 1, 1)), of(dims(3, 129, 130, 513))]);
        }
    }
    let usual = |c: Case| c.arg("lhs", "normal").arg("rhs", "normal(0,0.1)");
    let base = || usual(dims(2, 131, 37, 67));
    all.push(base().arg("bias", "normal"));
    all.push(base().arg("residual", "normal"));
    all.push(base().arg("activation", "gelu"));
    all.push(base().arg("activation", "relu").arg("residual", "normal"));
    all.push(base().arg("activation", "silu").arg("bias", "normal"));
    all.push(
        usual(dims(1, 200, 300, 600)).arg("bias", "normal").arg("residual", "normal").arg("rows", "256"),
    );
    let split = |c: Case| c.arg("split_k", "true");
    all.push(split(base()).arg("bias", "normal").arg("residual", "normal").arg("activation", "gelu"));
    all.extend([dims(1, 700, 5, 1), dims(1, 128, 5, 3), dims(2, 257, 130, 515)].map(|c| split(usual(c))));
    all.push(
        split(dims(1, 300, 20, 9)).arg("lhs_t", "normal").arg("rhs_t", "normal").arg("residual", "normal"),
    );
    all
}

/// What `matmul_double_row` promises.
pub static DOUBLE_ROW_CONTRACT: Contract = Contract {
    kernel: matmul_double_row::INFO,
    tensors: &[
        TensorRule::new("lhs_t", &["k", "m"]).of(DType::F8E4M3),
        TensorRule::new("rhs", &["k", "n"]).of(DType::F8E4M3),
        TensorRule::new("scale", &["1"]).of(DType::F32).filled("full(0.125)"),
    ],
    dtypes: &[DType::BF16],
    reference: |i| {
        let scale = i.tensor("scale")[0];
        let product = super::reference::matmul(i.tensor("lhs_t"), i.tensor("rhs"), super::extents(i));
        vec![product.into_iter().map(|x| scale * x).collect()]
    },
    // The operands are what they are: only sums and the result round.
    tolerance: Tolerance::of,
    cases: || {
        let shapes = [[256, 128, 512], [512, 1, 1], [256, 37, 67], [768, 129, 513], [256, 300, 40]];
        let mut all: Vec<Case> = shapes.map(|[k, m, n]| Case::dims(&[("k", k), ("m", m), ("n", n)])).into();
        all.push(Case::dims(&[("k", 512), ("m", 300), ("n", 600)]).arg("rows", "128"));
        all
    },
    ..PRODUCT
};
nki::contract!(DOUBLE_ROW_CONTRACT);
