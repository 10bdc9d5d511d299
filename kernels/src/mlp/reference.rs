//! The feed-forward layer in `f64` (kernels.md 2.7 and appendix A.1, without norm and residual).

use crate::matmul::reference::matmul;
use std::f64::consts::SQRT_2;

/// The activation between the two projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// With the error function.
    Gelu,
    Silu,
}

impl Activation {
    /// The function.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::Relu => x.max(0.0),
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / SQRT_2)),
            Activation::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// A weight `[rows, columns]` and its optional bias `[columns]`.
#[derive(Clone, Copy)]
pub struct Projection<'a> {
    pub weight: &'a [f64],
    pub bias: Option<&'a [f64]>,
    pub rows: usize,
    pub columns: usize,
}

impl Projection<'_> {
    /// `x[tokens, rows] · weight + bias`.
    pub fn apply(&self, x: &[f64], tokens: usize) -> Vec<f64> {
        let mut out =
            matmul(&transpose(x, tokens, self.rows), self.weight, [self.rows, tokens, self.columns]);
        if let (Some(bias), 1..) = (self.bias, self.columns) {
            for row in out.chunks_exact_mut(self.columns) {
                row.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
            }
        }
        out
    }
}

/// A layer.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    pub gate: Option<Projection<'a>>,
    pub up: Projection<'a>,
    pub down: Projection<'a>,
    pub activation: Activation,
}

impl Layer<'_> {
    /// `act(gate(x)) ∘ up(x)`, or `act(up(x))` without a gate.
    fn activations(&self, x: &[f64], tokens: usize) -> Vec<f64> {
        let mut inner = self.up.apply(x, tokens);
        match self.gate {
            Some(gate) => {
                let gate = gate.apply(x, tokens);
                inner.iter_mut().zip(gate).for_each(|(u, g)| *u *= self.activation.apply(g));
            }
            None => inner.iter_mut().for_each(|u| *u = self.activation.apply(*u)),
        }
        inner
    }
}

/// `down(act(gate(x)) ∘ up(x))`, or `down(act(up(x)))` without a gate.
pub fn mlp(layer: &Layer, x: &[f64], tokens: usize) -> Vec<f64> {
    layer.down.apply(&layer.activations(x, tokens), tokens)
}

/// The largest `√Σ_i (activation_i · w_down_i)²` over the results: the size of what the down projection adds up.
pub fn down_norm(layer: &Layer, x: &[f64], tokens: usize) -> f64 {
    let squares: Vec<f64> = layer.activations(x, tokens).iter().map(|a| a * a).collect();
    let weight: Vec<f64> = layer.down.weight.iter().map(|w| w * w).collect();
    let sums = Projection { weight: &weight, bias: None, ..layer.down }.apply(&squares, tokens);
    sums.into_iter().fold(0.0, f64::max).sqrt()
}

/// `[rows, columns]` as `[columns, rows]`.
fn transpose(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token, two hidden values, one intermediate value: small enough to write out.
    #[test]
    fn agrees_with_the_formula_written_out() {
        let x = [2.0, -1.0];
        let projection = |weight, bias, rows, columns| Projection { weight, bias, rows, columns };
        let gate = projection(&[0.5, 1.5], Some(&[0.25]), 2, 1);
        let up = projection(&[3.0, 1.0], None, 2, 1);
        let down = projection(&[2.0, -4.0], Some(&[0.0, 1.0]), 1, 2);
        let g: f64 = 2.0 * 0.5 - 1.5 + 0.25;
        let a = g / (1.0 + (-g).exp()) * (2.0 * 3.0 - 1.0);
        let swiglu = Layer { gate: Some(gate), up, down, activation: Activation::Silu };
        assert_eq!(mlp(&swiglu, &x, 1), [2.0 * a, -4.0 * a + 1.0]);
        let plain = Layer { gate: None, activation: Activation::Relu, ..swiglu };
        assert_eq!(mlp(&plain, &x, 1), [10.0, -19.0]);
        assert_eq!(down_norm(&plain, &x, 1), 20.0);
    }

    #[test]
    fn activations_have_their_known_values() {
        assert_eq!(Activation::Relu.apply(-3.0), 0.0);
        assert_eq!(Activation::Silu.apply(0.0), 0.0);
        // Φ(1) = 0.8413447460685429
        assert!((Activation::Gelu.apply(1.0) - 0.8413447460685429).abs() < 1e-15);
        assert!((Activation::Gelu.apply(-1.0) + 1.0 - 0.8413447460685429).abs() < 1e-15);
    }

    #[test]
    fn several_tokens_do_not_mix() {
        let (x, w) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0]);
        let up = Projection { weight: &w, bias: None, rows: 2, columns: 2 };
        let layer = Layer { gate: None, up, down: up, activation: Activation::Relu };
        assert_eq!(mlp(&layer, &x, 3), x);
    }
}
