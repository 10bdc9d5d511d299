//! Accuracy and speed of the activation rows:
//! `cargo run --release -p nki-rt --example row_accuracy [STRIDE [FUNCTION..]]`.
//!
//! Compares every STRIDE-th f32 bit pattern (default 251, coprime to 2; with 1 all 2^32, a minute or two a function) with the
//! definition in f64, and prints the largest error in ulp, where it is, and nanoseconds an element on 4096 numbers in cache for
//! the fastest tier. Fails if an error is larger than the function states.

#[path = "../tests/reference/mod.rs"]
mod reference;

use nki_rt::{Activation, Tier, activate};
use reference::{reference, ulps};
use std::time::Instant;

fn worst(activation: Activation, stride: u32) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let (mut x, mut y) = ([0.0f32; 4096], [0.0f32; 4096]);
    let mut bits = 0u32;
    let patterns = (1u64 << 32).div_ceil(stride.into());
    for _ in 0..patterns.div_ceil(x.len() as u64) {
        for x in &mut x {
            *x = f32::from_bits(bits);
            bits = bits.wrapping_add(stride);
        }
        activate(Tier::best(), activation, &x, &mut y);
        for (x, y) in x.iter().zip(&y).filter(|(x, _)| x.is_finite()) {
            let error = ulps(*y, reference(activation, f64::from(*x)));
            if error > worst.0 {
                worst = (error, *x);
            }
        }
    }
    worst
}

fn nanoseconds(activation: Activation) -> f64 {
    let x: Vec<f32> = (0..4096).map(|i| (i as f32 / 4096.0 - 0.5) * 12.0).collect();
    let mut y = vec![0.0f32; x.len()];
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..50 {
                activate(Tier::best(), activation, &x, &mut y);
            }
            start.elapsed().as_secs_f64() * 1e9 / (50 * x.len()) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let stride = args.next().and_then(|s| s.parse().ok()).unwrap_or(251);
    let names: Vec<String> = args.collect();
    let mut fine = true;
    for activation in Activation::ALL {
        if !names.is_empty() && !names.iter().any(|n| n == activation.name()) {
            continue;
        }
        let (error, at) = worst(activation, stride);
        let stated = activation.max_ulp();
        fine &= error <= stated;
        println!(
            "{:24} {error:8.4} ulp at {at:13e}, stated {stated:5.2}   {:7.3} ns",
            activation.name(),
            nanoseconds(activation)
        );
    }
    if fine { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
