//! Pieces of normalisation that several kernels share: statistics of rows on partitions, and rows without mean and scale.

use nki::prelude::*;

/// Which normalisation precedes a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Norm {
    None,
    /// By the root mean square.
    Rms,
    /// By mean and standard deviation.
    Layer,
}

/// How rows are normalised.
#[derive(Clone, Debug, KernelConfig)]
pub struct NormConfig {
    #[config(default = Norm::Rms)]
    pub norm: Norm,
    /// Added to the mean of squares, or to the variance, inside the root.
    #[config(default = 1e-6)]
    pub eps: f32,
}

/// `1 / sqrt(mean_c(x[r, c]²) + eps)` of each row, the mean being over `width` columns.
#[nki::kernel]
pub fn inverse_rms<T: Float>(nc: Nc, x: Tile<T>, width: usize, eps: f32) -> Tile<f32> {
    let (squares, sum) = (nc.sbuf::<f32>(x.shape()), nc.sbuf::<f32>([x.partitions(), 1]));
    nc.activation(squares, Act::Square, x).reduce(sum);
    inverse_root(nc, sum, width, eps)
}

/// `1 / sqrt(sum / width + eps)`.
#[nki::kernel]
pub fn inverse_root(nc: Nc, sum: Tile<f32>, width: usize, eps: f32) -> Tile<f32> {
    let (mean, inverse) = (nc.sbuf::<f32>(sum.shape()), nc.sbuf::<f32>(sum.shape()));
    nc.tensor_scalar(mean, sum, Alu::Multiply, 1.0 / width as f32).then(Alu::Add, eps);
    nc.activation(inverse, Act::Rsqrt, mean);
    inverse
}

/// `-mean` and `1 / sqrt(variance + eps)` of each row, as columns: statistics of 512 columns at a time, merged.
#[nki::kernel]
pub fn moments<T: Float>(nc: Nc, x: Tile<T>, eps: f32) -> (Tile<f32>, Tile<f32>) {
    let [rows, columns] = x.dims();
    let statistics = nc.sbuf::<f32>([rows, columns.div_ceil(512), 6]);
    for c in nc.tiles(columns, 512) {
        nc.bn_stats(statistics.at((.., c.index(), ..)), x.at((.., c)));
    }
    let moments = nc.sbuf::<f32>([rows, 2]);
    nc.bn_aggr(moments, statistics.merge(1, 2));
    let neg_mean = moments.at((.., 0..1)) * -1.0;
    let inverse = (moments.at((.., 1..2)) + eps).rsqrt();
    (neg_mean, inverse)
}

/// `x / rms(x)`, or `(x - mean) / deviation`, in dtype `D`, without gains.
#[nki::kernel]
pub fn standardised<T: Float, D: Float>(nc: Nc, x: Tile<T>, cfg: &NormConfig) -> Tile<D> {
    let y = nc.sbuf::<D>(x.shape());
    match cfg.norm {
        Norm::None => drop(nc.tensor_copy(y, x)),
        Norm::Rms => {
            let scale = inverse_rms(nc, x, x.dim(1), cfg.eps);
            nc.tensor_scalar(y, x, Alu::Multiply, scale);
        }
        Norm::Layer => {
            let (neg_mean, scale) = moments(nc, x, cfg.eps);
            nc.tensor_scalar(y, x, Alu::Add, neg_mean).then(Alu::Multiply, scale);
        }
    }
    y
}

/// `vector[n]` as `[128, ⌈n / 128⌉]` in f32: element `i` is on partition `i % 128`, in column `i / 128`.
#[nki::kernel]
pub fn columns<T: Float>(nc: Nc, vector: Hbm<T>) -> Tile<f32> {
    let [n] = vector.dims();
    let loaded = nc.zeros::<T>([n.min(128), n.div_ceil(128)]);
    for i in nc.tiles(n, 128) {
        nc.dma_copy(loaded.at((0..i.len(), i.index())), vector.reshape([n, 1]).at((i, ..)));
    }
    loaded.to::<f32>()
}
