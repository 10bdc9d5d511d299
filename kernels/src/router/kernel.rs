//! Which experts a token goes to.

use crate::strip::{strip, transposed};
use nki::prelude::*;

/// How logits become affinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum RouterAct {
    /// Exponentials that add up to 1.
    Softmax,
    /// `1 / (1 + exp(-x))`, each for itself.
    Sigmoid,
}

/// What `router` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct RouterConfig {
    /// Experts of a token, 1 to 8.
    #[config(default = 2)]
    pub k: usize,
    #[config(default = RouterAct::Softmax)]
    pub act: RouterAct,
    /// The function is applied to the logits that are chosen, not to all of them before choosing.
    #[config(default = true)]
    pub select_first: bool,
    /// Divides the affinities of a token by their sum.
    #[config(default = false)]
    pub normalise: bool,
}

/// `logits = x · w + bias`; for each token the `k` experts with the largest logits, in descending order; and their affinities.
///
/// `x` is `[tokens, hidden]`, `w` `[hidden, experts]`, `bias` `[experts]`. Results are logits and affinities, f32
/// `[tokens, experts]`, and indices, `[tokens, k]`. Affinities of experts that are not chosen are 0, unless they are neither
/// selected first nor normalised: then all have theirs. Of equal logits the first are chosen. At most 512 experts.
#[nki::kernel]
pub fn router<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w: Hbm<T>,
    bias: Option<Hbm<f32>>,
    cfg: RouterConfig,
) -> (Hbm<f32>, Hbm<u32>, Hbm<f32>) {
    let ([tokens, hidden], [rows, experts]) = (x.dims(), w.dims());
    ensure!(nc, rows == hidden && hidden > 0 && tokens > 0);
    ensure!(nc, experts > 0 && experts <= 512, "one bank of PSUM holds 512 logits");
    ensure!(nc, cfg.k > 0 && cfg.k <= experts.min(8));
    if let Some(bias) = bias {
        let shape: [usize; 1] = bias.dims();
        ensure!(nc, shape == [experts]);
    }
    let (logits, affinities) = (nc.hbm([tokens, experts]), nc.hbm([tokens, experts]));
    let index = nc.hbm([tokens, cfg.k]);
    let weights = strip(nc, w);
    let bias = bias.map(|b| nc.load(b.reshape([1, experts]).broadcast(0, tokens.min(128))));
    for t in nc.tiles(tokens, 128) {
        let n = t.len();
        let acc = logits_of(nc, x.at((t, ..)), weights);
        // The search reads at least eight columns; those beyond the experts lose.
        let all = nc.sbuf::<f32>([n, experts.max(8)]);
        let row = all.at((.., 0..experts));
        if experts < 8 {
            nc.memset(all.at((.., experts..8)), f32::MIN.into());
        }
        match bias {
            Some(bias) => drop(nc.tensor_tensor(row, acc, bias.at((0..n, ..)), Alu::Add)),
            None => drop(nc.tensor_copy(row, acc)),
        }
        nc.store(logits.at((t, ..)), row);
        let (best, places) = (nc.sbuf::<f32>([n, 8]), nc.sbuf::<u32>([n, 8]));
        nc.max8(best, all);
        nc.nc_find_index8(places, all, best);
        nc.store(index.at((t, ..)), places.at((.., 0..cfg.k)));
        let chosen = chosen(nc, all, best, cfg.k).at((.., 0..experts));
        nc.store(affinities.at((t, ..)), affinity(nc, row, best, chosen, &cfg));
    }
    (logits, index, affinities)
}

/// `x · weights` of up to 128 tokens, `weights` being strips.
#[nki::kernel]
pub(super) fn logits_of<T: Float>(nc: Nc, x: Hbm<T>, weights: Tile<T>) -> Acc {
    let ([n, hidden], x_t) = (x.dims(), transposed(nc, x));
    let acc = nc.psum([n, weights.dim(2)]);
    for h in nc.tiles(hidden, 128) {
        let part = |tile: Tile<T>| tile.at((0..h.len(), h.index(), ..));
        nc.nc_matmul(acc, part(x_t), part(weights));
    }
    acc
}

/// 1 at the `k` largest logits of a row, which `best` holds in descending order, and 0 elsewhere.
#[nki::kernel]
pub(super) fn chosen(nc: Nc, all: Tile<f32>, best: Tile<f32>, k: usize) -> Tile<f32> {
    let shape = all.dims::<2>();
    // Values that are not sought are infinite, as no logit is.
    let sought = best.copy();
    if k < 8 {
        nc.memset(sought.at((.., k..8)), f64::INFINITY);
    }
    let (without, chosen) = (nc.sbuf::<f32>(shape), nc.sbuf::<f32>(shape));
    nc.nc_match_replace8(without, all, sought, f32::NEG_INFINITY);
    nc.tensor_tensor(chosen, without, all, Alu::NotEqual);
    chosen
}

#[nki::kernel]
fn affinity(nc: Nc, logits: Tile<f32>, best: Tile<f32>, chosen: Tile<f32>, cfg: &RouterConfig) -> Tile<f32> {
    let [n, experts] = logits.dims();
    let (values, total) = (nc.sbuf::<f32>([n, experts]), nc.sbuf::<f32>([n, 1]));
    match cfg.act {
        RouterAct::Softmax => {
            let neg_max = best.at((.., 0..1)) * -1.0;
            nc.activation(values, Act::Exp, logits).bias(neg_max).reduce(total);
        }
        RouterAct::Sigmoid => drop(nc.activation(values, Act::Sigmoid, logits)),
    }
    let masked = cfg.select_first || cfg.normalise;
    if masked {
        nc.tensor_tensor(values, values, chosen, Alu::Multiply);
        nc.tensor_reduce(total, Alu::Add, values);
    }
    // Softmax and normalisation divide by the sum of what is left: the softmax of all, masked and normalised, is that as well.
    if cfg.normalise || cfg.act == RouterAct::Softmax {
        nc.tensor_scalar(values, values, Alu::Multiply, total.reciprocal());
    }
    values
}
