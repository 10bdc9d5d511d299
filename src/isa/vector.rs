//! Instructions of the vector engine (isa.md section 9.3).

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
    /// [`Nc::tensor_reduce`].
    TensorReduce;
    /// [`Nc::tensor_tensor`].
    TensorTensor;
    /// [`Nc::scalar_tensor_tensor`].
    ScalarTensorTensor;
    /// [`Nc::tensor_scalar`].
    TensorScalar;
    /// [`Nc::tensor_scalar_reduce`].
    TensorScalarReduce;
    /// [`Nc::tensor_copy`].
    TensorCopy;
    /// [`Nc::memset`].
    Memset;
    /// [`Nc::reciprocal`].
    Reciprocal;
}

impl Nc {
    /// Folds `op` over the last free dimension of `data`, or over the trailing ones given by [`axis`](Inst::axis)
    /// (isa.md 9.3.1). `dst` has one element per kept position.
    #[track_caller]
    pub fn tensor_reduce<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        op: AluOp,
        data: Tensor<T, MS>,
    ) -> Inst<TensorReduce>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        let last = data.shape_at(place).len() as i64 - 1;
        Inst::start(self, Op::TensorReduce, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .attr("op", Attr::Alu(op))
            .attr("axis", Attr::Ints(vec![last]))
    }

    /// `dst = op(data1, data2)` element by element (isa.md 9.3.2). At most one input is in PSUM.
    #[track_caller]
    pub fn tensor_tensor<D, A, B, MD, MA, MB>(
        self,
        dst: Tensor<D, MD>,
        data1: Tensor<A, MA>,
        data2: Tensor<B, MB>,
        op: AluOp,
    ) -> Inst<TensorTensor>
    where
        D: Elem,
        A: Elem,
        B: Elem,
        MD: OnChip,
        MA: OnChip,
        MB: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::TensorTensor, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data1", data1.operand(self.trace, place))
            .operand("data2", data2.operand(self.trace, place))
            .attr("op", Attr::Alu(op))
    }

    /// `dst = op1(op0(data, operand0), operand1)` with `operand0` a number or a column and `operand1` a tile (isa.md 9.3.4).
    #[track_caller]
    #[allow(clippy::too_many_arguments)] // NKI's signature.
    pub fn scalar_tensor_tensor<D, A, B, MD, MA, MB>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<A, MA>,
        op0: AluOp,
        operand0: impl ScalarOrVec,
        op1: AluOp,
        operand1: Tensor<B, MB>,
    ) -> Inst<ScalarTensorTensor>
    where
        D: Elem,
        A: Elem,
        B: Elem,
        MD: OnChip,
        MA: OnChip,
        MB: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::ScalarTensorTensor, place);
        let operand0 = operand0.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("operand0", operand0)
            .operand("operand1", operand1.operand(self.trace, place))
            .attr("op0", Attr::Alu(op0))
            .attr("op1", Attr::Alu(op1))
    }

    /// `dst = op0(data, operand0)` with `operand0` a number or a tile of one element per partition; a second operator follows
    /// with [`then`](Inst::then) (isa.md 9.3.5). Arithmetic is float32 with one rounding at the end.
    #[track_caller]
    pub fn tensor_scalar<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<T, MS>,
        op0: AluOp,
        operand0: impl ScalarOrVec,
    ) -> Inst<TensorScalar>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::TensorScalar, place);
        let operand0 = operand0.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("operand0", operand0)
            .attr("op0", Attr::Alu(op0))
    }

    /// `dst = op0(data, operand0)` and, in the same pass, `reduce_op` over the free axis of the result into
    /// [`reduce_res`](Inst::reduce_res) (isa.md 9.3.6).
    #[track_caller]
    pub fn tensor_scalar_reduce<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<T, MS>,
        op0: AluOp,
        operand0: impl ScalarOrVec,
        reduce_op: AluOp,
    ) -> Inst<TensorScalarReduce>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::TensorScalarReduce, place);
        let operand0 = operand0.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("operand0", operand0)
            .attr("op0", Attr::Alu(op0))
            .attr("reduce_op", Attr::Alu(reduce_op))
    }

    /// `dst = src`, converting between dtypes; bit-exact between equal ones (isa.md 9.3.8).
    #[track_caller]
    pub fn tensor_copy<D, T, MD, MS>(self, dst: Tensor<D, MD>, src: Tensor<T, MS>) -> Inst<TensorCopy>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::TensorCopy, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
    }

    /// Fills `dst` with `value` (isa.md 9.3.10), which an integer dtype must represent exactly.
    #[track_caller]
    pub fn memset<T: Elem, M: OnChip>(self, dst: Tensor<T, M>, value: f64) -> Inst<Memset> {
        let place = Location::caller();
        let value = match T::DTYPE.is_int() && value.fract() == 0.0 && value.abs() < 2f64.powi(63) {
            true => nki_ir::Operand::Int(value as i64),
            false => nki_ir::Operand::Imm(value as f32),
        };
        Inst::start(self, Op::Memset, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("value", value)
    }

    /// `dst = 1 / data` in float32, correctly rounded (isa.md 9.3.12).
    #[track_caller]
    pub fn reciprocal<D, T, MD, MS>(self, dst: Tensor<D, MD>, data: Tensor<T, MS>) -> Inst<Reciprocal>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Reciprocal, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
    }
}

impl Inst<TensorReduce> {
    /// The dimensions to reduce: the last one and any that directly precede it.
    pub fn axis(self, axes: &[usize]) -> Self {
        self.attr("axis", Attr::Ints(axes.iter().map(|&a| a as i64).collect()))
    }
    /// Writes the negated result.
    pub fn negate(self, on: bool) -> Self {
        self.flag("negate", on)
    }
    /// Expects `dst` to keep reduced dimensions as 1.
    pub fn keepdims(self, on: bool) -> Self {
        self.flag("keepdims", on)
    }
}

impl Inst<TensorScalar> {
    /// A second operator: `op1(op0(data, operand0), operand1)`, without rounding in between.
    #[track_caller]
    pub fn then(self, op1: AluOp, operand1: impl ScalarOrVec) -> Self {
        let operand = operand1.__operand(self.anchor(Location::caller()));
        self.attr("op1", Attr::Alu(op1)).operand("operand1", operand)
    }
    /// Exchanges the sides of the first operator: `op0(operand0, data)`.
    pub fn reverse0(self, on: bool) -> Self {
        self.flag("reverse0", on)
    }
    /// Exchanges the sides of the second operator.
    pub fn reverse1(self, on: bool) -> Self {
        self.flag("reverse1", on)
    }
}

impl Inst<ScalarTensorTensor> {
    /// Exchanges the sides of the first operator.
    pub fn reverse0(self, on: bool) -> Self {
        self.flag("reverse0", on)
    }
    /// Exchanges the sides of the second operator.
    pub fn reverse1(self, on: bool) -> Self {
        self.flag("reverse1", on)
    }
}

impl Inst<TensorScalarReduce> {
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
    /// The value that the accumulators start from, with [`ReduceCmd::LoadReduce`].
    #[track_caller]
    pub fn reduce_init(self, init: impl ScalarOrVec) -> Self {
        let operand = init.__operand(self.anchor(Location::caller()));
        self.operand("reduce_init", operand)
    }
    /// Writes the negated reduction.
    pub fn reduce_res_negate(self, on: bool) -> Self {
        self.flag("reduce_res_negate", on)
    }
}
