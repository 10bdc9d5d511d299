//! Compile time and code size as programs grow.

use crate::kernels::compile;
use nki_backend::device::CompileOptions;
use nki_ir::{Kernel, Target};
use std::time::Instant;

/// Loads, two instructions and a store, `turns` times: `4 · turns` instructions, unrolled.
fn stream(turns: u32) -> Kernel {
    let text = format!(
        "nki-ir 1
kernel @stream(%x: in hbm<f32, [{turns}, 128, 64]>, %out: out hbm<f32, [{turns}, 128, 64]>) {{
  for %i in 0..{turns} {{
    %t = alloc sbuf<f32, [128, 64]>
    %u = alloc sbuf<f32, [128, 64]>
    dma_copy %t, %x[%i, :, :]
    activation %u, %t {{op = exp}}
    tensor_tensor %u, %u, %t {{op = add}}
    dma_copy %out[%i, :, :], %u
  }}
}}
"
    );
    nki_ir::text::parse(&text, "stream.nkir").unwrap()
}

#[test]
fn compile_time_is_near_linear() {
    let seconds = |turns: u32| {
        let k = stream(turns);
        let run = || {
            let start = Instant::now();
            let c = compile(&k, Target::Trn2, &CompileOptions::default()).unwrap();
            assert_eq!(c.report.instructions.iter().sum::<u64>(), 4 * u64::from(turns));
            start.elapsed().as_secs_f64()
        };
        // The faster of two: others use this machine too.
        run().min(run())
    };
    // Beyond the size up to which programs are simulated to choose between schedules, and verified in debug builds.
    let (small, large) = (seconds(6_250), seconds(50_000));
    println!("25,000 instructions {small:.2} s, 200,000 {large:.2} s");
    // 8 times the work; twice that is far below the 64 times of anything quadratic.
    assert!(large < 16.0 * small.max(0.02), "{small} s, then {large} s");
}

#[test]
fn beyond_the_budget_loops_stay_loops_without_being_asked() {
    // 4,000,000 instructions unrolled.
    let c = compile(&stream(1_000_000), Target::Trn2, &CompileOptions::default()).unwrap();
    assert_eq!(c.report.instructions.iter().sum::<u64>(), 20_000);
    assert!(c.report.notes.iter().any(|n| n.note.contains("hardware loops: i")), "{}", c.report);
    assert_eq!(c.report.loops.iter().map(|l| (l.trip, l.unroll)).collect::<Vec<_>>(), [(1_000_000, 5_000)]);
}
