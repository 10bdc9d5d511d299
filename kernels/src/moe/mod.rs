//! `moe`: a mixture of experts over blocks of tokens. See `DESIGN.md`.
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::activation::GatedConfig;
//! use nki_kernels::moe::{blocks, moe};
//!
//! // Two tokens of one number; expert 1 doubles what expert 0 does.
//! let x = Tensor::from_f32(&[2, 1], &[1.0, 1.0]).unwrap();
//! let up = Tensor::from_f32(&[2, 1, 1], &[3.0, 3.0]).unwrap();
//! let down = Tensor::from_f32(&[2, 1, 1], &[1.0, 2.0]).unwrap();
//! let affinities = Tensor::from_f32(&[2, 2], &[1.0, 0.0, 0.0, 1.0]).unwrap();
//! let b = blocks(&[0, 1], 1, 2, 2);
//! let int = |shape: &[usize], v: &[i32]| {
//!     from_f64(DType::I32, shape, &v.iter().map(|&v| v.into()).collect::<Vec<_>>()).unwrap()
//! };
//! let (ids, experts) = (int(&[2, 2], &b.ids), int(&[2], &b.experts));
//! let (none, cfg) = (None::<&Tensor>, GatedConfig::default());
//! let s = moe::specialize::<f32>(&x, none, &up, &down, none, none, none, &affinities, &ids, &experts, cfg);
//! let y = to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0]);
//! assert!((y[1] - 2.0 * y[0]).abs() < 1e-6);
//! ```

mod blocks;
mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use blocks::{Blocks, blocks};
pub use kernel::moe;

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `moe` promises.
pub static CONTRACT: Contract = Contract {
    kernel: moe::INFO,
    dims: &[("tokens", 256), ("hidden", 256), ("inner", 256), ("experts", 4), ("blocks", 4), ("block", 64)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("gate", &["experts", "hidden", "inner"]).optional().filled("normal(0,0.1)"),
        TensorRule::new("up", &["experts", "hidden", "inner"]).filled("normal(0,0.1)"),
        TensorRule::new("down", &["experts", "inner", "hidden"]).filled("normal(0,0.1)"),
        TensorRule::new("b_gate", &["experts", "inner"]).optional(),
        TensorRule::new("b_up", &["experts", "inner"]).optional(),
        TensorRule::new("b_down", &["experts", "hidden"]).optional(),
        TensorRule::new("affinities", &["tokens", "experts"]).of(DType::F32).filled("uniform(0.1,1)"),
        TensorRule::new("ids", &["blocks", "block"]).of(DType::I32).filled("iota"),
        TensorRule::new("experts", &["blocks"]).of(DType::I32).filled("uniform(0,4)"),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "hidden"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| vec![mixed(i)],
    tolerance: |dtype| match dtype {
        // A product's sum of either sign goes through an activation into another.
        DType::F32 => Tolerance::new(2e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: Some(|i| {
        i.within("experts", 0.0..i.dim("experts") as f64)?;
        // Results are added to the rows of their tokens, all of a block at once.
        let mut blocks = i.tensor("ids").chunks(i.dim("block").max(1));
        match blocks.find_map(repeated) {
            Some(id) => Err(format!("token {id} is twice in a block of `ids`")),
            None => Ok(()),
        }
    }),
    rounded_terms: None,
    cases,
    flops: |i| {
        let products = if i.get("gate").is_some() { 6 } else { 4 };
        products * ["blocks", "block", "hidden", "inner"].iter().map(|d| i.dim(d) as u64).product::<u64>()
    },
};
nki::contract!(CONTRACT);

/// A number of a token that occurs twice; negative ones are padding.
fn repeated(ids: &[f64]) -> Option<f64> {
    let mut ids: Vec<f64> = ids.iter().copied().filter(|id| *id >= 0.0).collect();
    ids.sort_by(f64::total_cmp);
    ids.windows(2).find(|w| w[0] == w[1]).map(|w| w[0])
}

fn mixed(i: &Inputs) -> Vec<f64> {
    let limits = |low: &str, high: &str| {
        let limit = |name, none| i.value::<Option<f32>>(name).map_or(none, f64::from);
        [limit(low, f64::NEG_INFINITY), limit(high, f64::INFINITY)]
    };
    let w = reference::Weights {
        gate: i.get("gate"),
        up: i.tensor("up"),
        down: i.tensor("down"),
        biases: ["b_gate", "b_up", "b_down"].map(|b| i.get(b)),
        function: i.value("function"),
        gate_limits: limits("gate_low", "gate_high"),
        up_limits: limits("up_low", "up_high"),
        up_offset: i.value::<f32>("up_offset").into(),
    };
    let s = reference::Shape {
        hidden: i.dim("hidden"),
        inner: i.dim("inner"),
        experts: i.dim("experts"),
        block: i.dim("block"),
    };
    reference::moe(i.tensor("x"), &w, i.tensor("affinities"), i.tensor("ids"), i.tensor("experts"), s)
}

fn cases() -> Vec<Case> {
    let case = |[tokens, hidden, inner, experts, blocks, block]: [usize; 6], ids: &str| {
        let dims = [
            ("tokens", tokens),
            ("hidden", hidden),
            ("inner", inner),
            ("experts", experts),
            ("blocks", blocks),
        ];
        let case = Case::dims(&[&dims[..], &[("block", block)]].concat());
        case.arg("experts", format!("uniform(0,{experts})")).arg("ids", ids)
    };
    // Blocks whose first tokens, or last, are padding; tokens in no block.
    let biased = |case: Case| case.arg("b_up", "normal(0,0.3)").arg("b_down", "normal");
    let limited = |case: Case| {
        let case = case.arg("gate", "normal(0,0.1)").arg("b_gate", "normal(0,0.3)").arg("up_offset", "1");
        case.arg("gate_high", "0.3")
            .arg("up_low", "-0.3")
            .arg("up_high", "0.2")
            .arg("function", "gelu_sigmoid")
    };
    vec![
        biased(case([5, 64, 48, 3, 3, 2], "iota")).arg("function", "relu"),
        biased(limited(case([40, 130, 129, 2, 3, 16], "iota(-5,1)"))),
        limited(case([300, 67, 300, 5, 2, 129], "iota(30,1)")),
        case([1, 1, 1, 1, 1, 1], "iota"),
        case([5, 64, 48, 3, 3, 2], "iota"),
        case([40, 130, 129, 2, 3, 16], "iota(-5,1)").arg("gate", "normal(0,0.1)"),
        case([300, 67, 135, 5, 2, 129], "iota(30,1)").arg("gate", "normal(0,0.1)"),
        case([7, 513, 16, 4, 4, 3], "iota(6,-1)").arg("gate", "normal(0,0.1)"),
    ]
}
