//! The layer for many tokens: strips of the weights, read once for a block of tokens.

use super::kernel::Layer;
use super::plan::Plan;
use crate::norm::{NormConfig, columns, standardised};
use crate::projection::kernel::settle;
use crate::share::Share;
use crate::strip::{multiply, product, strip};
use nki::prelude::*;

/// The inner activations of a block of tokens with `inner` on partitions, `[128, ⌈inner / 128⌉, tokens]`, which is what the down
/// projection contracts.
#[nki::kernel]
pub(super) fn activations<T: Float, W: Elem>(
    nc: Nc,
    x_t: Tile<T>,
    layer: &Layer<T, W>,
    plan: Plan,
) -> Tile<T> {
    let ([hidden, inner], tokens) = (layer.w_up.dims(), x_t.dim(2));
    let a_t = nc.sbuf::<T>([inner.min(128), inner.div_ceil(128), tokens]);
    let [gate_bias, up_bias] = layer.inner_biases(nc);
    for block in nc.tiles(inner, plan.inner) {
        let up_strip = strip(nc, layer.w_up.at((.., block)));
        let gate_strip = layer.w_gate.map(|w| strip(nc, w.at((.., block))));
        for i in nc.tiles(block, 128) {
            let index = block.index() * (plan.inner / 128) + i.index();
            let a = a_t.at((0..i.len(), index, ..));
            let up = product(nc, up_strip.at((.., .., i.local())), x_t, hidden);
            let gate = gate_strip.map(|strip| product(nc, strip.at((.., .., i.local())), x_t, hidden));
            let bias = |b: Option<Tile<f32>>| b.map(|b| b.at((0..i.len(), index)));
            layer.gated(nc, a, gate, up, [bias(gate_bias), bias(up_bias)]);
        }
    }
    a_t
}

/// `out = a · w_down + b_down` for a block of tokens.
#[nki::kernel]
pub(super) fn down<T: Float, W: Elem>(nc: Nc, a_t: Tile<T>, out: Hbm<T>, layer: &Layer<T, W>, plan: Plan) {
    let ([inner, hidden], tokens) = (layer.w_down.dims(), a_t.dim(2));
    for h in nc.tiles(hidden, plan.hidden) {
        let down_strip = strip(nc, layer.w_down.at((.., h)));
        let bias = layer.down_bias(nc, h, tokens.min(128));
        for s in nc.tiles(tokens, 128) {
            let y = nc.psum([s.len(), h.len()]);
            for i in nc.tiles(inner, 128) {
                let a = a_t.at((0..i.len(), i.index(), s));
                multiply(nc, y, a, down_strip.at((0..i.len(), i.index(), ..)));
            }
            let result = nc.sbuf::<T>([s.len(), h.len()]);
            let bias = bias.map(|b| b.at((0..s.len(), ..)));
            settle(nc, result, y, layer.down_scale(s.len()), [None, bias]);
            nc.store(out.at((s, h)), result);
        }
    }
}

/// What precedes the first projection, and where its sum goes.
pub(super) struct Prologue<T: Elem> {
    pub x: Hbm<T>,
    pub residual: Option<Hbm<T>>,
    pub sum: Option<Hbm<T>>,
    /// Gains and shifts, as columns of 128.
    pub gamma: Option<Tile<f32>>,
    pub beta: Option<Tile<f32>>,
    pub norm: NormConfig,
}

impl<T: Float> Prologue<T> {
    /// Nothing but the tokens.
    pub fn none(x: Hbm<T>) -> Prologue<T> {
        let norm = NormConfig { norm: crate::norm::Norm::None, ..NormConfig::default() };
        Prologue { x, residual: None, sum: None, gamma: None, beta: None, norm }
    }
    /// With vectors of gains and shifts in HBM.
    pub fn with_gains(self, nc: Nc, gamma: Option<Hbm<T>>, beta: Option<Hbm<T>>) -> Prologue<T> {
        Prologue { gamma: gamma.map(|v| columns(nc, v)), beta: beta.map(|v| columns(nc, v)), ..self }
    }
    /// The same for the tokens `t`.
    pub fn of(&self, t: Block) -> Prologue<T> {
        self.map(|m| m.at((t, ..)))
    }
    /// The same for a program's tokens.
    #[track_caller]
    pub fn part(&self, mine: &Share) -> Prologue<T> {
        self.map(|m| mine.of(m, 0))
    }
    fn map(&self, part: impl Fn(Hbm<T>) -> Hbm<T>) -> Prologue<T> {
        Prologue {
            x: part(self.x),
            residual: self.residual.map(&part),
            sum: self.sum.map(&part),
            norm: self.norm.clone(),
            ..*self
        }
    }
}

/// `norm(x + residual) · gamma + beta` of `x[tokens, hidden]` as `[128, ⌈hidden / 128⌉, tokens]`: element `h` of a token is on partition
/// `h % 128`, in row `h / 128`. Gains and shifts belong to elements, which after the transpose lie on partitions: they are operands
/// of the instruction that takes a block out of PSUM.
#[nki::kernel]
pub(super) fn transposed<T: Float>(nc: Nc, p: &Prologue<T>) -> Tile<T> {
    let [tokens, hidden] = p.x.dims();
    let x_t = nc.sbuf::<T>([hidden.min(128), hidden.div_ceil(128), tokens]);
    for t in nc.tiles(tokens, 128) {
        let rows = prepared(nc, &p.of(t));
        for h in nc.tiles(hidden, 128) {
            let turned = nc.psum_of::<T>([h.len(), t.len()]);
            nc.nc_transpose(turned, rows.at((.., h)));
            let to = x_t.at((0..h.len(), h.index(), t));
            let part = |v: Tile<f32>| v.at((0..h.len(), h.index()));
            match (p.gamma.map(part), p.beta.map(part)) {
                (Some(g), Some(b)) => drop(nc.tensor_scalar(to, turned, Alu::Multiply, g).then(Alu::Add, b)),
                (Some(g), None) => drop(nc.tensor_scalar(to, turned, Alu::Multiply, g)),
                (None, Some(b)) => drop(nc.tensor_scalar(to, turned, Alu::Add, b)),
                (None, None) => drop(nc.tensor_copy(to, turned)),
            }
        }
    }
    x_t
}

/// Up to 128 tokens, `norm(x + residual)` without gains.
#[nki::kernel]
fn prepared<T: Float>(nc: Nc, p: &Prologue<T>) -> Tile<T> {
    let x = nc.load(p.x);
    let Some(residual) = p.residual else {
        return match p.norm.norm {
            crate::norm::Norm::None => x,
            _ => standardised::<T, T>(nc, x, &p.norm),
        };
    };
    // The norm sees the sum as it is; what is stored is rounded.
    let h = nc.sbuf::<f32>(x.shape());
    nc.tensor_tensor(h, x, nc.load(residual), Alu::Add);
    if let Some(sum) = p.sum {
        nc.store(sum, h.to::<T>());
    }
    standardised::<f32, T>(nc, h, &p.norm)
}
