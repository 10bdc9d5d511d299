//! The matrix product in `f64`.

/// `out[m, n] = Σ_k lhs_t[k, m] · rhs[k, n]`, row-major.
pub fn matmul(lhs_t: &[f64], rhs: &[f64], [k, m, n]: [usize; 3]) -> Vec<f64> {
    /// Rows of the result that share one pass over `rhs`.
    const ROWS: usize = 4;
    let mut out = vec![0.0; m * n];
    if n == 0 {
        return out;
    }
    for (block, rows) in out.chunks_mut(ROWS * n).enumerate() {
        for l in 0..k {
            let right = &rhs[l * n..(l + 1) * n];
            for (r, row) in rows.chunks_exact_mut(n).enumerate() {
                let left = lhs_t[l * m + block * ROWS + r];
                row.iter_mut().zip(right).for_each(|(o, x)| *o += left * x);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_sum_written_out() {
        for [k, m, n] in [[1, 1, 1], [3, 5, 2], [7, 4, 9], [2, 9, 1], [0, 2, 3], [3, 0, 2], [3, 2, 0]] {
            let a: Vec<f64> = (0..k * m).map(|i| (i * 7 % 11) as f64 - 5.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| (i * 5 % 13) as f64 - 6.0).collect();
            let out = matmul(&a, &b, [k, m, n]);
            assert_eq!(out.len(), m * n);
            for (i, got) in out.iter().enumerate() {
                let want: f64 = (0..k).map(|l| a[l * m + i / n] * b[l * n + i % n]).sum();
                assert_eq!(*got, want);
            }
        }
    }
}
