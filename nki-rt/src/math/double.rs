//! The f64 pieces that several functions share.

use crate::simd::Simd;

/// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the mantissa.
pub(super) const MAGIC: f64 = 6_755_399_441_055_744.0;

/// `sum of c[i] * x^i`, by Horner's rule.
#[inline(always)]
pub(super) fn poly<S: Simd, const N: usize>(s: S, x: S::D, c: [f64; N]) -> S::D {
    let mut sum = s.splat_d(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = s.fma_d(sum, x, s.splat_d(c[i]));
    }
    sum
}

/// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, so that e^r is good to 2^-32.5.
const EXP: [f64; 6] = [
    0.5000000013463886,
    0.16666666681621095,
    0.041666464944505696,
    0.008333310927615311,
    0.0013933647862928863,
    0.00019890988455544567,
];

/// The same to 2^-62, for functions with a zero that must stay accurate near it.
const EXP_PRECISE: [f64; 11] = [
    0.5,
    0.1666666666666667,
    0.04166666666666667,
    0.008333333333326136,
    0.001388888888888375,
    0.00019841269874815834,
    2.480158732554432e-05,
    2.7557255406285044e-06,
    2.7557273647451087e-07,
    2.5105214474751413e-08,
    2.0914685161418067e-09,
];

/// e^x for |x| <= 700, good to 2^-32.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::D) -> S::D {
    exp_by(s, x, EXP)
}

/// e^x for |x| <= 700, good to 2^-51.
#[inline(always)]
pub(super) fn exp_precise<S: Simd>(s: S, x: S::D) -> S::D {
    exp_by(s, x, EXP_PRECISE)
}

/// e^x = 2^n e^r with n = x / ln 2 rounded.
#[inline(always)]
fn exp_by<S: Simd, const N: usize>(s: S, x: S::D, c: [f64; N]) -> S::D {
    let magic = s.fma_d(x, s.splat_d(std::f64::consts::LOG2_E), s.splat_d(MAGIC));
    let n = s.sub_d(magic, s.splat_d(MAGIC));
    let r = s.fma_d(n, s.splat_d(-std::f64::consts::LN_2), x);
    let q = poly(s, r, c);
    let p = s.add_d(s.fma_d(q, s.mul_d(r, r), r), s.splat_d(1.0));
    s.scale_d(p, magic)
}

/// x rounded to the nearest integer, for |x| < 2^51.
#[inline(always)]
pub(super) fn round<S: Simd>(s: S, x: S::D) -> S::D {
    s.sub_d(s.add_d(x, s.splat_d(MAGIC)), s.splat_d(MAGIC))
}
