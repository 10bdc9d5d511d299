//! Softmax over the rows of a matrix, in `f64`.

/// `exp(x - max) / Σ exp(x - max)` over each row of `columns` values. A row of nothing but `-inf` gives zeros
/// (kernels.md 2.4).
pub fn softmax(x: &[f64], columns: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(columns.max(1)) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
            out.extend(row.iter().map(|_| 0.0));
            continue;
        }
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        out.extend(row.iter().map(|x| (x - max).exp() / sum));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_shifts_do_not_matter() {
        let x: Vec<f64> = (0..21).map(|i| (i * 37 % 17) as f64 - 8.0).collect();
        let y = softmax(&x, 7);
        for row in y.chunks(7) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        }
        let shifted: Vec<f64> = x.iter().map(|x| x + 1e4).collect();
        assert_eq!(softmax(&shifted, 7), y);
        assert_eq!(softmax(&[0.0, 3.0f64.ln()], 2), [0.25, 0.75]);
    }

    #[test]
    fn fully_masked_rows_are_zero_and_nan_stays() {
        let masked = f64::NEG_INFINITY;
        assert_eq!(softmax(&[masked, masked, 0.0, masked], 2), [0.0, 0.0, 1.0, 0.0]);
        assert!(softmax(&[masked, f64::NAN], 2).iter().all(|x| x.is_nan()));
    }
}
