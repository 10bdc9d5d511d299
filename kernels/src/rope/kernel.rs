//! Rotary position embedding.

use nki::prelude::*;
use nki::space::Memory;
use nki::{Elem, Tensor};

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
    let (minus, plus) = cfg.signs();
    for s in nc.tiles(length, 128) {
        let cos = nc.load(cos.at((s, ..)));
        let sin = nc.load(sin.at((s, ..)));
        for head in nc.range(heads) {
            let (x1, x2) = cfg.pairs.of(nc.load(x.at((head, s, ..))));
            let y = nc.sbuf::<T>([s.len(), d]);
            let (y1, y2) = cfg.pairs.of(y);
            nc.tensor_tensor(y1, times(nc, x1, cos), times(nc, x2, sin), minus);
            nc.tensor_tensor(y2, times(nc, x2, cos), times(nc, x1, sin), plus);
            nc.store(out.at((head, s, ..)), y);
        }
    }
    out
}

/// `a · b` in f32.
#[nki::kernel]
pub(super) fn times<T: Float>(nc: Nc, a: Tile<T>, b: Tile<T>) -> Tile<f32> {
    let product = nc.sbuf::<f32>(a.shape());
    nc.tensor_tensor(product, a, b, Alu::Multiply);
    product
}
