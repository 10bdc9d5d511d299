//! The feed-forward layer of a transformer.

use super::decode;
use super::plan::Plan;
use super::prefill::{self, Prologue};
use crate::activation::{Function, GatedConfig};
use crate::norm::{Norm, NormConfig};
use crate::share::Share;
use nki::prelude::*;
use nki::space::OnChip;
use nki::{Tensor, f8e4m3};

/// How `mlp` walks through the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Mode {
    /// `Decode` for up to 96 tokens that fit on chip, else `Prefill`.
    Auto,
    /// Narrow strips of the weights for many tokens: bound by the tensor engine.
    Prefill,
    /// Wide rows of the weights for few tokens, 128 at most: bound by memory.
    Decode,
}

/// What `mlp` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct MlpConfig {
    /// The function of the gate, or of the up projection where there is no gate.
    #[config(default = Function::Silu)]
    pub activation: Function,
    /// Limits of the gate projection after its bias.
    #[config(default = None)]
    pub gate_low: Option<f32>,
    #[config(default = None)]
    pub gate_high: Option<f32>,
    /// Limits of the up projection after its bias.
    #[config(default = None)]
    pub up_low: Option<f32>,
    #[config(default = None)]
    pub up_high: Option<f32>,
    /// Added to the up projection after its limits.
    #[config(default = 0.0)]
    pub up_offset: f32,
    #[config(default = Mode::Auto)]
    pub mode: Mode,
}

impl MlpConfig {
    /// What is computed between the projections.
    fn between(&self) -> GatedConfig {
        let MlpConfig { activation: function, gate_low, gate_high, up_low, up_high, up_offset, .. } = *self;
        GatedConfig { function, gate_low, gate_high, up_low, up_high, up_offset }
    }
}

/// `out = (act(x · w_gate + b_gate) ∘ (x · w_up + b_up)) · w_down + b_down`, or `act(x · w_up + b_up) · w_down + b_down`
/// without a gate.
///
/// `x` is `[tokens, hidden]`, `w_gate` and `w_up` are `[hidden, inner]`, `w_down` is `[inner, hidden]`, a bias is `[inner]` or
/// `[hidden]`. Sums are f32; the product of gate and up is rounded to `T` before the down projection. The limits of the
/// configuration apply to the projections after their biases.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn mlp<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w_gate: Option<Hbm<T>>,
    w_up: Hbm<T>,
    w_down: Hbm<T>,
    b_gate: Option<Hbm<T>>,
    b_up: Option<Hbm<T>>,
    b_down: Option<Hbm<T>>,
    cfg: MlpConfig,
) -> Hbm<T> {
    let layer = Layer { w_gate, w_up, w_down, scales: None, b_gate, b_up, b_down, cfg };
    let out = nc.hbm(x.shape());
    feed_forward(nc, &Prologue::none(x), out, &layer);
    out
}

/// [`mlp()`] with weights of 8-bit floats: those of gate, up and down are `scales[0]`, `scales[1]` and `scales[2]` times what they hold.
///
/// Tokens and inner activations keep their dtype; sums are scaled in f32, before biases and limits.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn mlp_fp8<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w_gate: Option<Hbm<f8e4m3>>,
    w_up: Hbm<f8e4m3>,
    w_down: Hbm<f8e4m3>,
    scales: Hbm<f32>,
    b_gate: Option<Hbm<T>>,
    b_up: Option<Hbm<T>>,
    b_down: Option<Hbm<T>>,
    cfg: MlpConfig,
) -> Hbm<T> {
    ensure!(nc, scales.shape() == [3], "a scale each for gate, up and down");
    let all = nc.load(scales.reshape([1, 3]).broadcast(0, 128));
    let scales = Some([0, 1, 2].map(|i| all.at((.., i..i + 1))));
    let layer = Layer { w_gate, w_up, w_down, scales, b_gate, b_up, b_down, cfg };
    let out = nc.hbm(x.shape());
    feed_forward(nc, &Prologue::none(x), out, &layer);
    out
}

/// [`mlp()`] of `norm(x + residual) · gamma + beta`, with `residual`, `gamma` and `beta` where they are given.
///
/// The norm sees the sum in f32. Where `store_sum` asks for it, the second result is the sum rounded to `T`; that takes a
/// residual. Without gains they are taken to be in the weights; `beta` needs layer normalisation.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn mlp_block<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    residual: Option<Hbm<T>>,
    gamma: Option<Hbm<T>>,
    beta: Option<Hbm<T>>,
    w_gate: Option<Hbm<T>>,
    w_up: Hbm<T>,
    w_down: Hbm<T>,
    b_gate: Option<Hbm<T>>,
    b_up: Option<Hbm<T>>,
    b_down: Option<Hbm<T>>,
    norm: BlockConfig,
    cfg: MlpConfig,
) -> (Hbm<T>, Option<Hbm<T>>) {
    let [tokens, hidden] = x.dims();
    if let Some(residual) = residual {
        ensure!(nc, residual.shape() == [tokens, hidden]);
    }
    for vector in [gamma, beta].into_iter().flatten() {
        ensure!(nc, vector.shape() == [hidden]);
    }
    ensure!(nc, !norm.store_sum || residual.is_some(), "without a residual there is no sum to store");
    ensure!(nc, gamma.is_none() || norm.norm != Norm::None, "gains belong to a norm");
    ensure!(nc, beta.is_none() || norm.norm == Norm::Layer, "only layer normalisation has a shift");
    let layer = Layer { w_gate, w_up, w_down, scales: None, b_gate, b_up, b_down, cfg };
    let (out, sum) = (nc.hbm(x.shape()), norm.store_sum.then(|| nc.hbm(x.shape())));
    let norm = NormConfig { norm: norm.norm, eps: norm.eps };
    let prologue = Prologue { residual, sum, norm, ..Prologue::none(x) };
    feed_forward(nc, &prologue.with_gains(nc, gamma, beta), out, &layer);
    (out, sum)
}

/// What precedes the projections of `mlp_block`.
#[derive(Clone, Debug, KernelConfig)]
pub struct BlockConfig {
    #[config(default = Norm::Rms)]
    pub norm: Norm,
    /// Added to the mean of squares, or to the variance, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
    /// Returns `x + residual` too.
    #[config(default = false)]
    pub store_sum: bool,
}

/// The weights of a layer, and what it computes.
pub(super) struct Layer<T: Elem, W: Elem> {
    pub w_gate: Option<Hbm<W>>,
    pub w_up: Hbm<W>,
    pub w_down: Hbm<W>,
    /// What the elements of gate, up and down stand for, `[128, 1]` each; 1 without.
    pub scales: Option<[Tile<f32>; 3]>,
    pub b_gate: Option<Hbm<T>>,
    pub b_up: Option<Hbm<T>>,
    pub b_down: Option<Hbm<T>>,
    pub cfg: MlpConfig,
}

impl<T: Float, W: Elem> Layer<T, W> {
    /// The biases of gate and up with one value per partition and block of 128 (`norm::columns`).
    pub fn inner_biases(&self, nc: Nc) -> [Option<Tile<f32>>; 2] {
        [self.b_gate, self.b_up].map(|b| b.map(|b| crate::norm::columns(nc, b)))
    }
    /// Those of some of the inner activations.
    #[track_caller]
    pub fn inner(&self, part: &Share) -> Layer<T, W> {
        Layer {
            w_gate: self.w_gate.map(|w| part.of(w, 1)),
            w_up: part.of(self.w_up, 1),
            b_gate: self.b_gate.map(|b| part.of(b, 0)),
            b_up: self.b_up.map(|b| part.of(b, 0)),
            cfg: self.cfg.clone(),
            ..*self
        }
    }
    /// Those of some of the results.
    #[track_caller]
    pub fn results(&self, part: &Share) -> Layer<T, W> {
        Layer {
            w_down: part.of(self.w_down, 1),
            b_down: self.b_down.map(|b| part.of(b, 0)),
            cfg: self.cfg.clone(),
            ..*self
        }
    }
    /// The scale of `w_down` for `tokens` tokens.
    pub fn down_scale(&self, tokens: usize) -> Option<Tile<f32>> {
        self.scales.map(|[_, _, down]| down.at((0..tokens, ..)))
    }
    /// The bias of some results, the same for `tokens` tokens.
    pub fn down_bias(&self, nc: Nc, h: Block, tokens: usize) -> Option<Tile<T>> {
        let part = |b: Hbm<T>| b.reshape([1, b.dim(0)]).at((.., h)).broadcast(0, tokens);
        self.b_down.map(|b| nc.load(part(b)))
    }
}

/// The layer, after what precedes it.
#[nki::kernel]
fn feed_forward<T: Float, W: Elem>(nc: Nc, prologue: &Prologue<T>, out: Hbm<T>, layer: &Layer<T, W>) {
    let [tokens, hidden] = prologue.x.dims();
    let [up_rows, inner] = layer.w_up.dims();
    ensure!(nc, up_rows == hidden && layer.w_down.shape() == [inner, hidden]);
    if let Some(w_gate) = layer.w_gate {
        ensure!(nc, w_gate.shape() == [hidden, inner]);
    }
    for bias in [layer.b_gate, layer.b_up].into_iter().flatten() {
        ensure!(nc, bias.shape() == [inner]);
    }
    if let Some(bias) = layer.b_down {
        ensure!(nc, bias.shape() == [hidden]);
    }
    ensure!(nc, layer.b_gate.is_none() || layer.w_gate.is_some(), "a bias of the gate needs a gate");
    let needs_gate = layer.cfg.between().needs_gate();
    ensure!(nc, !needs_gate || layer.w_gate.is_some(), "limits of the gate and the offset of up need a gate");
    ensure!(nc, hidden > 0 && inner > 0);
    let fits = Plan::fits_decode(tokens, hidden, inner, size_of::<T>());
    if layer.cfg.mode == Mode::Decode {
        ensure!(nc, tokens <= 128, "decoding takes at most 128 tokens");
        ensure!(nc, fits, "the tokens are too wide for SBUF");
    }
    if layer.cfg.mode == Mode::Decode || (layer.cfg.mode == Mode::Auto && tokens <= 96 && fits) {
        let x_t = prefill::transposed(nc, prologue);
        let a_t = decode::inner(nc, x_t, layer);
        let mine = Share::new(nc, hidden, 512);
        decode::down(nc, a_t, mine.of(out, 1), &layer.results(&mine));
        return;
    }
    let mine = Share::new(nc, tokens, 128);
    let (prologue, out, tokens) = (prologue.part(&mine), mine.of(out, 0), mine.len());
    let Some(plan) = Plan::new(tokens, hidden, inner, size_of::<T>()) else {
        nc.fail(format!("hidden {hidden} and inner {inner} are too wide for SBUF"));
    };
    for t in nc.tiles(tokens, plan.tokens) {
        let x_t = prefill::transposed(nc, &prologue.of(t));
        let a_t = prefill::activations(nc, x_t, layer, plan);
        prefill::down(nc, a_t, out.at((t, ..)), layer, plan);
    }
}

impl<T: Float, W: Elem> Layer<T, W> {
    /// `dst = act(gate) ∘ (up + offset)`, or `act(up)` without a gate, after scales, biases and limits.
    #[track_caller]
    pub fn gated(&self, nc: Nc, dst: Tile<T>, gate: Option<Acc>, up: Acc, biases: [Option<Tile<f32>>; 2]) {
        let Some([of_gate, of_up, _]) = self.scales else {
            return gated(nc, dst, gate, up, biases, &self.cfg.between());
        };
        let scaled = |sums: Acc, scale: Tile<f32>| {
            let scaled = nc.sbuf::<f32>(sums.shape());
            nc.tensor_scalar(scaled, sums, Alu::Multiply, scale.at((0..sums.dim(0), ..)));
            scaled
        };
        gated(nc, dst, gate.map(|g| scaled(g, of_gate)), scaled(up, of_up), biases, &self.cfg.between());
    }
}

/// `dst = act(gate) ∘ (up + offset)`, or `act(up)` without a gate, after biases and limits.
#[nki::kernel]
pub(crate) fn gated<T: Float, M: OnChip>(
    nc: Nc,
    dst: Tile<T>,
    gate: Option<Tensor<f32, M>>,
    up: Tensor<f32, M>,
    [gate_bias, up_bias]: [Option<Tile<f32>>; 2],
    cfg: &GatedConfig,
) {
    let function = cfg.function.of_the_scalar_engine();
    let up_limits = Limits(cfg.up_low, cfg.up_high);
    let Some(gate) = gate else { return activate(nc, dst, function, up, up_bias, up_limits) };
    let acted = nc.sbuf::<f32>(dst.shape());
    activate(nc, acted, function, gate, gate_bias, Limits(cfg.gate_low, cfg.gate_high));
    if up_limits.any() {
        let up = limited(nc, up, up_bias, up_limits);
        nc.scalar_tensor_tensor(dst, up, Alu::Add, cfg.up_offset, Alu::Multiply, acted);
        return;
    }
    match up_bias {
        Some(bias) if cfg.up_offset == 0.0 => {
            nc.scalar_tensor_tensor(dst, up, Alu::Add, bias, Alu::Multiply, acted);
        }
        Some(bias) => {
            let bias = bias + cfg.up_offset;
            nc.scalar_tensor_tensor(dst, up, Alu::Add, bias, Alu::Multiply, acted);
        }
        None if cfg.up_offset != 0.0 => {
            nc.scalar_tensor_tensor(dst, up, Alu::Add, cfg.up_offset, Alu::Multiply, acted);
        }
        None => drop(nc.tensor_tensor(dst, up, acted, Alu::Multiply)),
    }
}

/// A lower and an upper limit.
#[derive(Clone, Copy)]
struct Limits(Option<f32>, Option<f32>);

impl Limits {
    fn any(self) -> bool {
        self.0.is_some() || self.1.is_some()
    }
}

/// `dst = f(limited(src + bias))`.
#[nki::kernel]
fn activate<D: Float, M: OnChip>(
    nc: Nc,
    dst: Tile<D>,
    f: Act,
    src: Tensor<f32, M>,
    bias: Option<Tile<f32>>,
    limits: Limits,
) {
    if limits.any() {
        nc.activation(dst, f, limited(nc, src, bias, limits));
        return;
    }
    let instruction = nc.activation(dst, f, src);
    if let Some(bias) = bias {
        instruction.bias(bias);
    }
}

/// `min(max(src + bias, low), high)` in SBUF.
#[nki::kernel]
fn limited<M: OnChip>(
    nc: Nc,
    src: Tensor<f32, M>,
    bias: Option<Tile<f32>>,
    Limits(low, high): Limits,
) -> Tile<f32> {
    let result = nc.sbuf::<f32>(src.shape());
    let (low, high) = (low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY));
    match bias {
        Some(bias) => {
            nc.tensor_scalar(result, src, Alu::Add, bias).then(Alu::Maximum, low);
            nc.tensor_scalar(result, result, Alu::Minimum, high);
        }
        None => drop(nc.tensor_scalar(result, src, Alu::Maximum, low).then(Alu::Minimum, high)),
    }
    result
}
