//! Speed of row functions: `cargo run --release -p nki-rt --example row_speed [NAME]`.
//!
//! Prints nanoseconds per element of 4096 numbers in the first cache, for each function whose name contains NAME.

use nki_rt::{Activation, Format, Reduction, Tier, activate, fold_rows, narrow, widen};
use std::hint::black_box;
use std::time::Instant;

const N: usize = 4096;

fn speed(name: &str, wanted: &str, mut run: impl FnMut()) {
    if !name.contains(wanted) {
        return;
    }
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        let start = Instant::now();
        (0..20).for_each(|_| run());
        best = best.min(start.elapsed().as_secs_f64() / 20.0);
    }
    println!("{name:24} {:7.3} ns", best / N as f64 * 1e9);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let tier = Tier::best();
    let x: Vec<f32> = (0..N).map(|i| (i * 37 % 997) as f32 / 125.0 - 4.0).collect();
    let mut y = vec![0.0f32; N];
    for activation in Activation::ALL {
        speed(activation.name(), &wanted, || activate(tier, activation, black_box(&x), black_box(&mut y)));
    }
    for reduction in Reduction::ALL {
        let mut totals = [0.0f32; 8];
        let rows = nki_rt::MatRef::dense(&x, 8, N / 8);
        let name = format!("fold {reduction:?}");
        speed(&name, &wanted, || fold_rows(tier, reduction, black_box(rows), black_box(&mut totals)));
    }
    for format in [Format::Bf16, Format::F16, Format::E4m3] {
        let mut bytes = vec![0u8; N * format.bytes()];
        let name = format!("narrow {format:?}");
        speed(&name, &wanted, || narrow(tier, format, black_box(&x), black_box(&mut bytes)));
        let name = format!("widen {format:?}");
        speed(&name, &wanted, || widen(tier, format, black_box(&bytes), black_box(&mut y)));
    }
}
