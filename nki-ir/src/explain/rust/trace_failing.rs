use nki::prelude::*;
use std::cell::Cell;

thread_local! {
    static KEPT: Cell<Option<Tile<f32>>> = const { Cell::new(None) };
}

#[nki::kernel]
fn scaled(nc: Nc, x: Hbm<f32>, weights: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    // Loaded by the first recording, used by the second.
    let w = KEPT.get().unwrap_or_else(|| nc.load(weights));
    KEPT.set(Some(w));
    nc.store(out, nc.load(x) * w);
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    scaled::specialize([128, 64], [128, 64]).trace()?;
    Ok(scaled::specialize([128, 64], [128, 64]).trace()?.warnings)
}
