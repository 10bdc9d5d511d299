//! Registers of the sequencers (isa.md section 9.7): loop bounds, conditions and offsets. No instruction computes on them;
//! compute on a `[1, 1]` tile and load the result.

use super::{Inst, kinds};
use crate::elem::{Elem, Int};
use crate::idx::Idx;
use crate::nc::Nc;
use crate::reg::Reg;
use crate::space::DmaOperand;
use crate::tensor::Tensor;
use crate::trace::{self, Place, same};
use nki_ir::{Op, Operand};
use std::panic::Location;

kinds! {
    /// [`Nc::register_move`], [`Nc::register_load`], [`Nc::register_store`].
    RegisterOp;
}

/// What a register can be set to: an integer, a position in a device loop, or another register.
#[diagnostic::on_unimplemented(
    message = "a register cannot be set to `{Self}`",
    label = "expected an integer, an Idx or a Reg",
    note = "an element of a tensor is loaded with `register_load`"
)]
pub trait RegisterSource: Copy {
    #[doc(hidden)]
    fn __source(self, nc: Nc, place: Place) -> Operand;
}

impl RegisterSource for i64 {
    fn __source(self, _: Nc, _: Place) -> Operand {
        Operand::Int(self)
    }
}
impl RegisterSource for Idx {
    fn __source(self, nc: Nc, place: Place) -> Operand {
        same(nc.trace, self.trace, place);
        let affine = trace::with(nc.trace, place, |s| self.affine(s));
        affine.as_constant().map_or(Operand::Index(affine), Operand::Int)
    }
}
impl<T: Int> RegisterSource for Reg<T> {
    fn __source(self, nc: Nc, place: Place) -> Operand {
        same(nc.trace, self.trace, place);
        Operand::Reg(self.reg)
    }
}

/// The initial value of a register: an integer, a position, another register, or `None`.
pub trait RegisterInit {
    #[doc(hidden)]
    fn __init<T: Int>(self, nc: Nc, reg: Reg<T>, place: Place);
}
impl RegisterInit for Option<i64> {
    fn __init<T: Int>(self, nc: Nc, reg: Reg<T>, place: Place) {
        if let Some(x) = self {
            nc.register_move_at(reg, x, place);
        }
    }
}
impl<S: RegisterSource> RegisterInit for S {
    fn __init<T: Int>(self, nc: Nc, reg: Reg<T>, place: Place) {
        nc.register_move_at(reg, self, place);
    }
}

impl Nc {
    /// A new register: `nc.register_alloc::<i32>(0)`, or `None` for one that holds nothing yet. Reading it before it is
    /// written, on any path, is an error (`nki::uninitialized`).
    #[track_caller]
    pub fn register_alloc<T: Int>(self, x: impl RegisterInit) -> Reg<T> {
        let place = Location::caller();
        let reg = Reg::declare(self, place);
        x.__init(self, reg, place);
        reg
    }
    /// `dst = src`: an integer, a position in a device loop, or another register.
    #[track_caller]
    pub fn register_move<T: Int>(self, dst: Reg<T>, src: impl RegisterSource) -> Inst<RegisterOp> {
        self.register_move_at(dst, src, Location::caller())
    }
    pub(crate) fn register_move_at<T: Int>(
        self,
        dst: Reg<T>,
        src: impl RegisterSource,
        place: Place,
    ) -> Inst<RegisterOp> {
        same(self.trace, dst.trace, place);
        let src = src.__source(self, place);
        Inst::start(self, Op::RegisterMove, place).operand("dst", Operand::Reg(dst.reg)).operand("src", src)
    }
    /// `dst = src[0]`: the one element of an integer tensor in SBUF or HBM, extended by its sign.
    #[track_caller]
    pub fn register_load<T, U, M>(self, dst: Reg<T>, src: Tensor<U, M>) -> Inst<RegisterOp>
    where
        T: Int,
        U: Elem,
        M: DmaOperand,
    {
        let place = Location::caller();
        same(self.trace, dst.trace, place);
        Inst::start(self, Op::RegisterLoad, place)
            .operand("dst", Operand::Reg(dst.reg))
            .operand("src", src.operand(self.trace, place))
    }
    /// `dst[0] = src`: the register's low bits go to the one element of a tensor in SBUF or HBM.
    #[track_caller]
    pub fn register_store<T, U, M>(self, dst: Tensor<U, M>, src: Reg<T>) -> Inst<RegisterOp>
    where
        T: Int,
        U: Elem,
        M: DmaOperand,
    {
        let place = Location::caller();
        same(self.trace, src.trace, place);
        Inst::start(self, Op::RegisterStore, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", Operand::Reg(src.reg))
    }
    /// A new register with the one element of `src`: [`register_alloc`](Nc::register_alloc) and
    /// [`register_load`](Nc::register_load) in one.
    #[track_caller]
    pub fn register<T: Int, M: DmaOperand>(self, src: Tensor<T, M>) -> Reg<T> {
        let place = Location::caller();
        let reg = Reg::declare(self, place);
        Inst::<RegisterOp>::start(self, Op::RegisterLoad, place)
            .operand("dst", Operand::Reg(reg.reg))
            .operand("src", src.operand(self.trace, place));
        reg
    }
}
