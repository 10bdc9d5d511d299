//! `kv_update` and its relatives: new keys and values into their caches, in place. See `DESIGN.md`.
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
//!
//! The same with caches of 8-bit floats, whose elements are 0.5 times as large:
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::kv_update::{KvUpdateConfig, kv_update_fp8};
//!
//! let cache = Tensor::zeros(DType::F8E4M3, &[1, 1, 1, 3]);
//! let one = |shape: &[usize], x| Tensor::from_f32(shape, &[x]).unwrap();
//! let (k, v, scale) = (one(&[1, 1, 1, 1], 5.0), one(&[1, 1, 1, 1], 1000.0), one(&[1], 0.5));
//! let v_cache = Tensor { shape: vec![1, 1, 3, 1], ..cache.clone() };
//! let positions = nki::args::from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let cfg = KvUpdateConfig::default();
//! let spec = kv_update_fp8::specialize::<f32>(&cache, &v_cache, &k, &v, &scale, &scale, &positions, cfg);
//! let caches = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&caches[0]), [0.0, 10.0, 0.0]);
//! // 2,000 is beyond the largest.
//! assert_eq!(nki::args::to_f64(&caches[1]), [0.0, 240.0, 0.0]);
//! ```
//!
//! Keys as rows, and an 8-bit cache of blocks:
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::kv_update::{KvUpdateConfig, kv_update_blocks_fp8, kv_update_rows};
//!
//! let cache = Tensor::zeros(DType::F32, &[1, 1, 2, 2]);
//! let new = Tensor::from_f32(&[1, 1, 1, 2], &[5.0, 6.0]).unwrap();
//! let last = from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let spec = kv_update_rows::specialize::<f32>(&cache, &cache, &new, &new, &last, KvUpdateConfig::default());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [0.0, 0.0, 5.0, 6.0]);
//!
//! let cache = Tensor::zeros(DType::F8E4M3, &[2, 2]);
//! let (new, scale) = (Tensor { shape: vec![1, 2], ..new }, Tensor::from_f32(&[1], &[0.5]).unwrap());
//! let spec = kv_update_blocks_fp8::specialize::<f32>(&cache, &new, &scale, &last);
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [0.0, 0.0, 10.0, 12.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{
    KvUpdateConfig, kv_update, kv_update_blocks, kv_update_blocks_fp8, kv_update_fp8, kv_update_rows,
};

pub(crate) use kernel::quantise;

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
    requires: Some(in_cache),
    rounded_terms: None,
    cases,
    flops: |_| 0,
};
nki::contract!(CONTRACT);

/// What `kv_update_rows` promises.
pub static ROWS_CONTRACT: Contract = Contract {
    kernel: kv_update_rows::INFO,
    tensors: &[
        TensorRule::new("k_cache", &["batch", "kv_heads", "slots", "d"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("positions", &["batch"]).of(DType::I32).filled("uniform(0,256)"),
    ],
    results: &[
        ResultRule { name: "k_cache", shape: &["batch", "kv_heads", "slots", "d"] },
        ResultRule { name: "v_cache", shape: &["batch", "kv_heads", "slots", "d"] },
    ],
    reference: |i| {
        let one = |cache, new| reference::updated(i.tensor(cache), new_rows(i, new), false);
        vec![one("k_cache", "k"), one("v_cache", "v")]
    },
    ..CONTRACT
};
nki::contract!(ROWS_CONTRACT);

/// What `kv_update_fp8` promises.
pub static FP8_CONTRACT: Contract = Contract {
    kernel: kv_update_fp8::INFO,
    tensors: &[
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "slots"]).of(DType::F8E4M3),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]).of(DType::F8E4M3),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("k_scale", &["1"]).of(DType::F32).filled("full(0.02)"),
        TensorRule::new("v_scale", &["1"]).of(DType::F32).filled("full(0.01)"),
        TensorRule::new("positions", &["batch"]).of(DType::I32).filled("uniform(0,256)"),
    ],
    reference: |i| {
        let one = |cache, new, scale, columns| {
            let values = reference::quantised(i.tensor(new), i.tensor(scale)[0]);
            reference::updated(i.tensor(cache), New { values: &values, ..new_rows(i, new) }, columns)
        };
        vec![one("k_cache", "k", "k_scale", true), one("v_cache", "v", "v_scale", false)]
    },
    // Quotients are not rounded in the reference: half a step of f8e4m3, as in `rmsnorm_quant`.
    tolerance: |_| Tolerance::new(1.0 / 16.9, 1e-3),
    requires: Some(|i| {
        ["k_scale", "v_scale"].into_iter().try_for_each(|s| i.within(s, 1e-30..1e30))?;
        in_cache(i)
    }),
    cases: || {
        let mut all = cases();
        // A scale that clips some.
        all.push(all[0].clone().arg("k_scale", "full(0.005)").arg("v_scale", "full(0.001)"));
        all
    },
    ..CONTRACT
};
nki::contract!(FP8_CONTRACT);

/// Whether all tokens go to slots of the cache.
fn in_cache(i: &Inputs) -> Result<(), String> {
    let first = if i.value("skip") { f64::NEG_INFINITY } else { 0.0 };
    i.within("positions", first..1.0 + i.dim("slots") as f64 - i.dim("tokens") as f64)
}

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
    requires: Some(different_slots),
    cases: blocks_cases,
    ..CONTRACT
};
nki::contract!(BLOCKS_CONTRACT);

/// Whether every token has a slot of its own in the cache, or none.
fn different_slots(i: &Inputs) -> Result<(), String> {
    i.within("slots", f64::NEG_INFINITY..i.dim("rows") as f64)?;
    let mut used: Vec<f64> = i.tensor("slots").iter().copied().filter(|s| *s >= 0.0).collect();
    used.sort_by(f64::total_cmp);
    match used.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(format!("slot {} is twice in `slots`", w[0])),
        None => Ok(()),
    }
}

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

/// What `kv_update_blocks_fp8` promises.
pub static BLOCKS_FP8_CONTRACT: Contract = Contract {
    kernel: kv_update_blocks_fp8::INFO,
    tensors: &[
        TensorRule::new("cache", &["rows", "width"]).of(DType::F8E4M3),
        TensorRule::new("new", &["tokens", "width"]),
        TensorRule::new("scale", &["1"]).of(DType::F32).filled("full(0.02)"),
        TensorRule::new("slots", &["tokens"]).of(DType::I32).filled("iota(3,1)"),
    ],
    reference: |i| {
        let new = reference::quantised(i.tensor("new"), i.tensor("scale")[0]);
        vec![reference::updated_blocks(i.tensor("cache"), &new, i.tensor("slots"), i.dim("width"))]
    },
    tolerance: FP8_CONTRACT.tolerance,
    requires: Some(|i| i.within("scale", 1e-30..1e30).and_then(|()| different_slots(i))),
    cases: || {
        let mut all = blocks_cases();
        // A scale that clips some.
        all.push(all[0].clone().arg("scale", "full(0.005)"));
        all
    },
    ..BLOCKS_CONTRACT
};
nki::contract!(BLOCKS_FP8_CONTRACT);
