//! MX formats: packed elements with shared scales (isa.md 9.1.2 and 9.3.13).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::NcMatmulMx,
        name: "nc_matmul_mx",
        section: "9.1.2",
        engines: &[(Engine::Tensor, Gen4)],
        operands: &[
            OperandSpec { effect: Effect::ReadWrite, ..dst(P, Free) },
            src("stationary", S, Free),
            src("moving", S, Free),
            src("stationary_scale", S, Scales),
            src("moving_scale", S, Scales),
        ],
        attrs: &[
            // [row, col]; empty: the whole array.
            with("tile_position", A::Ints, || Attr::Ints(vec![])),
            with("tile_size", A::Ints, || Attr::Ints(vec![])),
            with("accumulate", A::Accumulate, || Attr::Accumulate(Accumulate::Auto)),
        ],
        timing: TimingClass::Matmul,
        summary: "matrix product of MX-quantised operands",
    },
    OpRow {
        op: Op::QuantizeMx,
        name: "quantize_mx",
        section: "9.3.13",
        engines: &[(Engine::Vector, Gen4)],
        operands: &[dst(S, Free), src("src", S, Free), OperandSpec { name: "dst_scale", ..dst(S, Scales) }],
        attrs: &[],
        timing: TimingClass::Quad,
        summary: "16-bit floats to MXFP8 data and scales",
    },
];
