//! Normalisation of few tokens into the layout that decode kernels pass on chip.

use crate::norm::{Norm, NormConfig, columns};
use nki::prelude::*;

/// Which element of a token lies where in `[128, tokens, hidden / 128]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum HiddenOrder {
    /// Element `p · (hidden / 128) + j` at partition `p`, position `j`.
    Strided,
    /// Element `j · 128 + p` at partition `p`, position `j`.
    Consecutive,
}

/// How `norm_decode` lays out its result.
#[derive(Clone, Debug, KernelConfig)]
pub struct HiddenConfig {
    #[config(default = HiddenOrder::Strided)]
    pub order: HiddenOrder,
}

/// `norm(x) · gamma + beta` of `x[tokens, hidden]` as `[128, tokens, hidden / 128]`, gains and shifts where they are given. At most 128
/// tokens, `hidden` a multiple of 128.
#[nki::kernel]
pub fn norm_decode<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Option<Hbm<T>>,
    beta: Option<Hbm<T>>,
    norm: NormConfig,
    cfg: HiddenConfig,
) -> Hbm<T> {
    let [tokens, hidden] = x.dims();
    ensure!(nc, (1..=128).contains(&tokens), "decoding takes 1 to 128 tokens");
    ensure!(nc, hidden > 0 && hidden % 128 == 0, "the hidden size is a multiple of 128");
    for vector in [gamma, beta].into_iter().flatten() {
        ensure!(nc, vector.shape() == [hidden]);
    }
    ensure!(nc, beta.is_none() || norm.norm == Norm::Layer, "only layer normalisation has a shift");
    let j = hidden / 128;
    let out = nc.hbm([128, tokens, j]);
    let tile = loaded(nc, x, cfg.order);
    let y = standardised(nc, tile, hidden, &norm);
    // A gain belongs to an element of every token: one row of them, repeated by a view.
    let gains = |vector: Hbm<T>| {
        let gains = match cfg.order {
            HiddenOrder::Strided => nc.load(vector.reshape([128, j])).to::<f32>(),
            HiddenOrder::Consecutive => columns(nc, vector),
        };
        gains.reshape([128, 1, j]).broadcast(1, tokens)
    };
    let result = nc.sbuf::<T>([128, tokens, j]);
    match (gamma.map(gains), beta.map(gains)) {
        (Some(gamma), Some(beta)) => {
            nc.tensor_tensor(y, y, gamma, Alu::Multiply);
            nc.tensor_tensor(result, y, beta, Alu::Add);
        }
        (Some(gamma), None) => drop(nc.tensor_tensor(result, y, gamma, Alu::Multiply)),
        (None, Some(beta)) => drop(nc.tensor_tensor(result, y, beta, Alu::Add)),
        (None, None) => drop(nc.tensor_copy(result, y)),
    }
    nc.store(out, result);
    out
}

/// The tokens in the layout: runs of a token where neighbours stay together, else blocks turned by the tensor engine.
#[nki::kernel]
fn loaded<T: Float>(nc: Nc, x: Hbm<T>, order: HiddenOrder) -> Tile<T> {
    let [tokens, hidden] = x.dims();
    let tile = nc.sbuf::<T>([128, tokens, hidden / 128]);
    match order {
        HiddenOrder::Strided => {
            nc.dma_copy(tile, x.reshape([tokens, 128, hidden / 128]).permute(&[1, 0, 2]));
        }
        HiddenOrder::Consecutive => {
            let rows = nc.load(x);
            for h in nc.tiles(hidden, 128) {
                let turned = nc.psum_of::<T>([128, tokens]);
                nc.nc_transpose(turned, rows.at((.., h)));
                nc.tensor_copy(tile.at((.., .., h.index())), turned);
            }
        }
    }
    tile
}

/// The tokens without mean and scale, in f32. A token lies on all partitions: its sums are products with ones, which leave the total
/// on every one of them.
#[nki::kernel]
fn standardised<T: Float>(nc: Nc, x: Tile<T>, hidden: usize, cfg: &NormConfig) -> Tile<f32> {
    let ([_, tokens, j], y) = (x.dims(), nc.sbuf::<f32>(x.shape()));
    let per_token = |v: Tile<f32>| v.expand(2).broadcast(2, j);
    match cfg.norm {
        Norm::Layer => {
            let mean = total(nc, x) * (1.0 / hidden as f32);
            nc.tensor_tensor(y, x, per_token(mean), Alu::Subtract);
        }
        Norm::None | Norm::Rms => drop(nc.tensor_copy(y, x)),
    }
    if cfg.norm != Norm::None {
        let squares = nc.sbuf::<f32>([128, tokens, j]);
        nc.activation(squares, Act::Square, y);
        let scale = crate::norm::inverse_root(nc, total(nc, squares), hidden, cfg.eps);
        nc.tensor_tensor(y, y, per_token(scale), Alu::Multiply);
    }
    y
}

/// The sum of each token over all partitions, on all partitions: `[128, tokens]`.
#[nki::kernel]
fn total<T: Float>(nc: Nc, x: Tile<T>) -> Tile<f32> {
    let tokens = x.dim(1);
    let parts = nc.sbuf::<f32>([128, tokens]);
    nc.tensor_reduce(parts, Alu::Add, x);
    let total = nc.psum([128, tokens]);
    nc.nc_matmul(total, nc.ones::<f32>([128, 128]), parts);
    total.to::<f32>()
}
