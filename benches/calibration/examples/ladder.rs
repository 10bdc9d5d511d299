//! The rungs of NKI's kernel optimisation guide, compiled as they are written: published against simulated.
//! `cargo run -p nki-calibration --example ladder [RUNG..]`.

use nki_calibration::ladder::{RUNGS, active, simulate};

fn main() -> std::process::ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let known: Vec<&str> = RUNGS.iter().map(|r| r.name).collect();
    if let Some(name) = names.iter().find(|n| !known.contains(&n.as_str())) {
        eprintln!("error: no rung is called `{name}`; there are {}", known.join(", "));
        return std::process::ExitCode::from(2);
    }
    let mut status = std::process::ExitCode::SUCCESS;
    println!(
        "rung          latency ms      DMA active %    tensor active %  vector active %   (published | simulated)"
    );
    for rung in RUNGS.iter().filter(|r| names.is_empty() || names.iter().any(|n| n == r.name)) {
        let report = match simulate(rung) {
            Ok(report) => report,
            Err(e) => {
                eprintln!("{}: {e}", rung.name);
                status = std::process::ExitCode::FAILURE;
                continue;
            }
        };
        let or_dash = |v: Option<f64>| v.map_or("-".to_string(), |v| format!("{v:.2}"));
        let [dma, tensor, vector] = active(&report);
        println!(
            "{:<13} {:>5} | {:<5.2}   {:>5.2} | {:<5.2}   {:>5.2} | {:<6.2}   {:>5} | {:.2}",
            rung.name,
            or_dash(rung.latency_ms),
            report.profiled_ns * 1e-6,
            rung.dma,
            dma,
            rung.tensor,
            tensor,
            or_dash(rung.vector),
            vector,
        );
        if names.len() == 1 {
            println!("{report}");
        }
    }
    status
}
