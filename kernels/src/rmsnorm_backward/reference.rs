//! Gradients of root-mean-square normalisation in `f64` (kernels.md 4.5).

/// The gradients by `x` and by `gamma`, for rows of `gamma.len()` values.
pub fn rmsnorm_backward(x: &[f64], gamma: &[f64], dy: &[f64], eps: f64) -> [Vec<f64>; 2] {
    let n = gamma.len();
    let (mut dx, mut dgamma) = (Vec::with_capacity(x.len()), vec![0.0; n]);
    for (x, dy) in x.chunks(n.max(1)).zip(dy.chunks(n.max(1))) {
        let s = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / n as f64 + eps).sqrt();
        let dot: f64 = (0..n).map(|c| dy[c] * gamma[c] * x[c]).sum::<f64>() / n as f64;
        dx.extend((0..n).map(|c| s * dy[c] * gamma[c] - x[c] * s.powi(3) * dot));
        dgamma.iter_mut().enumerate().for_each(|(c, g)| *g += dy[c] * x[c] * s);
    }
    [dx, dgamma]
}

#[test]
fn the_gradients_are_those_of_finite_differences() {
    let fill = |n: i32, k: i32| -> Vec<f64> { (0..n).map(|i| f64::from(i * k % 13) / 5.0 - 1.0).collect() };
    let (x, gamma, dy) = (fill(15, 7), fill(5, 4), fill(15, 5));
    let value = |x: &[f64], gamma: &[f64]| -> f64 {
        crate::rmsnorm::reference::rmsnorm(x, gamma, 0.3).iter().zip(&dy).map(|(y, d)| y * d).sum()
    };
    let [dx, dgamma] = rmsnorm_backward(&x, &gamma, &dy, 0.3);
    let moved = |v: &[f64], i: usize, by: f64| {
        let mut v = v.to_vec();
        v[i] += by;
        v
    };
    let h = 1e-5;
    for (i, g) in dx.iter().enumerate() {
        let d = (value(&moved(&x, i, h), &gamma) - value(&moved(&x, i, -h), &gamma)) / (2.0 * h);
        assert!((g - d).abs() < 1e-8, "x {i}: {g} {d}");
    }
    for (i, g) in dgamma.iter().enumerate() {
        let d = (value(&x, &moved(&gamma, i, h)) - value(&x, &moved(&gamma, i, -h))) / (2.0 * h);
        assert!((g - d).abs() < 1e-8, "gamma {i}: {g} {d}");
    }
}
