//! The error function and the exact gelu.

use super::double::{exp as exp_d, exp_precise, poly as poly_d};
use super::exponential::{exp_parts, scale_normal};
use super::{abs, clamp, neg, poly, with_sign_of};
use crate::simd::Simd;

/// erf(x) / x - 1 in x^2 for |x| <= 0.92, good to 2^-31.
const ERF_NEAR: [f32; 7] =
    [0.12837917, -0.37612635, 0.112_837_02, -0.02685969, 0.0052017146, -0.00081500504, 8.399778e-5];

/// -ln(1 - erf(x)) for 0.9 <= x <= 3.95, good to 2^-28.
const ERF_FAR: [f32; 10] = [
    -0.00034087655,
    1.1303464,
    0.63157064,
    0.11039773,
    -0.026662277,
    0.0048761023,
    -0.0006327998,
    5.2943416e-5,
    -2.379_857e-6,
    3.453023e-8,
];

/// erf x, in f32: an odd polynomial near zero, else 1 - exp(-polynomial).
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let size = abs(s, x);
    let near = s.fma(poly(s, s.mul(x, x), ERF_NEAR), size, size);
    // From 3.95 on the result is 1 to the last bit.
    let exponent = poly(s, s.lesser(s.splat(3.95), size), ERF_FAR);
    let (p, n) = exp_parts(s, neg(s, exponent));
    let far = s.sub(s.splat(1.0), scale_normal(s, p, n));
    with_sign_of(s, s.select(s.lt(size, s.splat(0.92)), near, far), x)
}

/// 2/sqrt(pi) exp(-x^2)
#[inline(always)]
pub(crate) fn erf_dx<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.widen(clamp(s, x, -11.0, 11.0));
    let e = exp_d(s, s.sub_d(s.splat_d(0.0), s.mul_d(x, x)));
    s.narrow(s.mul_d(e, s.splat_d(std::f64::consts::FRAC_2_SQRT_PI)))
}

/// (a + 4) exp(a^2/2) Phi(-a) in (a - 4) / (a + 4) for 0 <= a <= 14.7, Phi the normal distribution, good to 2^-34.
const TAIL: [f64; 13] = [
    0.7552851304086251,
    -0.6078966422378478,
    0.3871374015107894,
    -0.1865218439541092,
    0.06039656872901348,
    -0.0075403986741140565,
    -0.0034798152196810254,
    0.001632066191616204,
    0.00013494843204101128,
    -0.00023386850142477012,
    -8.012934954547832e-06,
    3.497454866523175e-05,
    8.066444359802178e-06,
];

/// The same to 2^-54.
const TAIL_PRECISE: [f64; 21] = [
    0.7552851304157515,
    -0.6078966419718925,
    0.3871374007422108,
    -0.18652185795959977,
    0.06039657489121146,
    -0.007540188968749242,
    -0.0034796923755813884,
    0.001630818487732528,
    0.0001333444375845388,
    -0.00023109514306948324,
    -1.9093348237667616e-06,
    3.5145168730477645e-05,
    7.21990156607887e-07,
    -5.918292549795494e-06,
    -6.441467473271976e-07,
    1.0071262557222935e-06,
    2.8898209064665375e-07,
    -1.218387460734306e-07,
    -8.234290011825085e-08,
    -1.2968486105091365e-08,
    3.80672741901185e-10,
];

/// exp(a^2/2) Phi(-a) for 0 <= a <= 14.7.
#[inline(always)]
fn scaled_tail<S: Simd, const N: usize>(s: S, a: S::D, c: [f64; N]) -> S::D {
    let one = s.splat_d(1.0);
    let four = s.splat_d(4.0);
    let r = s.div_d(one, s.add_d(a, four));
    let q = s.mul_d(s.sub_d(a, four), r);
    s.mul_d(poly_d(s, q, c), r)
}

/// Beyond this gelu(-x) has underflowed.
const GELU_FAR: f32 = 14.7;

/// Per lane: (0, 1) where x is negative, else (1, -1). Phi(x) is the first plus the second times Phi(-|x|).
#[inline(always)]
fn reflection<S: Simd>(s: S, x: S::F) -> (S::D, S::D) {
    let one = s.splat(1.0);
    let positive = s.select(s.lt(x, s.splat(0.0)), s.splat(0.0), one);
    let offset = s.widen(positive);
    (offset, s.fma_d(offset, s.splat_d(-2.0), s.splat_d(1.0)))
}

/// x Phi(x) = 0.5 x (1 + erf(x / sqrt 2)); its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-GELU_FAR), x);
    let a = s.widen(s.lesser(s.splat(GELU_FAR), abs(s, x)));
    let gauss = exp_d(s, s.mul_d(s.mul_d(a, a), s.splat_d(-0.5)));
    let tail = s.mul_d(gauss, scaled_tail(s, a, TAIL));
    let (offset, sign) = reflection(s, x);
    s.narrow(s.mul_d(s.widen(x), s.fma_d(sign, tail, offset)))
}

/// Phi(x) + x phi(x), the derivative of gelu.
#[inline(always)]
pub(crate) fn gelu_dx<S: Simd>(s: S, x: S::F) -> S::F {
    const PHI_0: f64 = 0.398_942_280_401_432_7; // 1 / sqrt(2 pi)
    let x = clamp(s, x, -GELU_FAR, GELU_FAR);
    let a = s.widen(abs(s, x));
    let gauss = exp_precise(s, s.mul_d(s.mul_d(a, a), s.splat_d(-0.5)));
    // Phi(-a) - a phi(a); by symmetry the derivative at +a is one minus that at -a.
    let below = s.mul_d(gauss, s.fma_d(a, s.splat_d(-PHI_0), scaled_tail(s, a, TAIL_PRECISE)));
    let (offset, sign) = reflection(s, x);
    s.narrow(s.fma_d(sign, below, offset))
}
