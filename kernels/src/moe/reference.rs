//! A mixture of experts in `f64` (kernels.md 4.2, A.9).

use crate::activation::Function;

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
    /// Of gate, up and down.
    pub biases: [Option<&'a [f64]>; 3],
    /// Between the projections.
    pub function: Function,
    /// Limits of gate and up, after their biases.
    pub gate_limits: [f64; 2],
    pub up_limits: [f64; 2],
    /// Added to up after its limits.
    pub up_offset: f64,
}

impl<'a> Weights<'a> {
    /// Without biases and limits.
    pub fn plain(gate: Option<&'a [f64]>, up: &'a [f64], down: &'a [f64]) -> Weights<'a> {
        let (biases, unlimited) = ([None; 3], [f64::NEG_INFINITY, f64::INFINITY]);
        let (gate_limits, up_limits, up_offset) = (unlimited, unlimited, 0.0);
        Weights { gate, up, down, biases, function: Function::Silu, gate_limits, up_limits, up_offset }
    }
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
    let bias = |at: usize, n: usize, i: usize| w.biases[at].map_or(0.0, |b| b[e * n + i]);
    let of = |weights: &[f64], i: usize| -> f64 {
        x.iter().enumerate().map(|(h, x)| x * weights[(e * s.hidden + h) * s.inner + i]).sum()
    };
    let limited = |x: f64, [low, high]: [f64; 2]| x.max(low).min(high);
    let inner = |i: usize| {
        let up = limited(of(w.up, i) + bias(1, s.inner, i), w.up_limits);
        let Some(gate) = w.gate else { return w.function.apply(up) };
        let gate = limited(of(gate, i) + bias(0, s.inner, i), w.gate_limits);
        w.function.apply(gate) * (up + w.up_offset)
    };
    let mut y: Vec<f64> = (0..s.hidden).map(|h| bias(2, s.hidden, h)).collect();
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
    let w = Weights::plain(Some(&[1.0, 2.0]), &[3.0, 5.0], &[1.0, 10.0]);
    // Token 0 goes to both experts, token 1 to the second; the rest is padding.
    let y =
        moe(&[1.0, 2.0], &w, &[0.5, 0.25, 0.0, 1.0], &[0.0, -1.0, 1.0, 0.0, 7.0, 2.0], &[0.0, 1.0, 1.0], s);
    let want = [0.5 * silu(1.0) * 3.0 + 0.25 * silu(2.0) * 50.0, silu(4.0) * 10.0 * 10.0];
    assert!(y.iter().zip(want).all(|(y, w)| (y - w).abs() < 1e-12), "{y:?} {want:?}");
    // relu(min(1 + 1, 1.5)) · (max(3 - 9, -4) + 1) · 1 + 100, twice over.
    let one = Shape { experts: 1, block: 1, ..s };
    let w = Weights {
        biases: [Some(&[1.0]), Some(&[-9.0]), Some(&[100.0])],
        function: Function::Relu,
        gate_limits: [f64::NEG_INFINITY, 1.5],
        up_limits: [-4.0, f64::INFINITY],
        up_offset: 1.0,
        ..Weights::plain(Some(&[1.0]), &[3.0], &[1.0])
    };
    assert_eq!(moe(&[1.0], &w, &[2.0], &[0.0], &[0.0], one), [2.0 * (1.5 * -3.0 + 100.0)]);
}
