//! From hidden states to logits.

use crate::qkv::normed::{Input, few, many};
use crate::share::Share;
use crate::strip::{product, strip};
use nki::prelude::*;
use std::ops::Range;

/// Numbers that `lm_head` needs.
#[derive(Clone, Debug, KernelConfig)]
pub struct LmHeadConfig {
    /// Added to the mean of squares, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
}

/// `out = norm(x) · weight` in f32: a logit for each token and each word of a vocabulary.
///
/// `x` is `[tokens, hidden]`, `weight` `[hidden, vocabulary]`, the result `[tokens, vocabulary]`. `gamma`, `[hidden]`, where it is
/// given, normalises `x` by the root of its mean square first. The normalised `x` is rounded to `T`, sums are f32.
#[nki::kernel]
pub fn lm_head<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Option<Hbm<T>>,
    weight: Hbm<T>,
    cfg: LmHeadConfig,
) -> Hbm<f32> {
    let [tokens, hidden] = x.dims();
    let [rows, vocabulary] = weight.dims();
    ensure!(nc, rows == hidden && hidden > 0);
    let n_gains = gamma.map_or(hidden, |g| g.elements());
    ensure!(nc, n_gains == hidden, "one gain for each element");
    let out = nc.hbm([tokens, vocabulary]);
    let mine = Share::new(nc, vocabulary, 512);
    let (weight, to, vocabulary) = (mine.of(weight, 1), mine.of(out, 1), mine.len());
    let input = Input::new(x, gamma, cfg.eps);
    if tokens <= 128 && hidden % 128 == 0 {
        if tokens > 0 {
            let x_t = few(nc, &input);
            let per_lane = hidden / 128;
            let weight = weight.split(0, &[128, per_lane]);
            for c in nc.tiles(vocabulary, COLUMNS) {
                streamed(nc, to.at((.., c)), x_t, weight.at((.., .., c)));
            }
        }
        return out;
    }
    for t in nc.tiles(tokens, if hidden * size_of::<T>() <= 8192 { 512 } else { 256 }) {
        let x_t = many(nc, &input.of(t));
        for c in nc.tiles(vocabulary, 512) {
            let columns = strip(nc, weight.at((.., c)));
            for s in nc.tiles(t, 128) {
                let logits = product(nc, x_t.at((.., .., s.local())), columns, hidden);
                nc.store(to.at((s, c)), logits.copy());
            }
        }
    }
    out
}

/// Columns that are computed together: four banks of PSUM, so that the next four fill while these are copied out.
const COLUMNS: usize = 2048;

/// Rows of the weight, of each partition, that are loaded together.
const ROWS: usize = 8;

/// `x · weight` of few tokens for the columns of `out`: the weight, `[128, hidden / 128, columns]`, passes through once.
#[nki::kernel]
fn streamed<T: Float>(nc: Nc, out: Hbm<f32>, x_t: Tile<T>, weight: Hbm<T>) {
    let [_, per_lane, columns] = weight.dims();
    let tokens = x_t.dim(2);
    let banks: Vec<Range<usize>> = (0..columns).step_by(512).map(|at| at..(at + 512).min(columns)).collect();
    let sums: Vec<Acc> = banks.iter().map(|b| nc.psum([tokens, b.len()])).collect();
    for first in (0..per_lane).step_by(ROWS) {
        let rows = first..(first + ROWS).min(per_lane);
        let piece = nc.load(weight.at((.., rows.clone(), ..)));
        for j in rows.clone() {
            for (bank, sum) in banks.iter().zip(&sums) {
                nc.nc_matmul(*sum, x_t.at((.., j, ..)), piece.at((.., j - rows.start, bank.clone())));
            }
        }
    }
    let logits = nc.sbuf::<f32>([tokens, columns]);
    for (bank, sum) in banks.into_iter().zip(sums) {
        nc.tensor_copy(logits.at((.., bank)), sum);
    }
    nc.store(out, logits);
}
