//! The scalar engine (isa.md 9.2).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[OpRow {
    op: Op::Activation,
    name: "activation",
    section: "9.2.1",
    engines: &[(Engine::Scalar, Gen2)],
    operands: &[
        dst(SP, Tile),
        src("data", SP, Tile),
        opt("bias", SP, ScalarOrVec),
        opt("scale", SP, ScalarOrVec),
        out("reduce_res", SP, Vec),
    ],
    attrs: &[
        attr("op", A::Act),
        // `Bypass` stands for none.
        with("reduce_op", A::Alu, || Attr::Alu(AluOp::Bypass)),
        with("reduce_cmd", A::ReduceCmd, || Attr::ReduceCmd(ReduceCmd::Idle)),
    ],
    timing: TimingClass::Activation,
    summary: "func(data * scale + bias), optional running sum",
}];
