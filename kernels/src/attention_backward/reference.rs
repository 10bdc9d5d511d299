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
    pub scale: f64,
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

/// Logarithms of the sums of exponentials of scores.
pub fn lse(q: &[f64], k: &[f64], s: Shape) -> Vec<f64> {
    let of = |at: usize| {
        let (h, i) = (at / s.queries, at % s.queries);
        let seen = if s.causal { i + 1 } else { s.keys };
        let scores: Vec<f64> = (0..seen)
            .map(|j| {
                let (a, b) = rows(s, h, i, j);
                s.scale * dot(&q[a..a + s.d], &k[b..b + s.d])
            })
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
            for j in 0..if s.causal { i + 1 } else { s.keys } {
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
    for causal in [false, true] {
        let s = Shape { heads: 4, kv_heads: 2, queries: 3, keys: 3, d: 2, causal, scale: 0.7 };
        let forward = Forward {
            heads: 4,
            kv_heads: 2,
            queries: 3,
            keys: 3,
            d: 2,
            causal,
            window: None,
            offset: 0,
            scale: 0.7,
        };
        let fill =
            |n: usize, k: usize| -> Vec<f64> { (0..n).map(|i| (i * k % 17) as f64 / 8.0 - 1.0).collect() };
        let (q, k, v, dy) = (fill(24, 5), fill(12, 7), fill(12, 3), fill(24, 11));
        let value = |q: &[f64], k: &[f64], v: &[f64]| dot(&attention(q, k, v, None, &forward), &dy);
        let o = attention(&q, &k, &v, None, &forward);
        let lse = lse(&q, &k, s);
        let got = attention_backward(&Operands { q: &q, k: &k, v: &v, o: &o, dy: &dy, lse: &lse }, s);
        for (which, gradient) in got.iter().enumerate() {
            for (i, g) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut all = [q.clone(), k.clone(), v.clone()];
                    all[which][i] += by;
                    value(&all[0], &all[1], &all[2])
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((g - difference).abs() < 1e-8, "{which} {i}: {g} {difference}");
            }
        }
    }
}
