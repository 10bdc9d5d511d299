//! The selective scan of Mamba.

use nki::prelude::*;

/// How `selective_scan` cuts time.
#[derive(Clone, Debug, KernelConfig)]
pub struct SelectiveScanConfig {
    /// Steps that are on chip at a time, at most 512: one bank of PSUM.
    #[config(default = 512, tune = [128, 256, 512])]
    pub steps: usize,
}

/// For every channel `c` of every sequence `b`, with `states` numbers `s[n]` that start from `initial` (0 if absent):
///
/// ```text
/// s[n] ← exp(dt[b, c, t] · a[c, n]) · s[n] + dt[b, c, t] · x[b, c, t] · in_[b, n, t]
/// y[b, c, t] = Σ_n out[b, n, t] · s[n]  (+ skip[c] · x[b, c, t])
/// ```
///
/// `x`, `dt` and `y` are `[batch, channels, length]`, `a` `[channels, states]`, `in_` and `out` `[batch, states, length]`, `skip`
/// `[channels]`; `initial`, and the last `s`, which is the second result, `[batch, channels, states]`. At most 128 states.
/// Arithmetic is f32, and `y` is rounded once.
#[nki::kernel]
#[allow(clippy::too_many_arguments)] // The operands of the recurrence.
pub fn selective_scan<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    dt: Hbm<T>,
    a: Hbm<f32>,
    in_: Hbm<T>,
    out: Hbm<T>,
    skip: Option<Hbm<f32>>,
    initial: Option<Hbm<f32>>,
    cfg: SelectiveScanConfig,
) -> (Hbm<T>, Hbm<f32>) {
    let [batch, channels, length] = x.dims();
    let ([rates, states], [b, n, l]) = (a.dims(), in_.dims());
    let (like_x, like_in): ([usize; 3], [usize; 3]) = (dt.dims(), out.dims());
    ensure!(nc, like_x == [batch, channels, length] && rates == channels);
    ensure!(nc, [b, n, l] == [batch, states, length] && like_in == [batch, states, length]);
    ensure!(nc, states > 0 && states <= 128 && length > 0);
    ensure!(nc, cfg.steps > 0 && cfg.steps <= 512, "one bank of PSUM holds 512 steps");
    if let Some(skip) = skip {
        let shape: [usize; 1] = skip.dims();
        ensure!(nc, shape == [channels]);
    }
    if let Some(initial) = initial {
        let shape: [usize; 3] = initial.dims();
        ensure!(nc, shape == [batch, channels, states]);
    }
    let (y, last) = (nc.hbm([batch, channels, length]), nc.hbm([batch, channels, states]));
    let lanes = channels.min(128);
    let spread = spread::<T>(nc, states, lanes);
    let unit = nc.identity::<f32>(lanes);
    for c in nc.tiles(channels, 128) {
        let rates = nc.load(a.at((c, ..)));
        let skip = skip.map(|s| nc.load(s.reshape([channels, 1]).at((c, ..))));
        for b in nc.range(batch) {
            let s = nc.sbuf::<f32>([c.len(), states]);
            match initial {
                Some(initial) => drop(nc.dma_copy(s, initial.at((b, c, ..)))),
                None => drop(nc.memset(s, 0.0)),
            }
            for t in nc.tiles(length, cfg.steps) {
                let (x, dt) = (nc.load(x.at((b, c, t))), nc.load(dt.at((b, c, t))));
                let driven = nc.sbuf::<f32>([c.len(), t.len()]);
                nc.tensor_tensor(driven, x, dt, Alu::Multiply);
                let rows = (nc.load(in_.at((b, .., t))), nc.load(out.at((b, .., t))));
                let total = nc.psum([c.len(), t.len()]);
                for n in nc.range(states) {
                    let decay = nc.sbuf::<f32>([c.len(), t.len()]);
                    nc.activation(decay, Act::Exp, dt).scale(rates.at((.., n..n + 1)));
                    // Row n on every partition: a product with a matrix that is 1 in row n.
                    let (pick, row) = (spread.at((.., n, 0..c.len())), nc.psum([c.len(), t.len()]));
                    nc.nc_matmul(row, pick, rows.0).is_stationary_onezero(true);
                    let input = nc.sbuf::<f32>([c.len(), t.len()]);
                    nc.tensor_tensor(input, driven, row, Alu::Multiply);
                    let path = nc.sbuf::<f32>([c.len(), t.len()]);
                    let state = s.at((.., n..n + 1));
                    nc.tensor_tensor_scan(path, decay, input, state, Alu::Multiply, Alu::Add);
                    nc.tensor_copy(state, path.at((.., t.len() - 1..t.len())));
                    let row = nc.psum([c.len(), t.len()]);
                    nc.nc_matmul(row, pick, rows.1).is_stationary_onezero(true);
                    nc.tensor_tensor(path, path, row, Alu::Multiply);
                    // The tensor engine adds up the states.
                    let unit = unit.at((0..c.len(), 0..c.len()));
                    nc.nc_matmul(total, unit, path).is_stationary_onezero(true);
                }
                let tile = nc.sbuf::<T>([c.len(), t.len()]);
                match skip {
                    Some(skip) => {
                        drop(nc.scalar_tensor_tensor(tile, x, Alu::Multiply, skip, Alu::Add, total));
                    }
                    None => drop(nc.activation(tile, Act::Copy, total)),
                }
                nc.store(y.at((b, c, t)), tile);
            }
            nc.store(last.at((b, c, ..)), s);
        }
    }
    (y, last)
}

/// `[states, states, lanes]`: matrix `n` of them is 1 in row `n` and 0 elsewhere, so that `matrixᵀ · rows` is row `n`, `lanes` times.
#[nki::kernel]
fn spread<T: Float>(nc: Nc, states: usize, lanes: usize) -> Tile<T> {
    let spread = nc.sbuf::<T>([states, states, lanes]);
    nc.memset(spread, 1.0);
    nc.affine_select(spread, spread, 0.0, &[[-1, states as i64], [0, lanes as i64]])
        .channel_multiplier(1)
        .cmp_op(Alu::Equal);
    spread
}
