//! Convolution of every channel with a filter of its own.

use nki::prelude::*;

/// What `depthwise_conv1d` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct DepthwiseConv1dConfig {
    /// Zeros before the first element.
    #[config(default = 0)]
    pub left: usize,
    /// Zeros after the last element.
    #[config(default = 0)]
    pub right: usize,
    /// Applies `x · σ(x)` to the result.
    #[config(default = false)]
    pub silu: bool,
}

/// `y[b, c, l] = bias[c] + Σ_k w[c, k] · x[b, c, l + k - left]`, with 0 where `x` has no element; then SiLU if asked for.
///
/// `x` is `[batch, channels, length]`, `w` `[channels, taps]`, `bias` `[channels]`; `y` has `length + left + right - taps + 1`
/// elements. With `left = taps - 1` it is the causal convolution of Mamba. Sums are f32, and rounded once.
#[nki::kernel]
pub fn depthwise_conv1d<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w: Hbm<T>,
    bias: Option<Hbm<f32>>,
    cfg: DepthwiseConv1dConfig,
) -> Hbm<T> {
    let [batch, channels, length] = x.dims();
    let [filters, taps] = w.dims();
    ensure!(nc, filters == channels && taps > 0);
    let padded = length + cfg.left + cfg.right;
    ensure!(nc, length > 0 && padded >= taps, "the filter is at most as long as the padded row");
    if let Some(bias) = bias {
        let shape: [usize; 1] = bias.dims();
        ensure!(nc, shape == [channels]);
    }
    let outputs = padded + 1 - taps;
    let y = nc.hbm([batch, channels, outputs]);
    for c in nc.tiles(channels, 128) {
        let weights = nc.load(w.at((c, ..))).to::<f32>();
        let bias = match bias {
            Some(bias) => nc.load(bias.reshape([channels, 1]).at((c, ..))),
            None => nc.zeros([c.len(), 1]),
        };
        for b in nc.range(batch) {
            let row = nc.sbuf::<T>([c.len(), padded]);
            for (at, zeros) in [(0, cfg.left), (cfg.left + length, cfg.right)] {
                if zeros > 0 {
                    nc.memset(row.at((.., at..at + zeros)), 0.0);
                }
            }
            nc.dma_copy(row.at((.., cfg.left..cfg.left + length)), x.at((b, c, ..)));
            let sums = if taps <= outputs { by_tap(nc, row, weights) } else { by_output(nc, row, weights) };
            let tile = nc.sbuf::<T>([c.len(), outputs]);
            nc.activation(tile, if cfg.silu { Act::Silu } else { Act::Copy }, sums).bias(bias);
            nc.store(y.at((b, c, ..)), tile);
        }
    }
    y
}

/// One pass over all outputs for each tap.
#[nki::kernel]
fn by_tap<T: Float>(nc: Nc, row: Tile<T>, w: Tile<f32>) -> Tile<f32> {
    let [n, taps] = w.dims();
    let outputs = row.dim(1) + 1 - taps;
    let sums = nc.sbuf::<f32>([n, outputs]);
    nc.tensor_scalar(sums, row.at((.., 0..outputs)), Alu::Multiply, w.at((.., 0..1)));
    for k in nc.range(taps - 1) {
        let (shifted, weight) = (row.at((.., k + 1..k + 1 + outputs)), w.at((.., k + 1..k + 2)));
        nc.scalar_tensor_tensor(sums, shifted, Alu::Multiply, weight, Alu::Add, sums);
    }
    sums
}

/// One product and sum over all taps for each output: for filters longer than what they give.
#[nki::kernel]
fn by_output<T: Float>(nc: Nc, row: Tile<T>, w: Tile<f32>) -> Tile<f32> {
    let [n, taps] = w.dims();
    let outputs = row.dim(1) + 1 - taps;
    let sums = nc.sbuf::<f32>([n, outputs]);
    for l in nc.range(outputs) {
        let products = nc.sbuf::<f32>([n, taps]);
        nc.tensor_tensor(products, row.at((.., l..l + taps)), w, Alu::Multiply);
        let all = nc.sbuf::<f32>([n, taps]);
        nc.activation(all, Act::Copy, products).reduce(sums.at((.., l..l + 1)));
    }
    sums
}
