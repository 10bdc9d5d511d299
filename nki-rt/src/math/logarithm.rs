//! log and softplus, in f64.

use super::double::{exp as exp_d, poly as poly_d};
use super::{FAR, abs};
use crate::simd::Simd;

/// (atanh(t) / t - 1) / t^2 in t^2, for t^2 <= 0.0295, good to 2^-35.
const ATANH_NEAR: [f64; 4] =
    [0.3333333327715009, 0.2000006100040844, 0.14275401276638355, 0.1166548202588602];

/// The same for t^2 <= 1/9, good to 2^-41.
const ATANH: [f64; 7] = [
    0.33333333333549087,
    0.1999999980990146,
    0.1428574151703626,
    0.11109655860158806,
    0.0912765172439636,
    0.07223047417690645,
    0.09532894472904432,
];

/// 2 atanh(t)
#[inline(always)]
fn twice_atanh<S: Simd, const N: usize>(s: S, t: S::D, c: [f64; N]) -> S::D {
    let square = s.mul_d(t, t);
    let t = s.add_d(t, t);
    s.fma_d(s.mul_d(poly_d(s, square, c), square), t, t)
}

/// ln x: with x = m 2^k and m within a factor sqrt 2 of 1, k ln 2 + 2 atanh((m - 1) / (m + 1)).
#[inline(always)]
pub(crate) fn log<S: Simd>(s: S, x: S::F) -> S::F {
    // Subnormals are scaled up by 2^23.
    let tiny = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let scaled = s.select(tiny, s.mul(x, s.splat(8_388_608.0)), x);
    let shift = s.select_i(tiny, s.splat_i(127 + 23), s.splat_i(127));
    let bits = s.to_bits(scaled);
    // Adding the distance from sqrt(1/2) to 1 lets the exponent change at sqrt(1/2), not at 1.
    let offset = s.add_i(bits, s.splat_i(0x3F80_0000 - 0x3F35_04F3));
    let k = s.widen(s.to_float(s.sub_i(s.shr::<23>(offset), shift)));
    let m = s.add_i(s.and_i(offset, s.splat_i(0x007F_FFFF)), s.splat_i(0x3F35_04F3));
    let m = s.widen(s.of_bits(m));
    let one = s.splat_d(1.0);
    let t = s.div_d(s.sub_d(m, one), s.add_d(m, one));
    let finite = s.narrow(s.fma_d(k, s.splat_d(std::f64::consts::LN_2), twice_atanh(s, t, ATANH_NEAR)));

    let zero = s.splat(0.0);
    let result = s.select(s.eq(x, zero), s.splat(f32::NEG_INFINITY), finite);
    let result = s.select(s.lt(x, zero), s.splat(f32::NAN), result);
    // Infinity and NaN are their own logarithm.
    s.select(s.lt(x, s.splat(f32::INFINITY)), result, x)
}

/// max(x, 0) + ln(1 + e^-|x|)
#[inline(always)]
pub(crate) fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    let zero = s.splat_d(0.0);
    let size = s.widen(s.lesser(s.splat(FAR), abs(s, x)));
    let e = exp_d(s, s.sub_d(zero, size));
    let t = s.div_d(e, s.add_d(e, s.splat_d(2.0)));
    let above = s.widen(s.greater(s.splat(0.0), x));
    s.narrow(s.add_d(above, twice_atanh(s, t, ATANH)))
}
