use nki::prelude::*;

#[nki::kernel]
fn scaled(nc: Nc, x: Hbm<f32>, weights: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let w = nc.load(weights);
    nc.store(out, nc.load(x) * w);
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    scaled::specialize([128, 64], [128, 64]).trace()?;
    Ok(scaled::specialize([128, 64], [128, 64]).trace()?.warnings)
}
