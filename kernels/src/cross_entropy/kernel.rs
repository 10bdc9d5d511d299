//! Cross entropy of logits and targets, and its gradient.

use nki::prelude::*;

/// How `cross_entropy` cuts its rows.
#[derive(Clone, Debug, KernelConfig)]
pub struct CrossEntropyConfig {
    /// Classes that are on chip at a time.
    #[config(default = 8192, tune = [4096, 8192, 16384])]
    pub columns: usize,
}

/// `lse[r] = log Σ_c exp(logits[r, c])` and `loss[r] = lse[r] - logits[r, targets[r]]`, in f32.
///
/// `logits` is `[rows, classes]`, `targets` `[rows]`. A target that is no class, such as -1, is ignored: its loss is 0.
#[nki::kernel]
pub fn cross_entropy<T: Float>(
    nc: Nc,
    logits: Hbm<T>,
    targets: Hbm<i32>,
    cfg: CrossEntropyConfig,
) -> (Hbm<f32>, Hbm<f32>) {
    let [rows, classes] = logits.dims();
    let shape: [usize; 1] = targets.dims();
    ensure!(nc, shape == [rows]);
    ensure!(nc, classes > 0 && classes <= EXACT && cfg.columns > 0);
    let (loss, lse) = (nc.hbm([rows]), nc.hbm([rows]));
    let targets = targets.reshape([rows, 1]);
    for r in nc.tiles(rows, 128) {
        let n = r.len();
        let target = nc.load(targets.at((r, ..))).to::<f32>();
        let valid = classes_only(nc, target, classes);
        let (neg_max, sum) = (nc.full::<f32>([n, 1], f32::MAX.into()), nc.zeros::<f32>([n, 1]));
        let picked = nc.zeros::<T>([n, 1]);
        // The target counted from the first class of the chunk.
        let local = target.copy();
        for c in nc.tiles(classes, cfg.columns) {
            let tile = nc.load(logits.at((r, c)));
            pick(nc, picked, tile, local);
            nc.tensor_scalar(local, local, Alu::Subtract, c.len() as f32);
            add_exponentials(nc, neg_max, sum, tile);
        }
        let total = nc.sbuf::<f32>([n, 1]);
        nc.activation(total, Act::Log, sum);
        nc.tensor_tensor(total, total, neg_max, Alu::Subtract);
        nc.store(lse.reshape([rows, 1]).at((r, ..)), total);
        let lost = nc.zeros::<f32>([n, 1]);
        let difference = total - picked.to::<f32>();
        nc.tensor_copy_predicated(lost, difference, valid);
        nc.store(loss.reshape([rows, 1]).at((r, ..)), lost);
    }
    (loss, lse)
}

/// Whole numbers up to here are exact in f32, where targets are compared.
const EXACT: usize = 1 << 24;

/// 1 where a target is a class.
#[nki::kernel]
fn classes_only(nc: Nc, target: Tile<f32>, classes: usize) -> Tile<u8> {
    let n = target.partitions();
    let (low, valid) = (nc.sbuf::<f32>([n, 1]), nc.sbuf::<u8>([n, 1]));
    nc.tensor_scalar(low, target, Alu::GreaterEqual, 0.0);
    nc.scalar_tensor_tensor(valid, target, Alu::Less, classes as f32, Alu::Multiply, low);
    valid
}

/// `picked = tile[.., local]` in the rows where `local` is one of the tile's columns.
#[nki::kernel]
fn pick<T: Float>(nc: Nc, picked: Tile<T>, tile: Tile<T>, local: Tile<f32>) {
    let [n, columns] = tile.dims();
    let clamped = nc.sbuf::<f32>([n, 1]);
    nc.tensor_scalar(clamped, local, Alu::Maximum, 0.0).then(Alu::Minimum, (columns - 1) as f32);
    let inside = nc.sbuf::<u8>([n, 1]);
    nc.tensor_tensor(inside, clamped, local, Alu::Equal);
    let here = nc.sbuf::<T>([n, 1]);
    nc.nc_n_gather(here, tile, clamped.to::<u32>());
    nc.tensor_copy_predicated(picked, here, inside);
}

/// Takes a tile into the running maximum, negated, and the sum of exponentials relative to it. When the maximum rises, the sum
/// so far is scaled down by `exp(old - new)`.
#[nki::kernel]
fn add_exponentials<T: Float>(nc: Nc, neg_max: Tile<f32>, sum: Tile<f32>, tile: Tile<T>) {
    let [n, columns] = tile.dims();
    // The maximum of 16-bit numbers is one of them, and finding it takes half the time if it stays one.
    let here = nc.sbuf::<T>([n, 1]);
    nc.tensor_reduce(here, Alu::Maximum, tile).negate(true);
    let neg_new = nc.sbuf::<f32>([n, 1]);
    nc.tensor_tensor(neg_new, neg_max, here, Alu::Minimum);
    let decay = nc.sbuf::<f32>([n, 1]);
    nc.activation(decay, Act::Exp, neg_max).scale(-1.0).bias(neg_new);
    // What is needed of the exponentials is their sum, which is f32 whatever they are rounded to.
    let (e, total) = (nc.sbuf::<T>([n, columns]), nc.sbuf::<f32>([n, 1]));
    nc.activation(e, Act::Exp, tile).bias(neg_new).reduce(total);
    nc.scalar_tensor_tensor(sum, sum, Alu::Multiply, decay, Alu::Add, total);
    nc.tensor_copy(neg_max, neg_new);
}

/// What the gradient is multiplied by, and how its rows are cut.
#[derive(Clone, Debug, KernelConfig)]
pub struct CrossEntropyBackwardConfig {
    /// Gradient of the whole loss by each row's: `1 / rows`, for the mean, unless given; 1 for the sum.
    #[config(default = None)]
    pub scale: Option<f32>,
    /// Classes that are on chip at a time.
    #[config(default = 4096, tune = [2048, 4096])]
    pub columns: usize,
}

/// `grad[r, c] = scale · (exp(logits[r, c] - lse[r]) - (c == targets[r]))`: the gradient of
/// [`cross_entropy`](fn@cross_entropy) by the logits, given its `lse`. Rows whose target is no class have a gradient of 0.
#[nki::kernel]
pub fn cross_entropy_backward<T: Float>(
    nc: Nc,
    logits: Hbm<T>,
    targets: Hbm<i32>,
    lse: Hbm<f32>,
    cfg: CrossEntropyBackwardConfig,
) -> Hbm<T> {
    let [rows, classes] = logits.dims();
    let shapes: ([usize; 1], [usize; 1]) = (targets.dims(), lse.dims());
    ensure!(nc, shapes == ([rows], [rows]));
    ensure!(nc, classes > 0 && classes <= EXACT && cfg.columns > 0);
    let scale = cfg.scale.unwrap_or(1.0 / rows as f32);
    let grad = nc.hbm([rows, classes]);
    let (targets, lse) = (targets.reshape([rows, 1]), lse.reshape([rows, 1]));
    let numbers = nc.sbuf::<f32>([rows.min(128), cfg.columns.min(classes)]);
    nc.iota(numbers, &[[1, numbers.dim(1) as i64]]);
    for r in nc.tiles(rows, 128) {
        let n = r.len();
        let local = nc.load(targets.at((r, ..))).to::<f32>();
        let weight = nc.sbuf::<f32>([n, 1]);
        nc.tensor_scalar(weight, classes_only(nc, local, classes), Alu::Multiply, -scale);
        let neg_lse = nc.load(lse.at((r, ..))) * -1.0;
        for c in nc.tiles(classes, cfg.columns) {
            let e = nc.sbuf::<f32>([n, c.len()]);
            nc.activation(e, Act::Exp, nc.load(logits.at((r, c)))).bias(neg_lse);
            // (column == target) - e
            let columns = numbers.at((0..n, 0..c.len()));
            nc.scalar_tensor_tensor(e, columns, Alu::Equal, local, Alu::Subtract, e);
            let y = nc.sbuf::<T>([n, c.len()]);
            nc.activation(y, Act::Copy, e).scale(weight);
            nc.store(grad.at((r, c)), y);
            nc.tensor_scalar(local, local, Alu::Subtract, c.len() as f32);
        }
    }
    grad
}
