//! Tokens, normalised, with the hidden axis on partitions: what a projection contracts.

use crate::norm::{Norm, moments};
use crate::share::Share;
use nki::prelude::*;

/// Tokens, `[tokens, hidden]`, and what is done to them first.
#[derive(Clone, Copy)]
pub struct Input<T: Float> {
    pub x: Hbm<T>,
    /// Added to `x` in f32, like `x`.
    pub residuals: [Option<Hbm<T>>; 2],
    /// Where that sum goes, rounded.
    pub sum: Option<Hbm<T>>,
    /// Gains; without them nothing is normalised.
    pub gamma: Option<Hbm<T>>,
    /// Shifts after the gains.
    pub beta: Option<Hbm<T>>,
    pub norm: Norm,
    pub eps: f32,
    /// Elements of a token that the norm's statistics are of, the first ones.
    pub width: usize,
}

impl<T: Float> Input<T> {
    /// Tokens and the gains of a root mean square.
    pub fn new(x: Hbm<T>, gamma: Option<Hbm<T>>, eps: f32) -> Input<T> {
        let width = x.dim(1);
        Input { x, residuals: [None; 2], sum: None, gamma, beta: None, norm: Norm::Rms, eps, width }
    }
    /// Some of the tokens.
    #[track_caller]
    pub fn of(&self, t: Block) -> Input<T> {
        self.map(|m| m.at((t, ..)))
    }
    /// A program's tokens.
    #[track_caller]
    pub fn part(&self, mine: &Share) -> Input<T> {
        self.map(|m| mine.of(m, 0))
    }
    #[track_caller]
    fn map(&self, part: impl Fn(Hbm<T>) -> Hbm<T>) -> Input<T> {
        Input {
            x: part(self.x),
            residuals: self.residuals.map(|r| r.map(&part)),
            sum: self.sum.map(&part),
            ..*self
        }
    }
    /// `x` plus residuals in f32, all of them loaded as `view` sees them; its rounding is stored. None without residuals.
    #[track_caller]
    fn added(&self, nc: Nc, x: Tile<T>, view: impl Fn(Hbm<T>) -> Hbm<T>) -> Option<Tile<f32>> {
        let mut sum: Option<Tile<f32>> = None;
        for residual in self.residuals.into_iter().flatten() {
            let (more, residual) = (nc.sbuf::<f32>(x.shape()), nc.load(view(residual)));
            match sum {
                None => nc.tensor_tensor(more, x, residual, Alu::Add),
                Some(sum) => nc.tensor_tensor(more, sum, residual, Alu::Add),
            };
            sum = Some(more);
        }
        if let (Some(sum), Some(to)) = (sum, self.sum) {
            nc.store(view(to), sum.to::<T>());
        }
        sum
    }
}

/// `norm(x)` of at most 128 tokens as `[128, hidden / 128, tokens]`: element `h` of a token is on partition `h / (hidden / 128)`, so
/// that a partition reads neighbouring elements, and the weight neighbouring rows. `hidden` is a multiple of 128.
#[nki::kernel]
pub fn few<T: Float>(nc: Nc, input: &Input<T>) -> Tile<T> {
    let per_lane = input.x.dim(1) / 128;
    let view = |m: Hbm<T>| m.split(1, &[128, per_lane]).permute(&[1, 0, 2]);
    let x = nc.load(view(input.x));
    match input.added(nc, x, view) {
        Some(sum) => few_normed(nc, sum, input),
        None => few_normed(nc, x, input),
    }
}

/// [`few`] of tokens on chip, `[128, tokens, hidden / 128]`.
#[nki::kernel]
fn few_normed<D: Float, T: Float>(nc: Nc, x: Tile<D>, input: &Input<T>) -> Tile<T> {
    let [_, tokens, per_lane] = x.dims();
    let x_t = nc.sbuf::<T>([128, per_lane, tokens]);
    let turned = x.permute(&[0, 2, 1]);
    let Some(gamma) = input.gamma else {
        nc.tensor_copy(x_t, turned);
        return x_t;
    };
    let columns = |v: Hbm<T>| nc.load(v.reshape([128, per_lane])).expand(2).broadcast(2, tokens);
    let scaled = nc.sbuf::<f32>([128, per_lane, tokens]);
    if input.norm == Norm::Layer {
        let values = nc.sbuf::<f32>(x.shape());
        nc.tensor_copy(values, x);
        let neg_mean = nc.sbuf::<f32>([128, tokens]);
        nc.tensor_scalar(neg_mean, over_lanes(nc, values, input), Alu::Multiply, -1.0 / input.width as f32);
        let centred = nc.sbuf::<f32>(x.shape());
        nc.tensor_tensor(centred, x, neg_mean.expand(2).broadcast(2, per_lane), Alu::Add);
        let scale = inverse_root(nc, centred, input).expand(1).broadcast(1, per_lane);
        nc.tensor_tensor(scaled, centred.permute(&[0, 2, 1]), scale, Alu::Multiply);
    } else {
        let scale = inverse_root(nc, x, input).expand(1).broadcast(1, per_lane);
        nc.tensor_tensor(scaled, turned, scale, Alu::Multiply);
    }
    match input.beta {
        Some(beta) => {
            nc.tensor_tensor(scaled, scaled, columns(gamma), Alu::Multiply);
            nc.tensor_tensor(x_t, scaled, columns(beta), Alu::Add);
        }
        None => drop(nc.tensor_tensor(x_t, scaled, columns(gamma), Alu::Multiply)),
    }
    x_t
}

/// `1 / sqrt(mean(x²) + eps)` of every token, on all partitions.
#[nki::kernel]
fn inverse_root<D: Float, T: Float>(nc: Nc, x: Tile<D>, input: &Input<T>) -> Tile<f32> {
    let squares = nc.sbuf::<f32>(x.shape());
    nc.tensor_tensor(squares, x, x, Alu::Multiply);
    let total = over_lanes(nc, squares, input);
    let scale = nc.sbuf::<f32>(total.shape());
    nc.tensor_scalar(scale, total, Alu::Multiply, 1.0 / input.width as f32).then(Alu::Add, input.eps);
    nc.activation(scale, Act::Rsqrt, scale);
    scale
}

/// The sum of the first `width` elements of every token, on all partitions; the others become 0.
#[nki::kernel]
fn over_lanes<T: Float>(nc: Nc, x: Tile<f32>, input: &Input<T>) -> Acc {
    let [_, tokens, per_lane] = x.dims();
    if input.width < 128 * per_lane {
        nc.affine_select(x, x, 0.0, &[[0, tokens as i64], [1, per_lane as i64]])
            .offset(-(input.width as i64))
            .channel_multiplier(per_lane as i64)
            .cmp_op(Alu::Less);
    }
    let partial = nc.sbuf::<f32>([128, tokens]);
    nc.tensor_reduce(partial, Alu::Add, x);
    // A product with ones adds up partitions, and leaves the sum on all of them.
    let ones = nc.ones::<f32>([128, 128]);
    let total = nc.psum([128, tokens]);
    nc.nc_matmul(total, ones, partial);
    total
}

/// `norm(x)` as `[128, ⌈hidden / 128⌉, tokens]`: element `h` of a token is on partition `h % 128`, in row `h / 128`.
#[nki::kernel]
pub fn many<T: Float>(nc: Nc, input: &Input<T>) -> Tile<T> {
    let [tokens, hidden] = input.x.dims();
    let x_t = nc.sbuf::<T>([hidden.min(128), hidden.div_ceil(128), tokens]);
    let of_all = |v: Hbm<T>| nc.load(v.reshape([1, hidden]).broadcast(0, tokens.min(128)));
    let (gains, shifts) = (input.gamma.map(of_all), input.beta.map(of_all));
    // Tiles of a bank that are copied out together.
    let together = 16 / size_of::<T>();
    for t in nc.tiles(tokens, 128) {
        let (input, part) = (input.of(t), |v: Tile<T>| v.at((0..t.len(), ..)));
        let (gains, shifts) = (gains.map(part), shifts.map(part));
        let rows = nc.load(input.x);
        let rows = match (input.added(nc, rows, |m| m), gains) {
            (Some(sum), Some(gains)) => normed(nc, sum, gains, shifts, &input),
            (Some(sum), None) => sum.to::<T>(),
            (None, Some(gains)) => normed(nc, rows, gains, shifts, &input),
            (None, None) => rows,
        };
        for h in nc.tiles(hidden / 128, together) {
            let turned = nc.psum_of::<T>([128, h.len(), t.len()]);
            for i in 0..h.len() {
                let at = (h.start() + i) * 128;
                nc.nc_transpose(turned.at((.., i, ..)), rows.at((.., at..at + 128)));
            }
            nc.tensor_copy(x_t.at((.., h, t)), turned);
        }
        let rest = hidden % 128;
        if rest > 0 {
            let turned = nc.psum_of::<T>([rest, t.len()]);
            nc.nc_transpose(turned, rows.at((.., hidden - rest..hidden)));
            nc.tensor_copy(x_t.at((0..rest, hidden / 128, t)), turned);
        }
    }
    x_t
}

/// The norm of rows, with gains and shifts.
#[nki::kernel]
fn normed<D: Float, T: Float>(
    nc: Nc,
    x: Tile<D>,
    gains: Tile<T>,
    shifts: Option<Tile<T>>,
    input: &Input<T>,
) -> Tile<T> {
    let [n, hidden] = x.dims();
    let (y, counted) = (nc.sbuf::<T>([n, hidden]), x.at((.., 0..input.width)));
    if input.norm == Norm::Layer {
        let (neg_mean, scale) = moments(nc, counted, input.eps);
        let standard = nc.sbuf::<f32>([n, hidden]);
        nc.tensor_scalar(standard, x, Alu::Add, neg_mean).then(Alu::Multiply, scale);
        match shifts {
            Some(shifts) => {
                nc.tensor_tensor(standard, standard, gains, Alu::Multiply);
                nc.tensor_tensor(y, standard, shifts, Alu::Add);
            }
            None => drop(nc.tensor_tensor(y, standard, gains, Alu::Multiply)),
        }
        return y;
    }
    let (squares, scale) = (nc.sbuf::<D>([n, input.width]), nc.sbuf::<f32>([n, 1]));
    nc.activation(squares, Act::Square, counted).reduce(scale);
    nc.tensor_scalar(scale, scale, Alu::Multiply, 1.0 / input.width as f32).then(Alu::Add, input.eps);
    nc.activation(scale, Act::Rsqrt, scale);
    nc.scalar_tensor_tensor(y, x, Alu::Multiply, scale, Alu::Multiply, gains);
    y
}
