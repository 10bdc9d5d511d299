//! `attention_decode`: attention of a few new tokens over a cache. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::attention_decode::{AttentionDecodeConfig, attention_decode};
//!
//! // One sequence of one token so far, whose value is 2; the new token's is 4. Equal scores: the mean.
//! let (q, k) = (Tensor::from_f32(&[1, 1, 1, 1], &[0.0]).unwrap(), Tensor::from_f32(&[1, 1, 1, 1], &[1.0]).unwrap());
//! let v = Tensor::from_f32(&[1, 1, 1, 1], &[4.0]).unwrap();
//! let cache = Tensor::from_f32(&[1, 1, 1, 3], &[2.0, 0.0, 0.0]).unwrap();
//! let v_cache = Tensor { shape: vec![1, 1, 3, 1], ..cache.clone() };
//! let lengths = nki::args::from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let cfg = AttentionDecodeConfig::default();
//! let spec = attention_decode::specialize::<f32>(&q, &k, &v, &cache, &v_cache, &lengths, None::<&Tensor>, cfg);
//! assert_eq!(nki::args::to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{AttentionDecodeConfig, attention_decode};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `attention_decode` promises.
pub static CONTRACT: Contract = Contract {
    kernel: attention_decode::INFO,
    dims: &[("batch", 2), ("tokens", 1), ("heads", 4), ("kv_heads", 2), ("slots", 256), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        // Weighted means of positive numbers: no cancellation hides an error of a single weight.
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "slots"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]).filled("uniform(0,1)"),
        TensorRule::new("lengths", &["batch"]).of(DType::I32).filled("uniform(0,257)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["batch", "tokens", "heads", "d"] }],
    dtypes: &[DType::BF16, DType::F32, DType::F16],
    reference,
    // kernels.md 1.7 asks for 1e-2 in bf16: the exponentials are rounded once, and so is the result.
    tolerance: |dtype| match dtype {
        DType::BF16 => Tolerance::new(1e-2, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: Some(|i| {
        let bucket = i.value::<Option<usize>>("bucket").unwrap_or(usize::MAX);
        i.within("lengths", 0.0..1.0 + i.dim("slots").min(bucket) as f64)
    }),
    rounded_terms: None,
    cases,
    flops: |i| {
        let keys: f64 = i.tensor("lengths").iter().map(|l| l + i.dim("tokens") as f64).sum();
        4 * keys as u64 * (i.dim("tokens") * i.dim("heads") * i.dim("d")) as u64
    },
};
nki::contract!(CONTRACT);

fn reference(i: &Inputs) -> Vec<Vec<f64>> {
    let d = i.dim("d");
    let shape = reference::Shape {
        batch: i.dim("batch"),
        tokens: i.dim("tokens"),
        heads: i.dim("heads"),
        kv_heads: i.dim("kv_heads"),
        slots: i.dim("slots"),
        d,
        scale: i.value::<Option<f64>>("scale").unwrap_or(1.0 / (d as f64).sqrt()),
        window: i.value("window"),
    };
    let tensors = reference::Tensors {
        q: i.tensor("q"),
        k: i.tensor("k"),
        v: i.tensor("v"),
        k_cache: i.tensor("k_cache"),
        v_cache: i.tensor("v_cache"),
        lengths: i.tensor("lengths"),
        sink: i.get("sink"),
    };
    vec![reference::attention_decode(&tensors, &shape)]
}

/// Batch, new tokens, heads, heads of keys, slots, elements; lengths from 0 to all slots.
fn case([batch, tokens, heads, kv_heads, slots, d]: [usize; 6]) -> Case {
    let dims = [
        ("batch", batch),
        ("tokens", tokens),
        ("heads", heads),
        ("kv_heads", kv_heads),
        ("slots", slots),
        ("d", d),
    ];
    Case::dims(&dims).arg("lengths", format!("uniform(0,{})", slots + 1))
}

fn with_lengths(case: Case, lengths: &str) -> Case {
    let mut case = case;
    case.args.retain(|a| a.0 != "lengths");
    case.arg("lengths", lengths)
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for slots in [1, 7, 127, 128, 129, 320, 1024] {
        all.push(case([2, 1, 3, 1, slots, 40]));
        all.push(case([1, 3, 4, 2, slots, 64]));
    }
    all.extend([1, 8, 32, 64, 88, 127, 128].map(|d| case([2, 2, 8, 4, 257, d])));
    // An empty cache, a full one, and one of which a part is looked at.
    all.push(with_lengths(case([2, 1, 4, 2, 130, 64]), "zeros"));
    all.push(with_lengths(case([2, 5, 4, 2, 130, 64]), "full(130)"));
    all.push(with_lengths(case([3, 1, 4, 2, 700, 32]), "uniform(0,301)").arg("bucket", "300"));
    for window in ["1", "2", "50", "128", "1000"] {
        all.push(case([3, 4, 2, 1, 300, 24]).arg("window", window));
    }
    for sink in ["uniform(-2,2)", "uniform(15,25)"] {
        all.push(case([2, 2, 6, 3, 200, 16]).arg("sink", sink));
    }
    all.push(case([2, 1, 4, 4, 1000, 128]).arg("keys", "256").arg("scale", "0.5"));
    all.push(case([1, 8, 16, 2, 260, 64]));
    all
}
