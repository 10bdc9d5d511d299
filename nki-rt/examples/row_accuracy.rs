//! Accuracy and speed of the activation rows: `cargo run --release -p nki-rt --example row_accuracy [STRIDE]`.
//!
//! Compares every STRIDE-th f32 bit pattern (default 251, coprime to 2) with the definition in f64, and prints the
//! largest error in ulp, where it is, and nanoseconds an element on 4096 numbers in cache for the fastest tier.

#[path = "../tests/reference/mod.rs"]
mod reference;

use nki_rt::{Activation, Tier, activate};
use reference::{reference, ulps};
use std::time::Instant;

fn worst(activation: Activation, stride: u32) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let (mut x, mut y) = ([0.0f32; 4096], [0.0f32; 4096]);
    let mut bits = 0u32;
    let blocks = u32::MAX / stride / x.len() as u32;
    for _ in 0..=blocks {
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

fn main() {
    let stride = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(251);
    for activation in Activation::ALL {
        let (error, at) = worst(activation, stride);
        println!("{:22} {error:8.4} ulp at {at:13e}   {:7.3} ns", activation.name(), nanoseconds(activation));
    }
}
