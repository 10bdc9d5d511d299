use nki::ir::{DType, Tensor};
use nki::prelude::*;

#[nki::kernel]
fn double(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    nc.store(out, nc.load(x) * 2.0);
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    let compiled = double::specialize([128, 64]).compile(Mode::Interp, Target::Trn2)?;
    compiled.run(&[Tensor::zeros(DType::F32, &[128, 64])])?;
    Ok(nki::ir::Diagnostics::new())
}
