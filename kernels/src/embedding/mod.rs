//! `embedding`: rows of a table by their numbers. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::embedding::{EmbeddingConfig, embedding};
//!
//! let table = Tensor::from_f32(&[3, 2], &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5]).unwrap();
//! let ids = nki::args::from_f64(DType::I32, &[2], &[2.0, 0.0]).unwrap();
//! let rows = embedding::specialize::<f32>(&table, &ids, EmbeddingConfig::default());
//! assert_eq!(nki::args::to_f64(&rows.run(Mode::Sim, Target::Trn2).unwrap()[0]), [2.0, 2.5, 0.0, 0.5]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{EmbeddingConfig, embedding};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `embedding` promises.
pub static CONTRACT: Contract = Contract {
    kernel: embedding::INFO,
    dims: &[("vocabulary", 512), ("hidden", 256), ("tokens", 128)],
    tensors: &[
        TensorRule::new("table", &["vocabulary", "hidden"]),
        TensorRule::new("ids", &["tokens"]).of(DType::I32).filled("uniform(0,512)"),
    ],
    results: &[ResultRule { name: "out", shape: &["tokens", "hidden"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| vec![reference::embedding(i.tensor("table"), i.tensor("ids"), i.dim("hidden"))],
    // Nothing is computed.
    tolerance: |_| Tolerance::EXACT,
    requires: Some(|i| match i.value("skip") {
        true => Ok(()),
        false => i.within("ids", 0.0..i.dim("vocabulary") as f64),
    }),
    rounded_terms: None,
    cases,
    flops: |_| 0,
};
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let case = |vocabulary: usize, hidden, tokens| {
        let dims = [("vocabulary", vocabulary), ("hidden", hidden), ("tokens", tokens)];
        Case::dims(&dims).arg("ids", format!("uniform(0,{vocabulary})"))
    };
    let mut all = Vec::new();
    for tokens in [1, 2, 127, 128, 129, 300] {
        all.push(case(509, 33, tokens));
    }
    for hidden in [1, 7, 2049] {
        all.push(case(1000, hidden, 37));
    }
    all.push(case(1, 16, 5));
    all.push(case(300, 100, 131).arg("columns", "32"));
    // Numbers on both sides of the table.
    let beyond = case(40, 24, 130).arg("skip", "true").arg("columns", "16");
    all.push(Case { args: vec![("ids", "uniform(-20,60)".into())], ..beyond.clone() }.arg("skip", "true"));
    all
}
