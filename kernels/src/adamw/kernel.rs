//! A step of Adam and AdamW.

use nki::prelude::*;

/// Numbers of the optimiser that do not change from step to step.
#[derive(Clone, Debug, KernelConfig)]
pub struct AdamWConfig {
    /// How much of the mean of gradients stays, at least 0 and less than 1.
    #[config(default = 0.9)]
    pub beta1: f32,
    /// How much of the mean of squared gradients stays, at least 0 and less than 1.
    #[config(default = 0.999)]
    pub beta2: f32,
    /// Added to the root of the second mean, more than 0.
    #[config(default = 1e-8)]
    pub eps: f32,
    /// Weight decay shrinks the parameters (AdamW) instead of adding to the gradient (Adam).
    #[config(default = true)]
    pub decoupled: bool,
    /// Elements of a partition that are on chip at a time.
    #[config(default = 1024, tune = [512, 1024, 2048])]
    pub columns: usize,
}

/// One step, in place, on `n` parameters `p` with gradients `g`, and means `m` and `v` of gradients and of their squares:
///
/// ```text
/// g ← g + decay · p                          (unless decoupled)
/// m ← beta1 · m + (1 - beta1) · g
/// v ← beta2 · v + (1 - beta2) · g²
/// p ← decay · p - step · m / (√v · unbias + eps)     (1 instead of decay unless decoupled)
/// ```
///
/// `rates`, `[3]`, holds `step`, `unbias` and `decay`, which change from step to step: see [`rates`](super::rates). With `v_max`
/// (AMSGrad) the largest `v` so far takes its place in the last line. `p` and `g` have the kernel's dtype, means are f32, and so
/// is all arithmetic.
#[nki::kernel]
#[allow(clippy::too_many_arguments)] // The state of an optimiser.
pub fn adamw<T: Float>(
    nc: Nc,
    #[inout] p: Hbm<T>,
    g: Hbm<T>,
    #[inout] m: Hbm<f32>,
    #[inout] v: Hbm<f32>,
    #[inout] v_max: Option<Hbm<f32>>,
    rates: Hbm<f32>,
    cfg: AdamWConfig,
) {
    let [n] = p.dims();
    let (gn, mn, vn): ([usize; 1], [usize; 1], [usize; 1]) = (g.dims(), m.dims(), v.dims());
    ensure!(nc, (gn, mn, vn) == ([n], [n], [n]));
    if let Some(v_max) = v_max {
        let shape: [usize; 1] = v_max.dims();
        ensure!(nc, shape == [n]);
    }
    let numbers: [usize; 1] = rates.dims();
    ensure!(nc, numbers == [3], "step, unbias and decay");
    ensure!(nc, (0.0..1.0).contains(&cfg.beta1) && (0.0..1.0).contains(&cfg.beta2));
    ensure!(nc, cfg.eps > 0.0 && cfg.columns > 0);
    // A fourth column for eps, which the scalar engine adds.
    let loaded = nc.sbuf::<f32>([128, 4]);
    nc.dma_copy(loaded.at((.., 0..3)), rates.reshape([1, 3]).broadcast(0, 128));
    nc.memset(loaded.at((.., 3..4)), cfg.eps.into());
    let (rates, unbias) = (loaded, loaded.at((.., 1..2)));
    // The scalar engine multiplies before it takes the root.
    nc.tensor_tensor(unbias, unbias, unbias, Alu::Multiply);
    // All partitions get the same number of elements, but for fewer than 128, which one partition takes.
    let even = n - n % 128;
    for (range, rows) in [(0..even, 128), (even..n, 1)] {
        let columns = range.len() / rows;
        if columns == 0 {
            continue;
        }
        let part = |x: Hbm<f32>| x.at((range.clone(),)).reshape([rows, columns]);
        let half = |x: Hbm<T>| x.at((range.clone(),)).reshape([rows, columns]);
        let (p, g, m, v, v_max) = (half(p), half(g), part(m), part(v), v_max.map(part));
        for c in nc.tiles(columns, cfg.columns) {
            let cut = |x: Hbm<f32>| x.at((.., c));
            update(nc, [p.at((.., c)), g.at((.., c))], [cut(m), cut(v)], v_max.map(cut), rates, &cfg);
        }
    }
}

/// The step on one tile's worth of elements.
#[nki::kernel]
fn update<T: Float>(
    nc: Nc,
    [p, g]: [Hbm<T>; 2],
    means: [Hbm<f32>; 2],
    v_max: Option<Hbm<f32>>,
    rates: Tile<f32>,
    cfg: &AdamWConfig,
) {
    let [rows, columns] = p.dims();
    let rate = |i: usize| rates.at((0..rows, i..i + 1));
    let (step, unbias_squared, decay, eps) = (rate(0), rate(1), rate(2), rate(3));
    let (x, gradient) = (nc.load(p), nc.load(g));
    let (m, v) = if cfg.decoupled {
        advance(nc, gradient, means, cfg)
    } else {
        let sum = nc.sbuf::<f32>([rows, columns]);
        nc.scalar_tensor_tensor(sum, x, Alu::Multiply, decay, Alu::Add, gradient);
        advance(nc, sum, means, cfg)
    };
    let mut second = v;
    if let Some(v_max) = v_max {
        second = nc.load(v_max);
        nc.tensor_tensor(second, second, v, Alu::Maximum);
        nc.store(v_max, second);
    }
    let root = nc.sbuf::<f32>([rows, columns]);
    nc.activation(root, Act::Sqrt, second).scale(unbias_squared);
    nc.activation(root, Act::Copy, root).bias(eps);
    nc.reciprocal(root, root);
    // step · m / (√v · unbias + eps), in place of the divisor.
    nc.scalar_tensor_tensor(root, m, Alu::Multiply, step, Alu::Multiply, root);
    let y = nc.sbuf::<T>([rows, columns]);
    if cfg.decoupled {
        nc.scalar_tensor_tensor(y, x, Alu::Multiply, decay, Alu::Subtract, root);
    } else {
        nc.tensor_tensor(y, x, root, Alu::Subtract);
    }
    nc.store(p, y);
}

/// The means with a further gradient, on chip and stored.
#[nki::kernel]
fn advance<T: Float>(nc: Nc, g: Tile<T>, [m, v]: [Hbm<f32>; 2], cfg: &AdamWConfig) -> (Tile<f32>, Tile<f32>) {
    let shape = g.dims::<2>();
    let (first, second) = (nc.load(m), nc.load(v));
    let weighted = nc.sbuf::<f32>(shape);
    nc.activation(weighted, Act::Copy, g).scale(1.0 - cfg.beta1);
    nc.scalar_tensor_tensor(first, first, Alu::Multiply, cfg.beta1, Alu::Add, weighted);
    let square = nc.sbuf::<f32>(shape);
    nc.activation(square, Act::Square, g).scale((1.0 - cfg.beta2).sqrt());
    nc.scalar_tensor_tensor(second, second, Alu::Multiply, cfg.beta2, Alu::Add, square);
    nc.store(m, first);
    nc.store(v, second);
    (first, second)
}
