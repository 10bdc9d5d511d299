//! `elementwise`, `fused`, `select`, `clamp`, `cast`, `dynamic_add`: operations on elements. See `DESIGN.md`.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::elementwise::{Binary, ElementwiseConfig, elementwise};
//!
//! let x = Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
//! let row = Tensor::from_f32(&[2], &[10.0, 100.0]).unwrap();
//! let none = None::<&Tensor>;
//! let cfg = ElementwiseConfig { op: Binary::Mul, ..ElementwiseConfig::default() };
//! let y = elementwise::specialize::<f32>(&x, none, Some(&row), none, cfg).run(Mode::Sim, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [10.0, 200.0, 30.0, 400.0]);
//! ```

mod convert;
mod dynamic;
mod kernel;
mod passes;
pub mod reference;
#[cfg(test)]
mod tests;

pub use convert::{CastConfig, cast};
pub use dynamic::{DynamicAddConfig, dynamic_add};
pub use kernel::{Binary, ElementwiseConfig, elementwise};
pub use passes::{ClampConfig, FusedConfig, SelectConfig, clamp, fused, select};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;
use reference::Other;

/// What all of them have in common.
const ELEMENTS: Contract = Contract {
    kernel: elementwise::INFO,
    dims: &[("rows", 256), ("columns", 1024)],
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("y", &["rows", "columns"]).optional(),
        TensorRule::new("row", &["columns"]).optional(),
        TensorRule::new("column", &["rows"]).optional(),
    ],
    results: &[ResultRule { name: "out", shape: &["rows", "columns"] }],
    dtypes: &[DType::F32, DType::BF16, DType::F16],
    reference: |i| {
        let number = Other::Number(i.value::<f32>("scalar").into());
        let other = i.get("y").map(Other::Matrix).or(i.get("row").map(Other::Row));
        let other = other.or(i.get("column").map(Other::Column)).unwrap_or(number);
        vec![reference::elementwise(
            i.tensor("x"),
            i.dim("columns"),
            i.value("op"),
            other,
            i.value("reverse"),
        )]
    },
    // One operation in f32 is exact but for its rounding; a division has two.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(1.2e-7, 0.0),
        dtype => Tolerance::of(dtype),
    },
    requires: None,
    rounded_terms: None,
    cases,
    flops: elements,
};

fn elements(i: &Inputs) -> u64 {
    (i.dim("rows") * i.dim("columns")) as u64
}

/// What `elementwise` promises.
pub static CONTRACT: Contract = ELEMENTS;
nki::contract!(CONTRACT);

fn cases() -> Vec<Case> {
    let small = || Case::dims(&[("rows", 37), ("columns", 131)]);
    // No divisor near 0: the quotient is to be judged, not its overflow.
    let data = "uniform(0.5,2)";
    let mut all = Vec::new();
    for op in ["add", "sub", "mul", "div", "min", "max"] {
        for reverse in ["false", "true"] {
            let case = small().arg("op", op).arg("reverse", reverse).arg("x", data);
            all.extend(["y", "row", "column"].map(|other| case.clone().arg(other, data)));
            all.push(case.arg("scalar", "-1.5"));
        }
    }
    for other in ["y", "row", "column"] {
        let shapes = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 128, 129]);
        all.extend(shapes.into_iter().map(|c| c.arg(other, "normal").arg("op", "sub")));
        all.push(Case::dims(&[("rows", 131), ("columns", 201)]).arg("columns", "100").arg(other, "normal"));
    }
    all.push(small().arg("x", "special").arg("y", "special").nan_matches());
    all.push(small().arg("x", "special").arg("scalar", "2").arg("op", "max").nan_matches());
    all
}

/// What `fused` promises.
pub static FUSED_CONTRACT: Contract = Contract {
    kernel: fused::INFO,
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("y", &["rows", "columns"]).optional(),
    ],
    reference: |i| {
        let first = Other::Number(i.value::<f32>("a").into());
        let second = i.get("y").map_or(Other::Number(i.value::<f32>("b").into()), Other::Matrix);
        let columns = i.dim("columns");
        let t = reference::elementwise(i.tensor("x"), columns, i.value("op0"), first, i.value("reverse0"));
        vec![reference::elementwise(&t, columns, i.value("op1"), second, i.value("reverse1"))]
    },
    // The first result is rounded to f32 and may be lost in the second: its error is relative to the operands, which are near 1.
    tolerance: |dtype| match dtype {
        DType::F32 => Tolerance::new(1.2e-7, 1e-6),
        dtype => Tolerance::of(dtype),
    },
    cases: || {
        let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 129]);
        for (op0, op1) in [("mul", "add"), ("sub", "mul"), ("max", "min"), ("add", "sub"), ("min", "max")] {
            let case =
                Case::dims(&[("rows", 37), ("columns", 131)]).arg("op0", op0).arg("op1", op1).arg("a", "0.7");
            all.push(case.clone().arg("b", "-0.3"));
            all.push(case.clone().arg("b", "-0.3").arg("reverse0", "true").arg("reverse1", "true"));
            all.push(case.clone().arg("y", "normal").arg("columns", "100"));
            all.push(case.arg("y", "normal").arg("reverse0", "true").arg("reverse1", "true"));
        }
        all
    },
    flops: |i| 2 * elements(i),
    ..ELEMENTS
};
nki::contract!(FUSED_CONTRACT);

/// What `select` promises.
pub static SELECT_CONTRACT: Contract = Contract {
    kernel: select::INFO,
    tensors: &[
        TensorRule::new("condition", &["rows", "columns"]).of(DType::U8).filled("uniform(0,2)"),
        TensorRule::new("x", &["rows", "columns"]),
        TensorRule::new("y", &["rows", "columns"]),
    ],
    reference: |i| vec![reference::select(i.tensor("condition"), i.tensor("x"), i.tensor("y"))],
    tolerance: |_| Tolerance::EXACT,
    cases: || {
        let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 128, 129]);
        let small = || Case::dims(&[("rows", 131), ("columns", 201)]).arg("columns", "100");
        all.push(small().arg("condition", "uniform"));
        all.push(small().arg("x", "special").arg("y", "special").nan_matches());
        all
    },
    ..ELEMENTS
};
nki::contract!(SELECT_CONTRACT);

/// What `clamp` promises.
pub static CLAMP_CONTRACT: Contract = Contract {
    kernel: clamp::INFO,
    tensors: &[TensorRule::new("x", &["rows", "columns"])],
    reference: |i| {
        let limit = |name, none: f64| i.value::<Option<f32>>(name).map_or(none, f64::from);
        vec![reference::clamp(i.tensor("x"), limit("low", f64::NEG_INFINITY), limit("high", f64::INFINITY))]
    },
    // The limits of the cases are numbers of every dtype.
    tolerance: |_| Tolerance::EXACT,
    cases: || {
        let limited = |c: Case| c.arg("low", "-0.5").arg("high", "0.25");
        let mut all: Vec<Case> =
            sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 129]).into_iter().map(limited).collect();
        let small = || Case::dims(&[("rows", 131), ("columns", 201)]).arg("columns", "100");
        all.extend([small().arg("low", "0"), small().arg("high", "-1")]);
        all.push(limited(small()).arg("x", "special").nan_matches());
        all
    },
    ..ELEMENTS
};
nki::contract!(CLAMP_CONTRACT);

/// What `cast` promises. The cases hold numbers that every dtype has; roundings and overflows have tests of their own.
pub static CAST_CONTRACT: Contract = Contract {
    kernel: cast::INFO,
    tensors: &[
        TensorRule::new("x", &["rows", "columns"]).filled("uniform(0,100)"),
        TensorRule::new("out", &["rows", "columns"]).of(DType::BF16).filled("zeros"),
    ],
    reference: |i| vec![reference::cast(i.tensor("x"), i.dtype("out"))],
    tolerance: |_| Tolerance::EXACT,
    cases: || {
        let integers = [DType::I32, DType::U32, DType::I16, DType::U16, DType::I8, DType::U8];
        let mut all = sweep(&[("rows", 141), ("columns", 67)], &[1, 127, 129]);
        all.iter_mut().for_each(|c| c.dtypes = vec![DType::F32, DType::BF16]);
        let small = || Case::dims(&[("rows", 5), ("columns", 20)]).arg("x", "iota(0,1)");
        for to in ["f32", "bf16", "f16", "i32", "u32", "i16", "u16", "i8", "u8"] {
            let to = format!("zeros:{to}");
            all.push(small().arg("out", to.clone()).dtypes(&integers));
            all.push(small().arg("out", to).dtypes(&[DType::F32, DType::BF16, DType::F16]));
        }
        all.push(small().arg("columns", "7"));
        all
    },
    flops: |_| 0,
    ..ELEMENTS
};
nki::contract!(CAST_CONTRACT);

/// What `dynamic_add` promises.
pub static DYNAMIC_ADD_CONTRACT: Contract = Contract {
    kernel: dynamic_add::INFO,
    tensors: &[
        TensorRule::new("a", &["rows", "columns"]),
        TensorRule::new("b", &["rows", "columns"]),
        TensorRule::new("tiles", &["1", "1"]).of(DType::I32).filled("ones"),
        TensorRule::new("out", &["rows", "columns"]),
    ],
    requires: Some(|i| i.within("tiles", 0.0..1.0 + (i.dim("rows") / 128) as f64)),
    reference: |i| {
        let rows = 128 * i.tensor("tiles")[0] as usize;
        let sums = (i.tensor("a"), i.tensor("b"), i.tensor("out"));
        vec![reference::add_rows(sums.0, sums.1, sums.2, i.dim("columns"), rows)]
    },
    cases: || {
        let tiles = |rows: usize, columns, n: usize| {
            Case::dims(&[("rows", rows), ("columns", columns)]).arg("tiles", format!("full({n})"))
        };
        let mut all = vec![tiles(128, 1, 0), tiles(128, 67, 1), tiles(256, 129, 1), tiles(384, 201, 3)];
        all.push(tiles(512, 513, 2).arg("columns", "128"));
        all
    },
    ..ELEMENTS
};
nki::contract!(DYNAMIC_ADD_CONTRACT);
