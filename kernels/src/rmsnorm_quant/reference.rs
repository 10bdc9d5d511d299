//! Normalisation and quantisation of rows in `f64` (kernels.md 4.1). Quotients are not rounded to fp8 here.

/// Quotients, and the scale of each row; `scale` stands for all rows where it is given.
pub fn rmsnorm_quant(
    x: &[f64],
    columns: usize,
    gamma: Option<&[f64]>,
    eps: Option<f64>,
    floor: f64,
    scale: Option<f64>,
) -> [Vec<f64>; 2] {
    let (mut q, mut scales) = (Vec::with_capacity(x.len()), Vec::new());
    for row in x.chunks(columns.max(1)) {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / columns as f64;
        let factor = eps.map_or(1.0, |eps| 1.0 / (mean + eps).sqrt());
        let gain = |c: usize| gamma.map_or(1.0, |g| g[c]);
        let values: Vec<f64> = row.iter().enumerate().map(|(c, x)| x * factor * gain(c)).collect();
        let largest = values.iter().fold(floor, |m, v| f64::max(m, v.abs()));
        let s = scale.unwrap_or(largest / 240.0);
        q.extend(values.iter().map(|v| (v / s).clamp(-240.0, 240.0)));
        scales.push(s);
    }
    [q, scales]
}

#[test]
fn by_hand() {
    let [q, s] = rmsnorm_quant(&[3.0, -4.0, 0.0, 0.0], 2, Some(&[1.0, 2.0]), Some(3.5), 0.5, None);
    // The root is 4: 0.75 and -2, whose scale is 2 / 240. A row of zeros has the floor's.
    assert!(q.iter().zip([90.0, -240.0, 0.0, 0.0]).all(|(q, w)| (q - w).abs() < 1e-12), "{q:?}");
    assert_eq!(s, [2.0 / 240.0, 0.5 / 240.0]);
    assert_eq!(rmsnorm_quant(&[3.0, -400.0], 2, None, None, 0.5, Some(0.5))[0], [6.0, -240.0]);
}
