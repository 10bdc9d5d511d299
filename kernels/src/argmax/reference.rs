//! The largest elements of rows (kernels.md A.16).

/// The `k` largest values of each row and their columns: a stable sort by falling value.
pub fn top_k(x: &[f64], columns: usize, k: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut values, mut indices) = (Vec::new(), Vec::new());
    for row in x.chunks(columns) {
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        values.extend(order[..k].iter().map(|&c| row[c]));
        indices.extend(order[..k].iter().map(|&c| c as f64));
    }
    (values, indices)
}

#[test]
fn of_equal_elements_the_first() {
    let (values, indices) = top_k(&[1.0, 3.0, 3.0, 2.0, 0.0, -1.0, -1.0, 0.0], 4, 3);
    assert_eq!(values, [3.0, 3.0, 2.0, 0.0, 0.0, -1.0]);
    assert_eq!(indices, [1.0, 2.0, 3.0, 0.0, 3.0, 1.0]);
}
