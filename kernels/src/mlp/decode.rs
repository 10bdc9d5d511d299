//! The layer for few tokens: memory bounds it, so that the weights are read in rows as wide as PSUM allows.

use super::kernel::Layer;
use crate::projection::kernel::settle;
use crate::share::Share;
use crate::strip::multiply;
use nki::prelude::*;

/// f32 values per partition of a bank of PSUM.
const BANK: usize = 512;

/// Columns of `w_up` and `w_gate` at a time: each holds two banks of PSUM, 128 columns being one value per token.
fn block_columns(tokens: usize) -> usize {
    128 * (2 * BANK / tokens.next_power_of_two()).clamp(1, 16)
}

/// The inner activations with `inner` on partitions, `[128, ⌈inner / 128⌉, tokens]`. Of two programs each makes half of them, and sends it
/// to the other.
#[nki::kernel]
pub(super) fn inner<T: Float, W: Elem>(nc: Nc, x_t: Tile<T>, layer: &Layer<T, W>) -> Tile<T> {
    let ([_, inner], tokens) = (layer.w_up.dims(), x_t.dim(2));
    let (rows, me) = (inner.div_ceil(128), nc.program_id(0));
    if nc.num_programs() == 1 || rows < 2 {
        let a_t = nc.sbuf::<T>([inner.min(128), rows, tokens]);
        activations(nc, a_t, x_t, layer);
        return a_t;
    }
    // What is exchanged is as long on both sides: behind the last activations are zeros.
    let half = rows.div_ceil(2);
    let a_t = nc.sbuf::<T>([128, 2 * half, tokens]);
    if me == 1 && 2 * half * 128 > inner {
        nc.memset(a_t.at((.., inner / 128.., ..)), 0.0);
    }
    let halves = [0, 1].map(|p| a_t.at((.., p * half..(p + 1) * half, ..)));
    activations(nc, halves[me], x_t, &layer.inner(&Share::new(nc, inner, 128)));
    nc.sendrecv(halves[1 - me], halves[me], 1 - me, 1 - me);
    a_t
}

/// `a_t[i % 128, i / 128, ..]` becomes inner activation `i`: the weights are the stationary operand, 128 of their columns at a time, and the
/// tokens the moving one.
#[nki::kernel]
fn activations<T: Float, W: Elem>(nc: Nc, a_t: Tile<T>, x_t: Tile<T>, layer: &Layer<T, W>) {
    let ([_, inner], tokens) = (layer.w_up.dims(), x_t.dim(2));
    let [gate_bias, up_bias] = layer.inner_biases(nc);
    let columns = block_columns(tokens);
    for block in nc.tiles(inner, columns) {
        let up = wide_product(nc, x_t, layer.w_up.at((.., block)));
        let gate = layer.w_gate.map(|w| wide_product(nc, x_t, w.at((.., block))));
        for i in nc.tiles(block.len(), 128) {
            let index = block.index() * (columns / 128) + i.index();
            let a = a_t.at((0..i.len(), index, ..));
            let of = |acc: Acc| acc.at((0..i.len(), i.index(), 0..tokens));
            let bias = |b: Option<Tile<f32>>| b.map(|b| b.at((0..i.len(), index)));
            layer.gated(nc, a, gate.map(of), of(up), [bias(gate_bias), bias(up_bias)]);
        }
    }
}

/// `Σ_k weight[k, c] · x_t[k, t]` with the columns of the weight on partitions: column `c` on partition `c % 128`, in row `c / 128`, and in
/// it one value per token. Rows are padded to a power of two, so that none lies in two banks.
#[nki::kernel]
fn wide_product<T: Float, W: Elem>(nc: Nc, x_t: Tile<T>, weight: Hbm<W>) -> Acc {
    let ([hidden, columns], tokens) = (weight.dims(), x_t.dim(2));
    let acc = nc.psum([columns.min(128), columns.div_ceil(128), tokens.next_power_of_two()]);
    for k in nc.tiles(hidden, 128) {
        let rows = nc.load(weight.at((k, ..)));
        let moving = x_t.at((0..k.len(), k.index(), ..));
        for c in nc.tiles(columns, 128) {
            multiply(nc, acc.at((0..c.len(), c.index(), 0..tokens)), rows.at((.., c)), moving);
        }
    }
    acc
}

/// `out = a · w_down + b_down`: the activations are the stationary operand, the weight is the moving one.
#[nki::kernel]
pub(super) fn down<T: Float, W: Elem>(nc: Nc, a_t: Tile<T>, out: Hbm<T>, layer: &Layer<T, W>) {
    let ([inner, hidden], tokens) = (layer.w_down.dims(), a_t.dim(2));
    for h in nc.tiles(hidden, 4 * BANK) {
        let bias = layer.down_bias(nc, h, tokens);
        let y = nc.psum([tokens, h.len()]);
        for i in nc.tiles(inner, 128) {
            let rows = nc.load(layer.w_down.at((i, h)));
            let a = a_t.at((0..i.len(), i.index(), ..));
            for c in nc.tiles(h.len(), BANK) {
                multiply(nc, y.at((.., c)), a, rows.at((.., c)));
            }
        }
        let result = nc.sbuf::<T>([tokens, h.len()]);
        for c in nc.tiles(h.len(), BANK) {
            let bias = bias.map(|b| b.at((.., c)));
            settle(nc, result.at((.., c)), y.at((.., c)), layer.down_scale(tokens), [None, bias]);
        }
        nc.store(out.at((.., h)), result);
    }
}
