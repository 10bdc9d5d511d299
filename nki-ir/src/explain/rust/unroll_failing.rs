use nki::prelude::*;

#[nki::kernel]
fn squares(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in 0..rows / 128 {
        let t = nc.load(x.at((r * 128..(r + 1) * 128, ..)));
        nc.store(out.at((r * 128..(r + 1) * 128, ..)), t * t);
    }
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    Ok(squares::specialize([1 << 20, 8]).trace()?.warnings)
}
