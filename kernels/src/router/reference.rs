//! Which experts a token goes to, in `f64` (kernels.md 4.2, A.7).

use super::RouterAct;

/// What is computed; see the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub k: usize,
    pub act: RouterAct,
    pub select_first: bool,
    pub normalise: bool,
}

/// Logits, indices and affinities.
pub fn router(
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    [hidden, experts]: [usize; 2],
    r: &Rule,
) -> [Vec<f64>; 3] {
    let mut out = [const { Vec::new() }; 3];
    for row in x.chunks(hidden) {
        let dot = |e: usize| (0..hidden).map(|h| row[h] * w[h * experts + e]).sum::<f64>();
        let logits: Vec<f64> = (0..experts).map(|e| dot(e) + bias.map_or(0.0, |b| b[e])).collect();
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let chosen = &order[..r.k];
        let pool: Vec<usize> = if r.select_first { chosen.to_vec() } else { (0..experts).collect() };
        let total: f64 = pool.iter().map(|&e| logits[e].exp()).sum();
        let mut values = vec![0.0; experts];
        for &e in &pool {
            values[e] = match r.act {
                RouterAct::Softmax => logits[e].exp() / total,
                RouterAct::Sigmoid => 1.0 / (1.0 + (-logits[e]).exp()),
            };
        }
        if r.normalise {
            let sum: f64 = chosen.iter().map(|&e| values[e]).sum();
            let of = |e: usize| if chosen.contains(&e) { values[e] / sum } else { 0.0 };
            values = (0..experts).map(of).collect();
        }
        out[1].extend(chosen.iter().map(|&e| e as f64));
        out[0].extend(logits);
        out[2].extend(values);
    }
    out
}

#[test]
fn by_hand() {
    let w = [0.0, 3f64.ln(), 2f64.ln()];
    let rule = Rule { k: 2, act: RouterAct::Softmax, select_first: true, normalise: false };
    let close = |got: &[f64], want: [f64; 3]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-14);
    let [_, index, affinities] = router(&[1.0], &w, None, [1, 3], &rule);
    assert_eq!(index, [1.0, 2.0]);
    assert!(close(&affinities, [0.0, 0.6, 0.4]));
    let all = Rule { select_first: false, ..rule };
    assert!(close(&router(&[1.0], &w, None, [1, 3], &all)[2], [1.0 / 6.0, 0.5, 1.0 / 3.0]));
    let normalised = Rule { normalise: true, ..all };
    assert!(close(&router(&[1.0], &w, None, [1, 3], &normalised)[2], [0.0, 0.6, 0.4]));
    let sigmoid = Rule { act: RouterAct::Sigmoid, ..rule };
    assert!(close(&router(&[1.0], &w, None, [1, 3], &sigmoid)[2], [0.0, 0.75, 2.0 / 3.0]));
}
