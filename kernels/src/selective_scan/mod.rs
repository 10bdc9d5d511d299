//! `selective_scan`: the recurrence of Mamba. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::selective_scan::{SelectiveScanConfig, selective_scan};
//!
//! // One channel, one state that halves in every step.
//! let row = |x: [f32; 3]| Tensor::from_f32(&[1, 1, 3], &x).unwrap();
//! let a = Tensor::from_f32(&[1, 1], &[0.5f32.ln()]).unwrap();
//! let (x, one) = (row([8.0, 0.0, 4.0]), row([1.0; 3]));
//! let cfg = SelectiveScanConfig::default();
//! let none = None::<&Tensor>;
//! let s = selective_scan::specialize::<f32>(&x, &one, &a, &one, &one, none, none, cfg);
//! let y = nki::args::to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0]);
//! assert!(y.iter().zip([8.0, 4.0, 6.0]).all(|(y, want)| (y - want).abs() < 1e-5));
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{SelectiveScanConfig, selective_scan};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What `selective_scan` promises.
pub static CONTRACT: Contract = Contract {
    kernel: selective_scan::INFO,
    dims: &[("batch", 1), ("channels", 128), ("states", 16), ("length", 512)],
    tensors: &[
        TensorRule::new("x", &["batch", "channels", "length"]),
        TensorRule::new("dt", &["batch", "channels", "length"]).filled("uniform(0.01,0.5)"),
        TensorRule::new("a", &["channels", "states"]).of(DType::F32).filled("uniform(-2,-0.1)"),
        TensorRule::new("in_", &["batch", "states", "length"]),
        TensorRule::new("out", &["batch", "states", "length"]),
        TensorRule::new("skip", &["channels"]).of(DType::F32).optional(),
        TensorRule::new("initial", &["batch", "channels", "states"]).of(DType::F32).optional(),
    ],
    results: &[
        ResultRule { name: "y", shape: &["batch", "channels", "length"] },
        ResultRule { name: "last", shape: &["batch", "channels", "states"] },
    ],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| reference::selective_scan(&operands(i), extents(i)).into(),
    tolerance: |dtype| match dtype {
        // A state carries the errors of the steps that it has not forgotten, and `y` is a sum over states of either sign.
        DType::F32 => Tolerance::new(2e-5, 1e-5),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    // Each state: rate, exponential, input, two of the recurrence, two of the sum.
    flops: |i| 7 * ["batch", "channels", "states", "length"].iter().map(|d| i.dim(d) as u64).product::<u64>(),
};
nki::contract!(CONTRACT);

fn extents(i: &Inputs) -> reference::Shape {
    reference::Shape {
        batch: i.dim("batch"),
        channels: i.dim("channels"),
        states: i.dim("states"),
        length: i.dim("length"),
    }
}

fn operands(i: &Inputs) -> reference::Operands<'_> {
    reference::Operands {
        x: i.tensor("x"),
        dt: i.tensor("dt"),
        a: i.tensor("a"),
        in_: i.tensor("in_"),
        out: i.tensor("out"),
        skip: i.get("skip"),
        initial: i.get("initial"),
    }
}

fn cases() -> Vec<Case> {
    let mut all = sweep(&[("channels", 37), ("states", 3), ("length", 33)], &[1, 5]);
    for (batch, channels, states, length) in [(2, 129, 4, 7), (1, 3, 16, 513), (3, 1, 17, 40)] {
        let dims = [("batch", batch), ("channels", channels), ("states", states), ("length", length)];
        all.push(Case::dims(&dims).arg("skip", "normal").arg("initial", "normal"));
    }
    // Many chunks, the last of one step.
    let dims = [("batch", 2), ("channels", 5), ("states", 2), ("length", 33)];
    all.push(Case::dims(&dims).arg("steps", "8").arg("initial", "normal"));
    all
}
