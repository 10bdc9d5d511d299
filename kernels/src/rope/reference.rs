//! Rotary position embedding in `f64` (kernels.md 3.2).

use super::Pairs;

/// Rotates the pairs of `x[heads, length, d]` by angles with the given `cos` and `sin`, `[length, d / 2]`.
pub fn rope(x: &[f64], cos: &[f64], sin: &[f64], length: usize, d: usize, pairs: Pairs) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for (row, (from, to)) in x.chunks(d.max(1)).zip(out.chunks_mut(d.max(1))).enumerate() {
        for i in 0..d / 2 {
            let (first, second) = match pairs {
                Pairs::Halves => (i, i + d / 2),
                Pairs::Neighbours => (2 * i, 2 * i + 1),
            };
            let (c, s) = (cos[row % length * (d / 2) + i], sin[row % length * (d / 2) + i]);
            to[first] = from[first] * c - from[second] * s;
            to[second] = from[second] * c + from[first] * s;
        }
    }
    out
}

/// `x ∘ cos + rot(x) ∘ sin` of `x[batch, heads, length, d]` with `cos` and `sin` `[batch, length, d]`, or `x ∘ cos + rotᵀ(x ∘ sin)`.
pub fn rope_pair(
    x: &[f64],
    cos: &[f64],
    sin: &[f64],
    [_, heads, length, d]: [usize; 4],
    backward: bool,
) -> Vec<f64> {
    let (mut out, half) = (Vec::with_capacity(x.len()), d / 2);
    for (i, value) in x.iter().enumerate() {
        let (e, row, first) = (i % d, i / d, i / d * d);
        let angles = (row / length / heads * length + row % length) * d;
        let other = (e + half) % d;
        // The sine goes with the place of the result, or of what it is multiplied by.
        let sine = sin[angles + if backward { other } else { e }];
        let sign = if (e < half) == backward { 1.0 } else { -1.0 };
        out.push(value * cos[angles + e] + sign * x[first + other] * sine);
    }
    out
}

#[test]
fn the_gradient_is_the_transposed_rotation() {
    // Two vectors of two elements; of a linear map and its transpose ⟨y, Ax⟩ = ⟨Aᵀy, x⟩.
    let (x, y) = ([1.0, -2.0, 0.5, 3.0], [0.25, 4.0, -1.0, 2.0]);
    let (cos, sin) = ([0.5, 0.75, -1.0, 2.0], [1.5, -0.5, 0.125, 1.0]);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let turn = |v: &[f64], backward| rope_pair(v, &cos, &sin, [1, 1, 2, 2], backward);
    assert_eq!(turn(&x, false)[..2], [0.5 + 3.0, -1.5 - 0.5]);
    assert_eq!(dot(&y, &turn(&x, false)), dot(&turn(&y, true), &x));
}

#[test]
fn a_quarter_turn() {
    let x = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(rope(&x, &[0.0, 1.0], &[1.0, 0.0], 1, 4, Pairs::Halves), [-3.0, 2.0, 1.0, 4.0]);
    assert_eq!(rope(&x, &[0.0, 1.0], &[1.0, 0.0], 1, 4, Pairs::Neighbours), [-2.0, 1.0, 3.0, 4.0]);
}
