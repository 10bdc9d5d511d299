//! Activation functions (isa.md section 5), by the SIMD rows of `nki-rt`: at most 2 units in the last place from the real
//! value ([`nki_rt::Activation::max_ulp`] states each), and the same bits on every machine, because they are made of
//! operations that IEEE 754 defines. Native code calls the same rows.
//!
//! At an infinity the value is the limit: `gelu(-inf)` is -0, not the NaN of `-inf * 0`.

use crate::op::ActFn;
use nki_rt::{Activation, Tier};

/// `f(x)` in float32. `slope` is `relu_param`, read by prelu alone.
pub fn apply(f: ActFn, x: f32, slope: f32) -> f32 {
    let mut row = [x];
    apply_row(f, &mut row, slope);
    row[0]
}

/// Applies `f` to every element.
pub(crate) fn apply_row(f: ActFn, row: &mut [f32], slope: f32) {
    match row_function(f) {
        Some(Activation::Copy) => {}
        Some(function) => nki_rt::activate_in_place(Tier::best(), function, row),
        None => row.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { slope * *x }),
    }
}

/// `f(x · scale + bias)` of every element, the product and the sum rounded one after the other; prelu copies.
pub(crate) fn apply_affine(f: ActFn, row: &mut [f32], [scale, bias]: [f32; 2]) {
    let function = row_function(f).unwrap_or(Activation::Copy);
    nki_rt::activate_affine_in_place(Tier::best(), function, row, [scale, bias]);
}

/// The row function of `f`; prelu, which has a parameter, has none.
pub fn row_function(f: ActFn) -> Option<Activation> {
    Some(match f {
        ActFn::Copy => Activation::Copy,
        ActFn::Square => Activation::Square,
        ActFn::Abs => Activation::Abs,
        ActFn::Sign => Activation::Sign,
        ActFn::Relu => Activation::Relu,
        ActFn::Prelu => return None,
        ActFn::Sqrt => Activation::Sqrt,
        ActFn::Rsqrt => Activation::Rsqrt,
        ActFn::Reciprocal => Activation::Reciprocal,
        ActFn::Exp => Activation::Exp,
        ActFn::Log => Activation::Log,
        ActFn::Sigmoid => Activation::Sigmoid,
        ActFn::Tanh => Activation::Tanh,
        ActFn::Sin => Activation::Sin,
        ActFn::Arctan => Activation::Arctan,
        ActFn::Erf => Activation::Erf,
        ActFn::ErfDx => Activation::ErfDx,
        ActFn::Softplus => Activation::Softplus,
        ActFn::Mish => Activation::Mish,
        ActFn::Gelu => Activation::Gelu,
        ActFn::GeluDx => Activation::GeluDx,
        ActFn::GeluApprxTanh => Activation::GeluTanh,
        ActFn::GeluApprxSigmoid => Activation::GeluSigmoid,
        ActFn::GeluApprxSigmoidDx => Activation::GeluSigmoidDx,
        ActFn::Silu => Activation::Silu,
        ActFn::SiluDx => Activation::SiluDx,
    })
}

/// Where the hardware's approximation of `f` holds (isa.md section 5); `None` if everywhere. Elsewhere we give the exact function,
/// hardware does not.
pub fn valid_range(f: ActFn) -> Option<Range> {
    use std::f32::consts::{FRAC_PI_2, PI};
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    let (least, most, signed, text) = match f {
        ActFn::Log => (power(-64), power(64), false, "[2^-64, 2^64]"),
        ActFn::Sqrt => (power(-116), power(118), false, "[2^-116, 2^118]"),
        ActFn::Rsqrt => (power(-87), power(97), false, "[2^-87, 2^97]"),
        ActFn::Reciprocal => (power(-42), power(42), true, "±[2^-42, 2^42]"),
        ActFn::Sin => (0.0, PI, true, "[-pi, pi]"),
        ActFn::Arctan => (0.0, FRAC_PI_2, true, "[-pi/2, pi/2]"),
        _ => return None,
    };
    Some(Range { least, most, signed, text })
}

/// See [`valid_range`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    least: f32,
    most: f32,
    /// Holds for negative numbers too.
    signed: bool,
    /// In words.
    pub text: &'static str,
}

impl Range {
    /// Whether `x` is in it. NaN gives NaN everywhere and counts as inside.
    pub fn contains(&self, x: f32) -> bool {
        let x = if self.signed { x.abs() } else { x };
        x.is_nan() || (self.least..=self.most).contains(&x)
    }
}
