//! Instructions of the GpSimd engine (isa.md section 9.4).

use super::{Inst, IntOrReg, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::GpSimdOperand;
use crate::tensor::Tensor;
use nki_ir::kernel::Attr;
use nki_ir::{AluOp, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::iota`].
    Iota;
    /// [`Nc::affine_select`].
    AffineSelect;
}

impl Nc {
    /// `dst[p, f] = offset + p · channel_multiplier + Σ digit · step` where the digits are those of `f` over `pattern`'s
    /// `[step, num]` pairs, outermost first (isa.md 9.4.2).
    #[track_caller]
    pub fn iota<T: Elem, M: GpSimdOperand>(self, dst: Tensor<T, M>, pattern: &[[i64; 2]]) -> Inst<Iota> {
        let place = Location::caller();
        Inst::start(self, Op::Iota, place)
            .operand("dst", dst.operand(self.trace, place))
            .attr("pattern", Attr::Pairs(pattern.to_vec()))
    }

    /// `dst = cmp_op(a, 0) ? on_true_tile : on_false_value` where `a` is the [`iota`](Nc::iota) value of the position
    /// (isa.md 9.4.3); `cmp_op` is equality unless set.
    #[track_caller]
    pub fn affine_select<D, T, MD, MS>(
        self,
        dst: Tensor<D, MD>,
        on_true_tile: Tensor<T, MS>,
        on_false_value: f32,
        pattern: &[[i64; 2]],
    ) -> Inst<AffineSelect>
    where
        D: Elem,
        T: Elem,
        MD: GpSimdOperand,
        MS: GpSimdOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::AffineSelect, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("on_true_tile", on_true_tile.operand(self.trace, place))
            .attr("pattern", Attr::Pairs(pattern.to_vec()))
            .attr("on_false_value", Attr::F32(on_false_value))
    }
}

impl Inst<Iota> {
    /// The value at partition 0, position 0.
    #[track_caller]
    pub fn offset(self, offset: impl IntOrReg) -> Self {
        let operand = offset.__operand(self.anchor(Location::caller()));
        self.operand("offset", operand)
    }
    /// What each partition adds.
    pub fn channel_multiplier(self, k: i64) -> Self {
        self.attr("channel_multiplier", Attr::Int(k))
    }
}

impl Inst<AffineSelect> {
    /// The value at partition 0, position 0.
    #[track_caller]
    pub fn offset(self, offset: impl IntOrReg) -> Self {
        let operand = offset.__operand(self.anchor(Location::caller()));
        self.operand("offset", operand)
    }
    /// What each partition adds.
    pub fn channel_multiplier(self, k: i64) -> Self {
        self.attr("channel_multiplier", Attr::Int(k))
    }
    /// How the value is compared with 0.
    pub fn cmp_op(self, op: AluOp) -> Self {
        self.attr("cmp_op", Attr::Alu(op))
    }
}
