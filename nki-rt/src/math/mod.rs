//! Mathematical functions on lanes, at most 2 units in the last place from the real value (rows.rs states each).
//!
//! Two techniques. Functions on the critical path of neural networks (exp, tanh, sigmoid, silu, erf, gelu) work in f32.
//! The others widen to f64, where cancellation and error amplification of a naive formula do no harm, and round
//! once at the end; that costs about twice the instructions and leaves little more than the final rounding.
//!
//! The polynomials are Chebyshev fits, made with mpmath's `chebyfit` at 40 digits over the interval given with each;
//! the error quoted is relative, of the function they serve.

mod double;
mod exponential;
mod gaussian;
mod logarithm;
mod logistic;
mod trigonometric;

pub(crate) use exponential::{exp, exp_normal, tanh};
pub(crate) use gaussian::{GELU_NEAR, erf, erf_dx, gelu, gelu_dx, gelu_near};
pub(crate) use logarithm::{log, softplus};
pub(crate) use logistic::{
    gelu_sigmoid, gelu_sigmoid_dx, gelu_tanh, gelu_tanh_within, mish, sigmoid, sigmoid_within, silu, silu_dx,
    silu_within,
};
pub(crate) use trigonometric::{arctan, sin};

use crate::simd::Simd;

/// Largest and smallest argument of an f64 exponential here: its value is far outside f32, and far inside f64 even
/// when squared.
const FAR: f32 = 120.0;

/// `sum of c[i] * x^i`, by Horner's rule.
#[inline(always)]
fn poly<S: Simd, const N: usize>(s: S, x: S::F, c: [f32; N]) -> S::F {
    let mut sum = s.splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = s.fma(sum, x, s.splat(c[i]));
    }
    sum
}

/// `|x|`
#[inline(always)]
pub(crate) fn abs<S: Simd>(s: S, x: S::F) -> S::F {
    s.of_bits(s.and_i(s.to_bits(x), s.splat_i(i32::MAX)))
}

/// `x` with its sign flipped.
#[inline(always)]
pub(crate) fn neg<S: Simd>(s: S, x: S::F) -> S::F {
    s.of_bits(s.xor_i(s.to_bits(x), s.splat_i(i32::MIN)))
}

/// The magnitude of `x`, which must not be negative, with the sign of `y`.
#[inline(always)]
fn with_sign_of<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    s.of_bits(s.or_i(s.to_bits(x), s.and_i(s.to_bits(y), s.splat_i(i32::MIN))))
}

/// `x` brought into `low..=high`; NaN stays.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F, low: f32, high: f32) -> S::F {
    s.greater(s.splat(low), s.lesser(s.splat(high), x))
}
