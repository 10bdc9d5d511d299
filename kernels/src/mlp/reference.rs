//! The feed-forward layer in `f64` (kernels.md 2.7 and appendix A.1).

use crate::activation::Function;
use crate::matmul::reference::matmul;
use crate::norm::Norm;

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
    /// The function between the projections.
    pub activation: Function,
    /// Limits of gate and up, after their biases.
    pub gate_limits: [f64; 2],
    pub up_limits: [f64; 2],
    /// Added to up after its limits.
    pub up_offset: f64,
}

/// No limits.
pub const UNLIMITED: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

fn limited(x: f64, [low, high]: [f64; 2]) -> f64 {
    x.max(low).min(high)
}

/// `norm(x + residual) · gamma + beta` over rows of `hidden` values, and `x + residual`.
pub fn prologue(
    x: &[f64],
    residual: Option<&[f64]>,
    [gamma, beta]: [Option<&[f64]>; 2],
    hidden: usize,
    (norm, eps): (Norm, f64),
) -> [Vec<f64>; 2] {
    let sum: Vec<f64> = x.iter().enumerate().map(|(i, x)| x + residual.map_or(0.0, |r| r[i])).collect();
    let mut normed = Vec::with_capacity(sum.len());
    for row in sum.chunks(hidden) {
        let mean = match norm {
            Norm::Layer => row.iter().sum::<f64>() / hidden as f64,
            Norm::None | Norm::Rms => 0.0,
        };
        let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / hidden as f64;
        let scale = if norm == Norm::None { 1.0 } else { 1.0 / (square + eps).sqrt() };
        let gain = |v: Option<&[f64]>, i: usize, none| v.map_or(none, |v| v[i]);
        let one = |(i, x): (usize, &f64)| (x - mean) * scale * gain(gamma, i, 1.0) + gain(beta, i, 0.0);
        normed.extend(row.iter().enumerate().map(one));
    }
    [normed, sum]
}

impl Layer<'_> {
    /// `act(gate(x)) ∘ up(x)`, or `act(up(x))` without a gate.
    fn activations(&self, x: &[f64], tokens: usize) -> Vec<f64> {
        let mut inner = self.up.apply(x, tokens);
        inner.iter_mut().for_each(|u| *u = limited(*u, self.up_limits) + self.up_offset);
        match self.gate {
            Some(gate) => {
                let gate = gate.apply(x, tokens);
                inner
                    .iter_mut()
                    .zip(gate)
                    .for_each(|(u, g)| *u *= self.activation.apply(limited(g, self.gate_limits)));
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

    /// A layer without gate and limits whose projections are all `up`.
    fn free(up: Projection) -> Layer {
        let (gate_limits, up_limits, up_offset) = (UNLIMITED, UNLIMITED, 0.0);
        let activation = Function::Relu;
        Layer { gate: None, up, down: up, activation, gate_limits, up_limits, up_offset }
    }

    #[test]
    fn limits_come_before_the_function_and_the_offset_after_them() {
        let one = Projection { weight: &[1.0], bias: None, rows: 1, columns: 1 };
        let layer = Layer {
            gate: Some(one),
            gate_limits: [-1.0, 2.0],
            up_limits: [-3.0, 3.0],
            up_offset: 1.0,
            ..free(one)
        };
        // relu(2) · (3 + 1), relu(1) · (1 + 1).
        assert_eq!(mlp(&layer, &[5.0, 1.0], 2), [8.0, 2.0]);
    }

    #[test]
    fn the_norm_sees_the_sum() {
        let [normed, sum] =
            prologue(&[1.0, 6.0], Some(&[2.0, -2.0]), [Some(&[1.0, 2.0]), None], 2, (Norm::Rms, 3.5));
        // mean(3², 4²) = 12.5: the root is 4.
        assert_eq!((normed, sum), (vec![0.75, 2.0], vec![3.0, 4.0]));
        let [normed, _] =
            prologue(&[1.0, 5.0], None, [Some(&[3.0, 6.0]), Some(&[0.5, 0.0])], 2, (Norm::Layer, 5.0));
        assert_eq!(normed, [-1.5, 4.0]);
        let [normed, sum] = prologue(&[1.0, 5.0], None, [None, None], 2, (Norm::None, 5.0));
        assert_eq!(normed, sum);
    }

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
        let swiglu = Layer { gate: Some(gate), up, down, activation: Function::Silu, ..free(up) };
        assert_eq!(mlp(&swiglu, &x, 1), [2.0 * a, -4.0 * a + 1.0]);
        let plain = Layer { gate: None, activation: Function::Relu, ..swiglu };
        assert_eq!(mlp(&plain, &x, 1), [10.0, -19.0]);
        assert_eq!(down_norm(&plain, &x, 1), 20.0);
    }

    #[test]
    fn several_tokens_do_not_mix() {
        let (x, w) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0]);
        let up = Projection { weight: &w, bias: None, rows: 2, columns: 2 };
        let layer = free(up);
        assert_eq!(mlp(&layer, &x, 3), x);
    }
}
