//! Instructions of the scalar engine (isa.md section 9.2).

use super::operand::Anchor;
use super::{Inst, ScalarOrVec, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::Tensor;
use crate::trace::Place;
use nki_ir::kernel::Attr;
use nki_ir::op::ReduceCmd;
use nki_ir::{ActFn, AluOp, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::activation`].
    Activation;
    /// [`Nc::activation_reduce`].
    ActivationReduce;
    /// [`Nc::activate2`].
    Activate2;
}

impl Nc {
    /// `dst = op(data · scale + bias)` element by element, in float32 (isa.md 9.2.1); `scale` is 1 and `bias` absent unless set.
    #[track_caller]
    pub fn activation<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        op: ActFn,
        data: Tensor<T, MS>,
    ) -> Inst<Activation>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Activation, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .attr("op", Attr::Act(op))
    }

    /// [`activation`](Nc::activation) whose results are summed along the free axis, always from 0 (isa.md 9.2.2). The sum goes
    /// to [`reduce_res`](Inst::reduce_res); without it, it stays in the accumulators.
    #[track_caller]
    pub fn activation_reduce<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        op: ActFn,
        data: Tensor<T, MS>,
    ) -> Inst<ActivationReduce>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::ActivationReduce, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .attr("op", Attr::Act(op))
            .attr("reduce_op", Attr::Alu(AluOp::Add))
    }

    /// `dst = op(op1(op0(data, imm0), imm1))` in float32, on trn3 (isa.md 9.2.3). The stages are set by
    /// [`stage0`](Inst::stage0) and [`stage1`](Inst::stage1) and are absent otherwise.
    #[track_caller]
    pub fn activate2<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        op: ActFn,
        data: Tensor<T, MS>,
    ) -> Inst<Activate2>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Activate2, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .attr("op", Attr::Act(op))
    }
}

impl<K> Inst<K> {
    pub(crate) fn anchor(&self, place: Place) -> Anchor {
        Anchor { trace: self.trace, place }
    }
}

impl Inst<Activation> {
    /// Added before the function: a number (trn2 and later) or a tile of one element per partition.
    #[track_caller]
    pub fn bias(self, bias: impl ScalarOrVec) -> Self {
        let operand = bias.__operand(self.anchor(Location::caller()));
        self.operand("bias", operand)
    }
    /// Multiplied before the function: a number or a float32 tile of one element per partition.
    #[track_caller]
    pub fn scale(self, scale: impl ScalarOrVec) -> Self {
        let operand = scale.__operand(self.anchor(Location::caller()));
        self.operand("scale", operand)
    }
    /// Writes the sum over the free axis of the results, before rounding to `dst`, to `sum`: one element per partition.
    #[track_caller]
    pub fn reduce<T: Elem, M: OnChip>(self, sum: Tensor<T, M>) -> Self {
        let operand = sum.operand(self.trace, Location::caller());
        self.operand("reduce_res", operand).reduce_cmd(ReduceCmd::ResetReduce)
    }
    /// What the instruction does with the engine's accumulators (isa.md section 6), for sums over several instructions.
    pub fn reduce_cmd(self, cmd: ReduceCmd) -> Self {
        self.attr("reduce_op", Attr::Alu(AluOp::Add)).attr("reduce_cmd", Attr::ReduceCmd(cmd))
    }
    /// Where [`reduce_cmd`](Self::reduce_cmd) leaves the accumulators' value.
    #[track_caller]
    pub fn reduce_res<T: Elem, M: OnChip>(self, sum: Tensor<T, M>) -> Self {
        let operand = sum.operand(self.trace, Location::caller());
        self.operand("reduce_res", operand)
    }
}

impl Inst<ActivationReduce> {
    /// Added before the function: a number (trn2 and later) or a tile of one element per partition.
    #[track_caller]
    pub fn bias(self, bias: impl ScalarOrVec) -> Self {
        let operand = bias.__operand(self.anchor(Location::caller()));
        self.operand("bias", operand)
    }
    /// Multiplied before the function: a number or a float32 tile of one element per partition.
    #[track_caller]
    pub fn scale(self, scale: impl ScalarOrVec) -> Self {
        let operand = scale.__operand(self.anchor(Location::caller()));
        self.operand("scale", operand)
    }
    /// Where the sum goes: one element per partition.
    #[track_caller]
    pub fn reduce_res<T: Elem, M: OnChip>(self, sum: Tensor<T, M>) -> Self {
        let operand = sum.operand(self.trace, Location::caller());
        self.operand("reduce_res", operand)
    }
}

impl Inst<Activate2> {
    /// The first operator, multiply, add or subtract, and its operand.
    #[track_caller]
    pub fn stage0(self, op0: AluOp, imm0: impl ScalarOrVec) -> Self {
        let operand = imm0.__operand(self.anchor(Location::caller()));
        self.attr("op0", Attr::Alu(op0)).operand("imm0", operand)
    }
    /// The operator after a multiplication, add or subtract, and its operand.
    #[track_caller]
    pub fn stage1(self, op1: AluOp, imm1: impl ScalarOrVec) -> Self {
        let operand = imm1.__operand(self.anchor(Location::caller()));
        self.attr("op1", Attr::Alu(op1)).operand("imm1", operand)
    }
    /// Exchanges the sides of the first operator.
    pub fn reverse0(self, on: bool) -> Self {
        self.flag("reverse0", on)
    }
    /// Exchanges the sides of the second operator.
    pub fn reverse1(self, on: bool) -> Self {
        self.flag("reverse1", on)
    }
    /// The slope of [`ActFn::Prelu`] below 0.
    #[track_caller]
    pub fn relu_param(self, slope: impl ScalarOrVec) -> Self {
        let operand = slope.__operand(self.anchor(Location::caller()));
        self.operand("relu_param", operand)
    }
    /// Reduces the results along the free axis with `op` by the command `cmd` (isa.md section 6).
    pub fn reduce_cmd(self, op: AluOp, cmd: ReduceCmd) -> Self {
        self.attr("reduce_op", Attr::Alu(op)).attr("reduce_cmd", Attr::ReduceCmd(cmd))
    }
    /// Where the reduction goes: one element per partition.
    #[track_caller]
    pub fn reduce_res<T: Elem, M: OnChip>(self, dst: Tensor<T, M>) -> Self {
        let operand = dst.operand(self.trace, Location::caller());
        self.operand("reduce_res", operand)
    }
}
