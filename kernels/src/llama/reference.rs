//! A whole model in `f64`: the references of its kernels, one after the other (kernels.md 3.10). No cache: all tokens at once.

use super::config::LlamaConfig;
use super::weights::{LayerWeights, Weights};
use crate::activation::Function;
use crate::attention::reference::{Shape, attention};
use crate::lm_head::reference::lm_head;
use crate::mlp::reference::{Layer as Mlp, Projection, UNLIMITED, mlp};
use crate::qkv::reference::{Layer as Qkv, qkv};
use crate::rmsnorm::reference::rmsnorm;
use crate::rope::Pairs;
use nki::args::to_f64;

/// `[a, b, d]` as `[b, a, d]`.
fn turned(x: &[f64], [a, b, d]: [usize; 3]) -> Vec<f64> {
    (0..a * b * d).map(|i| x[(i / d % a * b + i / d / a) * d + i % d]).collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// One layer on `x[tokens, hidden]`, from position 0.
pub fn layer(c: &LlamaConfig, w: &LayerWeights, x: &[f64]) -> Vec<f64> {
    let tokens = x.len() / c.hidden;
    let (cos, sin) = c.angles(&(0..tokens).collect::<Vec<_>>());
    let (cos, sin) = (to_f64(&cos), to_f64(&sin));
    let [gamma, weight, out, norm] = [&w.attention_norm, &w.qkv, &w.out, &w.mlp_norm].map(to_f64);
    let [gate, up, down] = [&w.gate, &w.up, &w.down].map(to_f64);
    let layer = Qkv {
        beta: None,
        norm: crate::norm::Norm::Rms,
        width: c.hidden,
        gamma: Some(&gamma),
        weight: &weight,
        bias: None,
        angles: Some((&cos, &sin)),
        q_gain: None,
        k_gain: None,
        hidden: c.hidden,
        heads: c.heads,
        kv_heads: c.kv_heads,
        d: c.d,
        eps: c.eps.into(),
        pairs: Pairs::Halves,
    };
    let parts = qkv(x, tokens, &layer);
    let q = turned(&parts[0], [tokens, c.heads, c.d]);
    let [k, v] = [&parts[1], &parts[2]].map(|x| turned(x, [tokens, c.kv_heads, c.d]));
    let shape = Shape {
        heads: c.heads,
        kv_heads: c.kv_heads,
        queries: tokens,
        keys: tokens,
        d: c.d,
        causal: true,
        window: None,
        offset: 0,
        scale: 1.0 / (c.d as f64).sqrt(),
    };
    let attended = turned(&attention(&q, &k, &v, None, &shape), [c.heads, tokens, c.d]);
    let project = |weight, rows, columns| Projection { weight, bias: None, rows, columns };
    let x = sum(x, &project(&out, c.heads * c.d, c.hidden).apply(&attended, tokens));
    let feed = Mlp {
        gate: Some(project(&gate, c.hidden, c.inner)),
        up: project(&up, c.hidden, c.inner),
        down: project(&down, c.inner, c.hidden),
        activation: Function::Silu,
        gate_limits: UNLIMITED,
        up_limits: UNLIMITED,
        up_offset: 0.0,
    };
    sum(&x, &mlp(&feed, &rmsnorm(&x, &norm, c.eps.into()), tokens))
}

/// Logits of every token, `[tokens, vocabulary]`.
pub fn logits(c: &LlamaConfig, w: &Weights, tokens: &[usize]) -> Vec<f64> {
    let table = to_f64(&w.embedding);
    let rows = tokens.iter().flat_map(|t| table[t * c.hidden..(t + 1) * c.hidden].to_vec()).collect();
    let x = w.layers.iter().fold(rows, |x: Vec<f64>, l| layer(c, l, &x));
    let head = to_f64(&w.head);
    let weight = Projection { weight: &head, bias: None, rows: c.hidden, columns: c.vocabulary };
    lm_head(&x, Some(&to_f64(&w.norm)), c.eps.into(), weight, tokens.len())
}
