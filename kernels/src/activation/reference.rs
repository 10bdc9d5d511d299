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
        }
    }
}

/// `f(scale · x + bias)` over rows of `columns` values, `bias` being one value a row.
pub fn activation(x: &[f64], columns: usize, bias: Option<&[f64]>, scale: f64, f: Function) -> Vec<f64> {
    let bias = |i: usize| bias.map_or(0.0, |b| b[i / columns]);
    x.iter().enumerate().map(|(i, x)| f.apply(scale * x + bias(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
