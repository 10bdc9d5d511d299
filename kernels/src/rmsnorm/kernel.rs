//! Root-mean-square normalisation over rows.

use crate::norm::inverse_root;
use crate::share::Share;
use nki::prelude::*;

/// Numbers that `rmsnorm` needs.
#[derive(Clone, Debug, KernelConfig)]
pub struct RmsNormConfig {
    /// Added to the mean of squares, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
    /// Rows of up to this many columns stay on chip; wider ones pass through twice, in chunks of this size.
    #[config(default = 8192)]
    pub columns: usize,
    /// Columns that count in the mean, where the others are padding with zeros.
    #[config(default = None)]
    pub actual: Option<usize>,
}

impl RmsNormConfig {
    /// What the sum of squares of a row is divided by.
    pub(super) fn width(&self, columns: usize) -> usize {
        self.actual.unwrap_or(columns)
    }
}

/// `out[r, c] = x[r, c] / sqrt(mean_c(x[r, c]²) + eps) · gamma[c]`, in f32.
#[nki::kernel]
pub fn rmsnorm<T: Float>(nc: Nc, x: Hbm<T>, gamma: Hbm<T>, cfg: RmsNormConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let [gains] = gamma.dims();
    ensure!(nc, gains == columns && columns > 0);
    let width = cfg.width(columns);
    ensure!(nc, (1..=columns).contains(&width), "the columns that count are some of the columns");
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, to, rows) = (mine.of(x, 0), mine.of(out, 0), mine.len());
    let gamma = gamma.reshape([1, columns]).broadcast(0, rows.min(128));
    if columns <= cfg.columns {
        let gains = nc.load(gamma);
        for r in nc.tiles(rows, 128) {
            let tile = nc.load(x.at((r, ..)));
            let scale = inverse_root(nc, sum_of_squares(nc, tile), width, cfg.eps);
            nc.store(to.at((r, ..)), scaled(nc, tile, scale, gains.at((0..r.len(), ..))));
        }
        return out;
    }
    for r in nc.tiles(rows, 128) {
        let total = nc.sbuf::<f32>([r.len(), 1]);
        nc.memset(total, 0.0);
        for c in nc.tiles(columns, cfg.columns) {
            let squares = sum_of_squares(nc, nc.load(x.at((r, c))));
            nc.tensor_tensor(total, total, squares, Alu::Add);
        }
        let scale = inverse_root(nc, total, width, cfg.eps);
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let gains = nc.load(gamma.at((0..r.len(), c)));
            nc.store(to.at((r, c)), scaled(nc, tile, scale, gains));
        }
    }
    out
}

/// `Σ_c tile[r, c]²`, as a column.
#[nki::kernel]
pub(super) fn sum_of_squares<T: Float>(nc: Nc, tile: Tile<T>) -> Tile<f32> {
    let [rows, columns] = tile.dims();
    let sum = nc.sbuf::<f32>([rows, 1]);
    let squares = nc.sbuf::<f32>([rows, columns]);
    nc.activation(squares, Act::Square, tile).reduce(sum);
    sum
}

/// `tile · scale · gains`, `scale` being one value per row.
#[nki::kernel]
pub(super) fn scaled<S: Float, T: Float>(nc: Nc, tile: Tile<S>, scale: Tile<f32>, gains: Tile<T>) -> Tile<T> {
    let y = nc.sbuf::<T>(tile.dims::<2>());
    nc.scalar_tensor_tensor(y, tile, Alu::Multiply, scale, Alu::Multiply, gains);
    y
}
