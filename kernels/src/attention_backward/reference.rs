//! Gradients of attention in `f64` (kernels.md 4.3).

/// Extents and rule.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
    pub causal: bool,
    /// With `causal`: the last so many keys.
    pub window: Option<usize>,
    pub scale: f64,
}

impl Shape {
    /// The keys that query `i` sees.
    fn seen(&self, i: usize) -> std::ops::Range<usize> {
        match self.causal {
            true => self.window.map_or(0, |w| (i + 1).saturating_sub(w))..i + 1,
            false => 0..self.keys,
        }
    }
}

/// What the forward pass had and gave, and the gradient of its result.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    pub q: &'a [f64],
    pub k: &'a [f64],
    pub v: &'a [f64],
    pub o: &'a [f64],
    pub dy: &'a [f64],
    pub lse: &'a [f64],
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Where the rows of query `i` of head `h`, and of key `j` that it shares, start.
fn rows(s: Shape, h: usize, i: usize, j: usize) -> (usize, usize) {
    ((h * s.queries + i) * s.d, (h / (s.heads / s.kv_heads) * s.keys + j) * s.d)
}

/// Logarithms of the sums of exponentials of scores, that of `sink` included.
pub fn lse(q: &[f64], k: &[f64], sink: Option<&[f64]>, s: Shape) -> Vec<f64> {
    let of = |at: usize| {
        let (h, i) = (at / s.queries, at % s.queries);
        let scores: Vec<f64> = (s.seen(i))
            .map(|j| {
                let (a, b) = rows(s, h, i, j);
                s.scale * dot(&q[a..a + s.d], &k[b..b + s.d])
            })
            .chain(sink.map(|sink| sink[h]))
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        max + scores.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
    };
    (0..s.heads * s.queries).map(of).collect()
}

/// The gradients by `q`, `k` and `v`.
pub fn attention_backward(o: &Operands, s: Shape) -> [Vec<f64>; 3] {
    summed(o, s, |term| term)
}

/// The gradient by the sinks of all heads.
pub fn sink_gradient(o: &Operands, sink: &[f64], s: Shape) -> Vec<f64> {
    let term = |h: usize, i: usize| {
        let a = (h * s.queries + i) * s.d;
        let p = (sink[h] - o.lse[h * s.queries + i]).exp();
        p * dot(&o.dy[a..a + s.d], &o.o[a..a + s.d])
    };
    (0..s.heads).map(|h| -(0..s.queries).map(|i| term(h, i)).sum::<f64>()).collect()
}

/// For each gradient the largest root of a sum of its terms' squares.
pub fn rounded_terms(o: &Operands, s: Shape) -> Vec<f64> {
    let largest = |squares: Vec<f64>| squares.into_iter().fold(0.0, f64::max).sqrt();
    summed(o, s, |term| term * term).map(largest).into()
}

/// Sums of what `of` makes of each term of the gradients.
fn summed(o: &Operands, s: Shape, of: impl Fn(f64) -> f64) -> [Vec<f64>; 3] {
    let [mut dq, mut dk, mut dv] = [o.q, o.k, o.v].map(|x| vec![0.0; x.len()]);
    for h in 0..s.heads {
        for i in 0..s.queries {
            for j in s.seen(i) {
                let (a, b) = rows(s, h, i, j);
                let (q, k, v) = (&o.q[a..a + s.d], &o.k[b..b + s.d], &o.v[b..b + s.d]);
                let (y, dy) = (&o.o[a..a + s.d], &o.dy[a..a + s.d]);
                let p = (s.scale * dot(q, k) - o.lse[h * s.queries + i]).exp();
                let ds = s.scale * p * (dot(dy, v) - dot(dy, y));
                for c in 0..s.d {
                    dq[a + c] += of(ds * k[c]);
                    dk[b + c] += of(ds * q[c]);
                    dv[b + c] += of(p * dy[c]);
                }
            }
        }
    }
    [dq, dk, dv]
}

#[test]
fn the_gradients_are_those_of_finite_differences() {
    use crate::attention::reference::{Shape as Forward, attention};
    for (causal, window, sink) in
        [(false, None, false), (true, None, false), (true, Some(2), true), (false, None, true)]
    {
        let s = Shape { heads: 4, kv_heads: 2, queries: 3, keys: 3, d: 2, causal, window, scale: 0.7 };
        let forward = Forward {
            heads: 4,
            kv_heads: 2,
            queries: 3,
            keys: 3,
            d: 2,
            causal,
            window,
            offset: 0,
            scale: 0.7,
        };
        let fill =
            |n: usize, k: usize| -> Vec<f64> { (0..n).map(|i| (i * k % 17) as f64 / 8.0 - 1.0).collect() };
        let (q, k, v, dy, sinks) = (fill(24, 5), fill(12, 7), fill(12, 3), fill(24, 11), fill(4, 13));
        let value = |x: &[Vec<f64>; 4]| {
            dot(&attention(&x[0], &x[1], &x[2], sink.then_some(&x[3][..]), &forward), &dy)
        };
        let given = sink.then_some(&sinks[..]);
        let o = attention(&q, &k, &v, given, &forward);
        let lse = lse(&q, &k, given, s);
        let operands = Operands { q: &q, k: &k, v: &v, o: &o, dy: &dy, lse: &lse };
        let mut got = attention_backward(&operands, s).to_vec();
        got.extend(given.map(|sinks| sink_gradient(&operands, sinks, s)));
        for (which, gradient) in got.iter().enumerate() {
            for (i, g) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut all = [q.clone(), k.clone(), v.clone(), sinks.clone()];
                    all[which][i] += by;
                    value(&all)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((g - difference).abs() < 1e-8, "{which} {i}: {g} {difference}");
            }
        }
    }
}
