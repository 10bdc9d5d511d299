//! The error function and the exact gelu.

use super::double::{exp as exp_d, exp_precise, poly as poly_d};
use super::exponential::{exp_parts, exp_split, scale_normal};
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

/// exp(a^2/2) Phi(-a), Phi the normal distribution, in pieces of [0, 15): the pieces begin where a + 1 is a power of two or
/// 1.5 times one, and the powers are those of the distance from [`CENTRES`]; good to 2^-27.
const TAIL: [[f32; 8]; 9] = [
    [0.41403142, 0.3002295, 0.20577644, 0.14132936, 0.0944097, 0.064778835, 0.043798395, 0.030508906],
    [
        -0.29543346,
        -0.17376503,
        -0.09026798,
        -0.045612775,
        -0.021299304,
        -0.010266245,
        -0.004753095,
        -0.002319815,
    ],
    [
        0.17008618,
        0.08495137,
        0.035185117,
        0.0136477295,
        0.0046057627,
        0.0015904399,
        0.0005100684,
        0.00017540081,
    ],
    [
        -0.08430386,
        -0.036683355,
        -0.012496271,
        -0.0038309589,
        -0.00095870433,
        -0.00024117816,
        -5.414799e-05,
        -1.3188744e-05,
    ],
    [
        0.03725251,
        0.01435956,
        0.004110063,
        0.0010175463,
        0.00019274969,
        3.5841524e-05,
        5.687829e-06,
        9.862858e-07,
    ],
    [
        -0.014996805,
        -0.0051823696,
        -0.0012654483,
        -0.00025733313,
        -3.7464815e-05,
        -5.22196e-06,
        -5.895349e-07,
        -7.3301294e-08,
    ],
    [
        0.005583432,
        0.0017453224,
        0.00036827012,
        6.231908e-05,
        7.086172e-06,
        7.476315e-07,
        6.069771e-08,
        5.4236087e-09,
    ],
    [
        -0.0019712597,
        -0.0005601155,
        -0.000105857616,
        -1.4914289e-05,
        -1.4025446e-06,
        -1.09845544e-07,
        -6.806455e-09,
        -4.1933132e-10,
    ],
    [
        0.00064557843,
        0.00016814443,
        2.7902632e-05,
        3.3425579e-06,
        2.5072237e-07,
        1.5181639e-08,
        6.8631695e-10,
        3.0691925e-11,
    ],
];

/// Centres of the pieces, chosen where the function is nearly an f32 number.
const CENTRES: [f32; 8] =
    [0.25000232, 0.7500171, 1.5000468, 2.5000432, 4.0000443, 6.0000467, 9.000083, 13.000219];

/// exp(a^2/2) Phi(-a) for 0 <= a < 15, and what the last addition has lost of it.
#[inline(always)]
fn scaled_tail<S: Simd>(s: S, a: S::F) -> (S::F, S::F) {
    // The exponent of a + 1 and the first bit of its mantissa count the pieces.
    let bits = s.shr::<22>(s.to_bits(s.add(a, s.splat(1.0))));
    let piece = s.sub_i(bits, s.splat_i(127 << 1));
    let z = s.sub(a, s.lookup(&CENTRES, piece));
    let mut sum = s.lookup(&TAIL[8], piece);
    for i in (1..8).rev() {
        sum = s.fma(sum, z, s.lookup(&TAIL[i], piece));
    }
    add_constant(s, s.lookup(&TAIL[0], piece), s.mul(sum, z))
}

/// The sum of a polynomial's constant term, the largest by far, and its rest, and what that addition has lost.
#[inline(always)]
fn add_constant<S: Simd>(s: S, constant: S::F, rest: S::F) -> (S::F, S::F) {
    let whole = s.add(constant, rest);
    (whole, s.add(s.sub(constant, whole), rest))
}

/// Below this there are four pieces of the same length, and shorter polynomials.
pub(crate) const GELU_NEAR: f32 = 2.99;

/// exp(a^2/2) Phi(-a) in pieces of 0.75 from 0 on, in powers of the distance from [`NEAR_CENTRES`]; good to 2^-25.6.
const NEAR: [[f32; 4]; 8] = [
    [0.37958413, 0.24533658, 0.17629133, 0.13585766],
    [-0.2565682, -0.12294898, -0.06839717, -0.04238664],
    [0.14167552, 0.0535121, 0.024023544, 0.012307392],
    [-0.06780963, -0.020916723, -0.0077843955, -0.0033620477],
    [0.029052312, 0.0074942564, 0.0023567546, 0.00087089645],
    [-0.0113794375, -0.0024966307, -0.0006729715, -0.00021524787],
    [0.0042451327, 0.00079738983, 0.00018544114, 5.163_937_7e-5],
    [-0.0014393065, -0.00023555127, -4.795978e-5, -1.175_570_5e-5],
];

/// Centres of those pieces, where the function is nearly an f32 number.
const NEAR_CENTRES: [f32; 4] = [0.375_079_1, 1.124_957_8, 1.874_993_6, 2.624_479_5];

/// [`scaled_tail`] below [`GELU_NEAR`].
#[inline(always)]
fn scaled_tail_near<S: Simd>(s: S, a: S::F) -> (S::F, S::F) {
    let piece = s.to_int(s.fma(a, s.splat(4.0 / 3.0), s.splat(-0.5)));
    let z = s.sub(a, s.lookup_4(&NEAR_CENTRES, piece));
    let mut sum = s.lookup_4(&NEAR[7], piece);
    for i in (1..7).rev() {
        sum = s.fma(sum, z, s.lookup_4(&NEAR[i], piece));
    }
    add_constant(s, s.lookup_4(&NEAR[0], piece), s.mul(sum, z))
}

/// (a + 4) exp(a^2/2) Phi(-a) in (a - 4) / (a + 4) for 0 <= a <= 14.7, good to 2^-54.
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
fn scaled_tail_precise<S: Simd>(s: S, a: S::D) -> S::D {
    let one = s.splat_d(1.0);
    let four = s.splat_d(4.0);
    let r = s.div_d(one, s.add_d(a, four));
    let q = s.mul_d(s.sub_d(a, four), r);
    s.mul_d(poly_d(s, q, TAIL_PRECISE), r)
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

/// x Phi(x) = 0.5 x (1 + erf(x / sqrt 2)), in f32; its limit -0 at minus infinity.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.greater(s.splat(-GELU_FAR), x);
    let a = s.lesser(s.splat(GELU_FAR), abs(s, x));
    let ((near, near_lost), (far, far_lost)) = (scaled_tail_near(s, a), scaled_tail(s, a));
    let is_near = s.lt(a, s.splat(GELU_NEAR));
    let tail = (s.select(is_near, near, far), s.select(is_near, near_lost, far_lost));
    let (below, n) = gelu_parts(s, x, a, tail);
    gelu_of(s, x, a, s.scale(below, n))
}

/// [`gelu`] for |x| < [`GELU_NEAR`].
#[inline(always)]
pub(crate) fn gelu_near<S: Simd>(s: S, x: S::F) -> S::F {
    let a = abs(s, x);
    let (below, n) = gelu_parts(s, x, a, scaled_tail_near(s, a));
    gelu_of(s, x, a, scale_normal(s, below, n))
}

/// `(b, n)` with b 2^n = Phi(-a), times x where that is negative and so the result: its underflow is gradual. `a` is |x|, and
/// `tail` exp(a^2/2) Phi(-a) and what it lacks.
#[inline(always)]
fn gelu_parts<S: Simd>(s: S, x: S::F, a: S::F, (tail, tail_lost): (S::F, S::F)) -> (S::F, S::F) {
    // -a^2 / 2, and what rounding the square has lost.
    let square = s.mul(a, a);
    let lost = s.fma(a, a, neg(s, square));
    let (t, n) = exp_split(s, s.mul(square, s.splat(-0.5)), s.mul(lost, s.splat(-0.5)));
    let factor = s.select(s.lt(x, s.splat(0.0)), x, s.splat(1.0));
    let product = s.mul(factor, tail);
    let lost = s.fma(factor, tail_lost, s.fma(factor, tail, neg(s, product)));
    (s.add(product, s.fma(t, product, lost)), n)
}

/// gelu(x) of what [`gelu_parts`] gives.
#[inline(always)]
fn gelu_of<S: Simd>(s: S, x: S::F, a: S::F, below: S::F) -> S::F {
    s.select(s.lt(x, s.splat(0.0)), below, s.fma(neg(s, a), below, x))
}

/// Phi(x) + x phi(x), the derivative of gelu.
#[inline(always)]
pub(crate) fn gelu_dx<S: Simd>(s: S, x: S::F) -> S::F {
    const PHI_0: f64 = 0.398_942_280_401_432_7; // 1 / sqrt(2 pi)
    let x = clamp(s, x, -GELU_FAR, GELU_FAR);
    let a = s.widen(abs(s, x));
    let gauss = exp_precise(s, s.mul_d(s.mul_d(a, a), s.splat_d(-0.5)));
    // Phi(-a) - a phi(a); by symmetry the derivative at +a is one minus that at -a.
    let below = s.mul_d(gauss, s.fma_d(a, s.splat_d(-PHI_0), scaled_tail_precise(s, a)));
    let (offset, sign) = reflection(s, x);
    s.narrow(s.fma_d(sign, below, offset))
}
