//! One kernel, run four ways on the same data: `cargo run --example four_ways`.

use nki::args::{Generator, to_f64};
use nki::ir::{DType, Diagnostics};
use nki::prelude::*;

/// `out = x · sigmoid(x)`, row by row.
#[nki::kernel]
fn silu<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        let tile = nc.load(x.at((r, ..)));
        nc.store(out.at((r, ..)), tile.silu());
    }
    out
}

fn main() -> Result<(), Diagnostics> {
    let x = "normal@7".parse::<Generator>()?.tensor(DType::F32, &[200, 64], 0)?;
    let want: Vec<f64> = to_f64(&x).iter().map(|x| x / (1.0 + (-x).exp())).collect();
    for mode in Mode::ALL.into_iter().filter(|m| m.is_available()) {
        let results = silu::specialize::<f32>(&x).run(mode, Target::Trn2)?;
        let got = to_f64(&results[0]);
        let error = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        let time =
            results.report.map_or(String::new(), |r| format!(", {:.2} µs simulated", r.kernel_ns / 1e3));
        println!("{mode:7} largest error {error:.1e}{time}");
        assert!(error < 1e-5, "{mode} is wrong");
    }
    Ok(())
}
