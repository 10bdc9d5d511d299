//! Speed of whole products: `cargo run --release -p nki-rt --example gemm_speed [threads]`.
//!
//! Prints, per element type and shape, the median GF/s of `Gemm` with operands as the kernels have them: `a` stored
//! `[K, M]`, `b` stored `[K, N]`, into a result that is reused.

use nki_rt::{AlignedBuf, Combine, Element, Gemm, MatMut, Plain, StridedRef, Threads, Tier, bf16, f16};
use std::time::Instant;

fn operand<T: Plain>(rows: usize, cols: usize, from: impl Fn(f32) -> T) -> AlignedBuf {
    let numbers: Vec<T> = (0..rows * cols).map(|i| from((i * 37 % 101) as f32 / 101.0 - 0.5)).collect();
    AlignedBuf::from_slice(&numbers)
}

fn speed<T: Element>(name: &str, [k, m, n]: [usize; 3], threads: usize, from: impl Fn(f32) -> T) {
    let (a, b) = (operand(k, m, &from), operand(k, n, &from));
    let a = StridedRef::row_major(a.as_slice::<T>(), k, m).transposed();
    let b = StridedRef::row_major(b.as_slice::<T>(), k, n);
    let mut c = AlignedBuf::zeroed(4 * m * n);
    let parallel = Threads(threads);
    let gemm = Gemm { parallel: &parallel, ..Gemm::new(Tier::best()) };
    let mut run = || {
        let start = Instant::now();
        gemm.run(a, b, MatMut::dense(c.as_mut_slice::<f32>(), m, n), Combine::Overwrite);
        start.elapsed().as_secs_f64()
    };
    let once = run().max(run());
    let mut times: Vec<f64> = (0..((0.5 / once) as usize).clamp(5, 200)).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    let flops = 2.0 * (k * m * n) as f64;
    let (median, best) = (times[times.len() / 2], times[0]);
    println!(
        "{name:5} k {k:5} m {m:5} n {n:5}  median {:7.1} GF/s, best {:7.1}",
        flops / median / 1e9,
        flops / best / 1e9
    );
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let shapes = [
        [256, 256, 256],
        [512, 512, 512],
        [1024, 1024, 1024],
        [2048, 2048, 2048],
        [4096, 128, 11008],
        [4096, 1, 4096],
        [4096, 16, 14336],
    ];
    for shape in shapes {
        speed("f32", shape, threads, |x| x);
        speed("bf16", shape, threads, bf16::from_f32);
    }
    speed("f16", [1024, 1024, 1024], threads, f16::from_f32);
}
