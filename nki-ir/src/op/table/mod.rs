//! The rows, a file per engine. Order of operands is NKI's parameter order, destinations first.

mod columns;
mod cores;
mod debug;
mod dma;
mod gpsimd;
mod mx;
mod random;
mod register;
mod scalar;
mod tensor;
mod vector;

use super::OpRow;

/// An instruction. The order is the order of [`OPS`]: by file, and within a file by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    // tensor.rs
    NcMatmul,
    NcTranspose,

    // scalar.rs
    Activation,
    ActivationReduce,
    Activate2,

    // vector.rs
    TensorReduce,
    TensorTensor,
    TensorTensorScan,
    ScalarTensorTensor,
    TensorScalar,
    TensorScalarReduce,
    TensorScalarCumulative,
    TensorCopy,
    TensorCopyPredicated,
    Memset,
    Exponential,
    Reciprocal,
    RangeSelect,
    SelectReduce,
    Dropout,
    BnStats,
    BnAggr,
    Max8,
    NcFindIndex8,
    NcMatchReplace8,
    NcStreamShuffle,

    // random.rs
    Rng,
    Rand2,
    RandSetState,
    RandGetState,
    SetRngSeed,

    // gpsimd.rs
    TensorPartitionReduce,
    Iota,
    AffineSelect,
    SequenceBounds,
    LocalGather,
    NcNGather,
    NonzeroWithCount,
    Topk,

    // dma.rs
    DmaCopy,
    DmaTranspose,
    DmaCompute,

    // mx.rs
    NcMatmulMx,
    QuantizeMx,

    // register.rs
    RegisterMove,
    RegisterLoad,
    RegisterStore,

    // debug.rs
    DevicePrint,
    DeviceAssert,

    // cores.rs
    CoreBarrier,
    Sendrecv,
}

const FILES: &[&[OpRow]] = &[
    tensor::ROWS,
    scalar::ROWS,
    vector::ROWS,
    random::ROWS,
    gpsimd::ROWS,
    dma::ROWS,
    mx::ROWS,
    register::ROWS,
    debug::ROWS,
    cores::ROWS,
];

const COUNT: usize = {
    let (mut count, mut file) = (0, 0);
    while file < FILES.len() {
        count += FILES[file].len();
        file += 1;
    }
    count
};

static ROWS: [OpRow; COUNT] = {
    let mut rows = [FILES[0][0]; COUNT];
    let (mut at, mut file) = (0, 0);
    while file < FILES.len() {
        let mut row = 0;
        while row < FILES[file].len() {
            rows[at] = FILES[file][row];
            at += 1;
            row += 1;
        }
        file += 1;
    }
    rows
};

/// The op table.
pub static OPS: &[OpRow] = &ROWS;
