//! Normalisation and quantisation of rows to fp8.

use nki::f8e4m3;
use nki::prelude::*;

/// Numbers that `rmsnorm_quant` needs.
#[derive(Clone, Debug, KernelConfig)]
pub struct RmsNormQuantConfig {
    /// Divides rows by the root of their mean square before anything else.
    #[config(default = true)]
    pub normalise: bool,
    /// Added to the mean of squares, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
    /// The largest magnitude of a row counts as at least this, more than 0.
    #[config(default = 1e-5)]
    pub floor: f32,
}

/// The largest finite f8e4m3.
const LARGEST: f32 = 240.0;

/// `n = x / sqrt(mean(x²) + eps) · gamma` and `q = n / scale`, rounded to f8e4m3.
///
/// Without `scale` every row has one of its own, `max(max_c |n|, floor) / 240`, which is the second result, `[rows]`. With `scale`,
/// `[1]`, that is the scale of all rows; what lies beyond ±240 becomes ±240, and there is no second result. `x` is
/// `[rows, columns]`, `gamma` `[columns]`; arithmetic is f32.
#[nki::kernel]
pub fn rmsnorm_quant<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gamma: Option<Hbm<T>>,
    scale: Option<Hbm<f32>>,
    cfg: RmsNormQuantConfig,
) -> (Hbm<f8e4m3>, Option<Hbm<f32>>) {
    let [rows, columns] = x.dims();
    ensure!(nc, rows > 0 && columns > 0);
    ensure!(nc, cfg.floor > 0.0 && cfg.eps >= 0.0);
    if let Some(gamma) = gamma {
        let gains: [usize; 1] = gamma.dims();
        ensure!(nc, gains == [columns]);
    }
    if let Some(scale) = scale {
        let one: [usize; 1] = scale.dims();
        ensure!(nc, one == [1]);
    }
    let out = nc.hbm([rows, columns]);
    let lanes = rows.min(128);
    let gains = gamma.map(|g| nc.load(g.reshape([1, columns]).broadcast(0, lanes)));
    let fixed = scale.map(|s| nc.load(s.reshape([1, 1]).broadcast(0, lanes)).reciprocal());
    let scales = scale.is_none().then(|| nc.hbm([rows]));
    for r in nc.tiles(rows, 128) {
        let n = r.len();
        let tile = nc.load(x.at((r, ..)));
        let values = normalised(nc, tile, gains.map(|g| g.at((0..n, ..))), &cfg);
        let q = nc.sbuf::<f8e4m3>([n, columns]);
        match (fixed, scales) {
            (Some(inverse), _) => {
                let inverse = inverse.at((0..n, ..));
                nc.tensor_scalar(values, values, Alu::Multiply, inverse).then(Alu::Minimum, LARGEST);
                nc.tensor_scalar(q, values, Alu::Maximum, -LARGEST);
            }
            (None, Some(scales)) => {
                let (magnitudes, largest) = (nc.sbuf::<f32>([n, columns]), nc.sbuf::<f32>([n, 1]));
                nc.activation(magnitudes, Act::Abs, values);
                nc.tensor_reduce(largest, Alu::Maximum, magnitudes);
                let scale = nc.sbuf::<f32>([n, 1]);
                nc.tensor_scalar(scale, largest, Alu::Maximum, cfg.floor).then(Alu::Multiply, 1.0 / LARGEST);
                nc.store(scales.reshape([rows, 1]).at((r, ..)), scale);
                // No clipping: no quotient is more than a unit in the last place of f32 above 240, which rounds to 240.
                let inverse = scale.reciprocal();
                nc.activation(q, Act::Copy, values).scale(inverse);
            }
            (None, None) => {}
        }
        nc.store(out.at((r, ..)), q);
    }
    (out, scales)
}

/// The rows in f32, normalised and multiplied by the gains as far as asked for.
#[nki::kernel]
fn normalised<T: Float>(
    nc: Nc,
    tile: Tile<T>,
    gains: Option<Tile<T>>,
    cfg: &RmsNormQuantConfig,
) -> Tile<f32> {
    let [n, columns] = tile.dims();
    let values = nc.sbuf::<f32>([n, columns]);
    let scale = cfg.normalise.then(|| {
        let (sum, mean, inverse) = (nc.sbuf::<f32>([n, 1]), nc.sbuf::<f32>([n, 1]), nc.sbuf::<f32>([n, 1]));
        nc.activation(values, Act::Square, tile).reduce(sum);
        nc.tensor_scalar(mean, sum, Alu::Multiply, 1.0 / columns as f32).then(Alu::Add, cfg.eps);
        nc.activation(inverse, Act::Rsqrt, mean);
        inverse
    });
    match (scale, gains) {
        (Some(scale), Some(gains)) => {
            drop(nc.scalar_tensor_tensor(values, tile, Alu::Multiply, scale, Alu::Multiply, gains));
        }
        (Some(scale), None) => drop(nc.tensor_scalar(values, tile, Alu::Multiply, scale)),
        (None, Some(gains)) => drop(nc.tensor_tensor(values, tile, gains, Alu::Multiply)),
        (None, None) => drop(nc.tensor_copy(values, tile)),
    }
    values
}
