//! Where a kernel's simulated time goes, and what a schedule changes: `cargo run --example schedule`.

use nki::backend::device::{CompileOptions, Pass, compile};
use nki::ir::Diagnostics;
use nki::prelude::*;
use nki::sim::{self, SimOptions, SimReport};

/// `out = exp(x)`, in tiles of 512 columns.
#[nki::kernel]
fn exp(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, 512) {
            let tile = nc.load(x.at((r, c)));
            nc.store(out.at((r, c)), tile.exp());
        }
    }
    out
}

/// Compiles and simulates, without data.
fn simulate(options: &CompileOptions) -> Result<SimReport, Diagnostics> {
    let verified = exp::specialize([1024, 4096]).verify(Target::Trn2)?;
    let program = sim::verify(compile(&verified, options)?.program)?;
    let time_only = SimOptions { mode: sim::Mode::TimeOnly, ..SimOptions::default() };
    Ok(sim::run(&program, &[], &time_only)?.report)
}

fn main() -> Result<(), Diagnostics> {
    let with = simulate(&CompileOptions::default())?;
    let without = simulate(&CompileOptions::default().without(Pass::MultiBuffer))?;
    println!("{with}");
    println!(
        "one buffer per tile instead of several: {:.1} µs instead of {:.1} µs (simulated)",
        without.kernel_ns / 1e3,
        with.kernel_ns / 1e3
    );
    assert!(with.kernel_ns < without.kernel_ns, "overlapping loads, arithmetic and stores saves time");
    Ok(())
}
