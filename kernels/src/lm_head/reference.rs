//! Logits in `f64` (kernels.md 3.8).

use crate::mlp::reference::Projection;
use crate::rmsnorm::reference::rmsnorm;

/// `norm(x) · weight`, `[tokens, vocabulary]`; without `gamma` no norm.
pub fn lm_head(x: &[f64], gamma: Option<&[f64]>, eps: f64, weight: Projection, tokens: usize) -> Vec<f64> {
    match gamma {
        Some(gamma) => weight.apply(&rmsnorm(x, gamma, eps), tokens),
        None => weight.apply(x, tokens),
    }
}

#[test]
fn the_norm_comes_first() {
    let weight = Projection { weight: &[1.0, 2.0], bias: None, rows: 1, columns: 2 };
    assert_eq!(lm_head(&[-4.0], Some(&[3.0]), 0.0, weight, 1), [-3.0, -6.0]);
    assert_eq!(lm_head(&[-4.0], None, 0.0, weight, 1), [-4.0, -8.0]);
}
