//! One function per op. A new op is a row here and a function in the file of its engine.

mod cores;
mod debug;
mod dma;
mod eight;
mod gather;
mod gpsimd;
mod mx;
mod random;
mod reduce;
mod register;
mod scalar;
mod scan;
mod search;
mod select;
mod shuffle;
mod statistics;
mod tensor;
mod transfer;
mod vector;

use super::exec::Exec;
use super::{Fault, Span, fault};
use crate::diag::Code;
use crate::op::{Op, OperandKind};
use smallvec::SmallVec;

pub use mx::lane;
pub use transfer::{MAX_SOURCES, SOURCES};

pub use register::register_value;

type Function = fn(&mut Exec) -> Result<(), Fault>;

/// The functions, in the order of [`Op`].
static FUNCTIONS: &[(Op, Function)] = &[
    // tensor.rs
    (Op::NcMatmul, tensor::nc_matmul),
    (Op::NcTranspose, tensor::nc_transpose),
    // scalar.rs
    (Op::Activation, scalar::activation),
    (Op::ActivationReduce, scalar::activation_reduce),
    (Op::Activate2, scalar::activate2),
    // vector.rs, reduce.rs, scan.rs, select.rs, statistics.rs, eight.rs, shuffle.rs
    (Op::TensorReduce, reduce::tensor_reduce),
    (Op::TensorTensor, vector::tensor_tensor),
    (Op::TensorTensorScan, scan::tensor_tensor_scan),
    (Op::ScalarTensorTensor, vector::scalar_tensor_tensor),
    (Op::TensorScalar, vector::tensor_scalar),
    (Op::TensorScalarReduce, vector::tensor_scalar_reduce),
    (Op::TensorScalarCumulative, scan::tensor_scalar_cumulative),
    (Op::TensorCopy, vector::tensor_copy),
    (Op::TensorCopyPredicated, select::tensor_copy_predicated),
    (Op::Memset, vector::memset),
    (Op::Exponential, vector::exponential),
    (Op::Reciprocal, vector::reciprocal),
    (Op::RangeSelect, select::range_select),
    (Op::SelectReduce, select::select_reduce),
    (Op::Dropout, random::dropout),
    (Op::BnStats, statistics::bn_stats),
    (Op::BnAggr, statistics::bn_aggr),
    (Op::Max8, eight::max8),
    (Op::NcFindIndex8, eight::nc_find_index8),
    (Op::NcMatchReplace8, eight::nc_match_replace8),
    (Op::NcStreamShuffle, shuffle::nc_stream_shuffle),
    // random.rs
    (Op::Rng, random::rng),
    (Op::Rand2, random::rand2),
    (Op::RandSetState, random::rand_set_state),
    (Op::RandGetState, random::rand_get_state),
    (Op::SetRngSeed, random::set_rng_seed),
    // gpsimd.rs, gather.rs and search.rs
    (Op::TensorPartitionReduce, search::tensor_partition_reduce),
    (Op::Iota, gpsimd::iota),
    (Op::AffineSelect, gpsimd::affine_select),
    (Op::SequenceBounds, search::sequence_bounds),
    (Op::LocalGather, gather::local_gather),
    (Op::NcNGather, gather::nc_n_gather),
    (Op::NonzeroWithCount, search::nonzero_with_count),
    (Op::Topk, search::topk),
    // dma.rs and transfer.rs
    (Op::DmaCopy, dma::dma_copy),
    (Op::DmaTranspose, transfer::dma_transpose),
    (Op::DmaCompute, transfer::dma_compute),
    // mx.rs
    (Op::NcMatmulMx, mx::nc_matmul_mx),
    (Op::QuantizeMx, mx::quantize_mx),
    (Op::RegisterMove, register::register_move),
    (Op::RegisterLoad, register::register_load),
    (Op::RegisterStore, register::register_store),
    // debug.rs
    (Op::DevicePrint, debug::device_print),
    (Op::DeviceAssert, debug::device_assert),
    // cores.rs
    (Op::CoreBarrier, cores::core_barrier),
    (Op::Sendrecv, cores::sendrecv),
];

/// The parts of an operand that an instruction reads or writes.
pub(super) fn used(kind: OperandKind, span: &Span) -> SmallVec<[Span; 4]> {
    match kind {
        OperandKind::Scales => mx::scale_rows(span).collect(),
        OperandKind::Sixteenths => SmallVec::from_iter([search::every_sixteenth(span)]),
        _ => SmallVec::from_iter([span.clone()]),
    }
}

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
