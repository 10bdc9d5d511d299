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

/// Softmax of `scale · x`, or its logarithm.
pub fn scaled(x: &[f64], columns: usize, scale: f64, log: bool) -> Vec<f64> {
    let x: Vec<f64> = x.iter().map(|x| scale * x).collect();
    if !log {
        return softmax(&x, columns);
    }
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(columns.max(1)) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let nothing = max == f64::NEG_INFINITY && !row.iter().any(|x| x.is_nan());
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        out.extend(row.iter().map(|x| if nothing { *x } else { x - max - sum.ln() }));
    }
    out
}

/// Softmax of `scale · x + mask` with one more score per row, which has no result. The mask is of all elements or of one row.
pub fn masked(x: &[f64], columns: usize, scale: f64, mask: Option<&[f64]>, sink: Option<&[f64]>) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for (r, row) in x.chunks(columns.max(1)).enumerate() {
        let at = |c: usize| mask.map_or(0.0, |m| m[if m.len() == columns { c } else { r * columns + c }]);
        let scores = row.iter().enumerate().map(|(c, x)| scale * x + at(c));
        let scores: Vec<f64> = scores.chain(sink.map(|s| s[r])).collect();
        out.extend(&softmax(&scores, scores.len())[..columns]);
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
    fn logarithms_scales_masks_and_sinks() {
        let x = [0.0, 3f64.ln(), 5.0, 5.0];
        let log: Vec<f64> = scaled(&x, 2, 2.0, true).iter().map(|y| y.exp()).collect();
        log.iter().zip([0.1, 0.9, 0.5, 0.5]).for_each(|(a, b)| assert!((a - b).abs() < 1e-14));
        let none = f64::NEG_INFINITY;
        assert_eq!(masked(&x, 2, 1.0, Some(&[0.0, none]), None), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(masked(&x, 2, 1.0, Some(&[0.0, none, none, none]), None), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(masked(&x[2..], 2, 0.0, None, Some(&[2f64.ln()])), [0.25, 0.25]);
        assert_eq!(scaled(&[none, none], 2, 1.0, true), [none, none]);
    }

    #[test]
    fn fully_masked_rows_are_zero_and_nan_stays() {
        let masked = f64::NEG_INFINITY;
        assert_eq!(softmax(&[masked, masked, 0.0, masked], 2), [0.0, 0.0, 1.0, 0.0]);
        assert!(softmax(&[masked, f64::NAN], 2).iter().all(|x| x.is_nan()));
    }
}
