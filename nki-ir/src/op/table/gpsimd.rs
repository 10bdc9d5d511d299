//! GpSimd (isa.md 9.4).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::Iota,
        name: "iota",
        section: "9.4.2",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[
            dst(S, Free),
            OperandSpec {
                name: "offset",
                effect: Effect::Read,
                kind: OperandKind::IntOrReg,
                memories: Memories { hbm: false, sbuf: false, psum: false },
                optional: true,
            },
        ],
        attrs: &[attr("pattern", A::Pairs), with("channel_multiplier", A::Int, || Attr::Int(0))],
        timing: TimingClass::GpSimd,
        summary: "affine index pattern",
    },
    OpRow {
        op: Op::AffineSelect,
        name: "affine_select",
        section: "9.4.3",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Tile), src("on_true_tile", S, Tile)],
        attrs: &[
            attr("pattern", A::Pairs),
            with("offset", A::Int, || Attr::Int(0)),
            with("channel_multiplier", A::Int, || Attr::Int(0)),
            attr("on_false_value", A::F32),
            with("cmp_op", A::Alu, || Attr::Alu(AluOp::Equal)),
        ],
        timing: TimingClass::GpSimd,
        summary: "select by the sign of an affine expression",
    },
];
