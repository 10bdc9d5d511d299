//! A linear layer in `f64` (kernels.md 3.3, 3.7, 3.8): that of the feed-forward layer, and the residual.

pub use crate::mlp::reference::Projection;
use nki::args::{from_f64, to_f64};
use nki::ir::DType;

/// `x[tokens, rows] · weight + bias + residual`.
pub fn projection(x: &[f64], tokens: usize, layer: Projection, residual: Option<&[f64]>) -> Vec<f64> {
    let mut out = layer.apply(x, tokens);
    if let Some(residual) = residual {
        out.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
    }
    out
}

/// Numbers that pass through f8e4m3: `scale` times the nearest to `clip(x / scale, ±240)`.
pub fn rounded(x: &[f64], scale: f64) -> Vec<f64> {
    let quotients = crate::kv_update::reference::quantised(x, scale);
    let near = from_f64(DType::F8E4M3, &[x.len()], &quotients).expect("as many numbers as elements");
    to_f64(&near).iter().map(|q| q * scale).collect()
}

/// `[tokens, columns]` as `[128, columns / 128, tokens]`, neighbours on one partition where `strided`, else on neighbouring ones.
pub fn transposed(y: &[f64], tokens: usize, strided: bool) -> Vec<f64> {
    let columns = y.len() / tokens;
    let per_lane = columns / 128;
    let element = |p: usize, j: usize| if strided { p * per_lane + j } else { j * 128 + p };
    (0..y.len())
        .map(|i| y[i % tokens * columns + element(i / tokens / per_lane, i / tokens % per_lane)])
        .collect()
}

#[test]
fn bias_belongs_to_columns_and_residual_to_elements() {
    let layer = Projection { weight: &[2.0, 3.0], bias: Some(&[10.0, 20.0]), rows: 1, columns: 2 };
    assert_eq!(projection(&[1.0, -1.0], 2, layer, Some(&[0.1, 0.2, 0.3, 0.4])), [12.1, 23.2, 8.3, 17.4]);
}

#[test]
fn neighbours_are_on_one_partition_or_on_two() {
    let y: Vec<f64> = (0..512).map(f64::from).collect();
    // Two tokens of 256 elements: partition 1 holds elements 2 and 3, or 1 and 129.
    assert_eq!(transposed(&y, 2, true)[4..8], [2.0, 258.0, 3.0, 259.0]);
    assert_eq!(transposed(&y, 2, false)[4..8], [1.0, 257.0, 129.0, 385.0]);
}

#[test]
fn rounded_numbers_are_multiples_of_the_scale() {
    // 1.06 / 1 rounds to 1, 1.1 to 1.125; 1,000 is clipped.
    assert_eq!(rounded(&[1.06, 1.1, 1000.0], 1.0), [1.0, 1.125, 240.0]);
    assert_eq!(rounded(&[0.53], 0.5), [0.5]);
}
