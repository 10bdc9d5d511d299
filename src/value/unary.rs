//! Element-wise functions of one value.

use super::record::{Arg, Recorder, Value, record};
use crate::elem::Elem;
use crate::space::OnChip;
use crate::tensor::{Tensor, Tile};
use crate::value::arith::binary;
use nki_ir::kernel::Attr;
use nki_ir::{ActFn, AluOp, DType, Op, Operand};
use std::f32::consts::{FRAC_PI_2, TAU};
use std::panic::Location;

impl Recorder<'_> {
    /// `func(v)` in a fresh tile.
    pub(crate) fn activation(&mut self, func: ActFn, v: Value, dtype: DType) -> Value {
        let shape = self.shape(v);
        let out = self.tile(func.name(), dtype, &shape);
        self.inst(Op::Activation, &[out, v]).attr("op", Attr::Act(func));
        out
    }
    /// `op1(op0(v, a), b)` in a fresh tile.
    pub(crate) fn two(
        &mut self,
        stem: &str,
        v: Value,
        op0: (AluOp, f32),
        op1: (AluOp, f32),
        dtype: DType,
    ) -> Value {
        let shape = self.shape(v);
        let out = self.tile(stem, dtype, &shape);
        self.inst(Op::TensorScalar, &[out, v])
            .operand("operand0", Operand::Imm(op0.1))
            .operand("operand1", Operand::Imm(op1.1))
            .attr("op0", Attr::Alu(op0.0))
            .attr("op1", Attr::Alu(op1.0));
        out
    }
    /// `1 / sqrt(v)`, precisely, on GpSimd.
    pub(crate) fn rsqrt(&mut self, v: Value, dtype: DType) -> Value {
        self.tensor_scalar(AluOp::Rsqrt, v, Operand::None, false, dtype, None)
    }
    /// The nearest whole number, as float32: through int32 and back. For magnitudes up to 2^23; larger ones are clamped.
    fn rounded(&mut self, v: Value) -> Value {
        let limit = 2f32.powi(23);
        let clamped = self.two("clamped", v, (AluOp::Maximum, -limit), (AluOp::Minimum, limit), DType::F32);
        let whole = self.copy("whole", clamped, DType::I32);
        self.copy("whole", whole, DType::F32)
    }
    /// The nearest whole number, corrected by one where it lies on the wrong side (`wrong(rounded, v)`), as float32.
    /// Magnitudes from 2^23 on, infinities and NaN are whole already and pass through.
    fn corrected(&mut self, v: Value, wrong: AluOp, correction: AluOp) -> Value {
        let v = self.in_sbuf(v);
        let v = self.as_f32(v);
        let whole = self.rounded(v);
        let shape = self.shape(v);
        let [off, near, small] = ["off", "whole", "small"].map(|n| self.tile(n, DType::F32, &shape));
        self.inst(Op::TensorTensor, &[off, whole, v]).attr("op", Attr::Alu(wrong));
        self.inst(Op::TensorTensor, &[near, whole, off]).attr("op", Attr::Alu(correction));
        self.inst(Op::TensorScalar, &[small, v])
            .operand("operand1", Operand::Imm(2f32.powi(23)))
            .attr("op0", Attr::Alu(AluOp::Abs))
            .attr("op1", Attr::Alu(AluOp::Less));
        self.select(small, near, v)
    }
    pub(crate) fn floor(&mut self, v: Value) -> Value {
        self.corrected(v, AluOp::Greater, AluOp::Subtract)
    }
    pub(crate) fn ceil(&mut self, v: Value) -> Value {
        self.corrected(v, AluOp::Less, AluOp::Add)
    }
    /// Whole numbers towards 0.
    pub(crate) fn trunc(&mut self, v: Value, dtype: DType) -> Value {
        let size = self.activation(ActFn::Abs, v, DType::F32);
        let whole = self.floor(size);
        let sign = self.activation(ActFn::Sign, v, DType::F32);
        let shape = self.shape(v);
        let out = self.tile("trunc", dtype, &shape);
        self.inst(Op::TensorTensor, &[out, whole, sign]).attr("op", Attr::Alu(AluOp::Multiply));
        out
    }
    /// `sin(v + shift)` with the argument brought into [-π, π] first: the engine does not reduce it (isa.md section 5).
    fn sine(&mut self, v: Value, shift: f32, dtype: DType) -> Value {
        let v = self.as_f32(v);
        let shifted = self.tensor_scalar(AluOp::Add, v, Operand::Imm(shift), false, DType::F32, None);
        let turns = Operand::Imm(1.0 / TAU);
        let turns = self.tensor_scalar(AluOp::Multiply, shifted, turns, false, DType::F32, None);
        let whole = self.rounded(turns);
        let shape = self.shape(v);
        // 2π in three parts, the first two of 11 bits or fewer, so that their products with whole turns are exact.
        const PARTS: [f32; 3] = [6.281_25, 0.001_935_005_2, 3.019_916e-7];
        let mut angle = v;
        for part in PARTS {
            let next = self.tile("angle", DType::F32, &shape);
            let times =
                self.tensor_scalar(AluOp::Multiply, whole, Operand::Imm(part), false, DType::F32, None);
            self.inst(Op::TensorTensor, &[next, angle, times]).attr("op", Attr::Alu(AluOp::Subtract));
            angle = next;
        }
        // The shift comes last: added to a large angle it would lose its own digits.
        let angle = match shift {
            0.0 => angle,
            _ => self.tensor_scalar(AluOp::Add, angle, Operand::Imm(shift), false, DType::F32, None),
        };
        let pi = std::f32::consts::PI;
        let inside = self.two("angle", angle, (AluOp::Maximum, -pi), (AluOp::Minimum, pi), DType::F32);
        self.activation(ActFn::Sin, inside, dtype)
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    fn map_at(self, place: crate::trace::Place, f: impl FnOnce(&mut Recorder, Value) -> Value) -> Tile<T> {
        let v = record(self.trace, place, |r| f(r, self.value()));
        Tensor::new(self.trace, v.view)
    }
}

macro_rules! activations {
    ($($(#[$doc:meta])* $name:ident = $func:ident;)*) => {
        impl<T: Elem, M: OnChip> Tensor<T, M> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> Tile<T> {
                self.map_at(Location::caller(), |r, v| r.activation(ActFn::$func, v, T::DTYPE))
            }
        )*}
    };
}

activations! {
    /// `e^x`, on the scalar engine.
    exp = Exp;
    /// `ln x`; valid for x in [2^-64, 2^64].
    log = Log;
    /// Square root.
    sqrt = Sqrt;
    /// Hyperbolic tangent.
    tanh = Tanh;
    /// `1 / (1 + e^-x)`.
    sigmoid = Sigmoid;
    /// `max(x, 0)`.
    relu = Relu;
    /// `x · sigmoid(x)`.
    silu = Silu;
    /// Derivative of [`silu`](Tensor::silu).
    silu_dx = SiluDx;
    /// `x/2 · (1 + erf(x/√2))`.
    gelu = Gelu;
    /// Derivative of [`gelu`](Tensor::gelu).
    gelu_dx = GeluDx;
    /// `x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))`.
    gelu_apprx_tanh = GeluApprxTanh;
    /// `x · sigmoid(1.702x)`.
    gelu_apprx_sigmoid = GeluApprxSigmoid;
    /// Derivative of [`gelu_apprx_sigmoid`](Tensor::gelu_apprx_sigmoid).
    gelu_apprx_sigmoid_dx = GeluApprxSigmoidDx;
    /// `x²`.
    square = Square;
    /// `|x|`.
    abs = Abs;
    /// -1, 0 or 1.
    sign = Sign;
    /// `ln(1 + e^x)`.
    softplus = Softplus;
    /// `x · tanh(softplus(x))`.
    mish = Mish;
    /// The error function.
    erf = Erf;
    /// Derivative of [`erf`](Tensor::erf).
    erf_dx = ErfDx;
    /// Inverse tangent; valid for x in [-π/2, π/2].
    arctan = Arctan;
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// Any function of the scalar engine, into dtype `U`: `acc.activate::<bf16>(Act::Silu)` evicts and activates in one.
    #[track_caller]
    pub fn activate<U: Elem>(self, func: ActFn) -> Tile<U> {
        let place = Location::caller();
        let v = record(self.trace, place, |r| r.activation(func, self.value(), U::DTYPE));
        Tensor::new(self.trace, v.view)
    }
    /// `1 / √x`, the precise form on GpSimd.
    #[track_caller]
    pub fn rsqrt(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| r.rsqrt(v, T::DTYPE))
    }
    /// `1 / x`, correctly rounded, on the vector engine.
    #[track_caller]
    pub fn reciprocal(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| r.reciprocal(v, T::DTYPE))
    }
    /// `1 - x` for tiles of 0 and 1.
    #[track_caller]
    pub fn logical_not(self) -> Tile<T> {
        let v = binary(
            self.trace,
            Location::caller(),
            AluOp::Equal,
            Arg::Tensor(self.trace, self.value()),
            Arg::Int(0),
            T::DTYPE,
            None,
        );
        Tensor::new(self.trace, v.view)
    }
    /// The largest whole number not above x.
    #[track_caller]
    pub fn floor(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| {
            let whole = r.floor(v);
            r.as_dtype(whole, T::DTYPE)
        })
    }
    /// The smallest whole number not below x.
    #[track_caller]
    pub fn ceil(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| {
            let whole = r.ceil(v);
            r.as_dtype(whole, T::DTYPE)
        })
    }
    /// The whole number next to x towards 0.
    #[track_caller]
    pub fn trunc(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| r.trunc(v, T::DTYPE))
    }
    /// Sine of any angle: whole turns are taken off first.
    #[track_caller]
    pub fn sin(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| r.sine(v, 0.0, T::DTYPE))
    }
    /// Tangent of any angle: the sine times the reciprocal of the cosine.
    #[track_caller]
    pub fn tan(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| {
            let (sine, cosine) = (r.sine(v, 0.0, DType::F32), r.sine(v, FRAC_PI_2, DType::F32));
            let inverse = r.reciprocal(cosine, DType::F32);
            let shape = r.shape(v);
            let out = r.tile("tan", T::DTYPE, &shape);
            r.inst(Op::TensorTensor, &[out, sine, inverse]).attr("op", Attr::Alu(AluOp::Multiply));
            out
        })
    }
    /// Cosine of any angle.
    #[track_caller]
    pub fn cos(self) -> Tile<T> {
        self.map_at(Location::caller(), |r, v| r.sine(v, FRAC_PI_2, T::DTYPE))
    }
}

impl Recorder<'_> {
    /// `v` itself if it has that dtype, else a copy.
    pub(crate) fn as_dtype(&mut self, v: Value, dtype: DType) -> Value {
        if v.dtype == dtype { v } else { self.copy("copy", v, dtype) }
    }
}
