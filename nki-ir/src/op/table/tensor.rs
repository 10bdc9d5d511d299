//! The tensor engine (isa.md 9.1).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::NcMatmul,
        name: "nc_matmul",
        section: "9.1.1",
        engines: &[(Engine::Tensor, Gen2)],
        operands: &[
            OperandSpec { effect: Effect::ReadWrite, ..dst(P, Free) },
            src("stationary", S, Free),
            src("moving", S, Free),
        ],
        attrs: &[
            flag("is_stationary_onezero"),
            flag("is_moving_onezero"),
            flag("is_transpose"),
            with("accumulate", A::Accumulate, || Attr::Accumulate(Accumulate::Auto)),
            // [row, col]; empty: the whole array.
            with("tile_position", A::Ints, || Attr::Ints(vec![])),
            with("tile_size", A::Ints, || Attr::Ints(vec![])),
            with("perf_mode", A::MatmulPerf, || Attr::MatmulPerf(MatmulPerf::None)),
        ],
        timing: TimingClass::Matmul,
        summary: "stationary-transposed matrix product into PSUM",
    },
    OpRow {
        op: Op::NcTranspose,
        name: "nc_transpose",
        section: "9.1.3",
        engines: &[(Engine::Tensor, Gen2), (Engine::Vector, Gen2)],
        operands: &[dst(SP, Free), src("data", SP, Free)],
        attrs: &[],
        timing: TimingClass::Transpose,
        summary: "swap partition and free axes of one tile",
    },
];
