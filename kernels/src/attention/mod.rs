//! `attention`, `attention_cached` and `attention_cte`: softmax attention over a whole sequence. See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::attention::{AttentionConfig, CteConfig, attention_cte};
//!
//! // One query of two elements as a column, two keys it likes as well as each other, and their values.
//! let of = |shape: &[usize], v: &[f32]| Tensor::from_f32(shape, v).unwrap();
//! let (q, k) = (of(&[1, 2, 1], &[0.0, 1.0]), of(&[1, 2, 2], &[5.0, 3.0, -1.0, 3.0]));
//! let v = of(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
//! let layout = CteConfig { tp_q: false, ..CteConfig::default() };
//! let spec = attention_cte::specialize::<f32>(&q, &k, &v, None::<&Tensor>, layout, AttentionConfig::default());
//! assert_eq!(to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]), [2.0, 3.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;
mod visible;

pub use kernel::{AttentionConfig, CteConfig, attention, attention_cached, attention_cte};

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

/// What `attention_cte` promises. Whether queries and keys are rows or columns is a configuration.
pub static CTE_CONTRACT: Contract = Contract {
    kernel: attention_cte::INFO,
    dims: &[
        ("heads", 2),
        ("kv_heads", 1),
        ("q_rows", 128),
        ("q_columns", 64),
        ("k_rows", 128),
        ("k_columns", 64),
        ("keys", 128),
        ("d", 64),
        ("tiles", 1),
    ],
    tensors: &[
        TensorRule::new("q", &["heads", "q_rows", "q_columns"]),
        TensorRule::new("k", &["kv_heads", "k_rows", "k_columns"]),
        TensorRule::new("v", &["kv_heads", "keys", "d"]).filled("uniform(0,1)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    results: &[
        ResultRule { name: "out", shape: &["heads", "q_rows", "q_columns"] },
        ResultRule { name: "neg_max", shape: &["heads", "128", "tiles"] },
        ResultRule { name: "one_by_sum", shape: &["heads", "128", "tiles"] },
    ],
    reference: cte_reference,
    cases: cte_cases,
    flops: |i| flops_of(&cte_shape(i)),
    ..CONTRACT
};
nki::contract!(CTE_CONTRACT);

fn cte_shape(i: &Inputs) -> reference::Shape {
    let (d, keys) = (i.dim("d"), i.dim("keys"));
    reference::Shape {
        heads: i.dim("heads"),
        kv_heads: i.dim("kv_heads"),
        queries: i.dim(if i.value("tp_q") { "q_rows" } else { "q_columns" }),
        keys,
        d,
        causal: i.value("causal"),
        window: i.value("window"),
        offset: i.value("offset"),
        scale: i.value::<Option<f64>>("scale").unwrap_or(1.0 / (d as f64).sqrt()),
    }
}

fn cte_reference(i: &Inputs) -> Vec<Vec<f64>> {
    let s = cte_shape(i);
    let rows = |x: &[f64], n: usize, are_rows: bool| -> Vec<f64> {
        if are_rows { x.to_vec() } else { x.chunks(n * s.d).flat_map(|x| matrix_turned(x, n)).collect() }
    };
    let q = rows(i.tensor("q"), s.queries, i.value("tp_q"));
    let k = rows(i.tensor("k"), s.keys, i.value("tp_k"));
    let (out, statistics) = reference::with_statistics(&q, &k, i.tensor("v"), i.get("sink"), &s);
    let columns = i.value("tp_out");
    let out = match columns {
        true => out.chunks((s.queries * s.d).max(1)).flat_map(|x| matrix_turned(x, s.d)).collect(),
        false => out,
    };
    if !i.value::<bool>("cache_softmax") {
        return vec![out];
    }
    // Query `128 t + p` at `[p, t]`: the other way round.
    let by_lane = |f: fn(&[f64; 2]) -> f64| -> Vec<f64> {
        let of_head = |all: &[[f64; 2]]| matrix_turned(&all.iter().map(f).collect::<Vec<_>>(), 128);
        statistics.chunks(s.queries.max(1)).flat_map(of_head).collect()
    };
    vec![out, by_lane(|s| -s[0]), by_lane(|s| 1.0 / s[1])]
}

/// A matrix of rows of `columns` elements, transposed.
fn matrix_turned(x: &[f64], columns: usize) -> Vec<f64> {
    let rows = x.len() / columns.max(1);
    (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect()
}

fn cte_cases() -> Vec<Case> {
    let case = |[heads, kv_heads, queries, keys, d]: [usize; 5], flags: &str| {
        let (tp_q, tp_k) = (!flags.contains('q'), !flags.contains('k'));
        let shape = |n, rows: bool| if rows { (n, d) } else { (d, n) };
        let ((q_rows, q_columns), (k_rows, k_columns)) = (shape(queries, tp_q), shape(keys, tp_k));
        let dims = [("heads", heads), ("kv_heads", kv_heads), ("q_rows", q_rows), ("q_columns", q_columns)];
        let more = [("k_rows", k_rows), ("k_columns", k_columns), ("keys", keys), ("d", d)];
        let case = Case::dims(&[&dims[..], &more[..]].concat());
        let case = case.arg("tp_q", tp_q.to_string()).arg("tp_k", tp_k.to_string());
        let case = case.arg("tp_out", flags.contains('o').to_string());
        case.arg("cache_softmax", flags.contains('s').to_string())
    };
    let mut all = Vec::new();
    for flags in ["", "q", "k", "o", "qk", "qo", "ko", "qko"] {
        all.push(case([4, 2, 129, 331, 40], flags).arg("causal", "true").arg("offset", "202"));
        all.push(case([1, 1, 1, 7, 1], flags));
        all.push(case([2, 1, 256, 131, 64], &format!("{flags}s")));
    }
    all.push(case([3, 3, 300, 300, 88], "qko").arg("causal", "true").arg("window", "100"));
    all.push(case([2, 1, 384, 384, 128], "kos").arg("causal", "true").arg("sink", "uniform(15,25)"));
    all.push(case([1, 1, 2304, 300, 8], "qs").arg("scale", "0.5").arg("keys", "128").arg("section", "256"));
    all
}
