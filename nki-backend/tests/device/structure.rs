//! Properties of every compiled program that need no execution.

use crate::kernels;
use crate::kernels::compile;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::testgen::{GenOptions, generate};
use nki_ir::{DType, Kernel, Target};
use nki_sim::program::{MInst, MKind};
use nki_sim::{Mode, SimOptions};
use std::collections::BTreeMap;

fn samples() -> Vec<Kernel> {
    vec![
        kernels::copy(1, 1, 512, DType::F32),
        kernels::copy(300, 600, 512, DType::BF16),
        kernels::softmax(129, 300),
        kernels::running_sum(5, 100, 40),
        kernels::running_sum(0, 1, 7),
        kernels::naive_matmul(256, 512, 1024, DType::BF16),
        kernels::naive_matmul(7, 3, 5, DType::F32),
        kernels::blocked_matmul(512, 256, 1024, 256, 1024, DType::BF16),
    ]
}

#[test]
fn programs_pass_the_gate_of_the_machine() {
    for target in Target::ALL {
        for k in samples() {
            let c = compile(&k, target, &CompileOptions::default()).unwrap();
            if let Err(e) = nki_sim::verify(c.program) {
                panic!("{} on {target}: {e}", k.name);
            }
        }
    }
}

#[test]
fn equal_input_gives_equal_programs() {
    for k in samples() {
        let options = CompileOptions::default();
        let a = compile(&k, Target::Trn2, &options).unwrap();
        let b = compile(&k, Target::Trn2, &options).unwrap();
        assert_eq!(a.program, b.program, "{}", k.name);
        assert_eq!(a.listing(1000), b.listing(1000));
    }
}

/// Simulated kernel time in nanoseconds.
fn time(kernel: &Kernel, target: Target, o: &CompileOptions) -> f64 {
    let program = nki_sim::verify(compile(kernel, target, o).unwrap().program).unwrap();
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    nki_sim::run(&program, &[], &options).unwrap().report.kernel_ns
}

/// Generated programs, over all targets, that no schedule may be slower than program order for.
const SLOWER_CASES: u64 = 500;

#[test]
fn no_schedule_is_slower_than_program_order() {
    let nothing = Pass::ALL.iter().fold(CompileOptions::default(), |o, &p| o.without(p));
    for target in Target::ALL {
        let random =
            (0..SLOWER_CASES / 4).map(|seed| generate(seed, &GenOptions { target, ..GenOptions::default() }));
        for k in samples().into_iter().chain(random) {
            let (ours, plain) = (time(&k, target, &CompileOptions::default()), time(&k, target, &nothing));
            assert!(ours <= plain, "{} on {target}: {ours} ns against {plain}", k.name);
        }
    }
}

#[test]
fn a_blocked_matmul_is_bound_by_the_tensor_engine() {
    let k = kernels::blocked_matmul(2048, 2048, 2048, 1024, 1024, DType::BF16);
    // 1024 products of 128 x 128 x 512 at 215.8 ns each (machine.md 15.1).
    let share = 1024.0 * 215.8 / time(&k, Target::Trn2, &CompileOptions::default());
    assert!(share > 0.95, "{share}");
}

#[test]
fn a_listing_shows_simulated_times_of_every_engine() {
    let k = kernels::softmax(256, 300);
    let c = compile(&k, Target::Trn2, &CompileOptions::default()).unwrap();
    let text = c.listing(100);
    let ends = text.lines().filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    let last = ends.fold(0.0, f64::max);
    assert_eq!(last, time(&k, Target::Trn2, &CompileOptions::default()).round(), "{text}");
    assert_eq!(text.lines().filter(|l| l.contains("kernel.rs:")).count(), 12, "{text}");
    assert!(c.listing(1).contains("..."));
}

#[test]
fn loads_overlap_compute_in_a_naive_matmul() {
    let k = kernels::naive_matmul(512, 1024, 1024, DType::BF16);
    let o = CompileOptions::default().without(Pass::ReuseLoads);
    let r = compile(&k, Target::Trn2, &o).unwrap().report;
    assert!(r.estimate_ns < 0.7 * r.program_order_ns, "{r}");
}

#[test]
fn every_instruction_of_the_source_is_emitted_once_whatever_passes_run() {
    for k in samples() {
        // The passes that remove instructions, and make several of one, are looked at on their own.
        let kept = CompileOptions::default().without(Pass::ReuseLoads).without(Pass::SplitTransfers);
        let mut all = vec![kept.clone()];
        all.extend(Pass::ALL.iter().map(|&p| kept.clone().without(p)));
        let mut expected: Option<BTreeMap<u32, usize>> = None;
        for o in all {
            let program = compile(&k, Target::Trn2, &o).unwrap().program;
            let mut count = BTreeMap::new();
            for i in program.streams.iter().flatten() {
                assert!(!matches!(i.kind, MKind::For { .. }), "{} has no large loop", k.name);
                *count.entry(i.source.expect("straight code has a source")).or_insert(0) += 1;
            }
            let expected = expected.get_or_insert_with(|| count.clone());
            assert_eq!(*expected, count, "{} without {:?}", k.name, o.disabled);
        }
    }
}

#[test]
fn fewer_waits_with_the_pass_that_reduces_them() {
    let k = kernels::blocked_matmul(512, 256, 1024, 256, 1024, DType::BF16);
    let waits = |o: &CompileOptions| {
        let p = compile(&k, Target::Trn2, o).unwrap().program;
        p.streams.iter().flatten().map(|i| i.waits.len()).sum::<usize>()
    };
    let o = CompileOptions::default();
    assert!(waits(&o) < waits(&o.clone().without(Pass::ReduceWaits)));
}

/// Instructions of a stream, those of loop bodies times their trip counts.
fn executed(stream: &[MInst]) -> u64 {
    let one = |i: &MInst| match &i.kind {
        MKind::For { hi: nki_sim::program::MBound::Const(n), body, .. } => *n as u64 * executed(body),
        MKind::Compute { .. } | MKind::Dma { .. } => 1,
        _ => 0,
    };
    stream.iter().map(one).sum()
}

#[test]
fn a_loop_beyond_the_budget_stays_a_hardware_loop() {
    let k = kernels::naive_matmul(256, 512, 1024, DType::BF16);
    let o = CompileOptions { unroll_budget: 20, ..CompileOptions::default() };
    let c = compile(&k, Target::Trn2, &o).unwrap();
    let total: u64 = c.program.streams.iter().map(|s| executed(s)).sum();
    assert_eq!(total, 4 * (4 * 3 + 2));
    assert!(c.program.streams.iter().flatten().any(|i| matches!(i.kind, MKind::For { .. })));
    assert_eq!(c.program.registers, [2; 5]);
}

#[test]
fn semaphores_stay_within_the_hardware() {
    // 600 loads that nothing orders: more than there are semaphores.
    let k = kernels::running_sum(600, 128, 8);
    let o = CompileOptions { max_buffers: 600, ..CompileOptions::default() };
    let c = compile(&k, Target::Trn2, &o).unwrap();
    assert!(c.program.semaphores <= 256, "{}", c.program.semaphores);
}

#[test]
fn a_naive_matmul_loads_each_tile_once_if_it_fits() {
    let k = kernels::naive_matmul(512, 1024, 1024, DType::BF16);
    let o = CompileOptions::default();
    let once = compile(&k, Target::Trn2, &o).unwrap().report;
    let again = compile(&k, Target::Trn2, &o.without(Pass::ReuseLoads)).unwrap().report;
    // 4 x 8 stationary, 8 x 2 moving and 4 x 2 result tiles.
    assert_eq!(once.transfers, 32 + 16 + 8);
    assert_eq!(again.transfers, 2 * 64 + 8);
    assert!(once.estimate_ns < again.estimate_ns);
}

#[test]
fn buffers_of_one_geometry_share_slots_when_memory_is_short() {
    // Two of each would be 4 x 75 KiB of 208.
    let text = |columns: u32| {
        format!(
            "nki-ir 1
kernel @phases(%x: in hbm<f32, [8, 65, {columns}]>, %out: out hbm<f32, [8, 65, {columns}]>) {{
  for %o in 0..2 {{
    for %i in 0..2 {{
      %a = alloc sbuf<f32, [65, {columns}]>
      dma_copy %a, %x[4 * %o + %i, :, :]
      dma_copy %out[4 * %o + %i, :, :], %a
    }}
    for %j in 0..2 {{
      %b = alloc sbuf<f32, [65, {columns}]>
      dma_copy %b, %x[4 * %o + %j + 2, :, :]
      dma_copy %out[4 * %o + %j + 2, :, :], %b
    }}
  }}
}}
"
        )
    };
    let kernel = |columns| nki_ir::text::parse(&text(columns), "phases.nkir").unwrap();
    let sites = |k: &Kernel, o: &CompileOptions| -> Vec<(String, u32)> {
        let r = compile(k, Target::Trn2, o).unwrap().report;
        r.sites.iter().map(|s| (s.name.clone(), s.depth)).collect()
    };
    let on = CompileOptions::default();
    let off = on.clone().without(Pass::ShareBuffers);
    assert_eq!(sites(&kernel(19_200), &on), [("a|b".to_string(), 2)]);
    assert_eq!(sites(&kernel(19_200), &off).iter().map(|s| s.1).sum::<u32>(), 2);
    // No need while there is room.
    assert_eq!(sites(&kernel(192), &on), sites(&kernel(192), &off));
    for o in [&on, &off] {
        crate::agree::check("phases", &kernel(19_200), Target::Trn2, o);
    }
    assert!(time(&kernel(19_200), Target::Trn2, &on) <= time(&kernel(19_200), Target::Trn2, &off));
}
