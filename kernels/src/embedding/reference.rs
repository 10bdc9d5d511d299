//! Rows of a table by their numbers, in `f64` (kernels.md 3.1).

/// `table[ids[t]]` for every `t`, rows of `hidden` elements; zeros for a number outside the table.
pub fn embedding(table: &[f64], ids: &[f64], hidden: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = table.chunks(hidden.max(1)).collect();
    let row = |id: &f64| match *id >= 0.0 {
        true => rows.get(*id as usize).map_or(vec![0.0; hidden], |r| r.to_vec()),
        false => vec![0.0; hidden],
    };
    ids.iter().flat_map(row).collect()
}

#[test]
fn rows_in_the_order_of_the_numbers() {
    let table = [0.0, 0.5, 1.0, 1.5];
    assert_eq!(embedding(&table, &[1.0, 0.0, 2.0, -1.0], 2), [1.0, 1.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
}
