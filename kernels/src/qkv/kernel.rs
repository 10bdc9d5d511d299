//! Projection of tokens to queries, keys and values.

use super::normed::Input;
use super::project::{Projection, project};
use crate::kv_update::{KvUpdateConfig, kv_update};
use crate::norm::Norm;
use crate::rope::Pairs;
use nki::f8e4m3;
use nki::prelude::*;

/// The order of a result's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Layout {
    /// `[tokens, heads, d]`: a row of all heads for each token.
    Tokens,
    /// `[heads, tokens, d]`.
    Heads,
    /// `[heads, d, tokens]`: written element by element.
    Columns,
}

impl Layout {
    /// A result of `n` heads, and the view of it that is `[tokens, n, d]`.
    #[track_caller]
    fn result<T: Float>(self, nc: Nc, tokens: usize, n: usize, d: usize) -> (Hbm<T>, Hbm<T>) {
        let (shape, order) = match self {
            Layout::Tokens => ([tokens, n, d], [0, 1, 2]),
            Layout::Heads => ([n, tokens, d], [1, 0, 2]),
            Layout::Columns => ([n, d, tokens], [2, 0, 1]),
        };
        let out = nc.hbm(shape);
        (out, if self == Layout::Tokens { out } else { out.permute(&order) })
    }
}

/// How `qkv` reads its weight, and what it does besides the product.
#[derive(Clone, Debug, KernelConfig)]
pub struct QkvConfig {
    /// Heads of keys, and of values. All other heads of the weight are queries'.
    #[config(default = 1)]
    pub kv_heads: usize,
    /// The norm of the tokens, where they have gains.
    #[config(default = Norm::Rms)]
    pub norm: Norm,
    /// Added to the means of squares, or to the variance, inside the roots.
    #[config(default = 1e-6)]
    pub eps: f32,
    /// The norm counts the first so many elements of a token, those after them being padding; all unless given.
    #[config(default = None)]
    pub hidden_actual: Option<usize>,
    /// Which elements of a head form the pairs that `cos` and `sin` rotate.
    #[config(default = Pairs::Halves)]
    pub pairs: Pairs,
    /// The order of the results' axes.
    #[config(default = Layout::Tokens)]
    pub layout: Layout,
}

/// `y = norm(x) · weight + bias`, cut into heads: queries, keys and values.
///
/// `x` is `[tokens, hidden]`; `weight` `[hidden, slots, d]`, its slots being the heads of queries, then `kv_heads` of keys, then as
/// many of values; `bias` `[slots, d]`. The results are `[tokens, heads, d]` and twice `[tokens, kv_heads, d]`, or
/// as `layout` says.
///
/// Where they are given: `gamma`, `[hidden]`, are the gains of the norm, which `x` does not pass without; `q_gain` and `k_gain`, `[d]`, do
/// the same to every head of queries or keys, by the root of its mean square; `cos` and `sin`, `[tokens, d / 2]`, then rotate queries and
/// keys. Sums and all that follows are f32, rounded once; the normalised `x` is rounded to `T` before the product.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn qkv<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Option<Hbm<T>>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    cos: Option<Hbm<f32>>,
    sin: Option<Hbm<f32>>,
    q_gain: Option<Hbm<T>>,
    k_gain: Option<Hbm<T>>,
    cfg: QkvConfig,
) -> (Hbm<T>, Hbm<T>, Hbm<T>) {
    let input = input(nc, x, [None; 2], [gamma, None], &cfg);
    let all =
        Projection { weight, scales: None, bias, cos, sin, gains: [q_gain, k_gain], all_keys: false, cfg };
    projected(nc, &input, &all)
}

/// [`qkv()`] with a weight of 8-bit floats: those of queries, keys and values are `scales[0]`, `scales[1]` and `scales[2]` times what `weight` holds.
///
/// Tokens keep their dtype; sums are scaled in f32, before the bias. A weight of half the bytes is read in half the time.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn qkv_fp8<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Option<Hbm<T>>,
    weight: Hbm<f8e4m3>,
    scales: Hbm<f32>,
    bias: Option<Hbm<T>>,
    cos: Option<Hbm<f32>>,
    sin: Option<Hbm<f32>>,
    q_gain: Option<Hbm<T>>,
    k_gain: Option<Hbm<T>>,
    cfg: QkvConfig,
) -> (Hbm<T>, Hbm<T>, Hbm<T>) {
    ensure!(nc, scales.shape() == [3], "a scale each for queries, keys and values");
    let input = input(nc, x, [None; 2], [gamma, None], &cfg);
    let all = Projection {
        weight,
        scales: Some(scales),
        bias,
        cos,
        sin,
        gains: [q_gain, k_gain],
        all_keys: false,
        cfg,
    };
    projected(nc, &input, &all)
}

/// [`qkv()`] of `h = x + mlp_prev + attn_prev`, where they are given; then `h`, rounded to `T`, is the last result.
///
/// Residuals are like `x`; the norm sees their sum in f32. `beta`, `[hidden]`, is added after the gains of layer normalisation.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn qkv_block<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    mlp_prev: Option<Hbm<T>>,
    attn_prev: Option<Hbm<T>>,
    gamma: Option<Hbm<T>>,
    beta: Option<Hbm<T>>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    cos: Option<Hbm<f32>>,
    sin: Option<Hbm<f32>>,
    q_gain: Option<Hbm<T>>,
    k_gain: Option<Hbm<T>>,
    cfg: QkvConfig,
) -> (Hbm<T>, Hbm<T>, Hbm<T>, Option<Hbm<T>>) {
    let input = input(nc, x, [mlp_prev, attn_prev], [gamma, beta], &cfg);
    let all =
        Projection { weight, scales: None, bias, cos, sin, gains: [q_gain, k_gain], all_keys: false, cfg };
    let (q, k, v) = projected(nc, &input, &all);
    (q, k, v, input.sum)
}

/// [`qkv_block()`] whose keys and values go into their caches, in place: as [`kv_update()`] writes them.
///
/// `x` has the tokens of all sequences below each other, as many of each; slot `positions[b] + i` of sequence `b` takes its token `i`. The
/// results are the queries, as `layout` says, and `h` where there is one.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn qkv_update<T: Float>(
    nc: Nc,
    #[inout] k_cache: Hbm<T>,
    #[inout] v_cache: Hbm<T>,
    x: Hbm<T>,
    mlp_prev: Option<Hbm<T>>,
    attn_prev: Option<Hbm<T>>,
    gamma: Option<Hbm<T>>,
    beta: Option<Hbm<T>>,
    weight: Hbm<T>,
    bias: Option<Hbm<T>>,
    cos: Option<Hbm<f32>>,
    sin: Option<Hbm<f32>>,
    q_gain: Option<Hbm<T>>,
    k_gain: Option<Hbm<T>>,
    positions: Hbm<i32>,
    cfg: QkvConfig,
    update: KvUpdateConfig,
) -> (Hbm<T>, Option<Hbm<T>>) {
    let ([tokens, _], [batch]) = (x.dims(), positions.dims());
    let [_, _, d] = weight.dims();
    ensure!(nc, batch > 0 && tokens % batch == 0, "every sequence has as many of the {tokens} tokens");
    let input = input(nc, x, [mlp_prev, attn_prev], [gamma, beta], &cfg);
    let kv_heads = cfg.kv_heads;
    let all =
        Projection { weight, scales: None, bias, cos, sin, gains: [q_gain, k_gain], all_keys: true, cfg };
    let [q, _, _] = results(nc, x, &all);
    let [k, v] = [(); 2].map(|()| nc.hbm([tokens, kv_heads, d]));
    project(nc, &input, &all, [q.1, k, v]);
    let [k, v] = [k, v].map(|new| new.split(0, &[batch, tokens / batch]));
    kv_update(nc, k_cache, v_cache, k, v, positions, update);
    (q.0, input.sum)
}

/// Queries, keys and values as new tensors.
#[nki::kernel]
fn projected<T: Float, W: Elem>(
    nc: Nc,
    input: &Input<T>,
    all: &Projection<T, W>,
) -> (Hbm<T>, Hbm<T>, Hbm<T>) {
    let [q, k, v] = results(nc, input.x, all);
    project(nc, input, all, [q.1, k.1, v.1]);
    (q.0, k.0, v.0)
}

/// The tokens, with what precedes the product.
#[nki::kernel]
fn input<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    residuals: [Option<Hbm<T>>; 2],
    [gamma, beta]: [Option<Hbm<T>>; 2],
    cfg: &QkvConfig,
) -> Input<T> {
    let [tokens, hidden] = x.dims();
    for residual in residuals.into_iter().flatten() {
        ensure!(nc, residual.shape() == [tokens, hidden], "a residual is like `x`");
    }
    let n_gains = gamma.map_or(hidden, |g| g.elements());
    ensure!(nc, n_gains == hidden, "one gain for each element");
    let n_shifts = beta.map_or(hidden, |b| b.elements());
    ensure!(nc, n_shifts == hidden, "one shift for each element");
    ensure!(nc, gamma.is_none() || cfg.norm != Norm::None, "`gamma` are the gains of a norm");
    ensure!(
        nc,
        beta.is_none() || (gamma.is_some() && cfg.norm == Norm::Layer),
        "`beta` belongs to layer normalisation, beside `gamma`"
    );
    let width = cfg.hidden_actual.unwrap_or(hidden);
    ensure!(nc, width > 0 && width <= hidden, "`hidden_actual` counts some of the {hidden} elements");
    ensure!(
        nc,
        cfg.hidden_actual.is_none() || gamma.is_some(),
        "`hidden_actual` concerns the norm, which needs `gamma`"
    );
    let sum = residuals.iter().any(Option::is_some).then(|| nc.hbm([tokens, hidden]));
    Input { residuals, sum, beta, norm: cfg.norm, width, ..Input::new(x, gamma, cfg.eps) }
}

/// The results, and views of them that are `[tokens, n, d]`.
#[nki::kernel]
fn results<T: Float, W: Elem>(nc: Nc, x: Hbm<T>, all: &Projection<T, W>) -> [(Hbm<T>, Hbm<T>); 3] {
    let [_, slots, d] = all.weight.dims();
    let kv_heads = all.cfg.kv_heads;
    ensure!(nc, kv_heads > 0 && slots > 2 * kv_heads, "no head is left for queries");
    [slots - 2 * kv_heads, kv_heads, kv_heads].map(|n| all.cfg.layout.result(nc, x.dim(0), n, d))
}
