//! The logistic function and what networks build from it.

use super::double::{exp as exp_d, exp_precise};
use super::{FAR, clamp, neg};
use crate::simd::Simd;

/// factor / (1 + e^-u) for |u| <= 4 FAR.
#[inline(always)]
fn over_logistic<S: Simd>(s: S, factor: S::D, minus_u: S::D) -> S::F {
    s.narrow(s.div_d(factor, s.add_d(s.splat_d(1.0), exp_d(s, minus_u))))
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    over_logistic(s, s.splat_d(1.0), s.widen(neg(s, clamp(s, x, -FAR, FAR))))
}

/// x / (1 + e^-x); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-FAR), x);
    over_logistic(s, s.widen(x), s.widen(neg(s, s.lesser(s.splat(FAR), x))))
}

/// s(u) + u s(u) (1 - s(u)), as (1 + e (1 + u)) / (1 + e)^2 with e = exp(-u); |u| at most 2 FAR.
#[inline(always)]
fn logistic_dx<S: Simd>(s: S, u: S::D) -> S::D {
    let one = s.splat_d(1.0);
    let e = exp_precise(s, s.sub_d(s.splat_d(0.0), u));
    let bottom = s.add_d(one, e);
    s.div_d(s.fma_d(e, s.add_d(one, u), one), s.mul_d(bottom, bottom))
}

/// Derivative of silu.
#[inline(always)]
pub(crate) fn silu_dx<S: Simd>(s: S, x: S::F) -> S::F {
    s.narrow(logistic_dx(s, s.widen(clamp(s, x, -FAR, FAR))))
}

/// The factor in the sigmoid approximation of gelu.
const SIGMOID_FACTOR: f64 = 1.702;

/// x s(1.702 x); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn gelu_sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-FAR), x);
    let u = s.mul_d(s.widen(s.lesser(s.splat(FAR), x)), s.splat_d(-SIGMOID_FACTOR));
    over_logistic(s, s.widen(x), u)
}

/// Derivative of [`gelu_sigmoid`].
#[inline(always)]
pub(crate) fn gelu_sigmoid_dx<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.widen(clamp(s, x, -FAR, FAR));
    s.narrow(logistic_dx(s, s.mul_d(x, s.splat_d(SIGMOID_FACTOR))))
}

/// 2 sqrt(2/pi), and the same times 0.044715.
const TANH_FACTORS: [f64; 2] = [1.595_769_121_605_730_7, 0.071_354_816_272_600_25];

/// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x s(2u); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // At -11 the result has underflowed, at 11 the quotient is 1.
    let x = s.greater(s.splat(-11.0), x);
    let y = s.widen(s.lesser(s.splat(11.0), x));
    let w = s.fma_d(s.mul_d(y, y), s.splat_d(-TANH_FACTORS[1]), s.splat_d(-TANH_FACTORS[0]));
    over_logistic(s, s.widen(x), s.mul_d(y, w))
}

/// x tanh(ln(1 + e^x)), as x n / (n + 2) with n = e^x (e^x + 2); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn mish<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-FAR), x);
    let e = exp_d(s, s.widen(s.lesser(s.splat(FAR), x)));
    let two = s.splat_d(2.0);
    let n = s.mul_d(e, s.add_d(e, two));
    s.narrow(s.div_d(s.mul_d(s.widen(x), n), s.add_d(n, two)))
}
