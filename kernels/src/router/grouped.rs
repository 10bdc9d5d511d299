//! Which experts a token goes to, among those of its best groups.

use super::kernel::{chosen, logits_of};
use crate::strip::strip;
use nki::prelude::*;

/// What `router_grouped` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct GroupedConfig {
    /// Experts of a token, 1 to 8.
    #[config(default = 4)]
    pub k: usize,
    /// Groups that the experts are cut into, neighbours together; at least two experts each.
    #[config(default = 4)]
    pub groups: usize,
    /// Groups that a token's experts come from, 1 to 8, with at least `k` experts.
    #[config(default = 2)]
    pub top_groups: usize,
    /// Multiplies the affinities.
    #[config(default = 1.0)]
    pub factor: f32,
}

/// `logits = x · w`; for each token the best groups, in them the `k` best experts, and their affinities.
///
/// With `s = σ(logits)`, an expert's score is `s + correction`, a group's the sum of its two best. Results are logits and affinities, f32
/// `[tokens, experts]`, and indices, `[tokens, k]`, by descending score. The affinity of an expert that is chosen is its `s` over the sum of those
/// chosen, times `factor`; others have 0. `x` is `[tokens, hidden]`, `w` `[hidden, experts]`, `correction` `[experts]`. Of equal scores the first are
/// chosen. At most 512 experts.
#[nki::kernel]
pub fn router_grouped<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w: Hbm<T>,
    correction: Option<Hbm<f32>>,
    cfg: GroupedConfig,
) -> (Hbm<f32>, Hbm<u32>, Hbm<f32>) {
    let ([tokens, hidden], [rows, experts]) = (x.dims(), w.dims());
    ensure!(nc, rows == hidden && hidden > 0 && tokens > 0);
    ensure!(nc, experts <= 512, "one bank of PSUM holds 512 logits");
    ensure!(nc, cfg.groups > 0 && experts % cfg.groups == 0, "{experts} experts in groups of one size");
    let size = experts / cfg.groups;
    ensure!(nc, size >= 2, "a group counts by its two best experts");
    ensure!(nc, cfg.top_groups > 0 && cfg.top_groups <= cfg.groups.min(8));
    ensure!(nc, cfg.k > 0 && cfg.k <= 8 && cfg.k <= size * cfg.top_groups, "the groups have `k` experts");
    ensure!(nc, correction.is_none_or(|c| c.shape() == [experts]), "a correction for each expert");
    let (logits, affinities) = (nc.hbm([tokens, experts]), nc.hbm([tokens, experts]));
    let index = nc.hbm([tokens, cfg.k]);
    let weights = strip(nc, w);
    let correction = correction.map(|c| nc.load(c.reshape([1, experts]).broadcast(0, tokens.min(128))));
    for t in nc.tiles(tokens, 128) {
        let n = t.len();
        let acc = logits_of(nc, x.at((t, ..)), weights);
        let (row, s) = (nc.sbuf::<f32>([n, experts]), nc.sbuf::<f32>([n, experts]));
        nc.tensor_copy(row, acc);
        nc.store(logits.at((t, ..)), row);
        nc.activation(s, Act::Sigmoid, row);
        let score = nc.sbuf::<f32>([n, experts]);
        match correction {
            Some(c) => drop(nc.tensor_tensor(score, s, c.at((0..n, ..)), Alu::Add)),
            None => drop(nc.tensor_copy(score, s)),
        }
        let open = best_groups(nc, score, &cfg);
        // The search reads at least eight columns. What is not in a group that counts loses, as do columns beyond the experts.
        let all = nc.sbuf::<f32>([n, experts.max(8)]);
        nc.memset(all, f32::MIN.into());
        let candidates = all.at((.., 0..experts)).split(1, &[cfg.groups, size]);
        let open = open.expand(2).broadcast(2, size);
        nc.tensor_copy_predicated(candidates, score.split(1, &[cfg.groups, size]), open);
        let (best, places) = (nc.sbuf::<f32>([n, 8]), nc.sbuf::<u32>([n, 8]));
        nc.max8(best, all);
        nc.nc_find_index8(places, all, best);
        nc.store(index.at((t, ..)), places.at((.., 0..cfg.k)));
        let (kept, total) = (nc.sbuf::<f32>([n, experts]), nc.sbuf::<f32>([n, 1]));
        nc.tensor_tensor(kept, s, chosen(nc, all, best, cfg.k).at((.., 0..experts)), Alu::Multiply);
        nc.tensor_reduce(total, Alu::Add, kept);
        nc.tensor_scalar(kept, kept, Alu::Multiply, total.reciprocal()).then(Alu::Multiply, cfg.factor);
        nc.store(affinities.at((t, ..)), kept);
    }
    (logits, index, affinities)
}

/// 1 for the groups of a row with the largest sums of two scores, 0 for the others.
#[nki::kernel]
fn best_groups(nc: Nc, score: Tile<f32>, cfg: &GroupedConfig) -> Tile<u8> {
    let [n, experts] = score.dims();
    let (groups, size) = (cfg.groups, experts / cfg.groups);
    let sums = nc.sbuf::<f32>([n, groups.max(8)]);
    if groups < 8 {
        nc.memset(sums.at((.., groups..8)), f32::MIN.into());
    }
    for g in 0..groups {
        let own = score.at((.., g * size..(g + 1) * size));
        let searched = match size {
            8.. => own,
            _ => {
                let padded = nc.sbuf::<f32>([n, 8]);
                nc.memset(padded, f32::MIN.into());
                nc.tensor_copy(padded.at((.., 0..size)), own);
                padded
            }
        };
        let best = nc.sbuf::<f32>([n, 8]);
        nc.max8(best, searched);
        nc.tensor_tensor(sums.at((.., g..g + 1)), best.at((.., 0..1)), best.at((.., 1..2)), Alu::Add);
    }
    let best = nc.sbuf::<f32>([n, 8]);
    nc.max8(best, sums);
    chosen(nc, sums, best, cfg.top_groups).at((.., 0..groups)).to::<u8>()
}
