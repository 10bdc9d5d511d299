//! One function per op. A new op is a row here and a function in the file of its engine.

mod dma;
mod gpsimd;
mod reduce;
mod register;
mod scalar;
mod tensor;
mod vector;

use super::exec::Exec;
use super::{Fault, fault};
use crate::diag::Code;
use crate::op::Op;

pub use register::register_value;

type Function = fn(&mut Exec) -> Result<(), Fault>;

/// The functions, in the order of [`Op`].
static FUNCTIONS: &[(Op, Function)] = &[
    // tensor.rs
    (Op::NcMatmul, tensor::nc_matmul),
    (Op::NcTranspose, tensor::nc_transpose),
    // scalar.rs
    (Op::Activation, scalar::activation),
    // vector.rs and reduce.rs
    (Op::TensorReduce, reduce::tensor_reduce),
    (Op::TensorTensor, vector::tensor_tensor),
    (Op::ScalarTensorTensor, vector::scalar_tensor_tensor),
    (Op::TensorScalar, vector::tensor_scalar),
    (Op::TensorScalarReduce, vector::tensor_scalar_reduce),
    (Op::TensorCopy, vector::tensor_copy),
    (Op::Memset, vector::memset),
    (Op::Reciprocal, vector::reciprocal),
    // gpsimd.rs
    (Op::Iota, gpsimd::iota),
    (Op::AffineSelect, gpsimd::affine_select),
    // dma.rs
    (Op::DmaCopy, dma::dma_copy),
    (Op::RegisterMove, register::register_move),
    (Op::RegisterLoad, register::register_load),
    (Op::RegisterStore, register::register_store),
];

/// The function of `op`.
pub(super) fn function(op: Op) -> Function {
    match FUNCTIONS.get(op as usize) {
        Some((o, f)) if *o == op => *f,
        _ => |e| fault(Code::Limit, format!("{} has no semantics yet", e.call.op)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_has_its_function() {
        assert_eq!(FUNCTIONS.iter().map(|f| f.0).collect::<Vec<_>>(), Op::all().collect::<Vec<_>>());
    }
}
