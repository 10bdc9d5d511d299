//! Root-mean-square normalisation over rows.

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
}

/// `out[r, c] = x[r, c] / sqrt(mean_c(x[r, c]²) + eps) · gamma[c]`, in f32.
#[nki::kernel]
pub fn rmsnorm<T: Float>(nc: Nc, x: Hbm<T>, gamma: Hbm<T>, cfg: RmsNormConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let [gains] = gamma.dims();
    ensure!(nc, gains == columns && columns > 0);
    let out = nc.hbm([rows, columns]);
    let gamma = gamma.reshape([1, columns]).broadcast(0, rows.min(128));
    if columns <= cfg.columns {
        let gains = nc.load(gamma);
        for r in nc.tiles(rows, 128) {
            let tile = nc.load(x.at((r, ..)));
            let scale = inverse_root(nc, sum_of_squares(nc, tile), columns, cfg.eps);
            nc.store(out.at((r, ..)), scaled(nc, tile, scale, gains.at((0..r.len(), ..))));
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
        let scale = inverse_root(nc, total, columns, cfg.eps);
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let gains = nc.load(gamma.at((0..r.len(), c)));
            nc.store(out.at((r, c)), scaled(nc, tile, scale, gains));
        }
    }
    out
}

/// `Σ_c tile[r, c]²`, as a column.
#[nki::kernel]
fn sum_of_squares<T: Float>(nc: Nc, tile: Tile<T>) -> Tile<f32> {
    let [rows, columns] = tile.dims();
    let sum = nc.sbuf::<f32>([rows, 1]);
    let squares = nc.sbuf::<f32>([rows, columns]);
    nc.activation(squares, Act::Square, tile).reduce(sum);
    sum
}

/// `1 / sqrt(sum / columns + eps)`.
#[nki::kernel]
fn inverse_root(nc: Nc, sum: Tile<f32>, columns: usize, eps: f32) -> Tile<f32> {
    let mean = nc.sbuf::<f32>([sum.partitions(), 1]);
    nc.tensor_scalar(mean, sum, Alu::Multiply, 1.0 / columns as f32).then(Alu::Add, eps);
    let inverse = nc.sbuf::<f32>([sum.partitions(), 1]);
    nc.activation(inverse, Act::Rsqrt, mean);
    inverse
}

/// `tile · scale · gains`, `scale` being one value per row.
#[nki::kernel]
fn scaled<T: Float>(nc: Nc, tile: Tile<T>, scale: Tile<f32>, gains: Tile<T>) -> Tile<T> {
    let y = nc.sbuf::<T>(tile.dims::<2>());
    nc.scalar_tensor_tensor(y, tile, Alu::Multiply, scale, Alu::Multiply, gains);
    y
}
