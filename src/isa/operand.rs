//! Operands that are not simply tiles: immediates, per-partition columns, registers.

use crate::elem::{Elem, Int};
use crate::reg::Reg;
use crate::space::OnChip;
use crate::tensor::Tensor;
use crate::trace::{Place, TraceId, same};
use nki_ir::Operand;

/// A number, or a tile of one element per partition, `[P, 1]`: NKI's "scalar or vector" operand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a number nor a tile of one element per partition",
    label = "expected f32 or a [P, 1] tile in SBUF or PSUM",
    note = "write numbers as `2.0`; load HBM data with `nc.load(..)` first"
)]
pub trait ScalarOrVec: Copy {
    #[doc(hidden)]
    fn __operand(self, at: Anchor) -> Operand;
}

/// An integer, or a register that holds one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an integer nor a register",
    label = "expected an integer or a Reg<i32>"
)]
pub trait IntOrReg: Copy {
    #[doc(hidden)]
    fn __operand(self, at: Anchor) -> Operand;
}

/// The trace and the place that an operand is used in.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Anchor {
    pub(crate) trace: TraceId,
    pub(crate) place: Place,
}

impl ScalarOrVec for f32 {
    fn __operand(self, _: Anchor) -> Operand {
        Operand::Imm(self)
    }
}
impl<T: Elem, M: OnChip> ScalarOrVec for Tensor<T, M> {
    fn __operand(self, at: Anchor) -> Operand {
        self.operand(at.trace, at.place)
    }
}
/// A tile that pairs with the destination, or a number.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a number nor a tile",
    label = "expected f32, i64 or a tile in SBUF or PSUM"
)]
pub trait TileOrScalar: Copy {
    #[doc(hidden)]
    fn __operand(self, at: Anchor) -> Operand;
}

impl TileOrScalar for f32 {
    fn __operand(self, _: Anchor) -> Operand {
        Operand::Imm(self)
    }
}
impl TileOrScalar for i64 {
    fn __operand(self, _: Anchor) -> Operand {
        Operand::Int(self)
    }
}
impl<T: Elem, M: OnChip> TileOrScalar for Tensor<T, M> {
    fn __operand(self, at: Anchor) -> Operand {
        self.operand(at.trace, at.place)
    }
}
impl IntOrReg for i64 {
    fn __operand(self, _: Anchor) -> Operand {
        Operand::Int(self)
    }
}
impl<T: Int> IntOrReg for Reg<T> {
    fn __operand(self, at: Anchor) -> Operand {
        same(at.trace, self.trace, at.place);
        Operand::Reg(self.reg)
    }
}
