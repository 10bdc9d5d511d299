//! `foreach` and `foreach_norm`: an optimiser's operations on flat tensors. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::foreach::{Foreach, ForeachConfig, foreach};
//!
//! let vector = |x: &[f32]| Tensor::from_f32(&[x.len()], x).unwrap();
//! let (x, y, s) = (vector(&[1.0, 2.0]), vector(&[10.0, 20.0]), vector(&[0.5]));
//! let cfg = ForeachConfig { op: Foreach::Sub, ..ForeachConfig::default() };
//! let out = foreach::specialize::<f32>(&x, Some(&y), None::<&Tensor>, Some(&s), cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&out[0]), [-4.0, -8.0]);
//! ```

mod kernel;
mod norm;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{Foreach, ForeachConfig, foreach};
pub use norm::{ForeachNormConfig, Norm, foreach_norm};

use nki::check::{Case, Contract, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `foreach` promises.
pub static CONTRACT: Contract = Contract {
    kernel: foreach::INFO,
    dims: &[("n", 262_144)],
    tensors: &[
        TensorRule::new("x", &["n"]).filled("uniform(0.5,2)"),
        TensorRule::new("y", &["n"]).optional(),
        TensorRule::new("z", &["n"]).optional(),
        TensorRule::new("scalar", &["1"]).of(DType::F32).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["n"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let s = i.get("scalar").map_or(0.0, |s| s[0]);
        vec![reference::foreach(i.value("op"), i.tensor("x"), i.get("y"), i.get("z"), s)]
    },
    // Up to four roundings in f32 of values near 1.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(3e-7, 3e-7),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| 2 * i.dim("n") as u64,
};
nki::contract!(CONTRACT);

const SIZES: [usize; 8] = [1, 7, 127, 128, 129, 1000, 4099, 40_000];

fn cases() -> Vec<Case> {
    let data = "uniform(0.5,2)";
    let with = |op: &str, operands: &[&'static str], n| {
        let case = Case::dims(&[("n", n)]).arg("op", op);
        operands.iter().fold(case, |c, name| c.arg(name, data))
    };
    let mut all: Vec<Case> = SIZES.iter().map(|&n| with("add", &["y", "scalar"], n)).collect();
    for op in ["add_scalar", "sub_scalar", "mul_scalar", "div_scalar"] {
        all.push(with(op, &["scalar"], 1000));
    }
    all.extend(["sub", "lerp"].map(|op| with(op, &["y", "scalar"], 1000)));
    all.extend(["mul", "div"].map(|op| with(op, &["y"], 1000)));
    all.extend(["addcdiv", "addcmul"].map(|op| with(op, &["y", "z", "scalar"], 1000)));
    all.push(with("sqrt", &[], 1000));
    all.push(with("lerp", &["y", "scalar"], 40_001).arg("columns", "100"));
    all
}

/// What `foreach_norm` promises.
pub static NORM_CONTRACT: Contract = Contract {
    kernel: foreach_norm::INFO,
    tensors: &[TensorRule::new("x", &["n"])],
    results: &[ResultRule { name: "out", shape: &["1", "1"] }],
    reference: |i| vec![vec![i.value::<Norm>("norm").of(i.tensor("x"))]],
    // f32 sums of terms of one sign: of up to 313 in a partition and 128 across, each rounding is at most 6e-8 of the sum.
    tolerance: |_| Tolerance::new(1e-5, 0.0),
    cases: || {
        let norms = ["l1", "l2", "l_inf"];
        let case = |norm: &'static str, n| Case::dims(&[("n", n)]).arg("norm", norm);
        let mut all: Vec<Case> = norms.iter().flat_map(|norm| SIZES.map(|n| case(norm, n))).collect();
        all.extend(norms.map(|norm| case(norm, 40_001).arg("columns", "100")));
        all
    },
    ..CONTRACT
};
nki::contract!(NORM_CONTRACT);
