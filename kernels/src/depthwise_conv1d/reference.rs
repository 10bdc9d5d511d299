//! Convolution of every channel with a filter of its own, in `f64` (kernels.md 4.6).

/// Row by row: `rows` of `length` elements of `x`, the filters `w` of `taps` elements in turn.
pub fn depthwise_conv1d(
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    [length, taps, left, right]: [usize; 4],
    silu: bool,
) -> Vec<f64> {
    let (channels, mut out) = (w.len() / taps, Vec::new());
    for (r, row) in x.chunks(length).enumerate() {
        let c = r % channels;
        for l in 0..length + left + right + 1 - taps {
            let term = |k: usize| {
                (l + k).checked_sub(left).and_then(|i| row.get(i)).map_or(0.0, |x| x * w[c * taps + k])
            };
            let y = bias.map_or(0.0, |b| b[c]) + (0..taps).map(term).sum::<f64>();
            out.push(if silu { y / (1.0 + (-y).exp()) } else { y });
        }
    }
    out
}

#[test]
fn by_hand() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let y = depthwise_conv1d(&x, &[1.0, 10.0, 2.0, 0.0], Some(&[0.0, 0.5]), [3, 2, 1, 0], false);
    assert_eq!(y, [10.0, 21.0, 32.0, 0.5, 8.5, 10.5]);
}
