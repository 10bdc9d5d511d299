//! exp and tanh, in f32.

use super::{abs, clamp, poly, with_sign_of};
use crate::simd::Simd;

/// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, so that e^r is good to 2^-32.
const EXP: [f32; 6] = [0.5, 0.16666667, 0.041666465, 0.00833331, 0.0013933648, 1.989_099e-4];

/// ln 2 in two parts; products of the first with integers up to 2^8 are exact.
const LN2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];

/// (tanh(x) / x - 1) / x^2 in x^2, for |x| <= 0.625, good to 2^-30.
const TANH: [f32; 6] = [-0.33333334, 0.13333304, -0.053959254, 0.021768868, -0.00834378, 0.0022925577];

/// `(p, n)` with e^x = p 2^n, p near 1, n an integer; for |x| <= 150.
#[inline(always)]
pub(super) fn exp_parts<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN2[0]), x);
    let r = s.fma(n, s.splat(-LN2[1]), r);
    let q = poly(s, r, EXP);
    let p = s.add(s.fma(q, s.mul(r, r), r), s.splat(1.0));
    (p, n)
}

/// `(t, n)` with e^(x + low) = (1 + t) 2^n, |t| < 0.42, n an integer; for |x| <= 150 and a `low` that is a rounding error of it.
#[inline(always)]
pub(super) fn exp_split<S: Simd>(s: S, x: S::F, low: S::F) -> (S::F, S::F) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.add(s.fma(n, s.splat(-LN2[0]), x), s.fma(n, s.splat(-LN2[1]), low));
    let q = poly(s, r, EXP);
    (s.fma(q, s.mul(r, r), r), n)
}

/// `p * 2^n` for an integral `n` that leaves the product normal.
#[inline(always)]
pub(super) fn scale_normal<S: Simd>(s: S, p: S::F, n: S::F) -> S::F {
    s.of_bits(s.add_i(s.to_bits(p), s.shl::<23>(s.to_int(n))))
}

/// e^x. Overflow gives infinity, underflow is gradual.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let (p, n) = exp_parts(s, clamp(s, x, -105.0, 89.0));
    s.scale(p, n)
}

/// e^x for |x| < 87, where it is normal.
#[inline(always)]
pub(crate) fn exp_normal<S: Simd>(s: S, x: S::F) -> S::F {
    let (p, n) = exp_parts(s, x);
    scale_normal(s, p, n)
}

/// tanh x: a polynomial near zero, else 1 - 2 / (e^2x + 1).
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let size = abs(s, x);
    let square = s.mul(x, x);
    let near = s.fma(s.mul(poly(s, square, TANH), square), size, size);
    // Beyond 10 the result is 1 to the last bit.
    let (p, n) = exp_parts(s, s.lesser(s.splat(20.0), s.add(size, size)));
    let e = scale_normal(s, p, n);
    let far = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    with_sign_of(s, s.select(s.lt(size, s.splat(0.625)), near, far), x)
}
