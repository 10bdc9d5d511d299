//! Softmax of masked scores with an extra score per row.

use super::kernel::{inverse, negated_max};
use crate::share::Share;
use nki::prelude::*;

/// What `masked_softmax` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct MaskedConfig {
    /// Multiplies the scores before the mask is added.
    #[config(default = 1.0)]
    pub scale: f32,
}

/// Softmax of `scale · x + mask` over each row, of which `sink[r]`, where it is given, is one more score: it counts in the sum and has no
/// result.
///
/// `mask` is added to every element, `row_mask[c]` to every row: 0 where an element counts, `-inf` or far below 0 where it does not. A
/// row in which nothing counts gives zeros. Rows stay on chip whole.
#[nki::kernel]
pub fn masked_softmax<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    mask: Option<Hbm<f32>>,
    row_mask: Option<Hbm<f32>>,
    sink: Option<Hbm<f32>>,
    cfg: MaskedConfig,
) -> Hbm<T> {
    let [rows, columns] = x.dims();
    ensure!(nc, columns > 0);
    ensure!(nc, mask.is_none() || row_mask.is_none(), "one mask");
    ensure!(nc, mask.is_none_or(|m| m.shape() == [rows, columns]));
    ensure!(nc, row_mask.is_none_or(|m| m.shape() == [columns]));
    ensure!(nc, sink.is_none_or(|s| s.shape() == [rows]));
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, mask, sink, to, rows) = (
        mine.of(x, 0),
        mask.map(|t| mine.of(t, 0)),
        sink.map(|t| mine.of(t, 0)),
        mine.of(out, 0),
        mine.len(),
    );
    let same = row_mask.map(|m| nc.load(m.reshape([1, columns]).broadcast(0, rows.min(128))));
    for r in nc.tiles(rows, 128) {
        let tile = nc.load(x.at((r, ..)));
        let scores = nc.sbuf::<f32>([r.len(), columns]);
        match mask.map(|m| nc.load(m.at((r, ..)))).or(same.map(|m| m.at((0..r.len(), ..)))) {
            Some(mask) => {
                nc.scalar_tensor_tensor(scores, tile, Alu::Multiply, cfg.scale, Alu::Add, mask);
            }
            None => drop(nc.tensor_scalar(scores, tile, Alu::Multiply, cfg.scale)),
        }
        let sink = sink.map(|s| nc.load(s.reshape([rows, 1]).at((r, ..))));
        let neg_max = negated_max(nc, scores, 1.0);
        let neg_max = sink.map_or(neg_max, |sink| neg_max.minimum(sink * -1.0));
        let (e, sum) = (nc.sbuf::<f32>([r.len(), columns]), nc.sbuf::<f32>([r.len(), 1]));
        nc.activation(e, Act::Exp, scores).bias(neg_max).reduce(sum);
        if let Some(sink) = sink {
            let extra = nc.sbuf::<f32>([r.len(), 1]);
            nc.activation(extra, Act::Exp, sink).bias(neg_max);
            nc.tensor_tensor(sum, sum, extra, Alu::Add);
        }
        let y = nc.sbuf::<T>([r.len(), columns]);
        nc.tensor_scalar(y, e, Alu::Multiply, inverse(sum));
        nc.store(to.at((r, ..)), y);
    }
    out
}
