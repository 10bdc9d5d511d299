//! `qkv`: tokens to queries, keys and values. See `DESIGN.md`.
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

mod kernel;
pub(crate) mod normed;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{Layout, QkvConfig, qkv};

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
    let kv_heads = i.value("kv_heads");
    reference::Layer {
        gamma: i.get("gamma"),
        weight: i.tensor("weight"),
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
    let (l, tokens) = (layer(i), i.dim("tokens"));
    let parts = reference::qkv(i.tensor("x"), tokens, &l).into_iter();
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
    let squares = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| x * x).collect() };
    let x = match i.get("gamma") {
        Some(g) => crate::rmsnorm::reference::rmsnorm(i.tensor("x"), g, i.value::<f32>("eps").into()),
        // Tokens that are not normalised are exact.
        None => return vec![0.0; 3],
    };
    let weight = squares(i.tensor("weight"));
    let plain = reference::Layer {
        gamma: None,
        weight: &weight,
        bias: None,
        angles: None,
        q_gain: None,
        k_gain: None,
        ..layer(i)
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
    all
}
