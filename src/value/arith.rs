//! Operators and element-wise functions of two values.

use super::record::{Arg, Recorder, Value, record};
use crate::elem::{Elem, Int};
use crate::space::{OnChip, Sbuf};
use crate::tensor::{Tensor, Tile};
use crate::trace::{Place, TraceId, same};
use nki_ir::kernel::Attr;
use nki_ir::{AluOp, Code, DType, Engine, Op, Operand, Space};
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Rem, Shl, Shr, Sub};
use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};
use std::panic::Location;

/// The other side of an element-wise operation: a number, or a tensor on chip. A tensor broadcasts like NumPy's: a column
/// `[P, 1]` over the free axis (an operand of the same instruction), dimensions of size 1 over theirs (a stride-0 view), and a
/// row `[1, F]` over partitions (an exact product with ones).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be combined with a tile",
    label = "expected a number, or a tile in SBUF or PSUM",
    note = "load HBM data first: `nc.load(..)`; numbers are f32 or i32"
)]
pub trait Operable: Copy {
    #[doc(hidden)]
    fn __arg(self) -> Arg;
}
impl Operable for f32 {
    fn __arg(self) -> Arg {
        Arg::Float(self)
    }
}
impl Operable for i32 {
    fn __arg(self) -> Arg {
        Arg::Int(self)
    }
}
impl<T: Elem, M: OnChip> Operable for Tensor<T, M> {
    fn __arg(self) -> Arg {
        Arg::Tensor(self.trace, self.value())
    }
}

/// Records `op(left, right)` into `dst`, or into a fresh tile of `dtype`.
pub(crate) fn binary(
    trace: TraceId,
    place: Place,
    op: AluOp,
    left: Arg,
    right: Arg,
    dtype: DType,
    dst: Option<Value>,
) -> Value {
    for side in [left, right] {
        if let Arg::Tensor(other, _) = side {
            same(trace, other, place);
        }
    }
    record(trace, place, |r| match (left, right) {
        (Arg::Tensor(_, a), Arg::Tensor(_, b)) => r.tensors(op, a, b, dtype, dst),
        (Arg::Tensor(_, a), n) => r.with_number(op, a, n, false, dtype, dst),
        (n, Arg::Tensor(_, b)) => r.with_number(op, b, n, true, dtype, dst),
        _ => unreachable!("one side of an operation on tiles is a tile"),
    })
}

impl Recorder<'_> {
    fn dst(&mut self, dst: Option<Value>, op: AluOp, dtype: DType, shape: &[u32]) -> Value {
        dst.unwrap_or_else(|| self.tile(op.name(), dtype, shape))
    }

    fn tensors(&mut self, op: AluOp, a: Value, b: Value, dtype: DType, dst: Option<Value>) -> Value {
        let (pa, pb) = (self.partitions(a), self.partitions(b));
        if pa != pb && (pa == 1 || pb == 1) {
            let (a, b) = (self.broadcast_partitions(a, pa.max(pb)), self.broadcast_partitions(b, pa.max(pb)));
            return self.tensors(op, a, b, dtype, dst);
        }
        let (sa, sb) = (self.shape(a), self.shape(b));
        if pa == pb && sa != sb && op != AluOp::Power {
            if self.is_column(b) {
                return self.with_column(op, a, b, false, dtype, dst);
            }
            if self.is_column(a) {
                return self.with_column(op, b, a, true, dtype, dst);
            }
        }
        let Some(shape) = broadcast(&sa, &sb) else {
            let message = format!(
                "`{}` {sa:?} and `{}` {sb:?} have shapes that do not combine",
                self.name(a),
                self.name(b)
            );
            self.report(
                Code::Shape,
                message,
                "make the shapes equal, or one side a column [P, 1], a row [1, F], or of size 1 in a dimension",
            );
            return self.dst(dst, op, dtype, &sa);
        };
        let (mut a, mut b) = (self.broadcast_free(a, &shape), self.broadcast_free(b, &shape));
        // The vector engine streams at most one tensor from PSUM (G7); power runs on GpSimd, which cannot reach it (G6).
        if op == AluOp::Power {
            a = self.in_sbuf(a);
        }
        if (a.space == Space::Psum || op == AluOp::Power) && b.space == Space::Psum {
            b = self.in_sbuf(b);
        }
        let out = self.dst(dst, op, dtype, &shape);
        self.inst(Op::TensorTensor, &[out, a, b]).attr("op", Attr::Alu(op));
        out
    }

    fn with_column(
        &mut self,
        op: AluOp,
        data: Value,
        column: Value,
        reverse: bool,
        dtype: DType,
        dst: Option<Value>,
    ) -> Value {
        let column = if op.is_bitvec() { column } else { self.as_f32(column) };
        let operand = self.operand(column);
        self.tensor_scalar(op, data, operand, reverse, dtype, dst)
    }

    fn with_number(
        &mut self,
        op: AluOp,
        data: Value,
        number: Arg,
        reverse: bool,
        dtype: DType,
        dst: Option<Value>,
    ) -> Value {
        let integers = data.dtype.is_int() && dtype.is_int();
        let operand = match number {
            Arg::Int(k) if integers || op.is_bitvec() => Operand::Int(k.into()),
            Arg::Int(k) => Operand::Imm(k as f32),
            Arg::Float(x) => Operand::Imm(x),
            Arg::Tensor(..) => unreachable!("a number was matched"),
        };
        self.tensor_scalar(op, data, operand, reverse, dtype, dst)
    }

    pub(crate) fn tensor_scalar(
        &mut self,
        op: AluOp,
        data: Value,
        operand: Operand,
        reverse: bool,
        dtype: DType,
        dst: Option<Value>,
    ) -> Value {
        // Power and rsqrt run on GpSimd, which cannot reach PSUM.
        let gpsimd = matches!(op, AluOp::Power | AluOp::Rsqrt);
        let data = if gpsimd { self.in_sbuf(data) } else { data };
        let shape = self.shape(data);
        let out = self.dst(dst, op, dtype, &shape);
        let inst = self.inst(Op::TensorScalar, &[out, data]);
        let inst = inst
            .operand("operand0", operand)
            .attr("op0", Attr::Alu(op))
            .attr("reverse0", Attr::Bool(reverse));
        if gpsimd {
            inst.engine(Engine::GpSimd);
        }
        out
    }

    /// `1 / v` as float32.
    pub(crate) fn reciprocal(&mut self, v: Value, dtype: DType) -> Value {
        let shape = self.shape(v);
        let out = self.tile("reciprocal", dtype, &shape);
        self.inst(Op::Reciprocal, &[out, v]);
        out
    }
}

/// The shape that both broadcast to, over free dimensions of equal rank.
fn broadcast(a: &[u32], b: &[u32]) -> Option<Vec<u32>> {
    if a.len() != b.len() || a.first() != b.first() {
        return None;
    }
    let dim = |(&x, &y): (&u32, &u32)| match (x, y) {
        _ if x == y => Some(x),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    };
    a.iter().zip(b).map(dim).collect()
}

/// Division has no instruction: it is a product with the reciprocal, both in float32 (isa.md section 10).
fn divide(trace: TraceId, place: Place, left: Arg, right: Arg, dtype: DType, dst: Option<Value>) -> Value {
    let inverse = match right {
        Arg::Float(x) => Arg::Float(1.0 / x),
        Arg::Int(k) => Arg::Float(1.0 / k as f32),
        Arg::Tensor(other, v) => {
            same(trace, other, place);
            let one = matches!(left, Arg::Float(1.0) | Arg::Int(1)) && dst.is_none();
            let v = record(trace, place, |r| r.reciprocal(v, if one { dtype } else { DType::F32 }));
            if one {
                return v;
            }
            Arg::Tensor(trace, v)
        }
    };
    binary(trace, place, AluOp::Multiply, left, inverse, dtype, dst)
}

/// `a - whole(a / b) · b`. With [`Recorder::floor`] the sign of the result is `b`'s, with [`Recorder::trunc`] `a`'s.
fn remainder(
    trace: TraceId,
    place: Place,
    left: Arg,
    right: Arg,
    dtype: DType,
    whole: fn(&mut Recorder, Value) -> Value,
) -> Value {
    let quotient = divide(trace, place, left, right, DType::F32, None);
    let whole = record(trace, place, |r| whole(r, quotient));
    let product = binary(trace, place, AluOp::Multiply, Arg::Tensor(trace, whole), right, DType::F32, None);
    binary(trace, place, AluOp::Subtract, left, Arg::Tensor(trace, product), dtype, None)
}

macro_rules! operators {
    ($($trait:ident $method:ident $(: $bound:ident)? => |$trace:ident, $place:ident, $left:ident, $right:ident, $dtype:ident| $body:expr;)*) => {$(
        /// The result has the dtype of the tile on the left (of the tile, if the other side is a number).
        impl<T: Elem $(+ $bound)?, M: OnChip, R: Operable> $trait<R> for Tensor<T, M> {
            type Output = Tile<T>;
            #[track_caller]
            fn $method(self, right: R) -> Tile<T> {
                let ($trace, $place, $left, $right, $dtype) =
                    (self.trace, Location::caller(), self.__arg(), right.__arg(), T::DTYPE);
                Tensor::new(self.trace, { $body }.view)
            }
        }
        operators!(@number f32 $trait $method $(: $bound)? => |$trace, $place, $left, $right, $dtype| $body);
        operators!(@number i32 $trait $method $(: $bound)? => |$trace, $place, $left, $right, $dtype| $body);
    )*};
    (@number $n:ty, $trait:ident) => {};
    (@number $n:ident $trait:ident $method:ident $(: $bound:ident)? => |$trace:ident, $place:ident, $left:ident, $right:ident, $dtype:ident| $body:expr) => {
        impl<T: Elem $(+ $bound)?, M: OnChip> $trait<Tensor<T, M>> for $n {
            type Output = Tile<T>;
            #[track_caller]
            fn $method(self, right: Tensor<T, M>) -> Tile<T> {
                let ($trace, $place, $left, $right, $dtype) =
                    (right.trace, Location::caller(), self.__arg(), right.__arg(), T::DTYPE);
                Tensor::new(right.trace, { $body }.view)
            }
        }
    };
}

operators! {
    Add add => |t, p, l, r, d| binary(t, p, AluOp::Add, l, r, d, None);
    Sub sub => |t, p, l, r, d| binary(t, p, AluOp::Subtract, l, r, d, None);
    Mul mul => |t, p, l, r, d| binary(t, p, AluOp::Multiply, l, r, d, None);
    Div div => |t, p, l, r, d| divide(t, p, l, r, d, None);
    Rem rem => |t, p, l, r, d| remainder(t, p, l, r, d, |r, v| r.floor(v));
    BitAnd bitand: Int => |t, p, l, r, d| binary(t, p, AluOp::BitwiseAnd, l, r, d, None);
    BitOr bitor: Int => |t, p, l, r, d| binary(t, p, AluOp::BitwiseOr, l, r, d, None);
    BitXor bitxor: Int => |t, p, l, r, d| binary(t, p, AluOp::BitwiseXor, l, r, d, None);
    Shl shl: Int => |t, p, l, r, d| binary(t, p, AluOp::LeftShift, l, r, d, None);
    Shr shr: Int => |t, p, l, r, d| binary(t, p, AluOp::RightShift, l, r, d, None);
}

macro_rules! assignments {
    ($($trait:ident $method:ident => |$trace:ident, $place:ident, $left:ident, $right:ident, $dtype:ident, $dst:ident| $body:expr;)*) => {$(
        /// Writes the result into the tile itself: legal in a device loop, where a fresh tile would be lost.
        impl<T: Elem, R: Operable> $trait<R> for Tensor<T, Sbuf> {
            #[track_caller]
            fn $method(&mut self, right: R) {
                let ($trace, $place, $left, $right, $dtype, $dst) =
                    (self.trace, Location::caller(), self.__arg(), right.__arg(), T::DTYPE, Some(self.value()));
                $body;
            }
        }
    )*};
}

assignments! {
    AddAssign add_assign => |t, p, l, r, d, dst| binary(t, p, AluOp::Add, l, r, d, dst);
    SubAssign sub_assign => |t, p, l, r, d, dst| binary(t, p, AluOp::Subtract, l, r, d, dst);
    MulAssign mul_assign => |t, p, l, r, d, dst| binary(t, p, AluOp::Multiply, l, r, d, dst);
    DivAssign div_assign => |t, p, l, r, d, dst| divide(t, p, l, r, d, dst);
}

impl<T: Elem, M: OnChip> Neg for Tensor<T, M> {
    type Output = Tile<T>;
    #[track_caller]
    fn neg(self) -> Tile<T> {
        let (place, minus) = (Location::caller(), Arg::Int(-1));
        let v = binary(self.trace, place, AluOp::Multiply, self.__arg(), minus, T::DTYPE, None);
        Tensor::new(self.trace, v.view)
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        impl<T: Elem, M: OnChip> Tensor<T, M> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, other: impl Operable) -> Tile<T> {
                let v = binary(
                    self.trace, Location::caller(), AluOp::$op, self.__arg(), other.__arg(), T::DTYPE, None,
                );
                Tensor::new(self.trace, v.view)
            }
        )*}
    };
}

methods! {
    /// The larger of both, element by element; NaN if either is.
    maximum = Maximum;
    /// The smaller of both, element by element; NaN if either is.
    minimum = Minimum;
    /// 1 where equal, else 0.
    equal = Equal;
    /// 1 where different, else 0.
    not_equal = NotEqual;
    /// 1 where smaller, else 0.
    less = Less;
    /// 1 where smaller or equal, else 0.
    less_equal = LessEqual;
    /// 1 where larger, else 0.
    greater = Greater;
    /// 1 where larger or equal, else 0.
    greater_equal = GreaterEqual;
    /// 1 where both are not 0, else 0.
    logical_and = LogicalAnd;
    /// 1 where either is not 0, else 0.
    logical_or = LogicalOr;
    /// 1 where exactly one is not 0, else 0.
    logical_xor = LogicalXor;
    /// Raised to a power, on GpSimd.
    power = Power;
    /// The operand of larger magnitude, with its sign; `other` on ties. trn3 only.
    abs_max = AbsMax;
    /// The operand of smaller magnitude, with its sign; `other` on ties. trn3 only.
    abs_min = AbsMin;
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// The remainder with the sign of `self`, C's `fmod`; `%` has the sign of the divisor. Like division it is computed with a
    /// reciprocal, in float32: for quotients below 2^23.
    #[track_caller]
    pub fn fmod(self, other: impl Operable) -> Tile<T> {
        let place = Location::caller();
        let v = remainder(self.trace, place, self.__arg(), other.__arg(), T::DTYPE, |r, v| {
            r.trunc(v, DType::F32)
        });
        Tensor::new(self.trace, v.view)
    }
}

impl<T: Int, M: OnChip> Tensor<T, M> {
    /// Every bit inverted.
    #[track_caller]
    pub fn invert(self) -> Tile<T> {
        let v = record(self.trace, Location::caller(), |r| {
            r.tensor_scalar(AluOp::Invert, self.value(), Operand::None, false, T::DTYPE, None)
        });
        Tensor::new(self.trace, v.view)
    }
}
