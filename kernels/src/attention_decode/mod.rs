//! `attention_decode` and its relatives: attention of a few new tokens over a cache, whose keys are columns (`attention_decode`,
//! `attention_decode_masked`, `attention_decode_fp8`), rows (`attention_decode_rows`) or in blocks (`attention_decode_blocks`,
//! `attention_decode_blocks_fp8`). See `DESIGN.md`.
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
//!
//! The same with a cache of two blocks of three slots, of which the sequence uses the second:
//!
//! ```
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::attention_decode::{AttentionDecodeConfig, BlocksConfig, attention_decode_blocks};
//!
//! let one = |x| Tensor::from_f32(&[1, 1, 1, 1], &[x]).unwrap();
//! let cache = Tensor::from_f32(&[6, 1, 1], &[7.0, 7.0, 7.0, 2.0, 0.0, 0.0]).unwrap();
//! let int = |shape: &[usize]| nki::args::from_f64(DType::I32, shape, &[1.0]).unwrap();
//! let (table, lengths, cfg) = (int(&[1, 1]), int(&[1]), AttentionDecodeConfig::default());
//! let (q, k, v, sink, blocks) = (one(0.0), one(1.0), one(4.0), None::<&Tensor>, BlocksConfig { length: 3 });
//! let spec =
//!     attention_decode_blocks::specialize::<f32>(&q, &k, &v, &cache, &cache, &table, &lengths, sink, blocks, cfg);
//! assert_eq!(nki::args::to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//! ```
//!
//! With keys cached as rows; and with a block of three slots of 8-bit floats, which count half:
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::attention_decode::{
//!     AttentionDecodeConfig, BlocksConfig, attention_decode_blocks_fp8, attention_decode_rows,
//! };
//!
//! let one = |x| Tensor::from_f32(&[1, 1, 1, 1], &[x]).unwrap();
//! let (q, k, v, sink, cfg) = (one(0.0), one(1.0), one(4.0), None::<&Tensor>, AttentionDecodeConfig::default);
//! let cache = Tensor::from_f32(&[1, 1, 3, 1], &[2.0, 0.0, 0.0]).unwrap();
//! let length = from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let spec = attention_decode_rows::specialize::<f32>(&q, &k, &v, &cache, &cache, &length, sink, cfg());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//!
//! let cache = from_f64(DType::F8E4M3, &[3, 1, 1], &[4.0, 0.0, 0.0]).unwrap();
//! let (half, table) = (Tensor::from_f32(&[1], &[0.5]).unwrap(), from_f64(DType::I32, &[1, 1], &[0.0]).unwrap());
//! let blocks = BlocksConfig { length: 3 };
//! let spec = attention_decode_blocks_fp8::specialize::<f32>(
//!     &q, &k, &v, &cache, &cache, &half, &half, &table, &length, sink, blocks, cfg(),
//! );
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//! ```
//!
//! The same with the caller's mask, which shows slot 2 alone; and with an 8-bit cache, whose values count half:
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::attention_decode::{AttentionDecodeConfig, attention_decode_fp8, attention_decode_masked};
//!
//! let one = |x| Tensor::from_f32(&[1, 1, 1, 1], &[x]).unwrap();
//! let (q, k, v, none, cfg) = (one(0.0), one(1.0), one(4.0), None::<&Tensor>, AttentionDecodeConfig::default);
//! // What nobody sees may be anything.
//! let cache = Tensor::from_f32(&[1, 1, 1, 3], &[f32::NAN, f32::INFINITY, 2.0]).unwrap();
//! let v_cache = Tensor { shape: vec![1, 1, 3, 1], ..cache.clone() };
//! let mask = from_f64(DType::U8, &[1, 3, 1, 1], &[0.0, 0.0, 1.0]).unwrap();
//! let spec = attention_decode_masked::specialize::<f32>(&q, &k, &v, &cache, &v_cache, &mask, none, none, cfg());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//!
//! let cache = from_f64(DType::F8E4M3, &[1, 1, 1, 3], &[4.0, 0.0, 0.0]).unwrap();
//! let v_cache = Tensor { shape: vec![1, 1, 3, 1], ..cache.clone() };
//! let (half, n) = (Tensor::from_f32(&[1], &[0.5]).unwrap(), from_f64(DType::I32, &[1], &[1.0]).unwrap());
//! let spec =
//!     attention_decode_fp8::specialize::<f32>(&q, &k, &v, &cache, &v_cache, &half, &half, &n, none, cfg());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [3.0]);
//! ```

mod cache;
mod kernel;
pub mod reference;
mod seen;
mod sequence;
#[cfg(test)]
mod tests;

pub use kernel::{
    AttentionDecodeConfig, BlocksConfig, attention_decode, attention_decode_blocks,
    attention_decode_blocks_fp8, attention_decode_fp8, attention_decode_masked, attention_decode_rows,
};

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

fn shape(i: &Inputs, slots: usize) -> reference::Shape {
    let d = i.dim("d");
    reference::Shape {
        batch: i.dim("batch"),
        tokens: i.dim("tokens"),
        heads: i.dim("heads"),
        kv_heads: i.dim("kv_heads"),
        slots,
        d,
        scale: i.value::<Option<f64>>("scale").unwrap_or(1.0 / (d as f64).sqrt()),
        window: i.value("window"),
    }
}

/// The tensors of a cache of slots.
fn tensors<'a>(i: &'a Inputs, seen: reference::Seen<'a>) -> reference::Tensors<'a> {
    reference::Tensors {
        q: i.tensor("q"),
        k: i.tensor("k"),
        v: i.tensor("v"),
        k_cache: i.tensor("k_cache"),
        v_cache: i.tensor("v_cache"),
        seen,
        sink: i.get("sink"),
    }
}

fn reference(i: &Inputs) -> Vec<Vec<f64>> {
    let tensors = tensors(i, reference::Seen::Lengths(i.tensor("lengths")));
    vec![reference::attention_decode(&tensors, &shape(i, i.dim("slots")))]
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

/// What `attention_decode_rows` promises.
pub static ROWS_CONTRACT: Contract = Contract {
    kernel: attention_decode_rows::INFO,
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["batch", "kv_heads", "slots", "d"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]).filled("uniform(0,1)"),
        TensorRule::new("lengths", &["batch"]).of(DType::I32).filled("uniform(0,257)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    reference: |i| {
        let (slots, d, rows) = (i.dim("slots"), i.dim("d"), i.tensor("k_cache"));
        // Keys as columns of their head.
        let at = |e: usize| e / (slots * d) * slots * d + e % slots * d + e / slots % d;
        let k_cache: Vec<f64> = (0..rows.len()).map(|e| rows[at(e)]).collect();
        let tensors = tensors(i, reference::Seen::Lengths(i.tensor("lengths")));
        let tensors = reference::Tensors { k_cache: &k_cache, ..tensors };
        vec![reference::attention_decode(&tensors, &shape(i, slots))]
    },
    ..CONTRACT
};
nki::contract!(ROWS_CONTRACT);

/// What `attention_decode_fp8` promises.
pub static FP8_CONTRACT: Contract = Contract {
    kernel: attention_decode_fp8::INFO,
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "slots"])
            .of(DType::F8E4M3)
            .filled("normal(0,30)"),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"])
            .of(DType::F8E4M3)
            .filled("uniform(0,240)"),
        TensorRule::new("k_scale", &["1"]).of(DType::F32).filled("full(0.033)"),
        TensorRule::new("v_scale", &["1"]).of(DType::F32).filled("full(0.0042)"),
        TensorRule::new("lengths", &["batch"]).of(DType::I32).filled("uniform(0,257)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    reference: |i| {
        let k_cache = times_scale(i, "k_cache", "k_scale");
        let v_cache = times_scale(i, "v_cache", "v_scale");
        let seen = reference::Seen::Lengths(i.tensor("lengths"));
        let tensors = reference::Tensors { k_cache: &k_cache, v_cache: &v_cache, ..tensors(i, seen) };
        vec![reference::attention_decode(&tensors, &shape(i, i.dim("slots")))]
    },
    // kernels.md 1.7. Queries and new values are rounded once more than without scales.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::of(dtype),
        _ => Tolerance::new(3e-2, 1e-3),
    },
    requires: Some(|i| {
        ["k_scale", "v_scale"].into_iter().try_for_each(|s| i.within(s, 1e-30..1e30))?;
        let bucket = i.value::<Option<usize>>("bucket").unwrap_or(usize::MAX);
        i.within("lengths", 0.0..1.0 + i.dim("slots").min(bucket) as f64)
    }),
    cases: fp8_cases,
    ..CONTRACT
};
nki::contract!(FP8_CONTRACT);

fn fp8_cases() -> Vec<Case> {
    let mut all: Vec<Case> = [1, 127, 129, 320].map(|slots| case([2, 1, 3, 1, slots, 40])).into();
    all.extend([1, 3, 32, 64, 88, 127, 128].map(|d| case([2, 2, 8, 4, 257, d])));
    all.push(with_lengths(case([2, 1, 4, 2, 130, 64]), "zeros"));
    all.push(with_lengths(case([2, 5, 4, 2, 130, 64]), "full(130)"));
    all.push(case([2, 2, 6, 3, 200, 16]).arg("sink", "uniform(-2,2)").arg("window", "50"));
    all.push(case([1, 8, 16, 2, 260, 64]).arg("k_scale", "full(0.004)").arg("v_scale", "full(1)"));
    all.push(with_lengths(case([3, 1, 4, 2, 700, 32]), "uniform(0,301)").arg("bucket", "300"));
    all
}

/// What `attention_decode_masked` promises.
pub static MASKED_CONTRACT: Contract = Contract {
    kernel: attention_decode_masked::INFO,
    dims: &[
        ("batch", 2),
        ("tokens", 1),
        ("heads", 4),
        ("kv_heads", 2),
        ("slots", 256),
        ("d", 64),
        ("mask_heads", 1),
    ],
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "slots"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "slots", "d"]).filled("uniform(0,1)"),
        TensorRule::new("mask", &["batch", "slots", "tokens", "mask_heads"])
            .of(DType::U8)
            .filled("uniform(0,2)"),
        TensorRule::new("new_mask", &["batch", "tokens", "tokens", "mask_heads"]).of(DType::U8).optional(),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    reference: |i| {
        let mask = in_bucket(i);
        let tensors = tensors(i, reference::Seen::Masks(&mask, i.get("new_mask")));
        vec![reference::attention_decode(&tensors, &shape(i, i.dim("slots")))]
    },
    requires: None,
    cases: masked_cases,
    flops: |i| {
        let shown = in_bucket(i).iter().filter(|m| **m != 0.0).count() * i.dim("heads") / i.dim("mask_heads");
        4 * ((shown + i.dim("batch") * i.dim("tokens").pow(2) * i.dim("heads")) * i.dim("d")) as u64
    },
    ..CONTRACT
};
nki::contract!(MASKED_CONTRACT);

/// The mask as far as it is looked at.
fn in_bucket(i: &Inputs) -> Vec<f64> {
    let (slots, row) = (i.dim("slots"), i.dim("tokens") * i.dim("mask_heads"));
    let bucket = i.value::<Option<usize>>("bucket").unwrap_or(slots);
    let mask = i.tensor("mask").iter().enumerate();
    mask.map(|(at, shown)| if at / row % slots < bucket { *shown } else { 0.0 }).collect()
}

fn masked_cases() -> Vec<Case> {
    let case = |sizes: [usize; 6], mask_heads: usize, mask: &str| {
        let mut case = case(sizes);
        case.args.retain(|a| a.0 != "lengths");
        case.dims.push(("mask_heads", mask_heads));
        case.arg("mask", mask)
    };
    let mut all = Vec::new();
    for slots in [1, 127, 129, 320] {
        all.push(case([2, 1, 3, 1, slots, 40], 1, "uniform(0,2)"));
        all.push(case([1, 3, 4, 2, slots, 64], 4, "uniform(0,2)").arg("new_mask", "uniform(0,2)"));
    }
    // Any number but 0 shows; few slots of many, all of them, none.
    all.push(case([2, 2, 8, 4, 257, 32], 8, "uniform(0,256)").arg("sink", "uniform(-2,2)"));
    all.push(case([2, 5, 4, 2, 1024, 128], 1, "full(7)").arg("keys", "256").arg("scale", "0.5"));
    all.push(case([2, 2, 4, 2, 130, 64], 1, "zeros"));
    // Nothing is seen at all, without a sink and with one.
    all.push(case([2, 2, 4, 2, 130, 64], 4, "zeros").arg("new_mask", "zeros"));
    all.push(case([2, 2, 4, 2, 130, 17], 1, "zeros").arg("new_mask", "zeros").arg("sink", "uniform(15,25)"));
    // A bucket hides slots that the mask shows; one key head, whose new tokens are hidden.
    all.push(case([3, 1, 4, 2, 260, 24], 4, "uniform(0,2)").arg("new_mask", "full(1)").arg("bucket", "160"));
    all.push(case([1, 3, 4, 1, 30, 64], 4, "uniform(0,2)").arg("new_mask", "uniform(0,2)"));
    all
}

/// What `attention_decode_blocks` promises.
pub static BLOCKS_CONTRACT: Contract = Contract {
    kernel: attention_decode_blocks::INFO,
    dims: &[("batch", 2), ("tokens", 1), ("heads", 4), ("kv_heads", 2), ("rows", 320), ("n", 16), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["rows", "kv_heads", "d"]),
        TensorRule::new("v_cache", &["rows", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("table", &["batch", "n"]).of(DType::I32).filled("uniform(0,20)"),
        TensorRule::new("lengths", &["batch"]).of(DType::I32).filled("uniform(0,257)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    reference: blocks_reference,
    requires: Some(in_blocks),
    cases: blocks_cases,
    ..CONTRACT
};
nki::contract!(BLOCKS_CONTRACT);

/// Whether sequences are no longer than their blocks, which the cache has.
fn in_blocks(i: &Inputs) -> Result<(), String> {
    let bucket = i.value::<Option<usize>>("bucket").unwrap_or(usize::MAX);
    i.within("lengths", 0.0..1.0 + (i.dim("n") * i.value::<usize>("length")).min(bucket) as f64)?;
    i.within("table", f64::NEG_INFINITY..(i.dim("rows") / i.value::<usize>("length")) as f64)
}

/// What `attention_decode_blocks_fp8` promises.
pub static BLOCKS_FP8_CONTRACT: Contract = Contract {
    kernel: attention_decode_blocks_fp8::INFO,
    tensors: &[
        TensorRule::new("q", &["batch", "tokens", "heads", "d"]),
        TensorRule::new("k", &["batch", "tokens", "kv_heads", "d"]),
        TensorRule::new("v", &["batch", "tokens", "kv_heads", "d"]).filled("uniform(0,1)"),
        TensorRule::new("k_cache", &["rows", "kv_heads", "d"]).of(DType::F8E4M3).filled("normal(0,30)"),
        TensorRule::new("v_cache", &["rows", "kv_heads", "d"]).of(DType::F8E4M3).filled("uniform(0,240)"),
        TensorRule::new("k_scale", &["1"]).of(DType::F32).filled("full(0.033)"),
        TensorRule::new("v_scale", &["1"]).of(DType::F32).filled("full(0.0042)"),
        TensorRule::new("table", &["batch", "n"]).of(DType::I32).filled("uniform(0,20)"),
        TensorRule::new("lengths", &["batch"]).of(DType::I32).filled("uniform(0,257)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    tolerance: FP8_CONTRACT.tolerance,
    requires: Some(|i| {
        ["k_scale", "v_scale"].into_iter().try_for_each(|s| i.within(s, 1e-30..1e30))?;
        in_blocks(i)
    }),
    ..BLOCKS_CONTRACT
};
nki::contract!(BLOCKS_FP8_CONTRACT);

/// The elements of a cache, each times its scale where there is one.
fn times_scale(i: &Inputs, cache: &str, scale: &str) -> Vec<f64> {
    let scale = i.get(scale).map_or(1.0, |s| s[0]);
    i.tensor(cache).iter().map(|x| x * scale).collect()
}

/// The reference of `attention_decode` over what the blocks of each sequence hold.
fn blocks_reference(i: &Inputs) -> Vec<Vec<f64>> {
    let (length, n) = (i.value::<usize>("length"), i.dim("n"));
    let s = shape(i, n * length);
    let blocks = reference::Blocks { table: i.tensor("table"), length, n };
    let [keys, values] = [times_scale(i, "k_cache", "k_scale"), times_scale(i, "v_cache", "v_scale")];
    let (k_cache, v_cache) = (blocks.laid_out(&keys, &s, true), blocks.laid_out(&values, &s, false));
    let seen = reference::Seen::Lengths(i.tensor("lengths"));
    let tensors = reference::Tensors { k_cache: &k_cache, v_cache: &v_cache, ..tensors(i, seen) };
    vec![reference::attention_decode(&tensors, &s)]
}

fn blocks_cases() -> Vec<Case> {
    let case = |[batch, tokens, heads, kv_heads]: [usize; 4], [blocks, length, n, d]: [usize; 4]| {
        let dims = [
            ("batch", batch),
            ("tokens", tokens),
            ("heads", heads),
            ("kv_heads", kv_heads),
            ("rows", blocks * length),
            ("n", n),
            ("d", d),
        ];
        Case::dims(&dims)
            .arg("length", length.to_string())
            .arg("lengths", format!("uniform(0,{})", n * length + 1))
            .arg("table", format!("uniform(0,{blocks})"))
    };
    let absent = |mut case: Case, lengths: &str, table: &str| {
        case.args.retain(|a| a.0 != "lengths" && a.0 != "table");
        case.arg("lengths", lengths).arg("table", table)
    };
    vec![
        case([1, 1, 1, 1], [1, 1, 1, 1]),
        case([2, 1, 3, 1], [7, 16, 9, 40]),
        case([3, 2, 8, 4], [11, 32, 10, 32]),
        case([1, 3, 4, 2], [5, 13, 21, 64]),
        case([2, 1, 4, 2], [3, 257, 2, 128]).arg("keys", "128"),
        case([2, 4, 6, 3], [9, 16, 8, 17]).arg("window", "50").arg("sink", "uniform(-2,2)"),
        case([130, 1, 2, 2], [6, 4, 3, 8]),
        absent(case([2, 1, 4, 2], [4, 16, 20, 64]), "uniform(0,65)", "uniform(-1,4)").arg("bucket", "64"),
        // More slots than their numbers are made of at a time.
        absent(case([2, 1, 4, 2], [4, 100, 50, 4]), "uniform(0,5001)", "uniform(0,4)"),
        absent(case([2, 1, 4, 2], [4, 16, 3, 64]), "zeros", "full(-1)"),
    ]
}
