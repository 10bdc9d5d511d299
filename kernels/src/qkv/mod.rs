//! `qkv`, `qkv_block`, `qkv_fp8` and `qkv_update`: tokens to queries, keys and values, with what precedes and what follows. See
//! `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::qkv::{QkvConfig, qkv};
//!
//! // One token of two elements; one head of queries, keys and values each, of one element.
//! let x = Tensor::from_f32(&[1, 2], &[1.0, 2.0]).unwrap();
//! let weight = Tensor::from_f32(&[2, 3, 1], &[1.0, 0.0, 3.0, 0.0, 1.0, 0.5]).unwrap();
//! let (none, no_table) = (None::<&Tensor>, None::<&Tensor>);
//! let spec = qkv::specialize::<f32>(&x, none, &weight, none, no_table, no_table, none, none, QkvConfig::default());
//! let results = spec.run(Mode::Sim, Target::Trn2).unwrap();
//! let [q, k, v] = [0, 1, 2].map(|i| nki::args::to_f64(&results[i])[0]);
//! assert_eq!([q, k, v], [1.0, 2.0, 4.0]);
//! ```
//!
//! After a residual, which is given back summed; straight into caches of three slots; and with an 8-bit weight:
//!
//! ```
//! use nki::args::{from_f64, to_f64};
//! use nki::ir::{DType, Tensor};
//! use nki::prelude::*;
//! use nki_kernels::kv_update::KvUpdateConfig;
//! use nki_kernels::qkv::{QkvConfig, qkv_block, qkv_fp8, qkv_update};
//!
//! let x = Tensor::from_f32(&[1, 1], &[2.0]).unwrap();
//! let weight = Tensor::from_f32(&[1, 3, 1], &[1.0, 2.0, 4.0]).unwrap();
//! let (none, cfg) = (None::<&Tensor>, QkvConfig::default);
//! let run = |spec: nki::Specialization| -> Vec<Vec<f64>> {
//!     spec.run(Mode::Sim, Target::Trn2).unwrap().into_tensors().iter().map(to_f64).collect()
//! };
//! let spec = qkv_block::specialize::<f32>(
//!     &x, Some(&x), none, none, none, &weight, none, none, none, none, none, cfg(),
//! );
//! assert_eq!(run(spec), [[4.0], [8.0], [16.0], [4.0]]);
//!
//! let (k_cache, v_cache) = (Tensor::zeros(DType::F32, &[1, 1, 1, 3]), Tensor::zeros(DType::F32, &[1, 1, 3, 1]));
//! let position = from_f64(DType::I32, &[1], &[1.0]).unwrap();
//! let spec = qkv_update::specialize::<f32>(
//!     &k_cache, &v_cache, &x, none, none, none, none, &weight, none, none, none, none, none, &position, cfg(),
//!     KvUpdateConfig::default(),
//! );
//! assert_eq!(run(spec), [vec![2.0], vec![0.0, 4.0, 0.0], vec![0.0, 8.0, 0.0]]);
//!
//! let weight = from_f64(DType::F8E4M3, &[1, 3, 1], &[2.0, 4.0, 8.0]).unwrap();
//! let scales = Tensor::from_f32(&[3], &[0.5, 0.5, 0.25]).unwrap();
//! let spec = qkv_fp8::specialize::<f32>(&x, none, &weight, &scales, none, none, none, none, none, cfg());
//! assert_eq!(run(spec), [[2.0], [4.0], [4.0]]);
//! ```

mod kernel;
pub(crate) mod normed;
mod project;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{Layout, QkvConfig, qkv, qkv_block, qkv_fp8, qkv_update};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `qkv` promises.
pub static CONTRACT: Contract = Contract {
    kernel: qkv::INFO,
    dims: &[
        ("tokens", 128),
        ("hidden", 256),
        ("slots", 4),
        ("heads", 2),
        ("kv_heads", 1),
        ("d", 64),
        ("half", 32),
    ],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("weight", &["hidden", "slots", "d"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["slots", "d"]).optional(),
        TensorRule::new("cos", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("sin", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("q_gain", &["d"]).optional(),
        TensorRule::new("k_gain", &["d"]).optional(),
    ],
    results: &[
        ResultRule { name: "q", shape: &["tokens", "heads", "d"] },
        ResultRule { name: "k", shape: &["tokens", "kv_heads", "d"] },
        ResultRule { name: "v", shape: &["tokens", "kv_heads", "d"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference,
    // kernels.md 1.7. In f32 the root is that of the scalar engine, and thousands of products are added up.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(3e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    // The normalised tokens are rounded before the product adds them up.
    requires: None,
    rounded_terms: Some(norms),
    cases,
    flops: |i| 2 * (i.dim("tokens") * i.dim("hidden") * i.dim("slots") * i.dim("d")) as u64,
};
nki::contract!(CONTRACT);

fn layer(i: &Inputs) -> reference::Layer<'_> {
    layer_with(i, i.tensor("weight"))
}

/// The layer that `i` describes, with another weight.
fn layer_with<'a>(i: &'a Inputs, weight: &'a [f64]) -> reference::Layer<'a> {
    let kv_heads = i.value("kv_heads");
    reference::Layer {
        gamma: i.get("gamma"),
        beta: i.get("beta"),
        norm: i.value("norm"),
        width: i.value::<Option<usize>>("hidden_actual").unwrap_or(i.dim("hidden")),
        weight,
        bias: i.get("bias"),
        angles: i.get("cos").zip(i.get("sin")),
        q_gain: i.get("q_gain"),
        k_gain: i.get("k_gain"),
        hidden: i.dim("hidden"),
        heads: i.dim("slots") - 2 * kv_heads,
        kv_heads,
        d: i.dim("d"),
        eps: i.value::<f32>("eps").into(),
        pairs: i.value("pairs"),
    }
}

fn reference(i: &Inputs) -> Vec<Vec<f64>> {
    results(i, i.tensor("x"), &layer(i))
}

/// Queries, keys and values of `x`.
fn results(i: &Inputs, x: &[f64], l: &reference::Layer) -> Vec<Vec<f64>> {
    let parts = reference::qkv(x, i.dim("tokens"), l).into_iter();
    parts
        .zip([l.heads, l.kv_heads, l.kv_heads])
        .map(|(y, n)| laid_out(&y, n, l.d, i.value("layout")))
        .collect()
}

/// `[tokens, n, d]` in another order.
fn laid_out(y: &[f64], n: usize, d: usize, layout: Layout) -> Vec<f64> {
    let tokens = y.len() / (n * d);
    let from = |i: usize| match layout {
        Layout::Tokens => i,
        Layout::Heads => (i / d % tokens * n + i / d / tokens) * d + i % d,
        Layout::Columns => (i % tokens * n + i / tokens / d) * d + i / tokens % d,
    };
    (0..y.len()).map(|i| y[from(i)]).collect()
}

/// The size of what each result adds up: the root of the sum of the terms' squares, where it is largest.
fn norms(i: &Inputs) -> Vec<f64> {
    norms_of(i, i.tensor("x"), &layer(i))
}

fn norms_of(i: &Inputs, x: &[f64], layer: &reference::Layer) -> Vec<f64> {
    let squares = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| x * x).collect() };
    let summed = ["mlp_prev", "attn_prev"].iter().any(|r| i.get(r).is_some());
    if i.get("gamma").is_none() && !summed {
        // Tokens that are used as they come are exact.
        return vec![0.0; 3];
    }
    let x = reference::normed(x, layer);
    let weight = squares(layer.weight);
    let plain = reference::Layer {
        gamma: None,
        weight: &weight,
        bias: None,
        angles: None,
        q_gain: None,
        k_gain: None,
        ..*layer
    };
    let sums = reference::qkv(&squares(&x), i.dim("tokens"), &plain);
    let largest = |sums: &Vec<f64>| sums.iter().fold(0.0, |m: f64, s| m.max(*s)).sqrt();
    // A rotation mixes two elements by numbers that the cases draw from a normal distribution; a norm divides.
    let factor = if i.get("cos").is_some() || i.get("q_gain").is_some() { 4.0 } else { 1.0 };
    sums.iter().map(|s| factor * largest(s)).collect()
}

fn case(tokens: usize, hidden: usize, heads: usize, kv_heads: usize, d: usize) -> Case {
    let slots = heads + 2 * kv_heads;
    let dims =
        [("tokens", tokens), ("hidden", hidden), ("slots", slots), ("heads", heads), ("kv_heads", kv_heads)];
    let mut all = dims.to_vec();
    all.extend([("d", d), ("half", d / 2)]);
    Case::dims(&all).arg("kv_heads", kv_heads.to_string())
}

fn rotated(case: Case) -> Case {
    case.arg("cos", "normal").arg("sin", "normal")
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for tokens in [1, 16, 127, 128, 129, 513] {
        all.push(rotated(case(tokens, 256, 3, 1, 32).arg("gamma", "normal")));
    }
    // A hidden size that does not fill 128 partitions evenly takes the other path for few tokens.
    for hidden in [1, 67, 127, 128, 129, 384] {
        all.push(case(5, hidden, 2, 1, 8).arg("bias", "normal"));
        all.push(case(131, hidden, 2, 2, 8).arg("gamma", "normal"));
    }
    for d in [1, 2, 40, 88, 128] {
        let c = case(7, 128, 5, 1, d).arg("gamma", "normal");
        all.push(if d % 2 == 0 { rotated(c) } else { c });
    }
    for pairs in ["halves", "neighbours"] {
        all.push(rotated(case(33, 128, 4, 2, 16)).arg("pairs", pairs).arg("bias", "normal"));
    }
    for tokens in [3, 130] {
        let c = rotated(case(tokens, 256, 9, 3, 64)).arg("q_gain", "uniform(0.5,2)");
        all.push(c.clone().arg("k_gain", "uniform(0.5,2)"));
        all.push(c.arg("bias", "normal").arg("gamma", "normal").arg("eps", "0.5"));
    }
    for layout in ["heads", "columns"] {
        all.push(rotated(case(9, 128, 3, 2, 16)).arg("layout", layout));
        all.push(case(131, 70, 3, 1, 24).arg("layout", layout));
    }
    // More columns than the banks of one pass hold.
    all.push(rotated(case(2, 256, 18, 1, 128)).arg("gamma", "normal"));
    all.extend(
        [5, 140].map(|tokens| case(tokens, 256, 2, 1, 16).arg("gamma", "normal").arg("norm", "layer")),
    );
    all
}

/// What `qkv_block` promises.
pub static BLOCK_CONTRACT: Contract = Contract {
    kernel: qkv_block::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("mlp_prev", &["tokens", "hidden"]).optional(),
        TensorRule::new("attn_prev", &["tokens", "hidden"]).optional(),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("beta", &["hidden"]).optional(),
        TensorRule::new("weight", &["hidden", "slots", "d"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["slots", "d"]).optional(),
        TensorRule::new("cos", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("sin", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("q_gain", &["d"]).optional(),
        TensorRule::new("k_gain", &["d"]).optional(),
    ],
    results: &[
        ResultRule { name: "q", shape: &["tokens", "heads", "d"] },
        ResultRule { name: "k", shape: &["tokens", "kv_heads", "d"] },
        ResultRule { name: "v", shape: &["tokens", "kv_heads", "d"] },
        ResultRule { name: "h", shape: &["tokens", "hidden"] },
    ],
    reference: |i| {
        let [residual, h] = summed(i);
        let mut all = results(i, &h, &layer(i));
        all.extend((!residual.is_empty()).then_some(h));
        all
    },
    rounded_terms: Some(|i| [norms_of(i, &summed(i)[1], &layer(i)), vec![0.0]].concat()),
    cases: block_cases,
    ..CONTRACT
};
nki::contract!(BLOCK_CONTRACT);

/// The residuals' sum, empty without any, and that of them and the tokens.
fn summed(i: &Inputs) -> [Vec<f64>; 2] {
    let residuals = ["mlp_prev", "attn_prev"].map(|r| i.get(r));
    let none = residuals.iter().all(Option::is_none);
    let h = reference::added(i.tensor("x"), residuals);
    [if none { Vec::new() } else { h.clone() }, h]
}

/// Cases with residuals, shifts and padding, in both forms.
fn block_cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (tokens, hidden) in [(1, 128), (7, 256), (128, 384), (3, 200), (129, 256), (140, 67)] {
        let c = || case(tokens, hidden, 3, 1, 16).arg("gamma", "normal(1,0.2)");
        all.push(rotated(c()).arg("mlp_prev", "normal").arg("attn_prev", "normal"));
        all.push(c().arg("attn_prev", "normal").arg("bias", "normal").arg("norm", "layer"));
        all.push(
            c().arg("beta", "normal").arg("norm", "layer").arg("hidden_actual", (hidden - 5).to_string()),
        );
        all.push(c().arg("mlp_prev", "normal").arg("hidden_actual", (hidden / 2).to_string()));
        all.push(case(tokens, hidden, 2, 2, 8).arg("mlp_prev", "normal"));
    }
    all.push(case(5, 256, 3, 1, 16).arg("hidden_actual", "1").arg("gamma", "normal").arg("eps", "0.5"));
    // A mean that is large beside the deviation.
    for tokens in [5, 130] {
        let far =
            case(tokens, 256, 2, 1, 8).arg("x", "normal(30,1)").arg("gamma", "normal").arg("norm", "layer");
        all.push(far.arg("beta", "normal").dtypes(&[DType::F32]));
    }
    all
}

/// What `qkv_update` promises.
pub static UPDATE_CONTRACT: Contract = Contract {
    kernel: qkv_update::INFO,
    dims: &[
        ("tokens", 2),
        ("hidden", 256),
        ("slots", 4),
        ("heads", 2),
        ("kv_heads", 1),
        ("d", 64),
        ("half", 32),
        ("batch", 2),
        ("length", 128),
    ],
    tensors: &[
        TensorRule::new("k_cache", &["batch", "kv_heads", "d", "length"]),
        TensorRule::new("v_cache", &["batch", "kv_heads", "length", "d"]),
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("mlp_prev", &["tokens", "hidden"]).optional(),
        TensorRule::new("attn_prev", &["tokens", "hidden"]).optional(),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("beta", &["hidden"]).optional(),
        TensorRule::new("weight", &["hidden", "slots", "d"]).filled("normal(0,0.05)"),
        TensorRule::new("bias", &["slots", "d"]).optional(),
        TensorRule::new("cos", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("sin", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("q_gain", &["d"]).optional(),
        TensorRule::new("k_gain", &["d"]).optional(),
        TensorRule::new("positions", &["batch"]).of(DType::I32).filled("uniform(0,100)"),
    ],
    // Then `h`, where there are residuals, and the caches, which have their own names.
    results: &[ResultRule { name: "q", shape: &["tokens", "heads", "d"] }],
    reference: |i| {
        let [residual, h] = summed(i);
        let l = layer(i);
        let [q, k, v]: [Vec<f64>; 3] =
            reference::qkv(&h, i.dim("tokens"), &l).try_into().expect("queries, keys and values");
        let new = |values| crate::kv_update::reference::New {
            values,
            positions: i.tensor("positions"),
            tokens: i.dim("tokens") / i.dim("batch"),
            heads: l.kv_heads,
            d: l.d,
            slots: i.dim("length"),
        };
        let updated = |cache, values, columns| {
            crate::kv_update::reference::updated(i.tensor(cache), new(values), columns)
        };
        let q = laid_out(&q, l.heads, l.d, i.value("layout"));
        let mut all = vec![q];
        all.extend((!residual.is_empty()).then_some(h));
        all.extend([updated("k_cache", &k, true), updated("v_cache", &v, false)]);
        all
    },
    requires: Some(|i| {
        let first = if i.value("skip") { f64::NEG_INFINITY } else { 0.0 };
        let each = i.dim("tokens") / i.dim("batch");
        i.within("positions", first..1.0 + i.dim("length") as f64 - each as f64)
    }),
    rounded_terms: Some(|i| {
        let [residual, h] = summed(i);
        let [q, k, v] = norms_of(i, &h, &layer(i)).try_into().expect("queries, keys and values");
        if residual.is_empty() { vec![q, k, v] } else { vec![q, 0.0, k, v] }
    }),
    cases: update_cases,
    ..CONTRACT
};
nki::contract!(UPDATE_CONTRACT);

fn update_cases() -> Vec<Case> {
    let case = |batch: usize, each: usize, hidden, kv_heads, length: usize| {
        let mut c = case(batch * each, hidden, 3, kv_heads, 16);
        c.dims.extend([("batch", batch), ("length", length)]);
        c.arg("positions", format!("uniform(0,{})", length + 1 - each))
    };
    let mut all = vec![
        rotated(case(1, 1, 128, 1, 1)),
        rotated(case(3, 1, 256, 2, 33)).arg("gamma", "normal").arg("mlp_prev", "normal"),
        rotated(case(2, 3, 67, 1, 40)).arg("bias", "normal").arg("layout", "heads"),
        rotated(case(1, 130, 128, 2, 131)).arg("gamma", "normal").arg("beta", "normal").arg("norm", "layer"),
        case(5, 2, 256, 1, 17).arg("attn_prev", "normal").arg("q_gain", "normal").arg("k_gain", "normal"),
    ];
    let mut skipping = case(6, 1, 128, 2, 30).arg("skip", "true");
    skipping.args.retain(|a| a.0 != "positions");
    all.push(skipping.arg("positions", "uniform(-20,30)"));
    all
}

/// What `qkv_fp8` promises.
pub static FP8_CONTRACT: Contract = Contract {
    kernel: qkv_fp8::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]),
        TensorRule::new("gamma", &["hidden"]).optional(),
        TensorRule::new("weight", &["hidden", "slots", "d"]).of(DType::F8E4M3).filled("normal(0,30)"),
        TensorRule::new("scales", &["3"]).of(DType::F32).filled("iota(0.001,0.001)"),
        TensorRule::new("bias", &["slots", "d"]).optional(),
        TensorRule::new("cos", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("sin", &["tokens", "half"]).of(DType::F32).optional(),
        TensorRule::new("q_gain", &["d"]).optional(),
        TensorRule::new("k_gain", &["d"]).optional(),
    ],
    reference: |i| {
        let weight = scaled_weight(i);
        results(i, i.tensor("x"), &layer_with(i, &weight))
    },
    rounded_terms: Some(|i| {
        let weight = scaled_weight(i);
        norms_of(i, i.tensor("x"), &layer_with(i, &weight))
    }),
    cases: || {
        let mut all = vec![case(1, 1, 1, 1, 1), case(129, 67, 3, 2, 24).arg("bias", "normal")];
        for tokens in [1, 5, 128, 131] {
            all.push(rotated(case(tokens, 256, 4, 1, 32).arg("gamma", "normal")));
            all.push(case(tokens, 128, 2, 1, 16).arg("bias", "normal").arg("layout", "heads"));
            let gains = rotated(case(tokens, 256, 9, 3, 64)).arg("q_gain", "uniform(0.5,2)");
            all.push(gains.arg("k_gain", "uniform(0.5,2)").arg("bias", "normal"));
        }
        all
    },
    ..CONTRACT
};
nki::contract!(FP8_CONTRACT);

/// The weight that 8-bit elements and their scales stand for.
fn scaled_weight(i: &Inputs) -> Vec<f64> {
    let (d, slots, kv_heads) = (i.dim("d"), i.dim("slots"), i.value::<usize>("kv_heads"));
    let scale = |at: usize| {
        let slot = at / d % slots;
        let of = if slot + 2 * kv_heads < slots { 0 } else { 1 + (slot + 2 * kv_heads - slots) / kv_heads };
        i.tensor("scales")[of]
    };
    i.tensor("weight").iter().enumerate().map(|(at, w)| w * scale(at)).collect()
}
