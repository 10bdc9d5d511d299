//! The activation functions in f64, written from their definitions.

use nki_rt::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

fn logistic_dx(u: f64) -> f64 {
    sigmoid(u) * (1.0 + u * sigmoid(-u))
}

/// The function at a finite argument.
pub fn reference(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Copy => x,
        Activation::Square => x * x,
        Activation::Abs => x.abs(),
        Activation::Sign => f64::from(i32::from(x > 0.0) - i32::from(x < 0.0)),
        Activation::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Activation::Exp => libm::exp(x),
        Activation::Log => libm::log(x),
        Activation::Sqrt => libm::sqrt(x),
        Activation::Rsqrt => 1.0 / libm::sqrt(x),
        Activation::Reciprocal => 1.0 / x,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => libm::tanh(x),
        Activation::Sin => libm::sin(x),
        Activation::Arctan => libm::atan(x),
        Activation::Erf => libm::erf(x),
        Activation::ErfDx => 2.0 / libm::sqrt(PI) * libm::exp(-x * x),
        Activation::Softplus => softplus(x),
        Activation::Mish => x * libm::tanh(softplus(x)),
        Activation::Gelu => x * normal_cdf(x),
        Activation::GeluDx => normal_cdf(x) + x * libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * PI),
        Activation::GeluTanh => x * sigmoid(2.0 * libm::sqrt(2.0 / PI) * (x + 0.044715 * x * x * x)),
        Activation::GeluSigmoid => x * sigmoid(1.702 * x),
        Activation::GeluSigmoidDx => logistic_dx(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::SiluDx => logistic_dx(x),
    }
}

/// Distance in units in the last place of the f32 nearest `want`; 0 when both are NaN, or equal.
pub fn ulps(got: f32, want: f64) -> f64 {
    if (got.is_nan() && want.is_nan()) || got == want as f32 {
        // Within half a unit, and zero or infinite where f32 rounds to that.
        return if got.is_finite() && want.is_finite() { distance(got, want) } else { 0.0 };
    }
    distance(got, want)
}

fn distance(got: f32, want: f64) -> f64 {
    let exponent = ((want.to_bits() >> 52) as i32 & 0x7FF) - 1023;
    let unit = f64::from_bits(((exponent.clamp(-126, 127) - 23 + 1023) as u64) << 52);
    // An infinite result counts as the first number beyond the range.
    let got = if got.is_infinite() { f64::from(got.signum()) * 2f64.powi(128) } else { f64::from(got) };
    let error = (got - want).abs() / unit;
    if error.is_nan() { f64::INFINITY } else { error }
}
