//! A residual and the norm after it in one pass.

use super::kernel::{RmsNormConfig, scaled, sum_of_squares};
use crate::norm::inverse_root;
use crate::share::Share;
use nki::prelude::*;

/// `sum = x + residual` and `out = sum / sqrt(mean(sum²) + eps) · gamma` over each row.
///
/// The norm sees the sum in f32; the second result is the sum rounded to `T`. Rows wider than `columns` are read twice.
#[nki::kernel]
pub fn add_rmsnorm<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    residual: Hbm<T>,
    gamma: Hbm<T>,
    cfg: RmsNormConfig,
) -> (Hbm<T>, Hbm<T>) {
    let [rows, columns] = x.dims();
    ensure!(nc, residual.shape() == [rows, columns]);
    ensure!(nc, gamma.shape() == [columns] && columns > 0);
    let width = cfg.width(columns);
    ensure!(nc, (1..=columns).contains(&width), "the columns that count are some of the columns");
    let (out, sum) = (nc.hbm([rows, columns]), nc.hbm([rows, columns]));
    let mine = Share::new(nc, rows, 128);
    let (x, residual, to, to_sum, rows) =
        (mine.of(x, 0), mine.of(residual, 0), mine.of(out, 0), mine.of(sum, 0), mine.len());
    let gamma = gamma.reshape([1, columns]).broadcast(0, rows.min(128));
    if columns <= cfg.columns {
        let gains = nc.load(gamma);
        for r in nc.tiles(rows, 128) {
            let h = added(nc, x.at((r, ..)), residual.at((r, ..)));
            nc.store(to_sum.at((r, ..)), rounded::<T>(nc, h));
            let scale = inverse_root(nc, sum_of_squares(nc, h), width, cfg.eps);
            nc.store(to.at((r, ..)), scaled(nc, h, scale, gains.at((0..r.len(), ..))));
        }
        return (out, sum);
    }
    for r in nc.tiles(rows, 128) {
        let total = nc.zeros::<f32>([r.len(), 1]);
        for c in nc.tiles(columns, cfg.columns) {
            let h = added(nc, x.at((r, c)), residual.at((r, c)));
            nc.store(to_sum.at((r, c)), rounded::<T>(nc, h));
            nc.tensor_tensor(total, total, sum_of_squares(nc, h), Alu::Add);
        }
        let scale = inverse_root(nc, total, width, cfg.eps);
        for c in nc.tiles(columns, cfg.columns) {
            let h = added(nc, x.at((r, c)), residual.at((r, c)));
            let gains = nc.load(gamma.at((0..r.len(), c)));
            nc.store(to.at((r, c)), scaled(nc, h, scale, gains));
        }
    }
    (out, sum)
}

/// `a + b` in f32.
#[nki::kernel]
fn added<T: Float>(nc: Nc, a: Hbm<T>, b: Hbm<T>) -> Tile<f32> {
    let sum = nc.sbuf::<f32>(a.shape());
    nc.tensor_tensor(sum, nc.load(a), nc.load(b), Alu::Add);
    sum
}

/// `x` in dtype `T`, by the scalar engine: the vector engine has more to do.
#[nki::kernel]
fn rounded<T: Float>(nc: Nc, x: Tile<f32>) -> Tile<T> {
    let y = nc.sbuf::<T>(x.shape());
    nc.activation(y, Act::Copy, x);
    y
}
