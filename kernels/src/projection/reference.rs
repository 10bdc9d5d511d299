//! A linear layer in `f64` (kernels.md 3.3, 3.7, 3.8): that of the feed-forward layer, and the residual.

pub use crate::mlp::reference::Projection;

/// `x[tokens, rows] · weight + bias + residual`.
pub fn projection(x: &[f64], tokens: usize, layer: Projection, residual: Option<&[f64]>) -> Vec<f64> {
    let mut out = layer.apply(x, tokens);
    if let Some(residual) = residual {
        out.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
    }
    out
}

#[test]
fn bias_belongs_to_columns_and_residual_to_elements() {
    let layer = Projection { weight: &[2.0, 3.0], bias: Some(&[10.0, 20.0]), rows: 1, columns: 2 };
    assert_eq!(projection(&[1.0, -1.0], 2, layer, Some(&[0.1, 0.2, 0.3, 0.4])), [12.1, 23.2, 8.3, 17.4]);
}
