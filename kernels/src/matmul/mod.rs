//! `matmul` and `matmul_blocked`: the matrix product. See `DESIGN.md`.

mod blocked;
mod kernel;
pub mod ladder;
pub mod reference;
#[cfg(test)]
mod tests;

pub use blocked::{BlockedConfig, matmul_blocked};
pub use kernel::{MatmulConfig, matmul};

use nki::check::{Case, Contract, Inputs, ResultRule, TensorRule, Tolerance, sweep};
use nki::ir::DType;

/// What all forms promise.
const PRODUCT: Contract = Contract {
    kernel: matmul::INFO,
    dims: &[("k", 512), ("m", 512), ("n", 512)],
    tensors: &[TensorRule::new("lhs_t", &["k", "m"]), TensorRule::new("rhs", &["k", "n"])],
    results: &[ResultRule { name: "out", shape: &["m", "n"] }],
    dtypes: &[DType::BF16, DType::F16, DType::F32],
    reference: |i| vec![reference::matmul(i.tensor("lhs_t"), i.tensor("rhs"), extents(i))],
    tolerance: Tolerance::of,
    requires: None,
    rounded_terms: None,
    cases,
    flops: |i| extents(i).iter().map(|&d| d as u64).product::<u64>() * 2,
};

/// What `matmul` promises.
pub static CONTRACT: Contract = PRODUCT;
nki::contract!(CONTRACT);

/// What `matmul_blocked` promises.
pub static BLOCKED_CONTRACT: Contract =
    Contract { kernel: matmul_blocked::INFO, cases: blocked_cases, ..PRODUCT };
nki::contract!(BLOCKED_CONTRACT);

fn extents(i: &Inputs) -> [usize; 3] {
    [i.dim("k"), i.dim("m"), i.dim("n")]
}

/// One awkward size in one dimension at a time, all at once, and the shapes of kernels.md 2.3.
fn cases() -> Vec<Case> {
    let mut all = sweep(&[("k", 131), ("m", 37), ("n", 67)], &[1, 127, 128, 129, 513]);
    for [k, m, n] in [[200, 100, 300], [70, 33, 1], [129, 127, 511], [128, 64, 512], [257, 1, 1021]] {
        all.push(Case::dims(&[("k", k), ("m", m), ("n", n)]));
    }
    all
}

fn blocked_cases() -> Vec<Case> {
    let mut all = cases();
    // Several blocks in every dimension, the last of each ragged.
    let small = |k, m, n| {
        let blocks = Case::dims(&[("k", k), ("m", m), ("n", n)]).arg("block_m", "1").arg("block_n", "1");
        blocks.arg("block_k", "1")
    };
    all.extend([small(257, 129, 513), small(384, 256, 512), small(131, 37, 1031)]);
    all
}
