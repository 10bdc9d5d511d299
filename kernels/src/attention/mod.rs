//! `attention` and `attention_cached`: softmax attention over a whole sequence. See `DESIGN.md`.

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;
mod visible;

pub use kernel::{AttentionConfig, attention, attention_cached};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `attention` promises.
pub static CONTRACT: Contract = Contract {
    kernel: attention::INFO,
    dims: &[("heads", 2), ("kv_heads", 1), ("queries", 128), ("keys", 128), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["heads", "queries", "d"]),
        TensorRule::new("k", &["kv_heads", "keys", "d"]),
        // A weighted mean of positive numbers: no cancellation hides an error of a single weight.
        TensorRule::new("v", &["kv_heads", "keys", "d"]).filled("uniform(0,1)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["heads", "queries", "d"] }],
    dtypes: &[DType::BF16, DType::F32, DType::F16],
    reference: |i| vec![reference(i)],
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops,
};
nki::contract!(CONTRACT);

fn shape(i: &Inputs) -> reference::Shape {
    let d = i.dim("d");
    reference::Shape {
        heads: i.dim("heads"),
        kv_heads: i.dim("kv_heads"),
        queries: i.dim("queries"),
        keys: i.dim("keys"),
        d,
        causal: i.value("causal"),
        window: i.value("window"),
        offset: i.value("offset"),
        scale: i.value::<Option<f64>>("scale").unwrap_or(1.0 / (d as f64).sqrt()),
    }
}

fn reference(i: &Inputs) -> Vec<f64> {
    reference::attention(i.tensor("q"), i.tensor("k"), i.tensor("v"), i.get("sink"), &shape(i))
}

/// Two products over the pairs of a query and a key that it sees.
fn flops(i: &Inputs) -> u64 {
    flops_of(&shape(i))
}

fn flops_of(s: &reference::Shape) -> u64 {
    let seen = |row: usize| {
        let own = row + s.offset;
        match (s.causal, s.window) {
            (false, _) => s.keys,
            (true, None) => s.keys.min(own + 1),
            (true, Some(w)) => s.keys.min(own + 1) - s.keys.min((own + 1).saturating_sub(w)),
        }
    };
    let pairs: usize = (0..s.queries).map(seen).sum();
    4 * (s.heads * s.d * pairs) as u64
}

fn case(heads: usize, kv_heads: usize, queries: usize, keys: usize, d: usize) -> Case {
    let dims = [("heads", heads), ("kv_heads", kv_heads), ("queries", queries), ("keys", keys), ("d", d)];
    Case::dims(&dims)
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in [1, 7, 127, 128, 129, 513] {
        all.push(case(2, 1, n, 45, 40));
        all.push(case(2, 1, 45, n, 40));
        all.push(case(1, 1, n, n, 64).arg("causal", "true"));
    }
    all.extend([1, 8, 88, 127, 128].map(|d| case(3, 3, 33, 150, d).arg("causal", "true")));
    all.push(case(9, 3, 129, 331, 16).arg("causal", "true"));
    all.push(case(5, 1, 130, 257, 80));
    // Keys that came before the queries, and fewer keys than queries.
    all.push(case(2, 1, 100, 331, 80).arg("causal", "true").arg("offset", "231"));
    all.push(case(1, 1, 300, 129, 8).arg("causal", "true"));
    for window in ["1", "100", "128", "129", "500"] {
        all.push(case(2, 1, 300, 577, 24).arg("causal", "true").arg("window", window).arg("offset", "277"));
    }
    // Several tiles of scores, several sections, several groups of queries.
    for causal in ["true", "false"] {
        let cut = case(2, 1, 300, 729, 24).arg("causal", causal);
        all.push(cut.clone().arg("keys", "256").arg("section", "512"));
        all.push(cut.clone().arg("keys", "128").arg("sink", "uniform(-2,2)"));
        all.push(
            cut.arg("keys", "256").arg("section", "256").arg("sink", "uniform(15,25)").arg("scale", "0.5"),
        );
    }
    all.push(case(1, 1, 2100, 300, 8));
    all
}

/// What `attention_cached` promises.
pub static CACHED_CONTRACT: Contract = Contract {
    kernel: attention_cached::INFO,
    dims: &[("heads", 2), ("kv_heads", 1), ("queries", 128), ("slots", 256), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["queries", "heads", "d"]),
        TensorRule::new("k_cache", &["kv_heads", "d", "slots"]),
        TensorRule::new("v_cache", &["kv_heads", "slots", "d"]).filled("uniform(0,1)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["queries", "heads", "d"] }],
    reference: |i| vec![cached_reference(i)],
    cases: cached_cases,
    flops: |i| flops_of(&cached_shape(i)),
    ..CONTRACT
};
nki::contract!(CACHED_CONTRACT);

fn cached_shape(i: &Inputs) -> reference::Shape {
    let d = i.dim("d");
    reference::Shape {
        heads: i.dim("heads"),
        kv_heads: i.dim("kv_heads"),
        queries: i.dim("queries"),
        keys: i.value::<usize>("offset") + i.dim("queries"),
        d,
        causal: i.value("causal"),
        window: i.value("window"),
        offset: i.value("offset"),
        scale: i.value::<Option<f64>>("scale").unwrap_or(1.0 / (d as f64).sqrt()),
    }
}

/// The reference of `attention`, between the layouts of tokens and caches and its own.
fn cached_reference(i: &Inputs) -> Vec<f64> {
    let (s, slots) = (cached_shape(i), i.dim("slots"));
    let q = turned(i.tensor("q"), [s.queries, s.heads, s.d]);
    let head = |h: usize| h * slots * s.d;
    let (k_cache, v_cache) = (i.tensor("k_cache"), i.tensor("v_cache"));
    let (mut k, mut v) = (Vec::new(), Vec::new());
    for h in 0..s.kv_heads {
        k.extend((0..s.keys * s.d).map(|e| k_cache[head(h) + e % s.d * slots + e / s.d]));
        v.extend_from_slice(&v_cache[head(h)..head(h) + s.keys * s.d]);
    }
    turned(&reference::attention(&q, &k, &v, i.get("sink"), &s), [s.heads, s.queries, s.d])
}

/// `[a, b, d]` as `[b, a, d]`.
fn turned(x: &[f64], [a, b, d]: [usize; 3]) -> Vec<f64> {
    (0..a * b * d).map(|i| x[(i / d % a * b + i / d / a) * d + i % d]).collect()
}

fn cached_cases() -> Vec<Case> {
    let case = |heads: usize, kv_heads: usize, queries: usize, offset: usize, slots: usize, d: usize| {
        let dims =
            [("heads", heads), ("kv_heads", kv_heads), ("queries", queries), ("slots", slots), ("d", d)];
        Case::dims(&dims).arg("offset", offset.to_string()).arg("causal", "true")
    };
    let mut all = Vec::new();
    for queries in [1, 7, 128, 129, 300] {
        all.push(case(2, 1, queries, 0, queries, 40));
        all.push(case(4, 2, queries, 45, 400, 64));
        all.push(case(3, 3, queries, 257, 600, 16).arg("sink", "uniform(-2,2)"));
    }
    all.push(case(2, 1, 200, 131, 350, 24).arg("window", "100"));
    all.push(case(2, 1, 130, 300, 512, 24).arg("keys", "128").arg("section", "256"));
    all.push(case(2, 2, 33, 10, 50, 128).arg("scale", "0.25"));
    all
}
