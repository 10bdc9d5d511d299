//! The rotation for tensors in other layouts.

use super::kernel::{Angles, Pairs, RopeConfig, rotate, runs, times};
use crate::share::Share;
use nki::prelude::*;

/// [`rope`](fn@super::rope) of vectors that lie along the first axis, as kernels for decoding keep queries and keys.
///
/// `x` and the result are `[d, batch, heads, length]`, `cos` and `sin` `[d / 2, batch, length]`; `d` is at most 256.
#[nki::kernel]
pub fn rope_columns<T: Float>(nc: Nc, x: Hbm<T>, cos: Hbm<T>, sin: Hbm<T>, cfg: RopeConfig) -> Hbm<T> {
    let [d, batch, heads, length] = x.dims();
    let angles: ([usize; 3], [usize; 3]) = (cos.dims(), sin.dims());
    ensure!(nc, d > 0 && d % 2 == 0, "{d} elements do not form pairs");
    ensure!(nc, d <= 256, "one half of a vector's elements fits on 128 partitions");
    ensure!(nc, angles == ([d / 2, batch, length], [d / 2, batch, length]));
    let out = nc.hbm([d, batch, heads, length]);
    let mine = Share::new(nc, length, 512);
    let (x, to, length) = (mine.of(x, 3), mine.of(out, 3), mine.len());
    let (cos, sin) = (mine.of(cos, 2), mine.of(sin, 2));
    let halves = |x: Hbm<T>| match cfg.pairs {
        Pairs::Halves => (x.slice(0, 0..d / 2, 1), x.slice(0, d / 2..d, 1)),
        Pairs::Neighbours => (x.slice(0, 0..d - 1, 2), x.slice(0, 1..d, 2)),
    };
    let ((first, second), (to_first, to_second)) = (halves(x), halves(to));
    let (minus, plus) = cfg.signs();
    for b in nc.range(batch) {
        for s in nc.tiles(length, 1024) {
            let (cos, sin) = (nc.load(cos.at((.., b, s))), nc.load(sin.at((.., b, s))));
            for h in nc.range(heads) {
                let (x1, x2) = (nc.load(first.at((.., b, h, s))), nc.load(second.at((.., b, h, s))));
                let (y1, y2) = (nc.sbuf::<T>([d / 2, s.len()]), nc.sbuf::<T>([d / 2, s.len()]));
                nc.tensor_tensor(y1, times(nc, x1, cos), times(nc, x2, sin), minus);
                nc.tensor_tensor(y2, times(nc, x2, cos), times(nc, x1, sin), plus);
                nc.store(to_first.at((.., b, h, s)), y1);
                nc.store(to_second.at((.., b, h, s)), y2);
            }
        }
    }
    out
}

/// What `rope_pair` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct RopePairConfig {
    /// The gradient of the rotation.
    #[config(default = false)]
    pub backward: bool,
}

/// Queries and keys rotated together: `x ∘ cos + rot(x) ∘ sin`, where `rot` puts the second half, negated, before the first.
///
/// `q` is `[batch, heads, length, d]`, `k` `[batch, kv_heads, length, d]`, `cos` and `sin` are `[batch, length, d]`; the halves of
/// their rows may differ. With `backward` the result is the gradient: `g ∘ cos + rotᵀ(g ∘ sin)`. Only pairs of halves.
#[nki::kernel]
pub fn rope_pair<T: Float>(
    nc: Nc,
    q: Hbm<T>,
    k: Hbm<T>,
    cos: Hbm<T>,
    sin: Hbm<T>,
    cfg: RopePairConfig,
) -> (Hbm<T>, Hbm<T>) {
    let [batch, heads, length, d] = q.dims();
    let [k_batch, kv_heads, k_length, k_d] = k.dims();
    let angles: ([usize; 3], [usize; 3]) = (cos.dims(), sin.dims());
    ensure!(nc, [k_batch, k_length, k_d] == [batch, length, d]);
    ensure!(nc, d > 0 && d % 2 == 0, "{d} elements do not form pairs");
    ensure!(nc, angles == ([batch, length, d], [batch, length, d]));
    let results = (nc.hbm([batch, heads, length, d]), nc.hbm([batch, kv_heads, length, d]));
    let mine = Share::new(nc, length, 512);
    let ([q, k], to) = ([q, k].map(|x| mine.of(x, 2)), [results.0, results.1].map(|x| mine.of(x, 2)));
    let (cos, sin, length) = (mine.of(cos, 1), mine.of(sin, 1), mine.len());
    for b in nc.range(batch) {
        for run in runs(length, d) {
            let table = |t: Hbm<T>| Pairs::Halves.of(nc.load(run.split(t.at((b, run.positions(), ..)), 0)));
            let ((c1, c2), (s1, s2)) = (table(cos), table(sin));
            let (sin, signs) = match cfg.backward {
                true => ([s2, s1], (Alu::Add, Alu::Subtract)),
                false => ([s1, s2], (Alu::Subtract, Alu::Add)),
            };
            let angles = Angles { cos: [c1, c2], sin };
            for (x, out) in [(q, to[0]), (k, to[1])] {
                let part = |x: Hbm<T>| x.at((b, .., run.positions(), ..));
                rotate(nc, part(x), part(out), &angles, &run, Pairs::Halves, signs);
            }
        }
    }
    results
}
