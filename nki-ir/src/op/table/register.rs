//! Registers of the sequencers (isa.md 9.7). They run on the sync engine's timeline; control flow and dynamic offsets read
//! what they leave.

use super::columns::*;

const NOWHERE: Memories = Memories { hbm: false, sbuf: false, psum: false };

const fn reg(name: &'static str, effect: Effect, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect, kind, memories: NOWHERE, optional: false }
}

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::RegisterMove,
        name: "register_move",
        section: "9.7",
        engines: &[(Engine::Sync, Gen2)],
        operands: &[
            reg("dst", Effect::Write, OperandKind::Reg),
            reg("src", Effect::Read, OperandKind::IndexOrReg),
        ],
        attrs: &[],
        timing: TimingClass::Register,
        summary: "a register takes a constant, a position in a loop or another register",
    },
    OpRow {
        op: Op::RegisterLoad,
        name: "register_load",
        section: "9.7",
        engines: &[(Engine::Sync, Gen2)],
        operands: &[reg("dst", Effect::Write, OperandKind::Reg), src("src", HS, Free)],
        attrs: &[],
        timing: TimingClass::Register,
        summary: "a register takes the one element of a tensor",
    },
    OpRow {
        op: Op::RegisterStore,
        name: "register_store",
        section: "9.7",
        engines: &[(Engine::Sync, Gen2)],
        operands: &[dst(HS, Free), reg("src", Effect::Read, OperandKind::Reg)],
        attrs: &[],
        timing: TimingClass::Register,
        summary: "a register is written to the one element of a tensor",
    },
];
