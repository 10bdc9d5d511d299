//! Prints the ratios of the cases named on the command line, or of all: `cargo run -p nki-calibration --example measured C1`.

use nki::calibrate::{Measurement, cases, measure};
use nki_calibration as _;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for case in cases().into_iter().filter(|c| names.is_empty() || names.iter().any(|n| n == c.id)) {
        let start = std::time::Instant::now();
        match measure(case) {
            Ok(m) => show(&m),
            Err(e) => println!("{}: {e}", case.id),
        }
        println!("  {:.1} s", start.elapsed().as_secs_f64());
    }
}

fn show(m: &Measurement) {
    let latency = m.latency();
    println!("{} {:.3} {:.3} {:.3}", m.case.id, latency.measured, latency.simulated, latency.ratio());
    for (engine, p) in m.active() {
        println!("  {engine} {:.3} {:.3}", p.measured, p.simulated);
    }
    for (name, measured, simulated) in m.counters() {
        println!("  {name} {measured} {simulated} {}", if measured == simulated { "" } else { "DIFFERS" });
    }
    println!("{}", m.report);
}
