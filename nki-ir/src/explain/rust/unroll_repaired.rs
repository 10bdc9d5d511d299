use nki::prelude::*;

#[nki::kernel]
fn squares(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        let t = nc.load(x.at((r, ..)));
        nc.store(out.at((r, ..)), t * t);
    }
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    Ok(squares::specialize([1 << 20, 8]).trace()?.warnings)
}
