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

#[test]
fn a_quarter_turn() {
    let x = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(rope(&x, &[0.0, 1.0], &[1.0, 0.0], 1, 4, Pairs::Halves), [-3.0, 2.0, 1.0, 4.0]);
    assert_eq!(rope(&x, &[0.0, 1.0], &[1.0, 0.0], 1, 4, Pairs::Neighbours), [-2.0, 1.0, 3.0, 4.0]);
}
