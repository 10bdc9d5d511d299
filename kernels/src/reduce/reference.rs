//! Reductions of rows in `f64` (kernels.md 2.4).

use super::Reduction;

/// One number for each row of `columns` values.
pub fn reduce(x: &[f64], columns: usize, reduction: Reduction) -> Vec<f64> {
    let of = |row: &[f64]| match reduction {
        Reduction::Sum => row.iter().sum(),
        Reduction::Mean => row.iter().sum::<f64>() / row.len() as f64,
        Reduction::Max => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reduction::Min => row.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::AbsMax => row.iter().fold(0.0, |m: f64, x| m.max(x.abs())),
    };
    x.chunks(columns.max(1)).map(of).collect()
}

/// One number for each of `columns` columns.
pub fn reduce_columns(x: &[f64], columns: usize, reduction: Reduction) -> Vec<f64> {
    let rows = x.len() / columns.max(1);
    let turned: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
    reduce(&turned, rows, reduction)
}

#[test]
fn columns_are_rows_of_the_transpose() {
    assert_eq!(reduce_columns(&[1.0, -5.0, 3.0, 0.0, 2.0, 4.0], 3, Reduction::AbsMax), [1.0, 5.0, 4.0]);
    assert_eq!(reduce_columns(&[1.0, -5.0, 3.0, 0.0, 2.0, 4.0], 2, Reduction::Sum), [6.0, -1.0]);
}

#[test]
fn small_rows() {
    let x = [1.0, -5.0, 3.0, 0.0, 2.0, 4.0];
    assert_eq!(reduce(&x, 3, Reduction::Sum), [-1.0, 6.0]);
    assert_eq!(reduce(&x, 3, Reduction::Mean), [-1.0 / 3.0, 2.0]);
    assert_eq!(reduce(&x, 3, Reduction::Max), [3.0, 4.0]);
    assert_eq!(reduce(&x, 3, Reduction::Min), [-5.0, 0.0]);
    assert_eq!(reduce(&x, 3, Reduction::AbsMax), [5.0, 4.0]);
}
