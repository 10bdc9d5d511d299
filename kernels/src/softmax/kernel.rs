//! Softmax over rows.

use crate::share::Share;
use nki::prelude::*;

/// How `softmax` cuts its rows.
#[derive(Clone, Debug, KernelConfig)]
pub struct SoftmaxConfig {
    /// Rows of up to this many columns stay on chip; wider ones pass through twice, in chunks of this size.
    #[config(default = 8192)]
    pub columns: usize,
    /// Multiplies the rows first; more than 0.
    #[config(default = 1.0)]
    pub scale: f32,
    /// Gives logarithms of the results.
    #[config(default = false)]
    pub log: bool,
}

/// `out[r, c] = exp(s · (x[r, c] - max_r)) / Σ_c exp(s · (x[r, c] - max_r))`, or its logarithm, in f32. A row of nothing but `-inf` gives
/// zeros, and `-inf` as logarithms.
#[nki::kernel]
pub fn softmax<T: Float>(nc: Nc, x: Hbm<T>, cfg: SoftmaxConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, columns > 0);
    ensure!(nc, cfg.scale > 0.0 && cfg.scale.is_finite(), "the largest stays the largest");
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, to, rows) = (mine.of(x, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        if columns <= cfg.columns {
            let tile = nc.load(x.at((r, ..)));
            let neg_max = negated_max(nc, tile, cfg.scale);
            let sum = nc.sbuf::<f32>([r.len(), 1]);
            let e = nc.sbuf::<f32>([r.len(), columns]);
            nc.activation(e, Act::Exp, tile).scale(cfg.scale).bias(neg_max).reduce(sum);
            let y = nc.sbuf::<T>([r.len(), columns]);
            match cfg.log {
                true => logarithms(nc, y, tile, neg_max, sum, cfg.scale),
                false => drop(nc.tensor_scalar(y, e, Alu::Multiply, inverse(sum))),
            }
            nc.store(to.at((r, ..)), y);
        } else {
            let (neg_max, sum) = running_max_and_sum(nc, x.at((r, ..)), &cfg);
            let scale = inverse(sum);
            for c in nc.tiles(columns, cfg.columns) {
                let tile = nc.load(x.at((r, c)));
                let y = nc.sbuf::<T>([r.len(), c.len()]);
                if cfg.log {
                    logarithms(nc, y, tile, neg_max, sum, cfg.scale);
                } else {
                    let e = nc.sbuf::<f32>([r.len(), c.len()]);
                    nc.activation(e, Act::Exp, tile).scale(cfg.scale).bias(neg_max);
                    nc.tensor_scalar(y, e, Alu::Multiply, scale);
                }
                nc.store(to.at((r, c)), y);
            }
        }
    }
    out
}

/// `dst = scale · x - (scale · max + ln sum)`. A row of nothing but `-inf` has the sum 0: the addend keeps its logarithm finite, and is
/// lost in every other sum, which is at least 1.
#[nki::kernel]
fn logarithms<T: Float>(nc: Nc, dst: Tile<T>, x: Tile<T>, neg_max: Tile<f32>, sum: Tile<f32>, scale: f32) {
    let shift = neg_max - (sum + 1e-18).log();
    nc.tensor_scalar(dst, x, Alu::Multiply, scale).then(Alu::Add, shift);
}

/// `-scale · max` of each row, but finite where the whole row is `-inf`: `-inf + f32::MAX` is `-inf`, whose exponential is 0, while
/// `-inf + inf` would be NaN. The maximum of 16-bit numbers is one of them, and finding it takes half the time if it stays one.
#[nki::kernel]
pub(super) fn negated_max<T: Float>(nc: Nc, tile: Tile<T>, scale: f32) -> Tile<f32> {
    let neg_max = nc.sbuf::<T>([tile.partitions(), 1]);
    nc.tensor_reduce(neg_max, Alu::Maximum, tile).negate(true);
    let finite = nc.sbuf::<f32>([tile.partitions(), 1]);
    match scale {
        1.0 => drop(nc.tensor_scalar(finite, neg_max, Alu::Minimum, f32::MAX)),
        scale => drop(nc.tensor_scalar(finite, neg_max, Alu::Multiply, scale).then(Alu::Minimum, f32::MAX)),
    }
    finite
}

/// `1 / sum`. A sum is at least 1, the maximum's own term, unless the row is `-inf` throughout; the small addend is lost in
/// every other sum, and makes that one's inverse finite.
pub(super) fn inverse(sum: Tile<f32>) -> Tile<f32> {
    (sum + 1e-30).reciprocal()
}

/// One pass over the chunks of each row: the running maximum, negated, and the sum of exponentials relative to it. When a
/// chunk raises the maximum, the sum so far is scaled down by `exp(old - new)`.
#[nki::kernel]
fn running_max_and_sum<T: Float>(nc: Nc, x: Hbm<T>, cfg: &SoftmaxConfig) -> (Tile<f32>, Tile<f32>) {
    let [rows, columns] = x.dims();
    let neg_max = nc.sbuf::<f32>([rows, 1]);
    let sum = nc.sbuf::<f32>([rows, 1]);
    nc.memset(neg_max, f32::MAX.into());
    nc.memset(sum, 0.0);
    for c in nc.tiles(columns, cfg.columns) {
        let tile = nc.load(x.at((.., c)));
        let neg_chunk = negated_max(nc, tile, cfg.scale);
        let neg_new = neg_max.minimum(neg_chunk);
        // exp(old - new) with old = -neg_max.
        let decay = nc.sbuf::<f32>([rows, 1]);
        nc.activation(decay, Act::Exp, neg_max).scale(-1.0).bias(neg_new);
        let chunk_sum = nc.sbuf::<f32>([rows, 1]);
        let e = nc.sbuf::<f32>([rows, c.len()]);
        nc.activation(e, Act::Exp, tile).scale(cfg.scale).bias(neg_new).reduce(chunk_sum);
        nc.scalar_tensor_tensor(sum, sum, Alu::Multiply, decay, Alu::Add, chunk_sum);
        nc.tensor_copy(neg_max, neg_new);
    }
    (neg_max, sum)
}
