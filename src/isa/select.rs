//! Selections of the vector engine (isa.md 9.3.9, 9.3.14 and 9.3.15).

use super::{Inst, ScalarOrVec, TileOrScalar, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::Tensor;
use nki_ir::kernel::Attr;
use nki_ir::op::ReduceCmd;
use nki_ir::{AluOp, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::tensor_copy_predicated`].
    TensorCopyPredicated;
    /// [`Nc::range_select`].
    RangeSelect;
    /// [`Nc::select_reduce`].
    SelectReduce;
}

impl Nc {
    /// Overwrites `dst` with `src`, a tile of its dtype or a number, where `predicate` (unsigned integers) is not 0; other
    /// elements keep what they hold (isa.md 9.3.9).
    #[track_caller]
    pub fn tensor_copy_predicated<D, T, MD, MT>(
        self,
        dst: Tensor<D, MD>,
        src: impl TileOrScalar,
        predicate: Tensor<T, MT>,
    ) -> Inst<TensorCopyPredicated>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::TensorCopyPredicated, place);
        let src = src.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("src", src)
            .operand("predicate", predicate.operand(self.trace, place))
    }

    /// Keeps the elements of `on_true_tile` whose column `i` satisfies `comp_op0(i, bound0)` and `comp_op1(i, bound1)`, and
    /// writes the smallest float32 elsewhere; the bounds are float32 columns (isa.md 9.3.14). From trn2 on. The maximum of each
    /// partition goes to [`reduce_res`](Inst::reduce_res).
    #[track_caller]
    pub fn range_select<D, T, MD, MT, M0, M1>(
        self,
        dst: Tensor<D, MD>,
        on_true_tile: Tensor<T, MT>,
        comp_op0: AluOp,
        comp_op1: AluOp,
        bound0: Tensor<f32, M0>,
        bound1: Tensor<f32, M1>,
    ) -> Inst<RangeSelect>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
        M0: OnChip,
        M1: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::RangeSelect, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("on_true_tile", on_true_tile.operand(self.trace, place))
            .attr("comp_op0", Attr::Alu(comp_op0))
            .attr("comp_op1", Attr::Alu(comp_op1))
            .operand("bound0", bound0.operand(self.trace, place))
            .operand("bound1", bound1.operand(self.trace, place))
    }

    /// `on_true` where `predicate` is not 0, else `on_false`, a number or a column (isa.md 9.3.15).
    #[track_caller]
    pub fn select_reduce<D, T, U, MD, MT, MU>(
        self,
        dst: Tensor<D, MD>,
        predicate: Tensor<T, MT>,
        on_true: Tensor<U, MU>,
        on_false: impl ScalarOrVec,
    ) -> Inst<SelectReduce>
    where
        D: Elem,
        T: Elem,
        U: Elem,
        MD: OnChip,
        MT: OnChip,
        MU: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::SelectReduce, place);
        let on_false = on_false.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("predicate", predicate.operand(self.trace, place))
            .operand("on_true", on_true.operand(self.trace, place))
            .operand("on_false", on_false)
    }
}

impl Inst<TensorCopyPredicated> {
    /// Overwrites where the predicate is 0 instead.
    pub fn reverse_pred(self, on: bool) -> Self {
        self.flag("reverse_pred", on)
    }
}

impl Inst<RangeSelect> {
    /// The number of the first column, 0 unless set.
    pub fn range_start(self, start: i64) -> Self {
        self.attr("range_start", Attr::Int(start))
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

impl Inst<SelectReduce> {
    /// Takes `on_true` where the predicate is 0 instead.
    pub fn reverse_pred(self, on: bool) -> Self {
        self.flag("reverse_pred", on)
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
