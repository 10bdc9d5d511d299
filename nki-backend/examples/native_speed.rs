//! Speed of native kernels beside the bare runtime: `cargo run --release -p nki-backend --example native_speed`.
//!
//! A naive tiled product (every operand tile loaded for every use) beside `nki_rt::Gemm` on the same operands, softmax of
//! rows, and what a call costs; one thread, results reused, in turns, medians.

use nki_backend::host::{HostKernel, HostOptions, compile};
use nki_ir::verify::resolve_and_verify;
use nki_ir::{Target, text};
use nki_rt::{AlignedBuf, Combine, Gemm, MatMut, StridedRef, Tier};
use std::time::Instant;

fn native(source: &str) -> HostKernel {
    let kernel = text::parse(source, "native_speed").expect("the text is a kernel");
    let verified = resolve_and_verify(kernel, Target::Trn2).expect("the kernel is valid");
    compile(&verified, &HostOptions { threads: Some(1) }).expect("this machine has a code generator")
}

fn product(n: usize) -> String {
    format!(
        "nki-ir 1\n\nkernel @k(
  %a: in hbm<f32, [{n}, {n}]>,
  %b: in hbm<f32, [{n}, {n}]>,
  %out: out hbm<f32, [{n}, {n}]>,
) {{
  for %mi in 0..{m} {{
    for %ni in 0..{m} {{
      %acc = alloc psum<f32, [128, 128]>
      for %ki in 0..{m} {{
        %x = alloc sbuf<f32, [128, 128]>
        dma_copy %x, %a[%ki*128 +: 128, %mi*128 +: 128]
        %y = alloc sbuf<f32, [128, 128]>
        dma_copy %y, %b[%ki*128 +: 128, %ni*128 +: 128]
        nc_matmul %acc, %x, %y {{accumulate = unless_first(%ki)}}
      }}
      %z = alloc sbuf<f32, [128, 128]>
      tensor_copy %z, %acc
      dma_copy %out[%mi*128 +: 128, %ni*128 +: 128], %z
    }}
  }}
}}\n",
        m = n / 128
    )
}

const SOFTMAX: &str = "nki-ir 1\n\nkernel @k(
  %x: in hbm<f32, [2048, 4096]>,
  %out: out hbm<f32, [2048, 4096]>,
) {
  for %r in 0..16 {
    %t = alloc sbuf<f32, [128, 4096]>
    dma_copy %t, %x[%r*128 +: 128, :]
    %m = alloc sbuf<f32, [128, 1]>
    tensor_reduce %m, %t {op = maximum, axis = [1], negate}
    %s = alloc sbuf<f32, [128, 1]>
    %e = alloc sbuf<f32, [128, 4096]>
    activation %e, %t, bias: %m, reduce_res: %s {op = exp, reduce_op = add, reduce_cmd = reset_reduce}
    %i = alloc sbuf<f32, [128, 1]>
    reciprocal %i, %s
    %y = alloc sbuf<f32, [128, 4096]>
    tensor_scalar %y, %e, operand0: %i {op0 = multiply}
    dma_copy %out[%r*128 +: 128, :], %y
  }
}\n";

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn numbers(n: usize) -> AlignedBuf {
    AlignedBuf::from_slice(&(0..n).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect::<Vec<f32>>())
}

fn main() {
    for n in [256, 512, 1024, 2048] {
        let kernel = native(&product(n));
        let (a, b) = (numbers(n * n), numbers(n * n));
        let (mut ours, mut theirs) = (AlignedBuf::zeroed(4 * n * n), AlignedBuf::zeroed(4 * n * n));
        let (x, y) = (a.as_slice::<f32>(), b.as_slice::<f32>());
        let (x, y) = (StridedRef::row_major(x, n, n).transposed(), StridedRef::row_major(y, n, n));
        let (mut t, mut u) = (Vec::new(), Vec::new());
        for _ in 0..(1 << 31 >> (n.ilog2() * 2 + n.ilog2() / 2)).clamp(5, 41) {
            t.push(seconds(|| {
                let inputs = [a.as_bytes(), b.as_bytes()];
                kernel.run_bytes(&inputs, &mut [ours.as_bytes_mut()]).expect("the arguments fit");
            }));
            u.push(seconds(|| {
                let c = MatMut::dense(theirs.as_mut_slice::<f32>(), n, n);
                Gemm::new(Tier::best()).run(x, y, c, Combine::Overwrite);
            }));
        }
        assert!(ours.as_bytes() == theirs.as_bytes(), "the same bits");
        let flops = 2.0 * (n as f64).powi(3) / 1e9;
        let (t, u) = (median(&mut t), median(&mut u));
        println!("product {n:4}: {:6.1} GF/s, bare {:6.1}, ratio {:.3}", flops / t, flops / u, u / t);
    }
    let kernel = native(SOFTMAX);
    let (x, mut out) = (numbers(2048 * 4096), AlignedBuf::zeroed(4 * 2048 * 4096));
    let (mut t, mut u) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        t.push(seconds(|| {
            kernel.run_bytes(&[x.as_bytes()], &mut [out.as_bytes_mut()]).expect("the arguments fit");
        }));
        u.push(seconds(|| out.as_bytes_mut().copy_from_slice(x.as_bytes())));
    }
    let (t, u) = (median(&mut t), median(&mut u));
    println!(
        "softmax 2048x4096: {:.2} ms, {:.2} ns a number; a copy {:.2} ms",
        t * 1e3,
        t / 8.388608e-3,
        u * 1e3
    );
    let kernel = native(&product(128).replace("128", "1"));
    let (a, mut c) = (numbers(1), AlignedBuf::zeroed(4));
    let mut t: Vec<f64> = (0..99)
        .map(|_| {
            seconds(|| {
                for _ in 0..100 {
                    let inputs = [a.as_bytes(), a.as_bytes()];
                    kernel.run_bytes(&inputs, &mut [c.as_bytes_mut()]).expect("the arguments fit");
                }
            })
        })
        .collect();
    println!("a call: {:.2} us", median(&mut t) / 100.0 * 1e6);
}
