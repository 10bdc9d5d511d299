//! The scalar engine (isa.md 9.2).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
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
    },
    OpRow {
        op: Op::ActivationReduce,
        name: "activation_reduce",
        section: "9.2.2",
        engines: &[(Engine::Scalar, Gen2)],
        operands: &[
            dst(SP, Tile),
            src("data", SP, Tile),
            opt("bias", SP, ScalarOrVec),
            opt("scale", SP, ScalarOrVec),
            out("reduce_res", SP, Vec),
        ],
        attrs: &[attr("op", A::Act), attr("reduce_op", A::Alu)],
        timing: TimingClass::Activation,
        summary: "func(data * scale + bias) and its sum over the free axis",
    },
    OpRow {
        op: Op::Activate2,
        name: "activate2",
        section: "9.2.3",
        engines: &[(Engine::Scalar, Gen4)],
        operands: &[
            dst(SP, Tile),
            src("data", SP, Tile),
            opt("imm0", SP, ScalarOrVec),
            opt("imm1", SP, ScalarOrVec),
            opt("relu_param", SP, ScalarOrVec),
            out("reduce_res", SP, Vec),
        ],
        attrs: &[
            attr("op", A::Act),
            with("op0", A::Alu, || Attr::Alu(AluOp::Bypass)),
            with("op1", A::Alu, || Attr::Alu(AluOp::Bypass)),
            flag("reverse0"),
            flag("reverse1"),
            // `Bypass` stands for none.
            with("reduce_op", A::Alu, || Attr::Alu(AluOp::Bypass)),
            with("reduce_cmd", A::ReduceCmd, || Attr::ReduceCmd(ReduceCmd::Idle)),
        ],
        timing: TimingClass::Activation,
        summary: "func(op1(op0(data, imm0), imm1)), optional running reduction",
    },
];
