//! A step of Adam and AdamW in `f64` (kernels.md 4.5).

/// What does not change from step to step, and what does.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub decoupled: bool,
    pub step: f64,
    pub unbias: f64,
    pub decay: f64,
}

/// Parameters, means and the largest second mean after the step, in this order.
pub fn adamw(p: &[f64], g: &[f64], m: &[f64], v: &[f64], v_max: Option<&[f64]>, r: &Rule) -> Vec<Vec<f64>> {
    let mut out = vec![Vec::new(); if v_max.is_some() { 4 } else { 3 }];
    for i in 0..p.len() {
        let g = if r.decoupled { g[i] } else { g[i] + r.decay * p[i] };
        let m = r.beta1 * m[i] + (1.0 - r.beta1) * g;
        let v = r.beta2 * v[i] + (1.0 - r.beta2) * g * g;
        let largest = v_max.map_or(v, |all| all[i].max(v));
        let kept = if r.decoupled { r.decay * p[i] } else { p[i] };
        let values = [kept - r.step * m / (largest.sqrt() * r.unbias + r.eps), m, v, largest];
        out.iter_mut().zip(values).for_each(|(o, x)| o.push(x));
    }
    out
}

#[test]
fn agrees_with_the_formula_written_out() {
    let rule =
        Rule { beta1: 0.5, beta2: 0.75, eps: 1.0, decoupled: true, step: 2.0, unbias: 3.0, decay: 0.5 };
    // m = 1 + 1, v = 3 + 1, 10 · 0.5 - 2 · 2 / (2 · 3 + 1).
    assert_eq!(adamw(&[10.0], &[2.0], &[2.0], &[4.0], None, &rule), [[5.0 - 4.0 / 7.0], [2.0], [4.0]]);
    let coupled = Rule { decoupled: false, decay: 0.1, ..rule };
    // The gradient is 2 + 1: m = 1 + 1.5, v = 3 + 9 / 4, the largest so far is 9.
    let got = adamw(&[10.0], &[2.0], &[2.0], &[4.0], Some(&[9.0]), &coupled);
    assert_eq!(got, [[10.0 - 2.0 * 2.5 / 10.0], [2.5], [5.25], [9.0]]);
}
