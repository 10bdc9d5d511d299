//! Cross entropy in `f64` (kernels.md 4.5).

/// Loss and logarithm of the sum of exponentials of each row of `classes` logits. A target that is no class has loss 0.
pub fn cross_entropy(logits: &[f64], targets: &[f64], classes: usize) -> [Vec<f64>; 2] {
    let mut out = [Vec::new(), Vec::new()];
    for (row, &target) in logits.chunks(classes.max(1)).zip(targets) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        out[0].push(class(target, classes).map_or(0.0, |c| lse - row[c]));
        out[1].push(lse);
    }
    out
}

fn class(target: f64, classes: usize) -> Option<usize> {
    (target >= 0.0 && target < classes as f64).then_some(target as usize)
}

/// The gradient of `scale · Σ loss` by the logits, with the given `lse`.
pub fn backward(logits: &[f64], targets: &[f64], lse: &[f64], classes: usize, scale: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for ((row, &target), lse) in logits.chunks(classes.max(1)).zip(targets).zip(lse) {
        let chosen = class(target, classes);
        let gradient = |(c, x): (usize, &f64)| {
            let hit = if chosen == Some(c) { 1.0 } else { 0.0 };
            if chosen.is_some() { scale * ((x - lse).exp() - hit) } else { 0.0 }
        };
        out.extend(row.iter().enumerate().map(gradient));
    }
    out
}

#[test]
fn by_hand() {
    let logits = [0.0, 3f64.ln(), 0.0, 0.0];
    let [loss, lse] = cross_entropy(&logits, &[1.0, -1.0], 2);
    assert!((loss[0] - (4f64 / 3.0).ln()).abs() < 1e-15 && loss[1] == 0.0);
    assert!((lse[0] - 4f64.ln()).abs() < 1e-15);
    let got = backward(&logits, &[1.0, -1.0], &lse, 2, 2.0);
    assert!(got.iter().zip([0.5, -0.5, 0.0, 0.0]).all(|(g, w)| (g - w).abs() < 1e-15), "{got:?}");
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let logits: Vec<f64> = (0..15).map(|i| f64::from(i * 7 % 11) / 3.0).collect();
    let targets = [2.0, 4.0, 7.0];
    let sum = |x: &[f64]| 0.5 * cross_entropy(x, &targets, 5)[0].iter().sum::<f64>();
    let lse = &cross_entropy(&logits, &targets, 5)[1];
    for (i, g) in backward(&logits, &targets, lse, 5, 0.5).into_iter().enumerate() {
        let moved = |by: f64| {
            let mut x = logits.clone();
            x[i] += by;
            sum(&x)
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((g - difference).abs() < 1e-9, "{i}: {g} {difference}");
    }
}
