//! `pool`: maxima and means of windows of images. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::pool::{PoolConfig, PoolKind, pool};
//!
//! let x = Tensor::from_f32(&[1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).unwrap();
//! let cfg = PoolConfig { kind: PoolKind::Average, ..PoolConfig::default() };
//! let y = pool::specialize::<f32>(&x, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [3.5, 5.5]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{PoolConfig, PoolKind, pool};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `pool` promises.
pub static CONTRACT: Contract = Contract {
    kernel: pool::INFO,
    dims: &[("planes", 128), ("rows", 56), ("columns", 56)],
    tensors: &[TensorRule::new("x", &["planes", "rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["planes", "windows", "windows"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![reference::pool(i.tensor("x"), [i.dim("rows"), i.dim("columns")], &windows(i))],
    // Maxima are exact; means of elements of either sign are rounded once.
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| (i.dim("planes") * i.dim("rows") * i.dim("columns")) as u64,
};
nki::contract!(CONTRACT);

fn windows(i: &Inputs) -> reference::Windows {
    let height = i.value("height");
    reference::Windows {
        kind: i.value("kind"),
        height,
        width: i.value("width"),
        stride: i.value::<Option<usize>>("stride").unwrap_or(height),
        pad: i.value("pad"),
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in ["max", "average"] {
        let case = |planes, rows, columns| {
            Case::dims(&[("planes", planes), ("rows", rows), ("columns", columns)]).arg("kind", kind)
        };
        let square = |c: Case, n: &str| c.arg("height", n).arg("width", n);
        // Planes on partitions, and rows on partitions.
        for (p, r, c) in [(129, 6, 6), (3, 2, 2), (1, 300, 7), (2, 131, 37)] {
            all.push(case(p, r, c));
            all.push(square(case(p, r, c).arg("stride", "1"), "2"));
        }
        all.push(square(case(5, 14, 9).arg("stride", "2").arg("pad", "1"), "3"));
        all.push(square(case(70, 30, 31).arg("stride", "1"), "3").arg("budget", "200"));
        all.push(square(case(2, 40, 11).arg("stride", "1").arg("pad", "1"), "3").arg("budget", "60"));
        all.push(case(2, 30, 40).arg("height", "5").arg("width", "1").arg("stride", "3"));
        all.push(square(case(1, 7, 7), "7"));
        all.push(square(case(4, 1, 1), "1"));
    }
    all
}
