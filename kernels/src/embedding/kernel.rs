//! Rows of a table by their numbers.

use crate::share::Share;
use nki::ir::op::OobMode;
use nki::prelude::*;

/// How `embedding` treats what it is given.
#[derive(Clone, Debug, KernelConfig)]
pub struct EmbeddingConfig {
    /// A number outside the table gives a row of zeros instead of ending the run.
    #[config(default = false)]
    pub skip: bool,
    /// Columns at a time.
    #[config(default = 8192)]
    pub columns: usize,
}

/// `out[t, :] = table[ids[t], :]`, bit for bit.
///
/// `table` is `[vocabulary, hidden]`, `ids` `[tokens]`, the result `[tokens, hidden]`. An id below 0 or beyond the table ends the
/// run (`nki::runtime_index`), or with `skip` gives zeros.
#[nki::kernel]
pub fn embedding<T: Float>(nc: Nc, table: Hbm<T>, ids: Hbm<i32>, cfg: EmbeddingConfig) -> Hbm<T> {
    let [vocabulary, hidden] = table.dims();
    let [tokens] = ids.dims();
    ensure!(nc, vocabulary > 0 && hidden > 0, "the table has no rows to choose from");
    let out = nc.hbm([tokens, hidden]);
    let mine = Share::new(nc, tokens, 128);
    let (to, tokens) = (mine.of(out, 0), mine.len());
    let ids = mine.of(ids, 0).reshape([tokens, 1]);
    for t in nc.tiles(tokens, 128) {
        let chosen = nc.load(ids.at((t, ..)));
        for c in nc.tiles(hidden, cfg.columns) {
            let rows = nc.sbuf::<T>([t.len(), c.len()]);
            let mode = if cfg.skip { OobMode::Skip } else { OobMode::Error };
            if cfg.skip {
                nc.memset(rows, 0.0);
            }
            nc.dma_copy(rows, table.vector_select(chosen).at((.., c))).oob_mode(mode);
            nc.store(to.at((t, c)), rows);
        }
    }
    out
}
