//! Transfers (isa.md 9.6).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::DmaCopy,
        name: "dma_copy",
        section: "9.6.1",
        engines: &[(Engine::Dma, Gen2)],
        operands: &[dst(HS, Free), src("src", HS, Free)],
        attrs: &[
            // -1 stands for none.
            with("priority", A::Int, || Attr::Int(-1)),
            with("oob_mode", A::Oob, || Attr::Oob(OobMode::Error)),
            with("dge_mode", A::Dge, || Attr::Dge(DgeMode::Unknown)),
            // Which sequencer issues the transfer.
            with("engine", A::Engine, || Attr::Engine(Engine::Unknown)),
        ],
        timing: TimingClass::Dma,
        summary: "copy between HBM and SBUF, with optional cast and dynamic rows",
    },
    OpRow {
        op: Op::DmaTranspose,
        name: "dma_transpose",
        section: "9.6.2",
        engines: &[(Engine::Dma, Gen2)],
        operands: &[dst(S, Free), src("src", HS, Free)],
        attrs: &[
            // Empty: first and last axis change places.
            with("axes", A::Ints, || Attr::Ints(vec![])),
            // src.shape[0], which flattened operands no longer show; 0 for two axes.
            with("rows", A::Int, || Attr::Int(0)),
            with("priority", A::Int, || Attr::Int(-1)),
            with("oob_mode", A::Oob, || Attr::Oob(OobMode::Error)),
            with("dge_mode", A::Dge, || Attr::Dge(DgeMode::Unknown)),
        ],
        timing: TimingClass::Dma,
        summary: "transpose while copying",
    },
    OpRow {
        op: Op::DmaCompute,
        name: "dma_compute",
        section: "9.6.3",
        engines: &[(Engine::Dma, Gen2)],
        operands: &[
            dst(HS, Free),
            src("src0", HS, Free),
            opt("src1", HS, Free),
            opt("src2", HS, Free),
            opt("src3", HS, Free),
            opt("src4", HS, Free),
            opt("src5", HS, Free),
            opt("src6", HS, Free),
            opt("src7", HS, Free),
            opt("src8", HS, Free),
            opt("src9", HS, Free),
            opt("src10", HS, Free),
            opt("src11", HS, Free),
            opt("src12", HS, Free),
            opt("src13", HS, Free),
            opt("src14", HS, Free),
            opt("src15", HS, Free),
        ],
        attrs: &[
            with("reduce_op", A::Alu, || Attr::Alu(AluOp::Add)),
            // Of every source; other values do not exist.
            with("scales", A::F32, || Attr::F32(1.0)),
            with("unique_indices", A::Bool, || Attr::Bool(true)),
            with("oob_mode", A::Oob, || Attr::Oob(OobMode::Error)),
        ],
        timing: TimingClass::Dma,
        summary: "element-wise sum of up to 16 tensors inside the DMA engines",
    },
];
