//! The functions in `f64` (kernels.md 2.6).

use super::Function;
use std::f64::consts::{PI, SQRT_2};

impl Function {
    /// The function.
    pub fn apply(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Function::Exp => x.exp(),
            Function::Silu => x * sigmoid(x),
            Function::Gelu => 0.5 * x * (1.0 + libm::erf(x / SQRT_2)),
            Function::GeluTanh => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
            Function::GeluSigmoid => x * sigmoid(1.702 * x),
            Function::Relu => x.max(0.0),
            Function::Tanh => x.tanh(),
            Function::Sigmoid => sigmoid(x),
            Function::Square => x * x,
            Function::Sqrt => x.sqrt(),
            Function::Rsqrt => 1.0 / x.sqrt(),
            Function::Reciprocal => 1.0 / x,
            Function::Softplus => x.exp().ln_1p(),
            Function::SiluDx => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
            Function::GeluDx => {
                let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
                0.5 * (1.0 + libm::erf(x / SQRT_2)) + x * density
            }
            Function::GeluSigmoidDx => {
                let s = sigmoid(1.702 * x);
                s + 1.702 * x * s * (1.0 - s)
            }
        }
    }
}

/// `f(scale · x + bias)` over rows of `columns` values, `bias` being one value a row.
pub fn activation(x: &[f64], columns: usize, bias: Option<&[f64]>, scale: f64, f: Function) -> Vec<f64> {
    let bias = |i: usize| bias.map_or(0.0, |b| b[i / columns]);
    x.iter().enumerate().map(|(i, x)| f.apply(scale * x + bias(i))).collect()
}

/// Sums of rows of `columns` values.
pub fn row_sums(x: &[f64], columns: usize) -> Vec<f64> {
    x.chunks(columns).map(|row| row.iter().sum()).collect()
}

/// `f(limited(gate)) · (limited(up) + offset)`.
pub fn gated(
    gate: &[f64],
    up: &[f64],
    f: Function,
    [gate_limits, up_limits]: [[f64; 2]; 2],
    offset: f64,
) -> Vec<f64> {
    let limited = |x: f64, [low, high]: [f64; 2]| x.max(low).min(high);
    let one = |(g, u): (&f64, &f64)| f.apply(limited(*g, gate_limits)) * (limited(*u, up_limits) + offset);
    gate.iter().zip(up).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Derivatives against the slope of what they are derivatives of.
    #[test]
    fn derivatives_are_slopes() {
        let pairs = [
            (Function::Silu, Function::SiluDx),
            (Function::Gelu, Function::GeluDx),
            (Function::GeluSigmoid, Function::GeluSigmoidDx),
        ];
        for (f, dx) in pairs {
            for x in [-2.5, -0.3, 0.0, 0.7, 3.0] {
                let slope = (f.apply(x + 1e-5) - f.apply(x - 1e-5)) / 2e-5;
                assert!((slope - dx.apply(x)).abs() < 1e-9, "{f:?} at {x}");
            }
        }
    }

    #[test]
    fn limits_apply_before_the_function() {
        let limits = [[-1.0, 2.0], [-3.0, 3.0]];
        assert_eq!(gated(&[5.0, 1.0], &[4.0, -9.0], Function::Relu, limits, 1.0), [8.0, -2.0]);
        assert_eq!(row_sums(&[1.0, 2.0, 3.0, 4.0], 2), [3.0, 7.0]);
    }

    #[test]
    fn functions_have_their_known_values() {
        // Φ(1) = 0.8413447460685429, σ(1) = 0.7310585786300049.
        for (f, x, want) in [
            (Function::Gelu, 1.0, 0.8413447460685429),
            (Function::Silu, 1.0, 0.7310585786300049),
            (Function::GeluSigmoid, 1.0 / 1.702, 0.7310585786300049 / 1.702),
            (Function::Softplus, 0.0, 2f64.ln()),
            (Function::Rsqrt, 0.25, 2.0),
            (Function::GeluTanh, 0.0, 0.0),
        ] {
            assert!((f.apply(x) - want).abs() < 1e-15, "{f:?}");
        }
        // The tanh form approximates the one with the error function.
        assert!((Function::GeluTanh.apply(0.7) - Function::Gelu.apply(0.7)).abs() < 1e-3);
    }

    #[test]
    fn the_bias_belongs_to_the_row() {
        let y = activation(&[1.0, 2.0, 3.0, 4.0], 2, Some(&[10.0, -10.0]), 2.0, Function::Relu);
        assert_eq!(y, [12.0, 14.0, 0.0, 0.0]);
    }
}
