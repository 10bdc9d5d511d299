//! Rotary position embedding.

use crate::share::Share;
use nki::prelude::*;
use nki::space::Memory;
use nki::{Elem, Tensor};
use std::ops::Range;

/// Which elements of a head's vector form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Pairs {
    /// The first half with the second half.
    Halves,
    /// Each even element with the odd one after it.
    Neighbours,
}

impl Pairs {
    /// The first and the second elements of the pairs along the last axis, whose length is even.
    pub fn of<T: Elem, M: Memory>(self, x: Tensor<T, M>) -> (Tensor<T, M>, Tensor<T, M>) {
        let axis = x.rank() - 1;
        let d = x.dim(axis);
        match self {
            Pairs::Halves => (x.slice(axis, 0..d / 2, 1), x.slice(axis, d / 2..d, 1)),
            Pairs::Neighbours => (x.slice(axis, 0..d - 1, 2), x.slice(axis, 1..d, 2)),
        }
    }
}

/// What `rope` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct RopeConfig {
    #[config(default = Pairs::Halves)]
    pub pairs: Pairs,
    /// Rotates back: the gradient of the rotation.
    #[config(default = false)]
    pub backward: bool,
}

impl RopeConfig {
    /// How the two products of the first and of the second element are put together.
    pub(super) fn signs(&self) -> (Alu, Alu) {
        if self.backward { (Alu::Add, Alu::Subtract) } else { (Alu::Subtract, Alu::Add) }
    }
}

/// Rotates each pair `(x1, x2)` of `x[head, s, ..]` to `(x1 · cos - x2 · sin, x2 · cos + x1 · sin)`, the angles' `cos` and `sin`
/// being `[s, d / 2]`. In f32, rounded once.
#[nki::kernel]
pub fn rope<T: Float>(nc: Nc, x: Hbm<T>, cos: Hbm<T>, sin: Hbm<T>, cfg: RopeConfig) -> Hbm<T> {
    let [heads, length, d] = x.dims();
    let angles: ([usize; 2], [usize; 2]) = (cos.dims(), sin.dims());
    ensure!(nc, d % 2 == 0, "{d} elements do not form pairs");
    ensure!(nc, angles == ([length, d / 2], [length, d / 2]));
    let out = nc.hbm([heads, length, d]);
    let mine = Share::new(nc, length, 512);
    let (x, to, length) = (mine.of(x, 1), mine.of(out, 1), mine.len());
    let (cos, sin) = (mine.of(cos, 0), mine.of(sin, 0));
    for run in runs(length, d) {
        let table = |t: Hbm<T>| nc.load(run.split(t.at((run.positions(), ..)), 0));
        let (cos, sin) = (table(cos), table(sin));
        let angles = Angles { cos: [cos, cos], sin: [sin, sin] };
        let part = |x: Hbm<T>| x.at((.., run.positions(), ..));
        rotate(nc, part(x), part(to), &angles, &run, cfg.pairs, cfg.signs());
    }
    out
}

/// Positions from `first` on, `each` of them next to each other on every one of `lanes` partitions.
pub(super) struct Run {
    first: usize,
    lanes: usize,
    each: usize,
}

impl Run {
    pub(super) fn positions(&self) -> Range<usize> {
        self.first..self.first + self.lanes * self.each
    }
    /// `x` with its positions, along `axis`, split into those of a partition: `[.., lanes, each, ..]`.
    pub(super) fn split<T: Elem>(&self, x: Hbm<T>, axis: usize) -> Hbm<T> {
        x.split(axis, &[self.lanes, self.each])
    }
}

/// All positions: up to four to a partition, so that a transfer's pieces are long, and what is left one to a partition.
pub(super) fn runs(length: usize, d: usize) -> Vec<Run> {
    let each = (COLUMNS / d.max(1)).clamp(1, 4);
    let long = length / (128 * each);
    let rest = (128 * each * long..length).step_by(128);
    let rest = rest.map(|first| Run { first, lanes: 128.min(length - first), each: 1 });
    (0..long).map(|i| Run { first: 128 * each * i, lanes: 128, each }).chain(rest).collect()
}

/// What the first and the second elements are multiplied by, `[lanes, each, d / 2]`.
pub(super) struct Angles<T: Float> {
    pub(super) cos: [Tile<T>; 2],
    /// Of the second elements in the first sum, and of the first elements in the second.
    pub(super) sin: [Tile<T>; 2],
}

/// Columns of one tile: enough to hide what an instruction costs.
const COLUMNS: usize = 2048;

/// Vectors `x` `[heads, positions, d]` turned into `y`; the products of each sum are put together by `minus` and by `plus`.
#[nki::kernel]
pub(super) fn rotate<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    y: Hbm<T>,
    angles: &Angles<T>,
    run: &Run,
    pairs: Pairs,
    (minus, plus): (Alu, Alu),
) {
    let [heads, _, d] = x.dims();
    let by_lane = |x: Hbm<T>| run.split(x, 1).permute(&[1, 0, 2, 3]);
    let (x, y) = (by_lane(x), by_lane(y));
    for h in nc.tiles(heads, (COLUMNS / (run.each * d)).max(1)) {
        let turned = nc.sbuf::<T>([run.lanes, h.len(), run.each, d]);
        let ((x1, x2), (y1, y2)) = (pairs.of(nc.load(x.at((.., h, .., ..)))), pairs.of(turned));
        // The same angles for every head.
        let each = |t: Tile<T>| t.expand_dim(1).broadcast(1, h.len());
        let ([c1, c2], [s1, s2]) = (angles.cos.map(each), angles.sin.map(each));
        nc.tensor_tensor(y1, times(nc, x1, c1), times(nc, x2, s1), minus);
        nc.tensor_tensor(y2, times(nc, x2, c2), times(nc, x1, s2), plus);
        nc.store(y.at((.., h, .., ..)), turned);
    }
}

/// `a · b` in f32.
#[nki::kernel]
pub(super) fn times<T: Float>(nc: Nc, a: Tile<T>, b: Tile<T>) -> Tile<f32> {
    let product = nc.sbuf::<f32>(a.shape());
    nc.tensor_tensor(product, a, b, Alu::Multiply);
    product
}
