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

/// The rule of `router_grouped`.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    pub k: usize,
    pub groups: usize,
    pub top_groups: usize,
    pub factor: f64,
}

/// Logits, indices and affinities.
pub fn grouped(
    x: &[f64],
    w: &[f64],
    correction: Option<&[f64]>,
    [hidden, experts]: [usize; 2],
    g: &Groups,
) -> [Vec<f64>; 3] {
    let mut out = [const { Vec::new() }; 3];
    let descending = |values: &[f64], mut among: Vec<usize>| {
        among.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        among
    };
    for row in x.chunks(hidden) {
        let logits: Vec<f64> =
            (0..experts).map(|e| (0..hidden).map(|h| row[h] * w[h * experts + e]).sum()).collect();
        let sigmoid: Vec<f64> = logits.iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect();
        let score: Vec<f64> =
            sigmoid.iter().enumerate().map(|(e, s)| s + correction.map_or(0.0, |c| c[e])).collect();
        let size = experts / g.groups;
        let of_group = |i: usize| -> f64 {
            let members = descending(&score, (i * size..(i + 1) * size).collect());
            score[members[0]] + score[members[1]]
        };
        let sums: Vec<f64> = (0..g.groups).map(of_group).collect();
        let open = &descending(&sums, (0..g.groups).collect())[..g.top_groups];
        let among = (0..experts).filter(|e| open.contains(&(e / size))).collect();
        let chosen = &descending(&score, among)[..g.k];
        let total: f64 = chosen.iter().map(|&e| sigmoid[e]).sum();
        let affinity = |e: usize| if chosen.contains(&e) { g.factor * sigmoid[e] / total } else { 0.0 };
        out[2].extend((0..experts).map(affinity));
        out[1].extend(chosen.iter().map(|&e| e as f64));
        out[0].extend(logits);
    }
    out
}

#[test]
fn the_best_group_is_not_that_of_the_best_expert() {
    let g = Groups { k: 1, groups: 2, top_groups: 1, factor: 2.0 };
    let w = [2.0, -9.0, 1.0, 0.5];
    let [_, index, affinities] = grouped(&[1.0], &w, None, [1, 4], &g);
    assert_eq!((index, affinities), (vec![2.0], vec![0.0, 0.0, 2.0, 0.0]));
    // A correction decides, and does not count.
    let [_, index, affinities] = grouped(&[1.0], &w, Some(&[0.0, 9.0, 0.0, 0.0]), [1, 4], &g);
    assert_eq!((index, affinities), (vec![1.0], vec![0.0, 2.0, 0.0, 0.0]));
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
