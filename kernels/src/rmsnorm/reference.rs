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

/// The same where only `width` columns count in the mean.
pub fn rmsnorm_of(x: &[f64], gamma: &[f64], eps: f64, width: usize) -> Vec<f64> {
    // mean over `width` + eps = (mean over all + eps · width / all) · all / width.
    let share = width as f64 / gamma.len() as f64;
    rmsnorm(x, gamma, eps * share).into_iter().map(|y| y * share.sqrt()).collect()
}

/// `x[tokens, hidden]` as `[128, tokens, hidden / 128]`.
pub fn decode_layout(x: &[f64], hidden: usize, order: super::HiddenOrder) -> Vec<f64> {
    let (tokens, j) = (x.len() / hidden, hidden / 128);
    let element = |p: usize, k: usize| match order {
        super::HiddenOrder::Strided => p * j + k,
        super::HiddenOrder::Consecutive => k * 128 + p,
    };
    let at = |i: usize| x[i / j % tokens * hidden + element(i / (tokens * j), i % j)];
    (0..x.len()).map(at).collect()
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
    fn padding_does_not_count() {
        let padded = rmsnorm_of(&[3.0, 4.0, 0.0, 0.0], &[1.0, 2.0, 5.0, 5.0], 3.5, 2);
        padded.iter().zip([0.75, 2.0, 0.0, 0.0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-15));
    }

    #[test]
    fn tokens_lie_across_partitions() {
        let x: Vec<f64> = (0..512).map(f64::from).collect();
        let strided = decode_layout(&x, 256, crate::rmsnorm::HiddenOrder::Strided);
        assert_eq!(strided[..6], [0.0, 1.0, 256.0, 257.0, 2.0, 3.0]);
        let consecutive = decode_layout(&x, 256, crate::rmsnorm::HiddenOrder::Consecutive);
        assert_eq!(consecutive[..6], [0.0, 128.0, 256.0, 384.0, 1.0, 129.0]);
    }

    #[test]
    fn the_scale_of_a_row_does_not_matter_without_eps() {
        let x = [1.0, -2.0, 0.5, 3.0];
        let big: Vec<f64> = x.iter().map(|x| x * 1024.0).collect();
        assert_eq!(rmsnorm(&x, &[1.0; 4], 0.0), rmsnorm(&big, &[1.0; 4], 0.0));
    }
}
