//! Activation functions (isa.md section 5), evaluated in float64 by portable code and rounded once to float32, so that every
//! machine gives the same bits.
//!
//! The forms are chosen to stay accurate where the textbook formula cancels or overflows. At an infinity the value is the
//! limit: `gelu(-inf)` is -0, not the NaN of `-inf * 0`.

use crate::op::ActFn;

/// `f(x)` in float32. `slope` is `relu_param`, read by prelu alone.
pub fn apply(f: ActFn, x: f32, slope: f32) -> f32 {
    let mut row = [x];
    apply_row(f, &mut row, slope);
    row[0]
}

/// Applies `f` to every element.
pub(crate) fn apply_row(f: ActFn, row: &mut [f32], slope: f32) {
    match f {
        ActFn::Copy => {}
        ActFn::Square => each(row, |x| x * x),
        ActFn::Abs => each(row, f32::abs),
        ActFn::Sign => each(row, sign),
        ActFn::Relu => each(row, |x| super::alu::maximum(x, 0.0)),
        ActFn::Prelu => each(row, |x| if x > 0.0 { x } else { slope * x }),
        ActFn::Sqrt => each(row, f32::sqrt),
        ActFn::Rsqrt => each(row, super::alu::rsqrt),
        ActFn::Reciprocal => each(row, |x| 1.0 / x),
        ActFn::Exp => wide(row, libm::exp),
        ActFn::Log => wide(row, libm::log),
        ActFn::Sigmoid => wide(row, sigmoid),
        ActFn::Tanh => wide(row, libm::tanh),
        ActFn::Sin => wide(row, libm::sin),
        ActFn::Arctan => wide(row, libm::atan),
        ActFn::Erf => wide(row, libm::erf),
        ActFn::ErfDx => wide(row, |x| std::f64::consts::FRAC_2_SQRT_PI * libm::exp(-x * x)),
        ActFn::Softplus => wide(row, softplus),
        ActFn::Mish => wide(row, |x| gate(x, libm::tanh(softplus(x)))),
        ActFn::Gelu => wide(row, |x| gate(x, normal_cdf(x))),
        ActFn::GeluDx => wide(row, |x| normal_cdf(x) + gate(x, normal_pdf(x))),
        ActFn::GeluApprxTanh => wide(row, |x| gate(x, sigmoid(2.0 * tanh_argument(x)))),
        ActFn::GeluApprxSigmoid => wide(row, |x| gate(x, sigmoid(1.702 * x))),
        ActFn::GeluApprxSigmoidDx => wide(row, |x| silu_dx(1.702 * x)),
        ActFn::Silu => wide(row, |x| gate(x, sigmoid(x))),
        ActFn::SiluDx => wide(row, silu_dx),
    }
}

#[inline(always)]
fn each(row: &mut [f32], f: impl Fn(f32) -> f32) {
    row.iter_mut().for_each(|x| *x = f(*x));
}

#[inline(always)]
fn wide(row: &mut [f32], f: impl Fn(f64) -> f64) {
    row.iter_mut().for_each(|x| *x = f(f64::from(*x)) as f32);
}

/// -1, 0 or 1; NaN of NaN.
fn sign(x: f32) -> f32 {
    if x.is_nan() { x } else { f32::from(i8::from(x > 0.0) - i8::from(x < 0.0)) }
}

/// `x · weight`, where the weight falls faster than x grows: 0 with the sign of x where it has vanished.
fn gate(x: f64, weight: f64) -> f64 {
    if weight == 0.0 { 0.0f64.copysign(x) } else { x * weight }
}

fn sigmoid(x: f64) -> f64 {
    // For very negative x the exponential overflows to infinity, and the quotient is the right 0.
    1.0 / (1.0 + libm::exp(-x))
}

/// ln(1 + e^x); isa.md demands this form.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// The normal distribution function, with full relative accuracy in the lower tail.
fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn normal_pdf(x: f64) -> f64 {
    const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;
    INV_SQRT_TAU * libm::exp(-0.5 * x * x)
}

/// The argument of the tanh in gelu_apprx_tanh; `0.5 (1 + tanh u)` is `sigmoid(2u)` without the cancellation.
fn tanh_argument(x: f64) -> f64 {
    const SQRT_FRAC_2_PI: f64 = 0.797_884_560_802_865_4;
    SQRT_FRAC_2_PI * (x + 0.044_715 * x * x * x)
}

/// Derivative of silu at u.
fn silu_dx(u: f64) -> f64 {
    let s = sigmoid(u);
    s + gate(u, s * sigmoid(-u))
}
