//! Cache updates in `f64` (kernels.md 3.6).

/// `[batch, tokens, heads, d]` and where tokens begin.
#[derive(Clone, Copy)]
pub struct New<'a> {
    pub values: &'a [f64],
    pub positions: &'a [f64],
    pub tokens: usize,
    pub heads: usize,
    pub d: usize,
    pub slots: usize,
}

/// `clip(x / scale, ±240)`, not rounded.
pub fn quantised(x: &[f64], scale: f64) -> Vec<f64> {
    x.iter().map(|x| (x / scale).clamp(-240.0, 240.0)).collect()
}

/// The cache `[batch, heads, slots, d]`, or with `columns` `[batch, heads, d, slots]`, with the new rows in place.
pub fn updated(cache: &[f64], new: New, columns: bool) -> Vec<f64> {
    let New { tokens, heads, d, slots, .. } = new;
    let mut out = cache.to_vec();
    for (i, value) in new.values.iter().enumerate() {
        let (e, h, t, b) = (i % d, i / d % heads, i / d / heads % tokens, i / d / heads / tokens);
        if new.positions[b] < 0.0 {
            continue;
        }
        let (slot, head) = (new.positions[b] as usize + t, (b * heads + h) * d * slots);
        out[head + if columns { e * slots + slot } else { slot * d + e }] = *value;
    }
    out
}

/// `cache[slots[t], :] = new[t, :]` in order, negative slots left out.
pub fn updated_blocks(cache: &[f64], new: &[f64], slots: &[f64], width: usize) -> Vec<f64> {
    let mut out = cache.to_vec();
    for (row, slot) in new.chunks(width).zip(slots).filter(|(_, s)| **s >= 0.0) {
        out[*slot as usize * width..][..width].copy_from_slice(row);
    }
    out
}

#[test]
fn a_row_or_a_column_of_a_head() {
    let new = New { values: &[1.0, 2.0, 3.0, 4.0], positions: &[2.0], tokens: 1, heads: 2, d: 2, slots: 3 };
    let rows = updated(&[0.0; 12], new, false);
    assert_eq!(rows, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0]);
    let columns = updated(&[0.0; 12], new, true);
    assert_eq!(columns, [0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 4.0]);
    assert_eq!(updated(&[0.0; 12], New { positions: &[-1.0], ..new }, true), [0.0; 12]);
    assert_eq!(quantised(&[1.0, -130.0, 0.0], 0.5), [2.0, -240.0, 0.0]);
    assert_eq!(updated_blocks(&[0.0; 4], &[5.0, 6.0, 7.0, 8.0], &[1.0, -1.0], 2), [0.0, 0.0, 5.0, 6.0]);
}
