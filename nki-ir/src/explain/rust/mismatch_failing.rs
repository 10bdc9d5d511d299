use nki::prelude::*;

#[nki::kernel]
fn mean(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, 1]);
    let t = nc.load(x);
    // Off by one.
    nc.store(out, t.sum() * (1.0 / (columns - 1) as f32));
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    nki::check(mean::specialize([16, 64]))
        .reference(|args| args["x"].chunks(64).map(|row| row.iter().sum::<f64>() / 64.0).collect::<Vec<_>>())
        .modes(&[Mode::Interp])
        .run()?;
    Ok(nki::ir::Diagnostics::new())
}
