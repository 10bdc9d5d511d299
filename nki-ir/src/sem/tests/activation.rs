//! Activation functions against textbook formulas in float64, with other forms in the tails than `act` uses.

use crate::ActFn::{self, *};
use crate::sem::act;
use proptest::prelude::*;
use std::f64::consts::{PI, SQRT_2};

/// erfc by Taylor series near zero and by its continued fraction in the tail.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        // erf(x) = 2/sqrt(pi) sum of (-1)^n x^(2n+1) / (n! (2n+1)).
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / PI.sqrt() * sum;
    }
    // exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ..)))).
    let tail = (1..200).rev().fold(x, |t, k| x + f64::from(k) / 2.0 / t);
    (-x * x).exp() / PI.sqrt() / tail
}

fn erf(x: f64) -> f64 {
    (1.0 - erfc(x.abs())).copysign(x)
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn silu_dx(u: f64) -> f64 {
    sigmoid(u) * (1.0 + u * sigmoid(-u))
}

/// The function at a finite argument.
fn model(f: ActFn, x: f64) -> f64 {
    let cdf = |x: f64| erfc(-x / SQRT_2) / 2.0;
    let softplus = |x: f64| if x > 40.0 { x } else { x.exp().ln_1p() };
    match f {
        Exp => x.exp(),
        Log => x.ln(),
        Rsqrt => x.sqrt().recip(),
        Sigmoid => sigmoid(x),
        Tanh => x.tanh(),
        Sin => x.sin(),
        Arctan => x.atan(),
        // Below, the series' own error would show.
        Erf if x.abs() < 1e-3 => 2.0 / PI.sqrt() * (x - x.powi(3) / 3.0),
        Erf => erf(x),
        ErfDx => 2.0 / PI.sqrt() * (-(x * x)).exp(),
        Softplus => softplus(x),
        Mish => x * softplus(x).tanh(),
        Gelu => x * cdf(x),
        GeluDx => cdf(x) + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt(),
        GeluApprxTanh => {
            let u = (2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3));
            if u > -0.5 { 0.5 * x * (1.0 + u.tanh()) } else { x * (2.0 * u).exp() / (1.0 + (2.0 * u).exp()) }
        }
        GeluApprxSigmoid => x * sigmoid(1.702 * x),
        GeluApprxSigmoidDx => silu_dx(1.702 * x),
        Silu => x * sigmoid(x),
        SiluDx => silu_dx(x),
        other => panic!("{other} has an exact model elsewhere"),
    }
}

/// Functions that need more than float32 arithmetic.
const FUNCTIONS: [ActFn; 18] = [
    Exp,
    Log,
    Rsqrt,
    Sigmoid,
    Tanh,
    Sin,
    Arctan,
    Erf,
    ErfDx,
    Softplus,
    Mish,
    Gelu,
    GeluDx,
    GeluApprxTanh,
    GeluApprxSigmoid,
    GeluApprxSigmoidDx,
    Silu,
    SiluDx,
];

/// Both sides have float64 accuracy, so their roundings differ by one place at most.
fn check(f: ActFn, x: f32) -> Result<(), String> {
    let (want, got) = (model(f, x.into()), act::apply(f, x, 0.0));
    let near = want as f32;
    // Where a function crosses zero the formulas cancel.
    let close = (f64::from(got) - want).abs() <= 1e-15;
    match got == near
        || got == near.next_up()
        || got == near.next_down()
        || close
        || got.is_nan() && near.is_nan()
    {
        true => Ok(()),
        false => Err(format!("{f}({x:e}) = {got:e}, not {want:e}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn ordinary_arguments(x in -120.0f32..120.0) {
        for f in FUNCTIONS {
            check(f, x).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn all_magnitudes(bits: u32) {
        let x = f32::from_bits(bits);
        prop_assume!(x.is_finite());
        for f in FUNCTIONS {
            check(f, x).map_err(TestCaseError::fail)?;
        }
    }
}

#[test]
fn near_zero_and_near_one() {
    for f in FUNCTIONS {
        for i in -2000..=2000 {
            check(f, i as f32 / 1000.0).unwrap();
            check(f, i as f32 * 1e-38).unwrap();
        }
    }
}

/// Limits at infinity, NaN for NaN (isa.md section 5 names the functions; a limit is the function's continuous value).
#[test]
fn special_arguments() {
    const INF: f32 = f32::INFINITY;
    for (f, at_minus_infinity, at_infinity) in [
        (Copy, -INF, INF),
        (Square, INF, INF),
        (Abs, INF, INF),
        (Sign, -1.0, 1.0),
        (Relu, 0.0, INF),
        (Exp, 0.0, INF),
        (Log, f32::NAN, INF),
        (Sqrt, f32::NAN, INF),
        (Rsqrt, f32::NAN, 0.0),
        (Reciprocal, -0.0, 0.0),
        (Sigmoid, 0.0, 1.0),
        (Tanh, -1.0, 1.0),
        (Sin, f32::NAN, f32::NAN),
        (Arctan, -std::f32::consts::FRAC_PI_2, std::f32::consts::FRAC_PI_2),
        (Erf, -1.0, 1.0),
        (ErfDx, 0.0, 0.0),
        (Softplus, 0.0, INF),
        (Mish, -0.0, INF),
        (Gelu, -0.0, INF),
        (GeluDx, -0.0, 1.0),
        (GeluApprxTanh, -0.0, INF),
        (GeluApprxSigmoid, -0.0, INF),
        (GeluApprxSigmoidDx, -0.0, 1.0),
        (Silu, -0.0, INF),
        (SiluDx, -0.0, 1.0),
    ] {
        for (x, want) in [(-INF, at_minus_infinity), (INF, at_infinity)] {
            let got = act::apply(f, x, 0.0);
            assert!(got == want || got.is_nan() && want.is_nan(), "{f}({x}) = {got}");
        }
        assert!(act::apply(f, f32::NAN, 0.0).is_nan(), "{f}");
    }
    assert_eq!(act::apply(Log, 0.0, 0.0), -INF);
    assert_eq!(act::apply(Rsqrt, 0.0, 0.0), INF);
    assert_eq!(act::apply(Reciprocal, -0.0, 0.0), -INF);
    assert_eq!((act::apply(Prelu, -2.0, 0.25), act::apply(Prelu, 2.0, 0.25)), (-0.5, 2.0));
    assert!(act::apply(Prelu, -2.0, f32::NAN).is_nan());
}
