//! `router` and `router_grouped`: which experts a token goes to, and how much they count. See `DESIGN.md`.
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::router::{RouterConfig, router};
//!
//! let x = Tensor::from_f32(&[1, 1], &[1.0]).unwrap();
//! let w = Tensor::from_f32(&[1, 3], &[0.0, 3f32.ln(), 2f32.ln()]).unwrap();
//! let s = router::specialize::<f32>(&x, &w, None::<&Tensor>, RouterConfig::default());
//! let results = s.run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(to_f64(&results[1]), [1.0, 2.0]);
//! assert!(to_f64(&results[2]).iter().zip([0.0, 0.6, 0.4]).all(|(a, b)| (a - b).abs() < 1e-5));
//! ```
//!
//! Among groups of two experts of which the better one counts, though a better expert is in the other:
//!
//! ```
//! use nki::args::to_f64;
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::router::{GroupedConfig, router_grouped};
//!
//! let x = Tensor::from_f32(&[1, 1], &[1.0]).unwrap();
//! let w = Tensor::from_f32(&[1, 4], &[2.0, -9.0, 1.0, 1.0]).unwrap();
//! let cfg = GroupedConfig { k: 2, groups: 2, top_groups: 1, factor: 3.0 };
//! let results = router_grouped::specialize::<f32>(&x, &w, None::<&Tensor>, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(to_f64(&results[1]), [2.0, 3.0]);
//! assert!(to_f64(&results[2]).iter().zip([0.0, 0.0, 1.5, 1.5]).all(|(a, b)| (a - b).abs() < 1e-5));
//! ```

mod grouped;
mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use grouped::{GroupedConfig, router_grouped};
pub use kernel::{RouterAct, RouterConfig, router};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `router` promises.
pub static CONTRACT: Contract = Contract {
    kernel: router::INFO,
    dims: &[("tokens", 128), ("hidden", 1024), ("experts", 64)],
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]).filled("uniform(-1,1)"),
        TensorRule::new("w", &["hidden", "experts"]).filled("uniform(-0.1,0.1)"),
        TensorRule::new("bias", &["experts"]).of(DType::F32).optional(),
    ],
    results: &[
        ResultRule { name: "logits", shape: &["tokens", "experts"] },
        ResultRule { name: "index", shape: &["tokens", "k"] },
        ResultRule { name: "affinities", shape: &["tokens", "experts"] },
    ],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| {
        reference::router(i.tensor("x"), i.tensor("w"), i.get("bias"), extents(i), &rule(i)).into()
    },
    // Products of what is given are exact and sums f32 in every dtype.
    tolerance: |_| Tolerance::new(1e-5, 2e-6),
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 2 * (i.dim("tokens") * i.dim("hidden") * i.dim("experts")) as u64,
};
nki::contract!(CONTRACT);

fn extents(i: &Inputs) -> [usize; 2] {
    [i.dim("hidden"), i.dim("experts")]
}

fn rule(i: &Inputs) -> reference::Rule {
    reference::Rule {
        k: i.value("k"),
        act: i.value("act"),
        select_first: i.value("select_first"),
        normalise: i.value("normalise"),
    }
}

fn cases() -> Vec<Case> {
    let case =
        |tokens, hidden, experts| Case::dims(&[("tokens", tokens), ("hidden", hidden), ("experts", experts)]);
    let mut all = Vec::new();
    for (t, h, e, k) in
        [(1, 1, 2, "1"), (4, 128, 16, "4"), (130, 67, 5, "3"), (129, 257, 128, "8"), (3, 300, 509, "8")]
    {
        all.push(case(t, h, e).arg("k", k));
        all.push(case(t, h, e).arg("k", k).arg("bias", "normal").arg("act", "sigmoid"));
    }
    for act in ["softmax", "sigmoid"] {
        for normalise in ["true", "false"] {
            let all_first = case(37, 100, 19).arg("act", act).arg("normalise", normalise);
            all.push(all_first.clone().arg("select_first", "false"));
            all.push(all_first.arg("k", "5"));
        }
    }
    all
}

/// What `router_grouped` promises.
pub static GROUPED_CONTRACT: Contract = Contract {
    kernel: router_grouped::INFO,
    tensors: &[
        TensorRule::new("x", &["tokens", "hidden"]).filled("uniform(-1,1)"),
        TensorRule::new("w", &["hidden", "experts"]).filled("uniform(-0.1,0.1)"),
        TensorRule::new("correction", &["experts"]).of(DType::F32).optional(),
    ],
    reference: |i| {
        let g = reference::Groups {
            k: i.value("k"),
            groups: i.value("groups"),
            top_groups: i.value("top_groups"),
            factor: i.value::<f32>("factor").into(),
        };
        reference::grouped(i.tensor("x"), i.tensor("w"), i.get("correction"), extents(i), &g).into()
    },
    cases: grouped_cases,
    ..CONTRACT
};
nki::contract!(GROUPED_CONTRACT);

fn grouped_cases() -> Vec<Case> {
    let case = |[tokens, hidden, experts]: [usize; 3], [k, groups, top_groups]: [usize; 3]| {
        let case = Case::dims(&[("tokens", tokens), ("hidden", hidden), ("experts", experts)]);
        let case = case.arg("k", k.to_string()).arg("groups", groups.to_string());
        case.arg("top_groups", top_groups.to_string())
    };
    let mut all = Vec::new();
    for (sizes, rule) in [
        ([1, 1, 2], [1, 1, 1]),
        ([4, 128, 16], [4, 4, 2]),
        ([130, 67, 35], [3, 5, 2]),
        ([129, 257, 256], [8, 8, 4]),
        ([3, 300, 504], [8, 252, 8]),
        ([37, 100, 24], [8, 3, 3]),
    ] {
        all.push(case(sizes, rule));
        all.push(case(sizes, rule).arg("correction", "normal").arg("factor", "2.5"));
    }
    all
}
