//! Few semaphores for many transfers: reuse of a transfer's semaphore, in straight code and in hardware loops.

use crate::agree::check;
use crate::kernels;
use nki_backend::device::{CompileOptions, Pass, compile};
use nki_ir::{Code, Kernel, Target};
use nki_sim::{Proof, verify};

fn kernel(text: &str) -> Kernel {
    nki_ir::text::parse(text, "test.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// `turns` times: what is on chip goes to scratch and comes back, between two loads of the input.
fn ping_pong(turns: u32) -> Kernel {
    kernel(&format!(
        "nki-ir 1
kernel @ping_pong(%x: in hbm<f32, [16, 24]>, %out: out hbm<f32, [{turns}, 16, 24]>) {{
  %t10 = alloc sbuf<f32, [16, 24]>
  dma_copy %t10, %x
  for %i in 0..{turns} {{
    %scratch = alloc hbm<f32, [16, 24]>
    %back = alloc sbuf<f32, [16, 24]>
    %again = alloc sbuf<f32, [16, 24]>
    dma_copy %scratch, %t10
    dma_copy %back, %scratch
    dma_copy %again, %x
    tensor_tensor %t10, %back, %again {{op = add}}
    dma_copy %out[%i, :, :], %t10
  }}
}}
"
    ))
}

/// Unrolled, in one hardware loop, with one of two nested loops in hardware.
fn options() -> Vec<CompileOptions> {
    let budget = |unroll_budget| CompileOptions { unroll_budget, ..CompileOptions::default() };
    let mut all = vec![budget(1_000_000), budget(3), budget(100)];
    // As many loads of the input as turns.
    all.push(CompileOptions::default().without(Pass::ReuseLoads));
    all.push(all[3].clone().without(Pass::ReduceWaits));
    all
}

#[test]
fn more_transfers_than_semaphores() {
    // 4 transfers a turn: fewer than 192, between that and the 256 of a core, beyond, far beyond.
    for turns in [5, 47, 49, 64, 65, 150] {
        for o in options() {
            for target in [Target::Trn1, Target::Trn2] {
                check("ping_pong", &ping_pong(turns), target, &o);
            }
        }
    }
}

#[test]
fn independent_transfers_beyond_the_semaphores() {
    for (rows, o) in [(300 * 128, options()), (257 * 128 + 1, options())] {
        let k = kernels::copy(rows, 1, 512, nki_ir::DType::U8);
        for o in o {
            let o = CompileOptions { max_buffers: 1000, ..o };
            check("copy", &k, Target::Trn2, &o);
        }
    }
}

#[test]
fn what_is_emitted_is_proven_before_it_runs() {
    for o in options() {
        let v = nki_ir::verify(ping_pong(300), Target::Trn2).unwrap();
        let c = compile(&v, &o).unwrap();
        assert!(c.report.transfers < 1202 && c.program.semaphores <= 256);
        assert_eq!(*verify(c.program).unwrap().proof(), Proof::Proven, "{o:?}");
    }
}

#[test]
fn one_stream_that_knows_too_little_is_found_in_a_compiled_program() {
    // Take away one wait of any instruction: the proof must notice every time, because no wait is there for nothing.
    let v = nki_ir::verify(ping_pong(70), Target::Trn2).unwrap();
    let program = compile(&v, &CompileOptions::default()).unwrap().program;
    let mut tried = 0;
    for s in 0..5 {
        for n in (0..program.streams[s].len()).step_by(7) {
            for w in 0..program.streams[s][n].waits.len() {
                let mut p = program.clone();
                p.streams[s][n].waits.remove(w);
                let d = verify(p).expect_err("a dependence lost its wait");
                assert_eq!(d.first_code(), Some(Code::Race), "{d}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

/// One tile, loaded and stored `turns` times.
fn idle(turns: u64) -> Kernel {
    kernel(&format!(
        "nki-ir 1
kernel @idle(%x: in hbm<f32, [1, 1]>, %out: out hbm<f32, [1, 1]>) {{
  %s = alloc sbuf<f32, [1, 1]>
  memset %s, 1.0
  for %i in 0..{turns} unroll 1 {{
    %t = alloc sbuf<f32, [1, 1]>
    dma_copy %t, %x
    tensor_tensor %s, %s, %t {{op = add}}
  }}
  dma_copy %out, %s
}}
"
    ))
}

#[test]
fn hardware_loops_count_semaphores_beyond_16_bits() {
    // 16 a turn: 65,536 after 4096 of them.
    let o = CompileOptions { unroll_budget: 10, ..CompileOptions::default() };
    for turns in [4094, 4095, 4096, 4097, 9000] {
        check("idle", &idle(turns), Target::Trn2, &o);
    }
}

#[test]
fn a_semaphore_that_would_count_beyond_its_bits_is_an_error() {
    let o = CompileOptions { unroll_budget: 10, ..CompileOptions::default() };
    let at = |turns| {
        let v = nki_ir::verify(idle(turns), Target::Trn2).unwrap();
        compile(&v, &o)
    };
    // 2³² / 16 turns are one too many.
    at((1 << 28) - 1).unwrap();
    let d = at(1 << 28).unwrap_err();
    assert_eq!(d.first_code(), Some(Code::Semaphore), "{d}");
}
