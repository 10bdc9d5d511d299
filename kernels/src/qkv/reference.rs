//! Queries, keys and values in `f64` (kernels.md 3.3).

use crate::mlp::reference::Projection;
use crate::norm::Norm;
use crate::rmsnorm::reference::rmsnorm;
use crate::rope::{Pairs, reference::rope};

/// What happens around the product.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    pub gamma: Option<&'a [f64]>,
    pub beta: Option<&'a [f64]>,
    pub norm: Norm,
    /// Elements of a token that the norm counts.
    pub width: usize,
    pub weight: &'a [f64],
    pub bias: Option<&'a [f64]>,
    /// Cosines and sines, `[tokens, d / 2]`.
    pub angles: Option<(&'a [f64], &'a [f64])>,
    pub q_gain: Option<&'a [f64]>,
    pub k_gain: Option<&'a [f64]>,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
    pub eps: f64,
    pub pairs: Pairs,
}

/// The sum of tokens and residuals.
pub fn added(x: &[f64], residuals: [Option<&[f64]>; 2]) -> Vec<f64> {
    let of = |i: usize| residuals.iter().flatten().map(|r| r[i]).sum::<f64>();
    x.iter().enumerate().map(|(i, x)| x + of(i)).collect()
}

/// Tokens after the norm, if they have gains.
pub fn normed(x: &[f64], l: &Layer) -> Vec<f64> {
    let Some(gamma) = l.gamma else { return x.to_vec() };
    let row = |row: &[f64]| -> Vec<f64> {
        let counted = &row[..l.width];
        let mean = match l.norm {
            Norm::Layer => counted.iter().sum::<f64>() / l.width as f64,
            Norm::None | Norm::Rms => 0.0,
        };
        let square = counted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / l.width as f64;
        let one = |(i, x): (usize, &f64)| {
            (x - mean) / (square + l.eps).sqrt() * gamma[i] + l.beta.map_or(0.0, |b| b[i])
        };
        row.iter().enumerate().map(one).collect()
    };
    x.chunks(l.hidden).flat_map(row).collect()
}

/// Queries `[tokens, heads, d]`, keys and values `[tokens, kv_heads, d]`.
pub fn qkv(x: &[f64], tokens: usize, l: &Layer) -> Vec<Vec<f64>> {
    let x = normed(x, l);
    let columns = (l.heads + 2 * l.kv_heads) * l.d;
    let y = Projection { weight: l.weight, bias: l.bias, rows: l.hidden, columns }.apply(&x, tokens);
    let part = |first: usize, heads: usize, gain: Option<&[f64]>, rotated: bool| {
        let rows = y.chunks(columns).flat_map(|row| row[first * l.d..(first + heads) * l.d].to_vec());
        let rows: Vec<f64> = rows.collect();
        let rows = gain.map_or_else(|| rows.clone(), |g| rmsnorm(&rows, g, l.eps));
        match l.angles.filter(|_| rotated) {
            Some((cos, sin)) => {
                // The rotation's reference takes heads first, and repeats the angles from head to head.
                let each = |table: &[f64]| -> Vec<f64> {
                    table.chunks(l.d / 2).flat_map(|row| row.repeat(heads)).collect()
                };
                rope(&rows, &each(cos), &each(sin), tokens * heads, l.d, l.pairs)
            }
            None => rows,
        }
    };
    vec![
        part(0, l.heads, l.q_gain, true),
        part(l.heads, l.kv_heads, l.k_gain, true),
        part(l.heads + l.kv_heads, l.kv_heads, None, false),
    ]
}

#[test]
fn heads_are_queries_then_keys_then_values() {
    let layer = Layer {
        gamma: None,
        beta: None,
        norm: Norm::Rms,
        width: 1,
        weight: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        bias: None,
        angles: Some((&[0.0], &[1.0])),
        q_gain: None,
        k_gain: None,
        hidden: 1,
        heads: 2,
        kv_heads: 1,
        d: 2,
        eps: 0.0,
        pairs: Pairs::Halves,
    };
    // A quarter turn of queries and keys; values stay.
    assert_eq!(qkv(&[1.0], 1, &layer), [vec![-2.0, 1.0, -4.0, 3.0], vec![-6.0, 5.0], vec![7.0, 8.0]]);
    let normed = Layer { q_gain: Some(&[1.0, 10.0]), angles: None, ..layer };
    let q = &qkv(&[1.0], 1, &normed)[0];
    assert!((q[0] - (1.0 / 2.5f64.sqrt())).abs() < 1e-12 && (q[1] - 20.0 / 2.5f64.sqrt()).abs() < 1e-12);
}

#[test]
fn the_norm_counts_what_is_no_padding() {
    let layer = Layer {
        gamma: Some(&[1.0, 2.0, 3.0]),
        beta: None,
        norm: Norm::Rms,
        width: 2,
        weight: &[],
        bias: None,
        angles: None,
        q_gain: None,
        k_gain: None,
        hidden: 3,
        heads: 1,
        kv_heads: 1,
        d: 1,
        eps: 3.5,
        pairs: Pairs::Halves,
    };
    let x = added(&[1.0, 3.0, 0.0], [Some(&[2.0, 0.0, 0.0]), Some(&[0.0, 1.0, 0.0])]);
    // mean(3², 4²) = 12.5: the root is 4.
    assert_eq!(normed(&x, &layer), [0.75, 2.0, 0.0]);
    let shifted = Layer { norm: Norm::Layer, eps: 3.75, beta: Some(&[0.0, 1.0, 0.5]), ..layer };
    // The mean is 3.5, the variance 0.25: the root is 2.
    assert_eq!(normed(&x, &shifted), [-0.25, 1.5, -4.75]);
}
