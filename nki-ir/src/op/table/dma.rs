//! Transfers (isa.md 9.6).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[OpRow {
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
}];
