//! Reductions across partitions, gathers and searches of the GpSimd engine (isa.md 9.4.1 and 9.4.4 to 9.4.8).

use super::{Inst, kinds};
use crate::elem::{Elem, bf16};
use crate::nc::Nc;
use crate::space::GpSimdOperand;
use crate::tensor::Tensor;
use nki_ir::kernel::Attr;
use nki_ir::{AluOp, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::tensor_partition_reduce`].
    TensorPartitionReduce;
    /// [`Nc::sequence_bounds`].
    SequenceBounds;
    /// [`Nc::local_gather`].
    LocalGather;
    /// [`Nc::nc_n_gather`].
    NcNGather;
    /// [`Nc::nonzero_with_count`].
    NonzeroWithCount;
    /// [`Nc::topk`].
    Topk;
}

impl Nc {
    /// `dst[0, f] = op over p of data[p, f]` for add, average, maximum, bitwise_or and bitwise_and; `dst` is `[1, N]`
    /// (isa.md 9.4.1). A matrix product with a tile of ones is faster for sums.
    #[track_caller]
    pub fn tensor_partition_reduce<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        op: AluOp,
        data: Tensor<T, MS>,
    ) -> Inst<TensorPartitionReduce>
    where
        D: Elem,
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::TensorPartitionReduce, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .attr("op", Attr::Alu(op))
    }

    /// For each of the n ids in `segment_ids` `[1, n]` where its run of equal neighbours begins, and behind these n where it
    /// ends; `(n, -1)` for id 0 (isa.md 9.4.4). `dst` is `[1, 2, n]`; ids and bounds are float32 or int32.
    #[track_caller]
    pub fn sequence_bounds<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        segment_ids: Tensor<T, MS>,
    ) -> Inst<SequenceBounds>
    where
        D: Elem,
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::SequenceBounds, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("segment_ids", segment_ids.operand(self.trace, place))
    }

    /// Gathers columns: the 16 partitions of a group share one list of indices, `list[t] = index[t mod 16, t div 16]`, and
    /// `dst[p, t·e + j] = src_buffer[p, list[t] + j]` for the `e` elements of an index (isa.md 9.4.5).
    #[track_caller]
    pub fn local_gather<T, MD, MS, MI>(
        self,
        dst: Tensor<T, MD>,
        src_buffer: Tensor<T, MS>,
        index: Tensor<u16, MI>,
    ) -> Inst<LocalGather>
    where
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
        MI: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::LocalGather, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src_buffer", src_buffer.operand(self.trace, place))
            .operand("index", index.operand(self.trace, place))
    }

    /// `dst[p, i] = data[p, indices[p, i]]`, free dimensions flattened (isa.md 9.4.6).
    #[track_caller]
    pub fn nc_n_gather<T, MD, MS, MI>(
        self,
        dst: Tensor<T, MD>,
        data: Tensor<T, MS>,
        indices: Tensor<u32, MI>,
    ) -> Inst<NcNGather>
    where
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
        MI: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcNGather, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("indices", indices.operand(self.trace, place))
    }

    /// In every sixteenth partition: the positions of the nonzero elements of `src` (float32 or int32, n columns), then
    /// padding, and in column n their number (isa.md 9.4.7). The other partitions keep their content. From trn2 on.
    #[track_caller]
    pub fn nonzero_with_count<T, MD, MS>(
        self,
        dst: Tensor<i32, MD>,
        src: Tensor<T, MS>,
    ) -> Inst<NonzeroWithCount>
    where
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::NonzeroWithCount, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
    }

    /// The K largest, ascending, of the `n` elements that each group of 16 partitions holds, and their indices: element i lies
    /// in partition `i mod 16`, column `i div 16` (isa.md 9.4.8). All 16 rows of `val_dst` and `idx_dst` `[P, K]` get the
    /// result. From trn2 on.
    #[track_caller]
    pub fn topk<MV, MI, MS>(
        self,
        val_dst: Tensor<bf16, MV>,
        idx_dst: Tensor<u32, MI>,
        src: Tensor<bf16, MS>,
        n: usize,
    ) -> Inst<Topk>
    where
        MV: GpSimdOperand,
        MI: GpSimdOperand,
        MS: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::Topk, place)
            .operand("val_dst", val_dst.operand(self.trace, place))
            .operand("idx_dst", idx_dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .attr("n", Attr::Int(n as i64))
    }
}

impl Inst<LocalGather> {
    /// Elements for each index: 1, 2, 4, 8, 16 or 32. Indices count elements, not blocks.
    pub fn num_elem_per_idx(self, n: usize) -> Self {
        self.attr("num_elem_per_idx", Attr::Int(n as i64))
    }
    /// How many indices of the list are used; all of them unless set.
    pub fn num_valid_indices(self, n: usize) -> Self {
        self.attr("num_valid_indices", Attr::Int(n as i64))
    }
}

impl Inst<NonzeroWithCount> {
    /// What is added to every position.
    pub fn index_offset(self, offset: i32) -> Self {
        self.attr("index_offset", Attr::Int(offset.into()))
    }
    /// What follows the last position; -1 unless set.
    pub fn padding_val(self, value: i32) -> Self {
        self.attr("padding_val", Attr::Int(value.into()))
    }
}
