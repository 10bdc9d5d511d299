//! GpSimd (isa.md 9.4).

use super::columns::*;

/// What a pattern begins with: a number, or a register (isa.md 9.4.2, 9.4.3).
const PATTERN_OFFSET: OperandSpec = OperandSpec {
    name: "offset",
    effect: Effect::Read,
    kind: OperandKind::IntOrReg,
    memories: Memories { hbm: false, sbuf: false, psum: false },
    optional: true,
};

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::TensorPartitionReduce,
        name: "tensor_partition_reduce",
        section: "9.4.1",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Free), src("data", S, Free)],
        attrs: &[attr("op", A::Alu)],
        timing: TimingClass::GpSimd,
        summary: "reduce across partitions",
    },
    OpRow {
        op: Op::Iota,
        name: "iota",
        section: "9.4.2",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Free), PATTERN_OFFSET],
        attrs: &[attr("pattern", A::Pairs), with("channel_multiplier", A::Int, || Attr::Int(0))],
        timing: TimingClass::GpSimd,
        summary: "affine index pattern",
    },
    OpRow {
        op: Op::AffineSelect,
        name: "affine_select",
        section: "9.4.3",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Tile), src("on_true_tile", S, Tile), PATTERN_OFFSET],
        attrs: &[
            attr("pattern", A::Pairs),
            with("channel_multiplier", A::Int, || Attr::Int(0)),
            attr("on_false_value", A::F32),
            with("cmp_op", A::Alu, || Attr::Alu(AluOp::Equal)),
        ],
        timing: TimingClass::GpSimd,
        summary: "select by the sign of an affine expression",
    },
    OpRow {
        op: Op::SequenceBounds,
        name: "sequence_bounds",
        section: "9.4.4",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Free), src("segment_ids", S, Free)],
        attrs: &[],
        timing: TimingClass::Gather,
        summary: "begin and end of each element's segment",
    },
    OpRow {
        op: Op::LocalGather,
        name: "local_gather",
        section: "9.4.5",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Free), src("src_buffer", S, Free), src("index", S, Free)],
        attrs: &[
            with("num_elem_per_idx", A::Int, || Attr::Int(1)),
            // -1 stands for all of the index tile.
            with("num_valid_indices", A::Int, || Attr::Int(-1)),
        ],
        timing: TimingClass::Gather,
        summary: "gather columns by indices that 16 partitions share",
    },
    OpRow {
        op: Op::NcNGather,
        name: "nc_n_gather",
        section: "9.4.6",
        engines: &[(Engine::GpSimd, Gen2)],
        operands: &[dst(S, Free), src("data", S, Free), src("indices", S, Free)],
        attrs: &[],
        timing: TimingClass::Gather,
        summary: "gather columns by indices of each partition",
    },
    OpRow {
        op: Op::NonzeroWithCount,
        name: "nonzero_with_count",
        section: "9.4.7",
        engines: &[(Engine::GpSimd, Gen3)],
        operands: &[dst(S, Sixteenths), src("src", S, Sixteenths)],
        attrs: &[
            with("index_offset", A::Int, || Attr::Int(0)),
            with("padding_val", A::Int, || Attr::Int(-1)),
        ],
        timing: TimingClass::GpSimd,
        summary: "positions and number of nonzero elements",
    },
    OpRow {
        op: Op::Topk,
        name: "topk",
        section: "9.4.8",
        engines: &[(Engine::GpSimd, Gen3)],
        operands: &[
            OperandSpec { name: "val_dst", ..dst(S, Free) },
            OperandSpec { name: "idx_dst", ..dst(S, Free) },
            src("src", S, Free),
        ],
        // The active elements of each group of 16 partitions.
        attrs: &[attr("n", A::Int)],
        timing: TimingClass::TopK,
        summary: "the K largest elements of 16 partitions, with their indices",
    },
];
