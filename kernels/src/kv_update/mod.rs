//! `kv_update` and `kv_update_blocks`: new keys and values into their caches, in place. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::kv_update::{KvUpdateConfig, kv_update};
//!
//! let cache = Tensor::zeros(DType::F32, &[1, 1, 1, 3]);
//! let (k, v) = (Tensor::from_f32(&[1, 1, 1, 1], &[5.0]).unwrap(), Tensor::from_f32(&[1, 1, 1, 1], &[7.0]).unwrap());
//! let v_cache = Tensor { shape: vec![1, 1, 3, 1], ..cache.clone() };
//! let positions = nki::args::from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let spec = kv_update::specialize::<f32>(&cache, &v_cache, &k, &v, &positions, KvUpdateConfig::default());
//! let caches = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&caches[0]), [0.0, 5.0, 0.0]);
//! assert_eq!(nki::args::to_f64(&caches[1]), [0.0, 7.0, 0.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{KvUpdateConfig, kv_update, kv_update_blocks};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;
use reference::New;

/// What `kv_update` promises.
pub static CONTRACT: Contract = Contract {
    kernel: kv_update::INFO,
    dims: &[("batch", 2), ("tokens", 1), ("kv_heads", 2), ("slots", 256), ("d", 64)],
    tensors: &[
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "slots"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("positions", &["batch"]).of(DType::I32).filled("uniform(0,256)"),
    ],
    results: &[
        ResultRule { name: "k_cache", shape: &["batch", "kv_heads", "d", "slots"] },
        ResultRule { name: "v_cache", shape: &["batch", "kv_heads", "slots", "d"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        let one = |cache, new, columns| reference::updated(i.tensor(cache), new_rows(i, new), columns);
        vec![one("k_cache", "k", true), one("v_cache", "v", false)]
    },
    // Nothing is computed.
    tolerance: |_| Tolerance::EXACT,
    requires: Some(|i| {
        let first = if i.value("skip") { f64::NEG_INFINITY } else { 0.0 };
        i.within("positions", first..1.0 + i.dim("slots") as f64 - i.dim("tokens") as f64)
    }),
    rounded_terms: None,
    cases,
    flops: |_| 0,
};
nki::contract!(CONTRACT);

fn new_rows<'a>(i: &'a Inputs, name: &str) -> New<'a> {
    New {
        values: i.tensor(name),
        positions: i.tensor("positions"),
        tokens: i.dim("tokens"),
        heads: i.dim("kv_heads"),
        d: i.dim("d"),
        slots: i.dim("slots"),
    }
}

fn cases() -> Vec<Case> {
    let case = |batch, tokens, kv_heads, slots: usize, d| {
        let dims = [("batch", batch), ("tokens", tokens), ("kv_heads", kv_heads), ("slots", slots), ("d", d)];
        Case::dims(&dims).arg("positions", format!("uniform(0,{})", slots + 1 - tokens))
    };
    let mut all = Vec::new();
    for tokens in [1, 2, 4, 127, 129] {
        all.push(case(3, tokens, 2, 150, 40));
        // No other place than the first.
        all.push(case(1, tokens, 1, tokens, 8));
    }
    all.extend([1, 7, 64, 128].map(|d| case(2, 1, 3, 33, d)));
    all.push(case(17, 1, 1, 20, 16));
    let skipping = |tokens, positions: &str| {
        let mut c = case(5, tokens, 2, 200, 16).arg("skip", "true");
        c.args.retain(|a| a.0 != "positions");
        c.arg("positions", positions)
    };
    all.push(skipping(1, "uniform(-100,200)"));
    all.push(skipping(1, "full(-1)"));
    all.push(skipping(140, "uniform(-60,61)"));
    all
}

/// What `kv_update_blocks` promises.
pub static BLOCKS_CONTRACT: Contract = Contract {
    kernel: kv_update_blocks::INFO,
    dims: &[("rows", 256), ("width", 128), ("tokens", 1)],
    tensors: &[
        TensorRule::new("cache", &["rows", "width"]),
        TensorRule::new("new", &["tokens", "width"]),
        // A slot for each token: one only, or all different.
        TensorRule::new("slots", &["tokens"]).of(DType::I32).filled("iota(3,1)"),
    ],
    results: &[ResultRule { name: "cache", shape: &["rows", "width"] }],
    reference: |i| {
        let (cache, new, slots) = (i.tensor("cache"), i.tensor("new"), i.tensor("slots"));
        vec![reference::updated_blocks(cache, new, slots, i.dim("width"))]
    },
    requires: Some(|i| {
        i.within("slots", f64::NEG_INFINITY..i.dim("rows") as f64)?;
        let mut used: Vec<f64> = i.tensor("slots").iter().copied().filter(|s| *s >= 0.0).collect();
        used.sort_by(f64::total_cmp);
        match used.windows(2).find(|w| w[0] == w[1]) {
            Some(w) => Err(format!("slot {} is twice in `slots`", w[0])),
            None => Ok(()),
        }
    }),
    cases: blocks_cases,
    ..CONTRACT
};
nki::contract!(BLOCKS_CONTRACT);

fn blocks_cases() -> Vec<Case> {
    let case = |rows, width, tokens, slots: &str| {
        Case::dims(&[("rows", rows), ("width", width), ("tokens", tokens)]).arg("slots", slots)
    };
    vec![
        case(32, 16, 1, "uniform(0,32)"),
        case(320, 33, 7, "iota(300,-40)"),
        case(512, 1, 129, "iota(0,3)"),
        case(300, 24, 150, "iota(-2,2)"),
        case(40, 128, 5, "full(-1)"),
    ]
}
