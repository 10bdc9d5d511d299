//! A mixture of experts in `f64` (kernels.md 4.2, A.9).

/// Extents.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub hidden: usize,
    pub inner: usize,
    pub experts: usize,
    pub block: usize,
}

/// Weights of all experts.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    pub gate: Option<&'a [f64]>,
    pub up: &'a [f64],
    pub down: &'a [f64],
}

/// The result for the tokens of `x`.
pub fn moe(x: &[f64], w: &Weights, affinities: &[f64], ids: &[f64], experts: &[f64], s: Shape) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for (block, &e) in ids.chunks(s.block).zip(experts) {
        let e = e as usize;
        for &id in block {
            let Some(row) = (id >= 0.0).then(|| x.chunks(s.hidden).nth(id as usize)).flatten() else {
                continue;
            };
            let y = expert(row, w, e, s);
            let weight = affinities[id as usize * s.experts + e];
            let to = &mut out[id as usize * s.hidden..][..s.hidden];
            to.iter_mut().zip(y).for_each(|(o, y)| *o += weight * y);
        }
    }
    out
}

/// One token through expert `e`.
fn expert(x: &[f64], w: &Weights, e: usize, s: Shape) -> Vec<f64> {
    let of = |weights: &[f64], i: usize| -> f64 {
        x.iter().enumerate().map(|(h, x)| x * weights[(e * s.hidden + h) * s.inner + i]).sum()
    };
    let silu = |v: f64| v / (1.0 + (-v).exp());
    let inner = |i: usize| w.gate.map_or_else(|| silu(of(w.up, i)), |gate| silu(of(gate, i)) * of(w.up, i));
    let mut y = vec![0.0; s.hidden];
    for i in 0..s.inner {
        let (v, row) = (inner(i), &w.down[(e * s.inner + i) * s.hidden..][..s.hidden]);
        y.iter_mut().zip(row).for_each(|(y, d)| *y += v * d);
    }
    y
}

#[test]
fn by_hand() {
    let s = Shape { hidden: 1, inner: 1, experts: 2, block: 2 };
    let silu = |v: f64| v / (1.0 + (-v).exp());
    let w = Weights { gate: Some(&[1.0, 2.0]), up: &[3.0, 5.0], down: &[1.0, 10.0] };
    // Token 0 goes to both experts, token 1 to the second; the rest is padding.
    let y =
        moe(&[1.0, 2.0], &w, &[0.5, 0.25, 0.0, 1.0], &[0.0, -1.0, 1.0, 0.0, 7.0, 2.0], &[0.0, 1.0, 1.0], s);
    let want = [0.5 * silu(1.0) * 3.0 + 0.25 * silu(2.0) * 50.0, silu(4.0) * 10.0 * 10.0];
    assert!(y.iter().zip(want).all(|(y, w)| (y - w).abs() < 1e-12), "{y:?} {want:?}");
}
