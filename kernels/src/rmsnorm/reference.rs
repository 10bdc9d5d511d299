//! Root-mean-square normalisation in `f64` (kernels.md 2.5).

/// `x / sqrt(mean(x²) + eps) · gamma` over each row of `gamma.len()` values.
pub fn rmsnorm(x: &[f64], gamma: &[f64], eps: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(gamma.len().max(1)) {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + eps).sqrt();
        out.extend(row.iter().zip(gamma).map(|(x, g)| x * scale * g));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_written_out() {
        // mean(3², 4²) = 12.5; with eps 3.5 the root is 4.
        assert_eq!(rmsnorm(&[3.0, 4.0], &[1.0, 2.0], 3.5), [0.75, 2.0]);
        assert_eq!(rmsnorm(&[0.0, 0.0, 3.0, 4.0], &[1.0, 2.0], 3.5), [0.0, 0.0, 0.75, 2.0]);
    }

    #[test]
    fn the_scale_of_a_row_does_not_matter_without_eps() {
        let x = [1.0, -2.0, 0.5, 3.0];
        let big: Vec<f64> = x.iter().map(|x| x * 1024.0).collect();
        assert_eq!(rmsnorm(&x, &[1.0; 4], 0.0), rmsnorm(&big, &[1.0; 4], 0.0));
    }
}
