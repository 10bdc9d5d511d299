//! The logistic function and what networks build from it.

use super::double::{exp as exp_d, exp_precise};
use super::exponential::exp_split;
use super::{FAR, clamp, neg};
use crate::simd::Simd;

/// factor / (1 + e^-u) for |u| <= 4 FAR.
#[inline(always)]
fn over_logistic<S: Simd>(s: S, factor: S::D, minus_u: S::D) -> S::F {
    s.narrow(s.div_d(factor, s.add_d(s.splat_d(1.0), exp_d(s, minus_u))))
}

/// factor / (1 + e^(v + low)) in f32, for -80 <= v <= FAR and a `low` that is a rounding error of it. Underflow is gradual.
#[inline(always)]
fn over_one_and_exp<S: Simd>(s: S, factor: S::F, v: S::F, low: S::F) -> S::F {
    let (t, n) = exp_split(s, v, low);
    let n = s.to_int(n);
    // Beyond 2^100 the one no longer counts, and powers of two are left for the end.
    let most = s.splat_i(100);
    let kept = s.select_i(s.gt_i(n, most), most, n);
    let bias = s.splat_i(127);
    let power = s.of_bits(s.shl::<23>(s.add_i(kept, bias)));
    let rest = s.of_bits(s.shl::<23>(s.sub_i(bias, s.sub_i(n, kept))));
    let one = s.splat(1.0);
    let sum = s.add(power, one);
    let lost = s.sub(one, s.sub(sum, power));
    let bottom = s.add(sum, s.fma(power, t, lost));
    s.mul(s.div(factor, bottom), rest)
}

/// [`over_one_and_exp`] for v within [-80, 69], so that e^v is below 2^100.
#[inline(always)]
fn over_one_and_small_exp<S: Simd>(s: S, factor: S::F, v: S::F, low: S::F) -> S::F {
    let (t, n) = exp_split(s, v, low);
    let power = s.of_bits(s.shl::<23>(s.add_i(s.to_int(n), s.splat_i(127))));
    let one = s.splat(1.0);
    let sum = s.add(power, one);
    let lost = s.sub(one, s.sub(sum, power));
    s.div(factor, s.add(sum, s.fma(power, t, lost)))
}

/// -x where it lies in -80 ..= FAR, for [`over_one_and_exp`].
#[inline(always)]
fn exponent<S: Simd>(s: S, x: S::F) -> S::F {
    neg(s, s.lesser(s.splat(80.0), x))
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-FAR), x);
    over_one_and_exp(s, s.splat(1.0), exponent(s, x), s.splat(0.0))
}

/// [`sigmoid`] for |x| < 69.
#[inline(always)]
pub(crate) fn sigmoid_within<S: Simd>(s: S, x: S::F) -> S::F {
    over_one_and_small_exp(s, s.splat(1.0), neg(s, x), s.splat(0.0))
}

/// [`silu`] for |x| < 69.
#[inline(always)]
pub(crate) fn silu_within<S: Simd>(s: S, x: S::F) -> S::F {
    over_one_and_small_exp(s, x, neg(s, x), s.splat(0.0))
}

/// x / (1 + e^-x); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-FAR), x);
    over_one_and_exp(s, x, exponent(s, x), s.splat(0.0))
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

/// -2 sqrt(2/pi), and the same times 0.044715, each as f32 and what that leaves.
const TANH_FACTORS: [[f32; 2]; 2] = [[-1.5957692, 4.534068e-8], [-0.071354814, -2.3988325e-9]];

/// -2 sqrt(2/pi) (y + 0.044715 y^3) and what rounding it has lost, for |y| <= 11.
#[inline(always)]
fn tanh_exponent<S: Simd>(s: S, y: S::F) -> (S::F, S::F) {
    let [[linear, linear_low], [cubic, cubic_low]] = TANH_FACTORS;
    let (linear, linear_low) = (s.splat(linear), s.splat(linear_low));
    let (cubic, cubic_low) = (s.splat(cubic), s.splat(cubic_low));
    // The exponent is up to 112, so all of it is carried in pairs of a number and what it lacks.
    let square = s.mul(y, y);
    let lost = s.fma(y, y, neg(s, square));
    let p = s.mul(square, cubic);
    let p_low = s.fma(square, cubic, neg(s, p));
    let p_low = s.fma(lost, cubic, s.fma(square, cubic_low, p_low));
    let w = s.add(p, linear);
    let part = s.sub(w, p);
    let w_low = s.add(s.sub(p, s.sub(w, part)), s.sub(linear, part));
    let w_low = s.add(w_low, s.add(p_low, linear_low));
    let v = s.mul(y, w);
    let v_low = s.fma(y, w_low, s.fma(y, w, neg(s, v)));
    (v, v_low)
}

/// [`gelu_tanh`] for |x| < 9.
#[inline(always)]
pub(crate) fn gelu_tanh_within<S: Simd>(s: S, x: S::F) -> S::F {
    let (v, low) = tanh_exponent(s, x);
    over_one_and_small_exp(s, x, v, low)
}

/// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x s(2u); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // At -11 the result has underflowed, at 11 the quotient is 1.
    let x = s.greater(s.splat(-11.0), x);
    let y = s.lesser(s.splat(11.0), x);
    let (v, v_low) = tanh_exponent(s, y);
    over_one_and_exp(s, x, s.greater(s.splat(-80.0), v), v_low)
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
