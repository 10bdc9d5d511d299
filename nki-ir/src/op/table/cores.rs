//! Between the two cores of a logical core (isa.md 9.8).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::CoreBarrier,
        name: "core_barrier",
        section: "9.8.1",
        engines: &[
            (Engine::GpSimd, Gen3),
            (Engine::Vector, Gen3),
            (Engine::Scalar, Gen3),
            (Engine::Sync, Gen3),
        ],
        operands: &[OperandSpec {
            name: "data",
            // Behind the barrier the tensor holds what both programs have written.
            effect: Effect::Write,
            kind: Free,
            memories: Memories { hbm: true, sbuf: false, psum: false },
            optional: false,
        }],
        attrs: &[
            with("cores", A::Ints, || Attr::Ints(vec![0, 1])),
            // The number of data's buffer in the kernel.
            with("buffer", A::Int, || Attr::Int(0)),
        ],
        timing: TimingClass::Barrier,
        summary: "both programs of a logical core wait for each other; a shared tensor is then the same for both",
    },
    OpRow {
        op: Op::Sendrecv,
        name: "sendrecv",
        section: "9.8.2",
        engines: &[(Engine::GpSimd, Gen3)],
        operands: &[dst(S, Tile), src("src", S, Tile)],
        attrs: &[
            attr("send_to_rank", A::Int),
            attr("recv_from_rank", A::Int),
            with("pipe_id", A::Int, || Attr::Int(0)),
            // NKI's `dma_engine.gpsimd_dma`.
            flag("gpsimd_dma"),
        ],
        timing: TimingClass::Barrier,
        summary: "exchange a tile with the other program of a logical core",
    },
];
