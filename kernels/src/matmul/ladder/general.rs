//! Rung 6: any shape, batches, operands either way round, and what follows a product.

use crate::activation::Function;
use crate::share::Share;
use crate::strip::{product, strip, transposed};
use nki::Tensor;
use nki::prelude::*;
use nki::space::OnChip;
use std::ops::Range;

/// What `matmul_general` does with the product.
#[derive(Clone, Debug, KernelConfig)]
pub struct GeneralConfig {
    /// A function of the product and the bias.
    #[config(default = None)]
    pub activation: Option<Function>,
    /// Rows of the result at a time, for which the right operand is read once.
    #[config(default = 512)]
    pub rows: usize,
    /// The contraction is summed in two parts, by a program each where two share the work; each then finishes half of the columns. For long
    /// contractions to few rows and columns.
    #[config(default = false)]
    pub split_k: bool,
}

/// `out[b] = f(lhs[b] · rhs[b] + bias) + residual[b]` for each of a batch, in f32 and rounded once.
///
/// The left operand is `lhs[b, m, k]` or `lhs_t[b, k, m]`, the right one `rhs[b, k, n]` or `rhs_t[b, n, k]`: one of each. What does not
/// have the contraction first is turned by the tensor engine. `bias` is `[n]`, `residual` like the result `[b, m, n]`.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn matmul_general<T: Float>(
    nc: Nc,
    lhs: Option<Hbm<T>>,
    lhs_t: Option<Hbm<T>>,
    rhs: Option<Hbm<T>>,
    rhs_t: Option<Hbm<T>>,
    bias: Option<Hbm<T>>,
    residual: Option<Hbm<T>>,
    cfg: GeneralConfig,
) -> Hbm<T> {
    let (left, right) = (one_of(nc, lhs, lhs_t), one_of(nc, rhs_t, rhs));
    let ([batch, m, k], [batch_right, n, k_right]) = (left.shape(), right.shape());
    ensure!(nc, batch == batch_right && k == k_right && k > 0);
    ensure!(nc, bias.is_none_or(|b| b.shape() == [n]));
    ensure!(nc, residual.is_none_or(|r| r.shape() == [batch, m, n]));
    let out = nc.hbm([batch, m, n]);
    let parts = Parts::new(nc, k, cfg.split_k);
    // Two programs share the contraction, or else the rows, or of few rows the columns.
    let (rows, columns) = match m > 128 {
        _ if parts.are_two() => (Share::whole(m), Share::whole(n)),
        true => (Share::new(nc, m, 128), Share::whole(n)),
        false => (Share::whole(m), Share::new(nc, n, 512)),
    };
    let (left, right) = (left.part(&rows, &parts), right.part(&columns, &parts));
    let part = |t: Hbm<T>| columns.of(rows.of(t, 1), 2);
    let (to, residual) = (part(out), residual.map(part));
    let bias = bias.map(|b| columns.of(b.reshape([1, n]), 1).broadcast(0, m.min(128)));
    for b in nc.range(batch) {
        for mb in nc.tiles(rows.len(), cfg.rows) {
            let left = left.contraction_first(nc, b, mb);
            for ni in nc.tiles(columns.len(), 512) {
                let right = right.contraction_first(nc, b, ni);
                let bias = bias.map(|b| nc.load(b.at((.., ni))));
                for mi in nc.tiles(mb.len(), 128) {
                    let left = left.at((.., .., mi));
                    let bias = bias.map(|b| b.at((0..mi.len(), ..)));
                    let part = |t: Hbm<T>| t.at((b, mb, ni)).at((mi, ..));
                    if parts.are_two() {
                        let (sum, here) = parts.sum(nc, left, right);
                        let bias = bias.map(|b| b.at((.., here.clone())));
                        let residual = residual.map(|r| part(r).at((.., here.clone())));
                        let result = finished(nc, sum, bias, residual, &cfg);
                        let stored = parts.stored(here.clone(), ni.len());
                        if !stored.is_empty() {
                            let own = stored.start - here.start..stored.end - here.start;
                            nc.store(part(to).at((.., stored)), result.at((.., own)));
                        }
                    } else {
                        let acc = product(nc, left, right, k);
                        let result = finished(nc, acc, bias, residual.map(part), &cfg);
                        nc.store(part(to), result);
                    }
                }
            }
        }
    }
    out
}

/// The parts in which a contraction is summed.
struct Parts {
    /// Where the second one begins: a multiple of 128, or the end.
    cut: usize,
    k: usize,
    /// The part of this program, where there are two.
    mine: Option<usize>,
}

impl Parts {
    fn new(nc: Nc, k: usize, split: bool) -> Parts {
        let cut = if split { (128 * k.div_ceil(128).div_ceil(2)).min(k) } else { k };
        let shared = nc.num_programs() == 2 && cut < k;
        Parts { cut, k, mine: shared.then(|| nc.program_id(0)) }
    }
    fn are_two(&self) -> bool {
        self.cut < self.k
    }
    /// What this program sums over.
    fn range(&self) -> Range<usize> {
        match self.mine {
            None => 0..self.k,
            Some(0) => 0..self.cut,
            Some(_) => self.cut..self.k,
        }
    }
    /// Those of the columns `here` of `n` that this program stores: of an odd number both have the one in the middle.
    fn stored(&self, here: Range<usize>, n: usize) -> Range<usize> {
        if self.mine == Some(1) { n.div_ceil(2)..n } else { here }
    }
    /// The sum of both parts, and the columns that this program has of it.
    #[track_caller]
    fn sum<T: Float>(&self, nc: Nc, left: Tile<T>, right: Tile<T>) -> (Tile<f32>, Range<usize>) {
        let [m, n] = [left.dim(2), right.dim(2)];
        let Some(me) = self.mine else {
            let tiles = self.cut / 128;
            let of = |x: Tile<T>, first: bool| {
                if first { x.at((.., 0..tiles, ..)) } else { x.at((.., tiles.., ..)) }
            };
            let sum = nc.sbuf::<f32>([m, n]);
            nc.tensor_copy(sum, product(nc, of(left, true), of(right, true), self.cut));
            let second = product(nc, of(left, false), of(right, false), self.k - self.cut);
            nc.tensor_tensor(sum, sum, second, Alu::Add);
            return (sum, 0..n);
        };
        let half = n.div_ceil(2);
        let columns = [0..half, n - half..n];
        let own = nc.sbuf::<f32>([m, n]);
        nc.tensor_copy(own, product(nc, left, right, self.range().len()));
        let sum = nc.sbuf::<f32>([m, half]);
        nc.sendrecv(sum, own.at((.., columns[1 - me].clone())), 1 - me, 1 - me);
        nc.tensor_tensor(sum, sum, own.at((.., columns[me].clone())), Alu::Add);
        (sum, columns[me].clone())
    }
}

/// An operand, one way round or the other.
#[derive(Clone, Copy)]
enum Side<T: Elem> {
    /// `[batch, rows, k]`
    Natural(Hbm<T>),
    /// `[batch, k, rows]`
    Turned(Hbm<T>),
}

#[nki::kernel]
fn one_of<T: Float>(nc: Nc, natural: Option<Hbm<T>>, turned: Option<Hbm<T>>) -> Side<T> {
    match (natural, turned) {
        (Some(x), None) => Side::Natural(x),
        (None, Some(x)) => Side::Turned(x),
        _ => nc.fail("each operand is given one way round"),
    }
}

impl<T: Float> Side<T> {
    /// Batch, rows (or columns) of the result, contraction.
    fn shape(self) -> [usize; 3] {
        match self {
            Side::Natural(x) => x.dims(),
            Side::Turned(x) => {
                let [batch, k, rows] = x.dims();
                [batch, rows, k]
            }
        }
    }
    /// This program's rows and part of the contraction.
    #[track_caller]
    fn part(self, rows: &Share, parts: &Parts) -> Self {
        let of = |x: Hbm<T>, axis, k: usize| {
            let x = rows.of(x, axis);
            if parts.mine.is_some() { x.slice(k, parts.range(), 1) } else { x }
        };
        match self {
            Side::Natural(x) => Side::Natural(of(x, 1, 2)),
            Side::Turned(x) => Side::Turned(of(x, 2, 1)),
        }
    }
    /// The strip of some rows, contraction on partitions.
    fn contraction_first(self, nc: Nc, b: Idx, rows: Block) -> Tile<T> {
        match self {
            Side::Natural(x) => transposed(nc, x.at((b, rows, ..))),
            Side::Turned(x) => strip(nc, x.at((b, .., rows))),
        }
    }
}

/// `f(acc + bias) + residual`.
#[nki::kernel]
fn finished<T: Float, M: OnChip>(
    nc: Nc,
    acc: Tensor<f32, M>,
    bias: Option<Tile<T>>,
    residual: Option<Hbm<T>>,
    cfg: &GeneralConfig,
) -> Tile<T> {
    let between = || nc.sbuf::<f32>(acc.shape());
    let result = nc.sbuf::<T>(acc.shape());
    let biased = bias.map(|bias| {
        let sum = between();
        nc.tensor_tensor(sum, acc, bias, Alu::Add);
        sum
    });
    let acted = cfg.activation.map(|f| {
        let y = between();
        let f = f.of_the_scalar_engine();
        match biased {
            Some(sum) => drop(nc.activation(y, f, sum)),
            None => drop(nc.activation(y, f, acc)),
        }
        y
    });
    match (acted.or(biased), residual.map(|r| nc.load(r))) {
        (Some(y), Some(residual)) => drop(nc.tensor_tensor(result, y, residual, Alu::Add)),
        (Some(y), None) => drop(nc.tensor_copy(result, y)),
        (None, Some(residual)) => drop(nc.tensor_tensor(result, acc, residual, Alu::Add)),
        (None, None) => drop(nc.tensor_copy(result, acc)),
    }
    result
}
