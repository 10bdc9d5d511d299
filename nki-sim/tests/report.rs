//! The report: counters by calibration.md 1.2, metrics, attribution, its forms.

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::{DgeMode, Engine, Op};
use nki_ir::{ActFn, AluOp, Attr, DType, Target};
use nki_sim::program::*;
use nki_sim::{Mode, SimOptions, SimReport, Stall, run, verify};
use std::sync::Arc;

use DType::{BF16, F32};

fn report(p: Program) -> SimReport {
    let v = verify(p).unwrap();
    run(&v, &[], &SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() }).unwrap().report
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= want.abs() * 1e-4 + 1e-9, "{got} is not {want}");
}

fn with_flag(mut i: MInst, name: &str) -> MInst {
    if let MKind::Compute { op, attrs, .. } = &mut i.kind {
        Arc::make_mut(attrs)[op.row().attr(name).expect("an attribute")] = Attr::Bool(true);
    }
    i
}

/// The instructions of calibration case C2 (add, rmsnorm, matmul) in their numbers; counters ask for nothing else.
fn c2() -> Program {
    let mut p = program(Target::Trn1);
    p.tensors = vec![
        tensor("x", BufKind::Input, F32, &[128, 1024], 0),
        tensor("out", BufKind::Output, F32, &[4096, 2048], 1 << 30),
    ];
    let s = |o: i64, n| sbuf(F32, 128, o, n);
    let times = |n, i: MInst| repeat(0, 0, n, vec![i]);
    let h = |o: u32, address, rows, cols, pitch| {
        let mut a = hbm(F32, address, rows, cols, pitch);
        a.object = Some(o);
        a
    };
    let load = |at, cols: u32| dma(s(at, cols), h(0, 0, 128, cols, 1024), 0, DgeMode::None);
    let gain = dma(
        access(nki_ir::Space::Sbuf, F32, (0, 1), 0, &[(1024, 1)]),
        h(0, 0, 1, 1024, 1024),
        2,
        DgeMode::None,
    );
    let mut out = h(1, 0, 128, 512, 2048);
    out.offset = affine(1 << 30, &[(0, 128 * 2048 * 4), (1, 2048)]);
    let store = dma(out, s(40_960, 512), 1, DgeMode::None).wait(4, 1).signal(1, 16);
    let columns = inst(MKind::For {
        reg: SeqReg(1),
        lo: MBound::Const(0),
        hi: MBound::Const(4),
        step: 1,
        max: None,
        body: vec![store],
    });
    *stream(&mut p, Engine::Sync) = vec![
        // x and z in 64 tiles, w in 16, the gain, the identity.
        times(80, load(65_536, 1024).wait_affine(0, affine(0, &[(0, 16)])).signal(0, 16)),
        gain.signal(2, 16),
        load(32_768, 128).signal(3, 16),
        times(32, columns),
    ];
    let transpose =
        with_flag(matmul(psum(F32, 128, 0, 128), s(8192, 128), s(8704, 128), false), "is_transpose");
    let product = matmul(psum(F32, 128, 2048, 512), s(8192, 128), s(9216, 512), false);
    let row = |o: i64, n| access(nki_ir::Space::Sbuf, F32, (0, 1), o, &[(n, 1)]);
    let broadcast = matmul(psum(F32, 128, 4096, 512), row(20_480, 128), row(24_576, 512), false);
    let broadcast = with_flag(broadcast, "is_stationary_onezero");
    *stream(&mut p, Engine::Tensor) = vec![times(1024, transpose), times(1024, product), times(2, broadcast)];
    let act = |src| activation(s(100_000, src_n(&src)), src, ActFn::Copy);
    *stream(&mut p, Engine::Scalar) = vec![
        times(1024, act(psum(F32, 128, 8192, 128))),
        times(128 + 2, act(psum(F32, 128, 8192, 512))),
        times(64, act(s(120_000, 1024))),
        times(64, act(s(120_000, 1))),
    ];
    let reduce = compute(
        Op::TensorReduce,
        vec![tile(s(140_000, 1)), tile(s(150_000, 1024))],
        &[("op", Attr::Alu(AluOp::Add)), ("axis", Attr::Ints(vec![1]))],
    );
    let add = tensor_tensor(s(160_000, 1024), s(150_000, 1024), s(150_000, 1024), AluOp::Add);
    let ready = tensor_tensor(s(40_960, 512), s(150_000, 512), s(150_000, 512), AluOp::Add);
    *stream(&mut p, Engine::Vector) = vec![times(63, add), times(32, reduce), ready.signal(4, 1)];
    p
}
fn src_n(a: &Access) -> u32 {
    a.dims.iter().map(|d| d.count).product()
}

/// The row of C2 in calibration.md section 2.
#[test]
fn counters_follow_the_published_rules() {
    let c = report(c2()).counters;
    assert_eq!((c.hbm_read, c.hbm_write), (42_012_672, 33_554_432));
    assert_eq!((c.psum_read, c.psum_write), (790_528, 5_246_976));
    assert_eq!((c.sbuf_read, c.sbuf_write), (41_292_544, 43_065_728));
    assert_eq!((c.hardware_flops, c.transpose_flops), (42_949_935_104, 8_589_934_592));
}

#[test]
fn metrics_of_a_warm_matmul() {
    let mut p = program(Target::Trn2);
    let mm = matmul(psum(F32, 128, 0, 512), sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 1024, 512), true);
    *stream(&mut p, Engine::Tensor) = vec![repeat(0, 0, 10_000, vec![mm.at(5)])];
    let r = report(p);
    let flops = 10_000 * 2 * 128 * 128 * 512u64;
    assert_eq!((r.flops.useful, r.flops.transposing, r.flops.hardware), (flops, 0, flops));
    near(r.metrics.mfu, flops as f64 / (2.0 * 16384.0 * 2.4 * r.kernel_ns));
    assert!(r.metrics.mfu > 0.985 && r.metrics.mbu == 0.0);
    near(r.metrics.ridge, 109.84);
    assert_eq!((r.bound.resource.as_str(), r.bound.latency), ("tensor", false));
    // All of it is on the critical path, and on one line.
    let line = &r.lines[0];
    assert_eq!((line.at.line, line.count), (5, 10_000));
    near(line.critical_ns, r.kernel_ns);
    // 3 us cold: half of it is lost.
    let pe = &r.engines[0];
    // Less the loop's start, the first stationary load and six pair overheads.
    near(pe.throttled_ns, 3000.0 - 10.0 - 150.0 - 6.0 * 2.5);
    assert_eq!(r.traffic.psum_written, 10_000 * 128 * 512 * 4);
    assert_eq!(r.traffic.sbuf_read, 10_000 * 128 * (128 + 512) * 2);
}

/// A load, a use of it, and a use of that.
fn chain() -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![tensor("x", BufKind::Input, F32, &[128, 512], 0)];
    p.placements = vec![Placement {
        name: "x".into(),
        space: nki_ir::Space::Sbuf,
        start_partition: 0,
        partitions: 128,
        offset: 100,
        bytes: 2048,
        loc: nki_ir::Loc(1),
    }];
    let mut src = hbm(F32, 0, 128, 512, 512);
    src.object = Some(0);
    *stream(&mut p, Engine::Sync) =
        vec![dma(sbuf(F32, 128, 0, 512), src, 3, DgeMode::Hwdge).signal(0, 16).at(10)];
    let copy_to = copy(sbuf(F32, 128, 2048, 512), sbuf(F32, 128, 0, 512));
    *stream(&mut p, Engine::Vector) = vec![copy_to.wait(0, 16).signal(1, 1).at(11)];
    let act = activation(sbuf(F32, 128, 4096, 512), sbuf(F32, 128, 2048, 512), ActFn::Copy);
    *stream(&mut p, Engine::Scalar) = vec![act.wait(1, 1).at(12)];
    p
}

#[test]
fn waits_are_attributed_to_lines() {
    let r = report(chain());
    let line = |n| r.lines.iter().find(|l| l.at.line == n).unwrap();
    let load = 900.0 + 225.0 + 180.0 + 8.0 * (1.0 + 2048.0 / 26.6) + 13.0;
    near(line(11).waits_for[0].1, load + 360.0);
    assert_eq!(line(11).waits_for[0].0.line, 10);
    near(line(12).waits_for[0].1, load + 360.0 + 431.25 + 25.0);
    near(r.kernel_ns, load + 360.0 + 431.25 + 25.0 + 596.67);
    near(r.nc_latency_ns, r.kernel_ns + 11_000.0);
    near(r.profiled_ns, r.kernel_ns + 15_300.0);
    // The critical path is everything: three lines and two hops.
    let critical: f64 = r.lines.iter().map(|l| l.critical_ns).sum();
    near(critical + r.critical_synchronisation_ns, r.kernel_ns);
    near(r.critical_synchronisation_ns, 385.0);
    near(line(10).critical_ns, load);
    for e in &r.engines {
        near(e.busy_ns + e.stalled_ns() + e.idle_ns, r.kernel_ns);
    }
    assert_eq!(r.engines[2].stalled.iter().map(|s| s.0).collect::<Vec<_>>(), [Stall::Load]);
    assert_eq!(r.engines[1].stalled.iter().map(|s| s.0).collect::<Vec<_>>(), [Stall::Engine(2)]);
    assert_eq!((r.dma.transfers, r.dma.elements, r.dma.queues.len()), (1, 128, 1));
    assert_eq!((r.dma.queues[0].queue, r.dma.queues[0].bytes), (3, 262_144));
    near(r.dma.dge_ns[0], 600.2);
    assert_eq!((r.memory.sbuf_bytes, r.memory.psum_bytes), (2148, 0));
    assert!(r.bound.latency);
}

#[cfg(feature = "json")]
#[test]
fn text_and_json_say_the_same() {
    let r = report(chain());
    let text = r.to_string();
    for words in [
        "k on trn2 (simulated)",
        "bound by",
        "so waiting decides",
        "loads 68.6%",
        "k.rs:10",
        "waits for line 10",
    ] {
        assert!(text.contains(words), "{words:?} not in\n{text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 120), "{text}");
    let json = r.to_json();
    assert_eq!(json["kernel_ns"], r.kernel_ns);
    assert_eq!(json["lines"].as_array().unwrap().len(), 3);
    assert_eq!(json["engines"][2]["stalls"][0]["waited_for"], "loads");
    assert_eq!(json["counters"]["hbm_read"], 262_144);
}

#[test]
fn an_empty_program_has_a_report() {
    let r = report(program(Target::Inf2));
    assert_eq!((r.kernel_ns, r.instructions), (0.0, 0));
    assert_eq!(r.metrics.mfu, 0.0);
    assert!(r.to_string().contains("bound by nothing"));
}

/// Every quantity of a small kernel, derived by hand: `x[128, 256]` and `w[128, 128]` in bf16 are loaded, `w` is transposed and
/// multiplied with `x` into f32, the product is rounded to bf16 and stored.
#[test]
fn quantities_of_a_small_kernel_derived_by_hand() {
    let mut p = program(Target::Trn2);
    p.tensors = vec![
        tensor("x", BufKind::Input, BF16, &[128, 256], 0),
        tensor("w", BufKind::Input, BF16, &[128, 128], 1 << 20),
        tensor("y", BufKind::Output, BF16, &[128, 256], 2 << 20),
    ];
    let place = |name: &str, space, offset, bytes| Placement {
        name: name.into(),
        space,
        start_partition: 0,
        partitions: 128,
        offset,
        bytes,
        loc: nki_ir::Loc(1),
    };
    let (on_sbuf, on_psum) = (nki_ir::Space::Sbuf, nki_ir::Space::Psum);
    p.placements = vec![
        place("x", on_sbuf, 0, 512),
        place("w", on_sbuf, 512, 256),
        place("y", on_sbuf, 1024, 512),
        place("turned", on_psum, 0, 256),
        place("acc", on_psum, 2048, 1024),
    ];
    let object = |mut a: Access, o: u32| {
        a.object = Some(o);
        a
    };
    let (x, w, y) = (
        object(sbuf(BF16, 128, 0, 256), 0),
        object(sbuf(BF16, 128, 512, 128), 1),
        object(sbuf(BF16, 128, 1024, 256), 2),
    );
    let (turned, acc) = (object(psum(BF16, 128, 0, 128), 3), object(psum(F32, 128, 2048, 256), 4));
    let of = |a: Access, tensor: u32| object(a, tensor);
    *stream(&mut p, Engine::Sync) = vec![
        dma(x.clone(), of(hbm(BF16, 0, 128, 256, 256), 0), 0, DgeMode::None).signal(0, 16),
        dma(w.clone(), of(hbm(BF16, 1 << 20, 128, 128, 128), 1), 1, DgeMode::None).signal(1, 16),
        dma(of(hbm(BF16, 2 << 20, 128, 256, 256), 2), y.clone(), 2, DgeMode::None).wait(3, 1).signal(4, 16),
    ];
    *stream(&mut p, Engine::Tensor) = vec![
        with_flag(matmul(turned, w.clone(), w.clone(), false), "is_transpose").wait(1, 16),
        matmul(acc.clone(), w, x, false).wait(0, 16).signal(2, 1),
    ];
    *stream(&mut p, Engine::Vector) = vec![copy(y, acc).wait(2, 1).signal(3, 1)];
    let r = report(p);

    // A product counts 2 K M N: the transpose 2 * 128 * 128 * 128, the product 2 * 128 * 128 * 256; bf16 takes one pass.
    assert_eq!((r.flops.useful, r.flops.transposing, r.flops.hardware), (8_388_608, 4_194_304, 12_582_912));
    let t = r.traffic;
    // x is 128 * 256 * 2 = 65536 B, w 128 * 128 * 2 = 32768 B; y is as large as x.
    assert_eq!((t.hbm_read, t.hbm_written), (65_536 + 32_768, 65_536));
    // Read: w and w by the transpose, w and x by the product, y by its store. Written: x, w, y.
    assert_eq!(t.sbuf_read, 2 * 32_768 + 32_768 + 65_536 + 65_536);
    assert_eq!(t.sbuf_written, 65_536 + 32_768 + 65_536);
    // The sums are f32, 128 * 256 * 4 = 131072 B, and read once; the transposed tile stays bf16, 32768 B.
    assert_eq!((t.psum_read, t.psum_written), (131_072, 131_072 + 32_768));
    // 8388608 useful flops for 163840 bytes of HBM.
    let m = r.metrics;
    near(m.intensity, 51.2);
    // 128 x 128 products and sums at 2.4 GHz are 78643.2 flops/ns; the stack gives 716 B/ns; they meet at 109.84 flop/B.
    near(m.ridge, 78_643.2 / 716.0);
    near(m.mfu, 8_388_608.0 / 78_643.2 / r.kernel_ns);
    near(m.hfu, 12_582_912.0 / 78_643.2 / r.kernel_ns);
    near(m.mbu, 163_840.0 / 716.0 / r.kernel_ns);
    // Left of the ridge: the roof is the memory's, and the share of it that is reached is the MBU.
    assert!(m.intensity < m.ridge);
    near(m.mfu * 78_643.2 / (m.intensity * 716.0), m.mbu);
    // Most of SBUF is in use while y is made: x and w are read last by the product, before y exists. So x and w together are
    // 98304 B, y alone is 65536 B. In PSUM the transposed tile is done when the sums are begun.
    assert_eq!((r.memory.sbuf_bytes, r.memory.psum_bytes), (1536, 3072));
    let names = |p: &nki_sim::report::Peak| p.live.iter().map(|b| b.name.clone()).collect::<Vec<_>>();
    let (sbuf_peak, psum_peak) = (&r.memory.sbuf_peak, &r.memory.psum_peak);
    assert_eq!((sbuf_peak.bytes, names(sbuf_peak)), (98_304, vec!["x".to_string(), "w".into()]));
    assert!(sbuf_peak.live.iter().map(|b| b.bytes).sum::<u64>() == sbuf_peak.bytes);
    assert!(psum_peak.bytes >= 131_072 && names(psum_peak)[0] == "acc");
    assert_eq!(sbuf_peak.live[0].at.as_ref().map(|at| at.line), Some(1));
}
