//! Kernels that do not fit, and manual placement.

use crate::kernels::compile;
use crate::kernels::{self, Recorder};
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::op::Op;
use nki_ir::{Code, DType, Kernel, Operand, Space, Target};

/// `tiles` tiles of `bytes` per partition, all live until the end.
fn hoarder(tiles: u32, bytes: u32, address: Option<(u32, u32)>) -> Kernel {
    let mut r = Recorder::new("hoarder");
    let x = r.input("x", DType::U8, &[128, bytes]);
    let out = r.output("out", DType::U8, &[tiles, 128, bytes]);
    let mut held = Vec::new();
    for i in 0..tiles {
        let t = r.tile(&format!("t{i}"), Space::Sbuf, DType::U8, &[128, bytes]);
        r.b.kernel_mut().bufs[t].address = address;
        let (dst, src) = (r.full(t), r.full(x));
        r.dma(dst, src);
        held.push(t);
    }
    for (i, t) in held.into_iter().enumerate() {
        let index = nki_ir::Affine::constant(i as i64);
        let zero = nki_ir::Affine::constant(0);
        let dst = r.part(out, &[(index, 1), (zero.clone(), 128), (zero, bytes)]);
        let src = r.full(t);
        r.dma(dst, src);
    }
    r.finish()
}

#[test]
fn sbuf_fits_to_the_last_byte_and_not_beyond() {
    for target in Target::ALL {
        let usable = target.sbuf_bytes_per_partition();
        let o = CompileOptions::default();
        let fits = compile(&hoarder(4, usable / 16 * 4, None), target, &o).unwrap();
        assert_eq!(fits.report.sbuf_peak, usable / 16 * 16);
        let e = compile(&hoarder(4, usable / 4 + 4, None), target, &o).unwrap_err();
        assert_eq!(e.first_code(), Some(Code::SbufCapacity), "{e}");
        // All four live buffers with their source lines.
        let text = e.to_string();
        assert!((0..4).all(|i| text.contains(&format!("`t{i}`"))), "{text}");
        assert_eq!(text.matches("kernel.rs:").count(), 5, "{text}");
    }
}

#[test]
fn a_capacity_error_says_what_would_fit() {
    let o = CompileOptions::default();
    for (tiles, bytes) in [(1, 10), (1, 100_000), (3, 17)] {
        let usable = Target::Trn2.sbuf_bytes_per_partition();
        let e =
            compile(&hoarder(tiles, usable / tiles + bytes, None), Target::Trn2, &o).unwrap_err().to_string();
        let columns =
            e.split("with at most ").nth(1).and_then(|t| t.split_once(" columns of `t0`")).map(|t| t.0);
        let columns: u32 = columns.unwrap_or_else(|| panic!("{e}")).parse().unwrap();
        // The others stay as large as they are.
        assert_eq!(columns, usable - (tiles - 1) * (usable / tiles + bytes), "{e}");
        compile(&hoarder(tiles, columns, None), Target::Trn2, &o).unwrap();
    }
    let e = compile(&hoarder(2, 400_000, None), Target::Trn2, &o).unwrap_err().to_string();
    assert!(e.contains("587016 bytes are too many here, more than `t0` holds"), "{e}");
}

#[test]
fn psum_has_eight_banks() {
    let kernel = |n: u32| {
        let mut r = Recorder::new("banks");
        let x = r.input("x", DType::F32, &[64, 64]);
        let out = r.output("out", DType::F32, &[64, 64]);
        let s = r.tile("s", Space::Sbuf, DType::F32, &[64, 64]);
        let (fs, fx, fout) = (r.full(s), r.full(x), r.full(out));
        r.dma(fs.clone(), fx);
        let accs: Vec<_> =
            (0..n).map(|i| r.tile(&format!("acc{i}"), Space::Psum, DType::F32, &[64, 512])).collect();
        for &a in &accs {
            let dst = r.part(a, &[(nki_ir::Affine::constant(0), 64), (nki_ir::Affine::constant(0), 64)]);
            r.matmul(dst, fs.clone(), fs.clone(), nki_ir::kernel::Accumulate::Overwrite);
        }
        for &a in &accs {
            let src = r.part(a, &[(nki_ir::Affine::constant(0), 64), (nki_ir::Affine::constant(0), 64)]);
            r.copy(fs.clone(), src);
        }
        r.dma(fout, fs);
        r.finish()
    };
    let o = CompileOptions::default();
    assert_eq!(compile(&kernel(8), Target::Trn2, &o).unwrap().report.psum_peak, 16384);
    let e = compile(&kernel(9), Target::Trn2, &o).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::PsumCapacity), "{e}");
}

#[test]
fn manual_addresses_are_honoured_and_checked() {
    let o = CompileOptions::default();
    let c = compile(&hoarder(1, 100, Some((0, 4096))), Target::Trn2, &o).unwrap();
    let p = c.program.placements.iter().find(|p| p.name == "t0").unwrap();
    assert_eq!((p.start_partition, p.offset), (0, 4096));
    let e = compile(&hoarder(2, 100, Some((0, 4096))), Target::Trn2, &o).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Overlap), "{e}");
    let e = compile(&hoarder(1, 100, Some((0, 212_980))), Target::Trn2, &o).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::OutOfBounds), "{e}");
}

#[test]
fn a_depth_that_does_not_fit_is_refused() {
    let mut k = kernels::copy(128 * 8, 512, 512, DType::F32);
    let t = k.bufs.keys().find(|&b| k.bufs[b].space == Space::Sbuf).unwrap();
    let o = CompileOptions::default();
    k.bufs[t].buffers = Some(3);
    let sites = compile(&k, Target::Trn2, &o).unwrap().report.sites;
    assert_eq!(sites[0].depth, 3);
    k.bufs[t].buffers = Some(200);
    let e = compile(&k, Target::Trn2, &o).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::SbufCapacity), "{e}");
}

#[test]
fn tiles_of_one_branch_of_time_share_memory() {
    // Each takes a third of SBUF; they live one after the other. With room they are kept apart, so that the second need
    // not wait for the first; four of them have to share.
    for (tiles, peak) in [(2, 120_000), (4, 180_000)] {
        let mut r = Recorder::new("phases");
        let out = r.output("out", DType::U8, &[tiles, 128, 60_000]);
        for i in 0..i64::from(tiles) {
            let t = r.tile(&format!("t{i}"), Space::Sbuf, DType::U8, &[128, 60_000]);
            let full = r.full(t);
            r.op(Op::Memset, &[("dst", Operand::View(full.clone())), ("value", Operand::Int(i))], &[]);
            let zero = nki_ir::Affine::constant(0);
            let dst = r.part(out, &[(nki_ir::Affine::constant(i), 1), (zero.clone(), 128), (zero, 60_000)]);
            r.dma(dst, full);
        }
        let c = compile(&r.finish(), Target::Trn2, &CompileOptions::default()).unwrap();
        assert_eq!(c.report.sbuf_peak, peak);
    }
}

#[test]
fn tiles_that_do_not_fit_wait_in_device_memory_when_asked() {
    let spill = CompileOptions { spill: true, ..CompileOptions::default() }.without(Pass::ReuseLoads);
    for target in [Target::Trn1, Target::Trn2, Target::Trn3] {
        let usable = target.sbuf_bytes_per_partition();
        // Nine tiles of which four fit.
        let k = hoarder(9, usable / 16 * 4, None);
        let e = compile(&k, target, &CompileOptions::default()).unwrap_err();
        assert_eq!(e.first_code(), Some(Code::SbufCapacity), "{e}");
        let spilling = |k: &Kernel| nki_ir::verify::verify_spilling(k.clone(), target).unwrap();
        // The compiler does not spill unasked.
        let unasked = nki_backend::device::compile(&spilling(&k), &CompileOptions::default()).unwrap_err();
        assert_eq!(unasked.first_code(), Some(Code::SbufCapacity), "{unasked}");
        let c = nki_backend::device::compile(&spilling(&k), &spill).unwrap();
        assert!(c.report.sbuf_peak <= usable);
        let (mut stores, mut loads) = (0, 0);
        for s in &c.report.spills {
            assert_eq!(s.bytes, 128 * u64::from(usable / 16 * 4));
            assert!(s.place.contains("kernel.rs:"), "{s:?}");
            (stores, loads) = (stores + s.stores, loads + s.loads);
        }
        // All hold what was loaded from `x`: they come back from there.
        assert!((5..=9).contains(&loads) && stores == 0, "{:?}", c.report.spills);
        // Every byte is reported: 9 loads and 9 stores of the source, and these.
        assert_eq!(c.report.transfers, 18 + stores + loads);
        crate::agree::check("spill", &k, target, &spill);
    }
    // What fits is not touched.
    let fits = hoarder(3, 1000, None);
    let c = compile(&fits, Target::Trn2, &spill).unwrap();
    assert!(c.report.spills.is_empty() && c.report.transfers == 6);
    // A single tile that is too large cannot be helped.
    let one = nki_ir::verify::verify_spilling(hoarder(1, 400_000, None), Target::Trn2).unwrap();
    let e = nki_backend::device::compile(&one, &spill).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::SbufCapacity), "{e}");
}

/// Sums that change again after they were spilled, in a program long enough for tiles to come back ahead of their use.
#[test]
fn spilled_tiles_keep_their_bits_through_changes() {
    let text = |tiles: u32, columns: u32| {
        let mut body = String::new();
        for i in 0..tiles {
            body +=
                &format!("  %t{i} = alloc sbuf<f32, [128, {columns}]>\n  dma_copy %t{i}, %x[{i}, :, :]\n");
        }
        let mut step = |i: u32, op: &str| {
            body += &format!("  tensor_tensor %t{i}, %t{i}, %t{} {{op = {op}}}\n", (i + 1) % tiles);
        };
        for op in ["add", "multiply", "add"] {
            (0..tiles).for_each(|i| step(i, op));
        }
        // Each pair for a while: the others wait in device memory, and come back before they are used.
        for i in 0..tiles {
            (0..30).for_each(|_| step(i, "add"));
        }
        for i in 0..tiles {
            body += &format!("  dma_copy %out[{i}, :, :], %t{i}\n");
        }
        let shape = format!("[{tiles}, 128, {columns}]");
        format!(
            "nki-ir 1\nkernel @sums(%x: in hbm<f32, {shape}>, %out: out hbm<f32, {shape}>) {{\n{body}}}\n"
        )
    };
    let kernel = nki_ir::text::parse(&text(7, 12_000), "sums.nkir").unwrap();
    let spill = CompileOptions { spill: true, ..CompileOptions::default() };
    crate::agree::check("sums", &kernel, Target::Trn2, &spill);
    let verified = nki_ir::verify::verify_spilling(kernel, Target::Trn2).unwrap();
    let c = nki_backend::device::compile(&verified, &spill).unwrap();
    assert!(c.report.spills.iter().map(|s| s.loads).sum::<u64>() > 7, "{}", c.report);
}

/// 80 sums of 2 KB a partition beside 4 tiles of 16 KB that are loaded again and again: 16 KB more than trn2 has. The
/// loop has these words behind it.
fn sums_beside_large_tiles(words: &str) -> Kernel {
    let mut text = String::from(
        "nki-ir 1
kernel @mixed(%x: in hbm<f32, [3, 4, 128, 4096]>, %out: out hbm<f32, [80, 128, 512]>) {
",
    );
    for j in 0..80 {
        text += &format!("  %s{j} = alloc sbuf<f32, [128, 512]>\n  memset %s{j}, 0.0\n");
    }
    text += &format!("  for %i in 0..3 {words} {{\n");
    for k in 0..4 {
        text += &format!("    %t{k} = alloc sbuf<f32, [128, 4096]>\n    dma_copy %t{k}, %x[%i, {k}, :, :]\n");
    }
    for j in 0..80 {
        let (k, from) = (j % 4, j % 8 * 512);
        let part = format!("%t{k}[:, {from}:{}]", from + 512);
        text += &format!("    tensor_tensor %s{j}, %s{j}, {part} {{op = add}}\n");
    }
    text += "  }\n";
    for j in 0..80 {
        text += &format!("  dma_copy %out[{j}, :, :], %s{j}\n");
    }
    nki_ir::text::parse(&(text + "}\n"), "mixed.nkir").unwrap()
}

#[test]
fn tiles_of_one_size_go_where_room_would_be_scattered() {
    let k = sums_beside_large_tiles("");
    let spill = CompileOptions { spill: true, ..CompileOptions::default() }.without(Pass::ReuseLoads);
    let verified = nki_ir::verify::verify_spilling(k.clone(), Target::Trn2).unwrap();
    let c = nki_backend::device::compile(&verified, &spill).unwrap();
    // 9 sums are too many, three times; more go where that lets large tiles come ahead of their turn.
    let stores: u64 = c.report.spills.iter().map(|s| s.stores).sum();
    assert!(c.report.spills.iter().all(|s| s.bytes == 128 * 2048), "{:?}", c.report.spills);
    assert!((24..=160).contains(&stores), "{stores} stores");
    crate::agree::check("spill", &k, Target::Trn2, &spill);
}

#[test]
fn spilling_says_why_it_leaves_kept_loops_alone() {
    let k = sums_beside_large_tiles("unroll 1");
    let verified = nki_ir::verify::verify_spilling(k, Target::Trn2).unwrap();
    let spill = CompileOptions { spill: true, ..CompileOptions::default() };
    let e = nki_backend::device::compile(&verified, &spill).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::SbufCapacity));
    assert!(e.to_string().contains("spilling does not reach into loops"));
}
