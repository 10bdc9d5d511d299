//! Instructions of the vector engine on whole rows: scans, exponentials, statistics, the eight largest, shuffles (isa.md 9.3).

use super::{Inst, ScalarOrVec, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::Tensor;
use nki_ir::kernel::Attr;
use nki_ir::op::ReduceCmd;
use nki_ir::{AluOp, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::tensor_tensor_scan`].
    TensorTensorScan;
    /// [`Nc::tensor_scalar_cumulative`].
    TensorScalarCumulative;
    /// [`Nc::exponential`].
    Exponential;
    /// [`Nc::bn_stats`].
    BnStats;
    /// [`Nc::bn_aggr`].
    BnAggr;
    /// [`Nc::max8`].
    Max8;
    /// [`Nc::nc_find_index8`].
    NcFindIndex8;
    /// [`Nc::nc_match_replace8`].
    NcMatchReplace8;
    /// [`Nc::nc_stream_shuffle`].
    NcStreamShuffle;
}

impl Nc {
    /// The recurrence `s = op1(op0(data0, s), data1)` along the free axis from `initial`, every `s` written (isa.md 9.3.3).
    /// Multiply and add give `s = a · s + b`.
    #[track_caller]
    pub fn tensor_tensor_scan<D, T, U, MD, MT, MU>(
        self,
        dst: Tensor<D, MD>,
        data0: Tensor<T, MT>,
        data1: Tensor<U, MU>,
        initial: impl ScalarOrVec,
        op0: AluOp,
        op1: AluOp,
    ) -> Inst<TensorTensorScan>
    where
        D: Elem,
        T: Elem,
        U: Elem,
        MD: OnChip,
        MT: OnChip,
        MU: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::TensorTensorScan, place);
        let initial = initial.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("data0", data0.operand(self.trace, place))
            .operand("data1", data1.operand(self.trace, place))
            .operand("initial", initial)
            .attr("op0", Attr::Alu(op0))
            .attr("op1", Attr::Alu(op1))
    }

    /// The running value `acc = op1(op0(src, imm0), acc)` along the free axis, every `acc` written (isa.md 9.3.7).
    #[track_caller]
    pub fn tensor_scalar_cumulative<D, T, MD, MT>(
        self,
        dst: Tensor<D, MD>,
        src: Tensor<T, MT>,
        op0: AluOp,
        op1: AluOp,
        imm0: impl ScalarOrVec,
    ) -> Inst<TensorScalarCumulative>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::TensorScalarCumulative, place);
        let imm0 = imm0.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .attr("op0", Attr::Alu(op0))
            .attr("op1", Attr::Alu(op1))
            .operand("imm0", imm0)
    }

    /// `dst = exp(src - max_value)`, on trn3, four elements per cycle (isa.md 9.3.11); `max_value` is 0 unless set.
    #[track_caller]
    pub fn exponential<D, T, MD, MT>(self, dst: Tensor<D, MD>, src: Tensor<T, MT>) -> Inst<Exponential>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Exponential, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
    }

    /// Count, mean and sum of squared deviations of the even columns of `data` (512 at most), then of the odd ones: `dst` is
    /// `[P, 6]` (isa.md 9.3.17).
    #[track_caller]
    pub fn bn_stats<D, T, MD, MT>(self, dst: Tensor<D, MD>, data: Tensor<T, MT>) -> Inst<BnStats>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::BnStats, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
    }

    /// Mean and population variance from results of [`bn_stats`](Nc::bn_stats) side by side; `dst` is `[P, 2]` (isa.md 9.3.18).
    #[track_caller]
    pub fn bn_aggr<D, T, MD, MT>(self, dst: Tensor<D, MD>, data: Tensor<T, MT>) -> Inst<BnAggr>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::BnAggr, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
    }

    /// The eight largest elements of each partition, descending; `dst` is `[P, 8]` (isa.md 9.3.19).
    #[track_caller]
    pub fn max8<D, T, MD, MT>(self, dst: Tensor<D, MD>, src: Tensor<T, MT>) -> Inst<Max8>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Max8, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
    }

    /// The position in `data` of each of eight values, all-ones if there is none; `dst` is `[P, 8]` of uint16 or uint32
    /// (isa.md 9.3.20).
    #[track_caller]
    pub fn nc_find_index8<D, T, U, MD, MT, MU>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<T, MT>,
        vals: Tensor<U, MU>,
    ) -> Inst<NcFindIndex8>
    where
        D: Elem,
        T: Elem,
        U: Elem,
        MD: OnChip,
        MT: OnChip,
        MU: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcFindIndex8, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("vals", vals.operand(self.trace, place))
    }

    /// `data` with the first occurrence of each of eight values replaced by `imm` (isa.md 9.3.21).
    #[track_caller]
    pub fn nc_match_replace8<D, T, U, MD, MT, MU>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<T, MT>,
        vals: Tensor<U, MU>,
        imm: f32,
    ) -> Inst<NcMatchReplace8>
    where
        D: Elem,
        T: Elem,
        U: Elem,
        MD: OnChip,
        MT: OnChip,
        MU: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcMatchReplace8, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("vals", vals.operand(self.trace, place))
            .attr("imm", Attr::F32(imm))
    }

    /// In each group of 32 partitions, partition `i` of `dst` becomes partition `shuffle_mask[i]` of `src`, or stays where the
    /// entry is 255 (isa.md 9.3.22).
    #[track_caller]
    pub fn nc_stream_shuffle<D, T, MD, MT>(
        self,
        dst: Tensor<D, MD>,
        src: Tensor<T, MT>,
        shuffle_mask: &[i64],
    ) -> Inst<NcStreamShuffle>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcStreamShuffle, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .attr("shuffle_mask", Attr::Ints(shuffle_mask.to_vec()))
    }
}

impl Inst<TensorTensorScan> {
    /// Exchanges the sides of the first operator.
    pub fn reverse0(self, on: bool) -> Self {
        self.flag("reverse0", on)
    }
    /// Exchanges the sides of the second operator.
    pub fn reverse1(self, on: bool) -> Self {
        self.flag("reverse1", on)
    }
}

impl Inst<TensorScalarCumulative> {
    /// The value that the accumulators start from, with [`ReduceCmd::LoadReduce`].
    #[track_caller]
    pub fn imm1(self, imm1: impl ScalarOrVec) -> Self {
        let operand = imm1.__operand(self.anchor(Location::caller()));
        self.operand("imm1", operand)
    }
    /// What the instruction does with the engine's accumulators (isa.md section 6).
    pub fn reduce_cmd(self, cmd: ReduceCmd) -> Self {
        self.attr("reduce_cmd", Attr::ReduceCmd(cmd))
    }
}

impl Inst<Exponential> {
    /// Subtracted first: a number or a float32 column.
    #[track_caller]
    pub fn max_value(self, max_value: impl ScalarOrVec) -> Self {
        let operand = max_value.__operand(self.anchor(Location::caller()));
        self.operand("max_value", operand)
    }
    /// The value that the accumulators start from, with [`ReduceCmd::LoadReduce`].
    #[track_caller]
    pub fn reduce_init(self, reduce_init: impl ScalarOrVec) -> Self {
        let operand = reduce_init.__operand(self.anchor(Location::caller()));
        self.operand("reduce_init", operand)
    }
    /// Where the reduction goes: one element per partition. Without it the value stays in the accumulators.
    #[track_caller]
    pub fn reduce_res<T: Elem, M: OnChip>(self, dst: Tensor<T, M>) -> Self {
        let operand = dst.operand(self.trace, Location::caller());
        self.operand("reduce_res", operand)
    }
    /// What the instruction does with the engine's accumulators (isa.md section 6).
    pub fn reduce_cmd(self, cmd: ReduceCmd) -> Self {
        self.attr("reduce_cmd", Attr::ReduceCmd(cmd))
    }
}

impl Inst<NcMatchReplace8> {
    /// Where the replaced positions go, `[P, 8]` of uint16 or uint32; all-ones for a value that does not occur.
    #[track_caller]
    pub fn dst_idx<T: Elem, M: OnChip>(self, dst_idx: Tensor<T, M>) -> Self {
        let operand = dst_idx.operand(self.trace, Location::caller());
        self.operand("dst_idx", operand)
    }
}
