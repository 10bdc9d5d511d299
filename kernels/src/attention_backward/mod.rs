//! `attention_backward`: the gradients of [`attention`](mod@crate::attention). See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::attention_backward::{AttentionBackwardConfig, attention_backward};
//!
//! // One query that sees one key: the result is the value, whatever the score, whose exponential is its own sum.
//! let one = |x: f32| Tensor::from_f32(&[1, 1, 1], &[x]).unwrap();
//! let lse = Tensor::from_f32(&[1, 1], &[6.0]).unwrap();
//! let cfg = AttentionBackwardConfig::default();
//! let (q, k, v, o, dy) = (one(2.0), one(3.0), one(5.0), one(5.0), one(7.0));
//! let s = attention_backward::specialize::<f32>(&q, &k, &v, &o, &dy, &lse, None::<&Tensor>, cfg);
//! let results = s.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!([0, 1, 2].map(|i| to_f64(&results[i])[0]), [0.0, 0.0, 7.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{AttentionBackwardConfig, attention_backward};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `attention_backward` promises.
pub static CONTRACT: Contract = Contract {
    kernel: attention_backward::INFO,
    dims: &[("heads", 2), ("kv_heads", 1), ("queries", 256), ("keys", 256), ("d", 64)],
    tensors: &[
        TensorRule::new("q", &["heads", "queries", "d"]),
        TensorRule::new("k", &["kv_heads", "keys", "d"]),
        TensorRule::new("v", &["kv_heads", "keys", "d"]),
        TensorRule::new("o", &["heads", "queries", "d"]),
        TensorRule::new("dy", &["heads", "queries", "d"]),
        TensorRule::new("lse", &["heads", "queries"]).of(DType::F32).filled("uniform(3,6)"),
        TensorRule::new("sink", &["heads"]).of(DType::F32).optional(),
    ],
    results: &[
        ResultRule { name: "dq", shape: &["heads", "queries", "d"] },
        ResultRule { name: "dk", shape: &["kv_heads", "keys", "d"] },
        ResultRule { name: "dv", shape: &["kv_heads", "keys", "d"] },
        ResultRule { name: "dsink", shape: &["heads"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        let mut all = reference::attention_backward(&operands(i), shape(i)).to_vec();
        all.extend(i.get("sink").map(|sink| reference::sink_gradient(&operands(i), sink, shape(i))));
        all
    },
    tolerance: |dtype| match dtype {
        // An exponential of a score of ten turns the score's own rounding into 1e-6; sums are of either sign.
        DType::F32 => Tolerance::new(3e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    // `p` and `ds` are rounded before the products that follow.
    rounded_terms: Some(|i| [reference::rounded_terms(&operands(i), shape(i)), vec![0.0]].concat()),
    cases,
    // Five products.
    flops: |i| 10 * ["heads", "queries", "keys", "d"].iter().map(|d| i.dim(d) as u64).product::<u64>(),
};
nki::contract!(CONTRACT);

fn operands(i: &Inputs) -> reference::Operands<'_> {
    reference::Operands {
        q: i.tensor("q"),
        k: i.tensor("k"),
        v: i.tensor("v"),
        o: i.tensor("o"),
        dy: i.tensor("dy"),
        lse: i.tensor("lse"),
    }
}

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
        scale: i.value::<Option<f32>>("scale").map_or(1.0 / (d as f64).sqrt(), f64::from),
    }
}

fn cases() -> Vec<Case> {
    let case = |heads, kv_heads, queries, keys, d| {
        let dims = [("heads", heads), ("kv_heads", kv_heads), ("queries", queries), ("keys", keys), ("d", d)];
        Case::dims(&dims)
    };
    let mut all =
        vec![case(1, 1, 1, 1, 1), case(2, 1, 3, 200, 16), case(3, 3, 131, 37, 80), case(2, 2, 5, 7, 128)];
    // Several parts of keys, ragged.
    all.push(case(1, 1, 129, 300, 8).arg("keys", "128"));
    all.push(case(1, 1, 7, 513, 8).arg("scale", "0.3"));
    for (n, part) in [(1, "512"), (128, "512"), (129, "512"), (200, "128"), (300, "256")] {
        all.push(case(2, 1, n, n, 16).arg("causal", "true").arg("keys", part));
    }
    for window in ["1", "2", "100", "128", "130", "1000"] {
        for (n, part) in [(5, "512"), (129, "128"), (300, "256"), (400, "512")] {
            let causal = case(2, 1, n, n, 16).arg("causal", "true").arg("keys", part);
            all.push(causal.arg("window", window));
        }
    }
    // Logarithms of sums that hold the sinks.
    all.push(case(4, 2, 131, 70, 24).arg("sink", "uniform(-2,5)"));
    all.push(case(3, 1, 1, 9, 8).arg("sink", "uniform(-2,5)"));
    all.push(case(2, 1, 260, 260, 16).arg("causal", "true").arg("window", "50").arg("sink", "uniform(-2,5)"));
    all
}
