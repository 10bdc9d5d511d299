//! sin and arctan, in f64.

use super::abs;
use super::double::{poly as poly_d, round};
use crate::simd::{MAX_LANES, Simd};
use std::f64::consts::{FRAC_1_PI, FRAC_PI_2, PI};

/// (sin(r) / r - 1) / r^2 in r^2, for |r| <= pi/2, good to 2^-41.
const SIN: [f64; 6] = [
    -0.16666666666658464,
    0.008333333330939888,
    -0.00019841268708875812,
    2.7557123150994853e-06,
    -2.5036743790634064e-08,
    1.5502487098215097e-10,
];

/// pi minus its f64 value.
const PI_LOW: f64 = 1.224_646_799_147_353_2e-16;

/// Up to here the argument is reduced with pi to 107 bits; f32 numbers come no closer than 2^-33 to a multiple of
/// pi, so more than 2^-30 of relative accuracy is left. Beyond, one lane after the other.
const SIN_FAR: f32 = 1.0995116e12; // 2^40

/// sin x, also far outside the hardware's range.
#[inline(always)]
pub(crate) fn sin<S: Simd>(s: S, x: S::F) -> S::F {
    let wide = s.widen(x);
    let n = round(s, s.mul_d(wide, s.splat_d(FRAC_1_PI)));
    let r = s.fma_d(n, s.splat_d(-PI), wide);
    let r = s.fma_d(n, s.splat_d(-PI_LOW), r);
    let square = s.mul_d(r, r);
    let sine = s.fma_d(s.mul_d(poly_d(s, square, SIN), square), r, r);
    // sin(r + n pi) changes sign with odd n: n - 2 round(n/2) is -1, 0 or 1.
    let odd = s.fma_d(round(s, s.mul_d(n, s.splat_d(0.5))), s.splat_d(-2.0), n);
    let sign = s.fma_d(s.mul_d(odd, odd), s.splat_d(-2.0), s.splat_d(1.0));
    let result = s.narrow(s.mul_d(sine, sign));

    let size = abs(s, x);
    // The sum above turns -0 into +0.
    let result = s.select(s.eq(size, s.splat(0.0)), x, result);
    let far = s.lt(s.splat(SIN_FAR), size);
    if s.any(far) { s.select(far, sin_by_lane(s, x), result) } else { result }
}

/// One lane after the other.
#[inline(never)]
fn sin_by_lane<S: Simd>(s: S, x: S::F) -> S::F {
    let mut lanes = [0.0f32; MAX_LANES];
    // SAFETY: the array has at least LANES elements.
    unsafe { s.store(lanes.as_mut_ptr(), x) };
    for lane in &mut lanes {
        *lane = libm::sin(f64::from(*lane)) as f32;
    }
    // SAFETY: as above.
    unsafe { s.load(lanes.as_ptr()) }
}

/// (atan(t) / t - 1) / t^2 in t^2, for |t| <= 1, good to 2^-37.
const ATAN: [f64; 13] = [
    -0.3333333333230858,
    0.1999999965269345,
    -0.14285694570640292,
    0.11110666303625419,
    -0.09085624177887072,
    0.07654295472644398,
    -0.06487062356606563,
    0.052943908816199266,
    -0.038767022568525905,
    0.02324837369843582,
    -0.010257166271499646,
    0.002875485609943425,
    -0.0003778858076662609,
];

/// arctan x; beyond 1 as pi/2 - arctan(1/x).
#[inline(always)]
pub(crate) fn arctan<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let size = abs(s, x);
    let outside = s.lt(one, size);
    let top = s.widen(s.select(outside, one, size));
    let bottom = s.widen(s.select(outside, size, one));
    let t = s.div_d(top, bottom);
    let square = s.mul_d(t, t);
    let inner = s.fma_d(s.mul_d(poly_d(s, square, ATAN), square), t, t);
    let flag = s.widen(s.select(outside, one, s.splat(0.0)));
    let sign = s.fma_d(flag, s.splat_d(-2.0), s.splat_d(1.0));
    let result = s.narrow(s.fma_d(flag, s.splat_d(FRAC_PI_2), s.mul_d(inner, sign)));
    super::with_sign_of(s, result, x)
}
