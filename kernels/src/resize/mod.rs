//! `resize`: images at another size, nearest or bilinear. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::resize::{ResizeConfig, resize};
//!
//! let x = Tensor::from_f32(&[1, 1, 2], &[0.0, 4.0]).unwrap();
//! let cfg = ResizeConfig { rows: Some(1), ..ResizeConfig::default() };
//! let y = resize::specialize::<f32>(&x, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [0.0, 1.0, 3.0, 4.0]);
//! ```

mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

pub use kernel::{Interpolation, ResizeConfig, resize};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance};
use nki::ir::DType;

/// What `resize` promises.
pub static CONTRACT: Contract = Contract {
    kernel: resize::INFO,
    dims: &[("planes", 16), ("rows", 64), ("columns", 64)],
    tensors: &[TensorRule::new("x", &["planes", "rows", "columns"])],
    results: &[ResultRule { name: "out", shape: &["planes", "rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| vec![resized(i)],
    // Rounded twice, and so are the weights.
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    // What it takes element by element: four products and three sums.
    flops: |i| {
        let (rows, columns) = sizes(i);
        7 * (i.dim("planes") * rows * columns) as u64
    },
};
nki::contract!(CONTRACT);

fn sizes(i: &Inputs) -> (usize, usize) {
    let size = |name, dim| i.value::<Option<usize>>(name).unwrap_or(2 * i.dim(dim));
    (size("rows", "rows"), size("columns", "columns"))
}

fn resized(i: &Inputs) -> Vec<f64> {
    let (rows, columns) = sizes(i);
    reference::resize(i.tensor("x"), [i.dim("rows"), i.dim("columns")], [rows, columns], i.value("kind"))
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in ["nearest", "bilinear"] {
        let case = |planes, rows, columns| {
            Case::dims(&[("planes", planes), ("rows", rows), ("columns", columns)]).arg("kind", kind)
        };
        let to = |c: Case, rows: &str, columns: &str| c.arg("rows", rows).arg("columns", columns);
        all.extend([case(1, 1, 1), case(3, 5, 7), case(2, 129, 6), case(130, 3, 2), case(1, 4, 300)]);
        all.push(to(case(2, 30, 20), "59", "38"));
        all.push(to(case(1, 17, 13), "5", "31"));
        all.push(to(case(2, 8, 12), "1", "4"));
        all.push(to(case(1, 131, 9), "513", "9"));
    }
    // Bit for bit, also of what is no number.
    let special = Case::dims(&[("planes", 3), ("rows", 8), ("columns", 5)]).arg("kind", "nearest");
    all.push(special.arg("x", "special").nan_matches());
    all
}
