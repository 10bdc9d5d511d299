//! Layer normalisation in `f64` (kernels.md 2.5).

/// `(x - mean) / sqrt(var + eps) · gamma + beta` over each row of `gamma.len()` values.
pub fn layernorm(x: &[f64], gamma: &[f64], beta: Option<&[f64]>, eps: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(gamma.len().max(1)) {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let scale = 1.0 / (variance + eps).sqrt();
        let shift = |c: usize| beta.map_or(0.0, |b| b[c]);
        out.extend(row.iter().zip(gamma).enumerate().map(|(c, (x, g))| (x - mean) * scale * g + shift(c)));
    }
    out
}

#[test]
fn agrees_with_the_formula_written_out() {
    // Mean 3, variance 4; with eps 5 the root is 3.
    assert_eq!(layernorm(&[1.0, 5.0], &[3.0, 6.0], Some(&[0.5, 0.0]), 5.0), [-1.5, 4.0]);
}
