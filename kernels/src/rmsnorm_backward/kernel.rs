//! Gradients of root-mean-square normalisation.

use nki::prelude::*;

/// Numbers that `rmsnorm_backward` needs.
#[derive(Clone, Debug, KernelConfig)]
pub struct RmsNormBackwardConfig {
    /// Added to the mean of squares, inside the root, as in the forward pass.
    #[config(default = 1e-6)]
    pub eps: f32,
}

/// The gradients of [`rmsnorm`](fn@crate::rmsnorm::rmsnorm) by `x` and by `gamma`, given that of its result, `dy`: with
/// `s = 1 / sqrt(mean_c(x²) + eps)`,
///
/// `dx = s · (dy · gamma) - x · s³ · mean_c(dy · gamma · x)` and `dgamma = Σ_r dy · x · s`, the latter in f32.
#[nki::kernel]
pub fn rmsnorm_backward<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Hbm<T>,
    dy: Hbm<T>,
    cfg: RmsNormBackwardConfig,
) -> (Hbm<T>, Hbm<f32>) {
    let [rows, columns] = x.dims();
    let (gains, like): ([usize; 1], [usize; 2]) = (gamma.dims(), dy.dims());
    ensure!(nc, gains == [columns] && like == [rows, columns]);
    ensure!(nc, rows > 0 && columns > 0);
    let (dx, dgamma) = (nc.hbm([rows, columns]), nc.hbm([columns]));
    let lanes = rows.min(128);
    let gains = nc.load(gamma.reshape([1, columns]).broadcast(0, lanes));
    // Row r adds to lane r % 128; lanes are added up at the end.
    let sums = nc.zeros::<f32>([lanes, columns]);
    for r in nc.tiles(rows, 128) {
        let n = r.len();
        let (x, dy) = (nc.load(x.at((r, ..))), nc.load(dy.at((r, ..))));
        let gains = gains.at((0..n, ..));
        let scratch = nc.sbuf::<f32>([n, columns]);
        let scale = inverse_root(nc, x, scratch, cfg.eps);
        let product = nc.sbuf::<f32>([n, columns]);
        nc.tensor_tensor(product, x, dy, Alu::Multiply);
        let sums = sums.at((0..n, ..));
        nc.scalar_tensor_tensor(sums, product, Alu::Multiply, scale, Alu::Add, sums);
        nc.tensor_tensor(product, product, gains, Alu::Multiply);
        let dot = nc.sbuf::<f32>([n, 1]);
        nc.activation(scratch, Act::Copy, product).reduce(dot);
        let pull = dot * scale * scale * scale * (1.0 / columns as f32);
        nc.activation(scratch, Act::Copy, x).scale(pull);
        nc.tensor_tensor(product, dy, gains, Alu::Multiply);
        let y = nc.sbuf::<T>([n, columns]);
        nc.scalar_tensor_tensor(y, product, Alu::Multiply, scale, Alu::Subtract, scratch);
        nc.store(dx.at((r, ..)), y);
    }
    let ones = nc.ones::<f32>([lanes, 1]);
    for c in nc.tiles(columns, 512) {
        let total = nc.psum([1, c.len()]);
        nc.nc_matmul(total, ones, sums.at((.., c)));
        nc.store(dgamma.reshape([1, columns]).at((.., c)), total.to::<f32>());
    }
    (dx, dgamma)
}

/// `1 / sqrt(mean_c(x²) + eps)`, a column.
#[nki::kernel]
fn inverse_root<T: Float>(nc: Nc, x: Tile<T>, scratch: Tile<f32>, eps: f32) -> Tile<f32> {
    let [n, columns] = x.dims();
    let (sum, mean, inverse) = (nc.sbuf::<f32>([n, 1]), nc.sbuf::<f32>([n, 1]), nc.sbuf::<f32>([n, 1]));
    nc.activation(scratch, Act::Square, x).reduce(sum);
    nc.tensor_scalar(mean, sum, Alu::Multiply, 1.0 / columns as f32).then(Alu::Add, eps);
    nc.activation(inverse, Act::Rsqrt, mean);
    inverse
}
