//! Attention, in `f64`.

/// Sizes and the rule of visibility (kernels.md A.2).
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
    pub causal: bool,
    pub window: Option<usize>,
    pub offset: usize,
    pub scale: f64,
}

/// `softmax(scale · q · kᵀ) · v` per head, over the keys that a query sees; `sink` is one further logit of each head.
pub fn attention(q: &[f64], k: &[f64], v: &[f64], sink: Option<&[f64]>, s: &Shape) -> Vec<f64> {
    with_statistics(q, k, v, sink, s).0
}

/// [`attention`], and of each query the largest of its logits and the sum of the exponentials relative to it.
pub fn with_statistics(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    sink: Option<&[f64]>,
    s: &Shape,
) -> (Vec<f64>, Vec<[f64; 2]>) {
    let mut out = Vec::with_capacity(s.heads * s.queries * s.d);
    let mut statistics = Vec::with_capacity(s.heads * s.queries);
    for h in 0..s.heads {
        let kv = h / (s.heads / s.kv_heads) * s.keys * s.d;
        for i in 0..s.queries {
            let query = &q[(h * s.queries + i) * s.d..][..s.d];
            let own = i + s.offset;
            let visible = |j: usize| !s.causal || (j <= own && s.window.is_none_or(|w| j + w > own));
            let logit = |j: usize| {
                let key = &k[kv + j * s.d..][..s.d];
                s.scale * query.iter().zip(key).map(|(a, b)| a * b).sum::<f64>()
            };
            let logits: Vec<(usize, f64)> =
                (0..s.keys).filter(|&j| visible(j)).map(|j| (j, logit(j))).collect();
            let sink = sink.map(|x| x[h]);
            let max = logits.iter().map(|l| l.1).chain(sink).fold(f64::NEG_INFINITY, f64::max);
            let mut total = sink.map_or(0.0, |x| (x - max).exp());
            let mut row = vec![0.0; s.d];
            for (j, logit) in logits {
                let p = (logit - max).exp();
                total += p;
                row.iter_mut().zip(&v[kv + j * s.d..][..s.d]).for_each(|(o, v)| *o += p * v);
            }
            out.extend(row.iter().map(|o| if total > 0.0 { o / total } else { 0.0 }));
            statistics.push([max, total]);
        }
    }
    (out, statistics)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Shape = Shape {
        heads: 1,
        kv_heads: 1,
        queries: 2,
        keys: 2,
        d: 1,
        causal: false,
        window: None,
        offset: 0,
        scale: 1.0,
    };

    #[test]
    fn by_hand() {
        let (q, k, v) = ([0.0, 1.0], [0.0, 3.0f64.ln()], [4.0, 8.0]);
        let check = |sink, shape: &Shape, want: [f64; 2]| {
            let got = attention(&q, &k, &v, sink, shape);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-14), "{got:?} {want:?}");
        };
        check(None, &ONE, [6.0, 0.25 * 4.0 + 0.75 * 8.0]);
        let causal = Shape { causal: true, ..ONE };
        check(None, &causal, [4.0, 7.0]);
        check(None, &Shape { window: Some(1), ..causal }, [4.0, 8.0]);
        // A sink as heavy as one key: weights 1/3, 1/3 and 1/5, 3/5.
        check(Some(&[0.0]), &ONE, [4.0, 0.2 * 4.0 + 0.6 * 8.0]);
        let statistics = with_statistics(&q, &k, &v, Some(&[0.0]), &ONE).1;
        assert!(
            statistics[0] == [0.0, 3.0] && (statistics[1][1] - 5.0 / 3.0).abs() < 1e-14,
            "{statistics:?}"
        );
    }
}
