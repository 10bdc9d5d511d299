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
