//! The rows. Order of operands is NKI's parameter order, destinations first.

use super::enums::*;
use super::{AttrKind, AttrSpec, Effect, Memories, OpRow, OperandKind, OperandSpec, TimingClass};
use crate::kernel::{Accumulate, Attr};
use crate::target::Gen::{Gen2, Gen3};

/// An instruction. The order is the order of [`OPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    NcMatmul,
    NcTranspose,
    Activation,
    TensorReduce,
    TensorTensor,
    ScalarTensorTensor,
    TensorScalar,
    TensorScalarReduce,
    TensorCopy,
    Memset,
    Reciprocal,
    Iota,
    AffineSelect,
    DmaCopy,
}

const S: Memories = Memories { hbm: false, sbuf: true, psum: false };
const P: Memories = Memories { hbm: false, sbuf: false, psum: true };
const SP: Memories = Memories { hbm: false, sbuf: true, psum: true };
const HS: Memories = Memories { hbm: true, sbuf: true, psum: false };

const fn dst(memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name: "dst", effect: Effect::Write, kind, memories, optional: false }
}
const fn src(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Read, kind, memories, optional: false }
}
const fn opt(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Read, kind, memories, optional: true }
}
const fn out(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Write, kind, memories, optional: true }
}
const fn attr(name: &'static str, kind: AttrKind) -> AttrSpec {
    AttrSpec { name, kind, default: None }
}
const fn with(name: &'static str, kind: AttrKind, default: fn() -> Attr) -> AttrSpec {
    AttrSpec { name, kind, default: Some(default) }
}
const fn flag(name: &'static str) -> AttrSpec {
    with(name, AttrKind::Bool, || Attr::Bool(false))
}

use AttrKind as A;
use OperandKind::{Free, ScalarOrVec, Tile, Vec};

/// The op table.
pub static OPS: &[OpRow] = &[
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
        op: Op::TensorReduce,
        name: "tensor_reduce",
        section: "9.3.1",
        engines: &[(Engine::Vector, Gen2)],
        operands: &[dst(SP, Free), src("data", SP, Free)],
        attrs: &[attr("op", A::Alu), attr("axis", A::Ints), flag("negate"), flag("keepdims")],
        timing: TimingClass::TensorReduce,
        summary: "reduce trailing free dimensions",
    },
    OpRow {
        op: Op::TensorTensor,
        name: "tensor_tensor",
        section: "9.3.2",
        engines: &[(Engine::Vector, Gen2), (Engine::GpSimd, Gen2)],
        operands: &[dst(SP, Tile), src("data1", SP, Tile), src("data2", SP, Tile)],
        attrs: &[attr("op", A::Alu)],
        timing: TimingClass::TensorTensor,
        summary: "element-wise binary operation",
    },
    OpRow {
        op: Op::ScalarTensorTensor,
        name: "scalar_tensor_tensor",
        section: "9.3.4",
        engines: &[(Engine::Vector, Gen2)],
        operands: &[
            dst(SP, Tile),
            src("data", SP, Tile),
            src("operand0", SP, ScalarOrVec),
            src("operand1", SP, Tile),
        ],
        attrs: &[attr("op0", A::Alu), attr("op1", A::Alu), flag("reverse0"), flag("reverse1")],
        timing: TimingClass::ScalarTensorTensor,
        summary: "tensor-scalar, then tensor-tensor",
    },
    OpRow {
        op: Op::TensorScalar,
        name: "tensor_scalar",
        section: "9.3.5",
        engines: &[(Engine::Vector, Gen2), (Engine::Scalar, Gen3), (Engine::GpSimd, Gen2)],
        operands: &[
            dst(SP, Tile),
            src("data", SP, Tile),
            opt("operand0", SP, ScalarOrVec),
            opt("operand1", SP, ScalarOrVec),
        ],
        attrs: &[
            attr("op0", A::Alu),
            // `Bypass` stands for none.
            with("op1", A::Alu, || Attr::Alu(AluOp::Bypass)),
            flag("reverse0"),
            flag("reverse1"),
        ],
        timing: TimingClass::Stream,
        summary: "one or two operators with per-partition operands",
    },
    OpRow {
        op: Op::TensorScalarReduce,
        name: "tensor_scalar_reduce",
        section: "9.3.6",
        engines: &[(Engine::Vector, Gen2)],
        operands: &[
            dst(SP, Tile),
            src("data", SP, Tile),
            src("operand0", SP, ScalarOrVec),
            out("reduce_res", SP, Vec),
            opt("reduce_init", SP, ScalarOrVec),
        ],
        attrs: &[
            attr("op0", A::Alu),
            attr("reduce_op", A::Alu),
            flag("reverse0"),
            with("reduce_cmd", A::ReduceCmd, || Attr::ReduceCmd(ReduceCmd::ResetReduce)),
            flag("reduce_res_negate"),
        ],
        timing: TimingClass::ScalarReduce,
        summary: "tensor-scalar plus a free-axis reduction",
    },
    OpRow {
        op: Op::TensorCopy,
        name: "tensor_copy",
        section: "9.3.8",
        engines: &[(Engine::Vector, Gen2), (Engine::Scalar, Gen3), (Engine::GpSimd, Gen2)],
        operands: &[dst(SP, Tile), src("src", SP, Tile)],
        attrs: &[],
        timing: TimingClass::Stream,
        summary: "copy or convert one tile",
    },
    OpRow {
        op: Op::Memset,
        name: "memset",
        section: "9.3.10",
        engines: &[(Engine::Vector, Gen2), (Engine::GpSimd, Gen2)],
        operands: &[
            dst(SP, Tile),
            OperandSpec {
                name: "value",
                effect: Effect::Read,
                kind: OperandKind::TileOrScalar,
                memories: Memories { hbm: false, sbuf: false, psum: false },
                optional: false,
            },
        ],
        attrs: &[],
        timing: TimingClass::Stream,
        summary: "fill with a constant",
    },
    OpRow {
        op: Op::Reciprocal,
        name: "reciprocal",
        section: "9.3.12",
        engines: &[(Engine::Vector, Gen2)],
        operands: &[dst(SP, Tile), src("data", SP, Tile)],
        attrs: &[],
        timing: TimingClass::Reciprocal,
        summary: "1/x",
    },
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
];
