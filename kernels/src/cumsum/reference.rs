//! Running sums in `f64` (kernels.md 4.4).

/// `Σ_{j <= c} x[r, j]` for rows of `columns` values.
pub fn cumsum(x: &[f64], columns: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(columns.max(1)) {
        out.extend(row.iter().scan(0.0, |sum, x| {
            *sum += x;
            Some(*sum)
        }));
    }
    out
}

#[test]
fn rows_start_anew() {
    assert_eq!(cumsum(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 3), [1.0, 3.0, 6.0, 10.0, 30.0, 60.0]);
}
