//! The transpose of a matrix.

/// `x[rows, columns]` as `[columns, rows]`.
pub fn transpose(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

/// `x[a, b, c]` with its axes in another order: axis `i` of the result is axis `order[i]`.
pub fn permuted(x: &[f64], shape: [usize; 3], order: [usize; 3]) -> Vec<f64> {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let [_, b, c] = order.map(|i| shape[i]);
    let at = |i: usize| {
        let index = [i / (b * c), i / c % b, i % c];
        x[(0..3).map(|k| index[k] * strides[order[k]]).sum::<usize>()]
    };
    (0..x.len()).map(at).collect()
}

/// Every 32 × 32 block transposed where it is.
pub fn blocks(x: &[f64], columns: usize) -> Vec<f64> {
    let at = |i: usize| {
        let (r, c) = (i / columns, i % columns);
        x[(r / 32 * 32 + c % 32) * columns + c / 32 * 32 + r % 32]
    };
    (0..x.len()).map(at).collect()
}

#[test]
fn axes_change_places() {
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    assert_eq!(
        permuted(&x, [2, 3, 2], [0, 2, 1]),
        [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0]
    );
    assert_eq!(
        permuted(&x, [2, 3, 2], [1, 0, 2]),
        [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0]
    );
}

#[test]
fn blocks_stay_where_they_are() {
    let x: Vec<f64> = (0..32 * 64).map(f64::from).collect();
    let y = blocks(&x, 64);
    assert_eq!((y[1], y[64], y[33], y[64 + 32]), (64.0, 1.0, 64.0 + 32.0, 33.0));
}

#[test]
fn rows_become_columns() {
    assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}
