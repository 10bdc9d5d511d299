//! Tile product speed: `cargo run --release -p nki-rt --example matmul_speed`.
//!
//! Prints, per tier and element type, the median GF/s of one 128 x 128 x 512 tile product (operands in cache) and
//! of the defining scalar loop.

use nki_rt::{AlignedBuf, Combine, Element, MatMut, MatRef, Plain, Tier, bf16, f16, matmul};
use std::hint::black_box;
use std::time::Instant;

fn median_gflops(flops: f64, mut run: impl FnMut()) -> f64 {
    run();
    let once = Instant::now();
    run();
    let repeat = (2e-3 / once.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    let mut rates: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..repeat {
                run();
            }
            flops * repeat as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn operand<T: Plain>(rows: usize, cols: usize, from: impl Fn(f32) -> T) -> AlignedBuf {
    let numbers: Vec<T> = (0..rows * cols).map(|i| from((i * 37 % 101) as f32 / 101.0 - 0.5)).collect();
    AlignedBuf::from_slice(&numbers)
}

fn tile_speed<T: Element>(name: &str, shape: [usize; 3], from: impl Fn(f32) -> T) {
    let [k, m, n] = shape;
    let (a, b) = (operand(k, m, &from), operand(k, n, &from));
    let (a, b) = (a.as_slice::<T>(), b.as_slice::<T>());
    let mut c = AlignedBuf::zeroed(4 * m * n);
    let flops = 2.0 * (k * m * n) as f64;
    for tier in Tier::available() {
        let rate = median_gflops(flops, || {
            let c = MatMut::dense(c.as_mut_slice::<f32>(), m, n);
            matmul(tier, MatRef::dense(a, k, m), MatRef::dense(b, k, n), c, Combine::Add);
        });
        println!("{name:5} {k:4} x {m:4} x {n:4}  {:10} {rate:8.2} GF/s", tier.name());
    }
    let rate = median_gflops(flops, || {
        let c = c.as_mut_slice::<f32>();
        for m0 in 0..m {
            for n0 in 0..n {
                c[m0 * n + n0] +=
                    (0..k).fold(0.0f32, |s, k| a[k * m + m0].widen().mul_add(b[k * n + n0].widen(), s));
            }
        }
        black_box(&c);
    });
    println!("{name:5} {k:4} x {m:4} x {n:4}  definition {rate:8.2} GF/s");
}

fn main() {
    for shape in [[128, 128, 512], [128, 1, 512], [128, 128, 1], [64, 32, 33]] {
        tile_speed("f32", shape, |x| x);
    }
    tile_speed("bf16", [128, 128, 512], bf16::from_f32);
    tile_speed("f16", [128, 128, 512], f16::from_f32);
}
