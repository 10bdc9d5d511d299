//! Mistakes in kernels that rustc cannot see: each has its code, and the line of the kernel's source.

use nki::ir::diag::Severity;
use nki::ir::{Code, Diagnostics};
use nki::prelude::*;
use nki::{Label, Specialization};

/// The first error is `code`, at the line of this file that ends in the comment `// HERE name`.
#[track_caller]
fn expect(spec: Specialization, code: Code, mark: &str) -> Diagnostics {
    let found = spec.verify(Target::Trn2).expect_err("the kernel is wrong");
    assert_eq!(found.first_code(), Some(code), "{found}");
    let first = found.iter().find(|d| d.severity == Severity::Error).expect("there is an error");
    let at = first.at.as_ref().unwrap_or_else(|| panic!("no place: {found}"));
    let mark = format!("// HERE {mark}");
    let line =
        1 + include_str!("mistakes.rs").lines().position(|l| l.ends_with(&mark)).expect("the mark exists");
    assert_eq!((at.file.as_str(), at.line as usize), (file!(), line), "{found}");
    assert!(first.help.is_some(), "no help: {found}");
    found
}

macro_rules! mistakes {
    ($($name:ident: $code:ident, [$($shape:expr),*], |$nc:ident, $x:ident, $out:ident| { $($body:tt)* })*) => {$(
        #[test]
        fn $name() {
            #[nki::kernel]
            fn kernel($nc: Nc, $x: Hbm<f32>) -> Hbm<f32> {
                let $out = $nc.hbm($x.shape());
                $($body)*
                $out
            }
            expect(kernel::specialize([$($shape),*]), Code::$code, stringify!($name));
        }
    )*};
}

// The result is made in the macro, whose operations are placed here.
mistakes! { // HERE output_not_written
    shape_mismatch: Shape, [128, 64], |nc, x, out| {
        let tile = nc.load(x);
        let narrow = nc.load(x.at((.., 0..32)));
        nc.store(out, tile);
        nc.store(out, tile + narrow); // HERE shape_mismatch
    }
    store_of_another_shape: Shape, [16, 64], |nc, x, out| {
        nc.store(out.at((0..8, ..)), nc.load(x)); // HERE store_of_another_shape
    }
    contraction_mismatch: Shape, [64, 64], |nc, x, out| {
        let acc = nc.psum([64, 64]);
        let a = nc.load(x.at((0..32, ..)));
        let b = nc.load(x);
        nc.nc_matmul(acc, a, b); // HERE contraction_mismatch
        nc.store(out, acc.to::<f32>());
    }
    too_many_partitions: Partition, [256, 4], |nc, x, out| {
        let tile = nc.load(x); // HERE too_many_partitions
        nc.store(out, tile);
    }
    slice_out_of_bounds: OutOfBounds, [500, 4], |nc, x, out| {
        for i in nc.range(4) {
            let rows = i * 128..(i + 1) * 128;
            let tile = nc.load(x.at((rows.clone(), ..))); // HERE slice_out_of_bounds
            nc.store(out.at((rows, ..)), tile);
        }
    }
    slice_of_a_slice_out_of_bounds: OutOfBounds, [128, 8], |nc, x, out| {
        let half = x.at((0..64, ..));
        let tile = nc.load(half.at((32..96, ..))); // HERE slice_of_a_slice_out_of_bounds
        nc.store(out.at((0..64, ..)), tile);
    }
    sbuf_overflow: SbufCapacity, [128, 70_000], |nc, x, out| {
        let tile = nc.load(x); // HERE sbuf_overflow
        nc.store(out, tile);
    }
    read_before_write: Uninitialized, [128, 8], |nc, x, out| {
        let tile = nc.sbuf::<f32>([128, 8]);
        nc.store(out, tile + nc.load(x)); // HERE read_before_write
    }
    output_not_written: OutputNotWritten, [4, 8], |nc, x, out| {
        let _ = nc.load(x);
    }
    tile_used_after_its_loop: Escape, [512, 8], |nc, x, out| {
        let mut kept = Vec::new();
        for r in nc.tiles(512, 128) {
            kept.push(nc.load(x.at((r, ..))));
            nc.store(out.at((r, ..)), kept[0]);
        }
        nc.store(out.at((0..128, ..)), kept[0]); // HERE tile_used_after_its_loop
    }
    loop_left_early: ControlFlow, [512, 8], |nc, x, out| {
        fn first(nc: Nc, x: Hbm<f32>) -> Tile<f32> {
            for r in nc.tiles(512, 128) { // HERE loop_left_early
                if r.len() == 128 {
                    return nc.load(x.at((r, ..)));
                }
            }
            nc.load(x)
        }
        nc.store(out.at((0..128, ..)), first(nc, x));
    }
    length_that_changes: DynamicIndex, [128, 8], |nc, x, out| {
        for i in nc.range(4) {
            nc.store(out.at((.., i * 2..i * 3 + 1)), nc.load(x)); // HERE length_that_changes
        }
    }
    psum_bank: PsumBank, [128, 600], |nc, x, out| {
        let acc = nc.psum([128, 600]);
        let a = nc.load(x.at((.., 0..128)));
        let b = nc.load(x.at((.., 400..600)));
        nc.nc_matmul(acc.at((.., 400..600)), a, b); // HERE psum_bank
        nc.store(out, acc.to::<f32>());
    }
    too_many_indices: Shape, [4, 8], |nc, x, out| {
        nc.store(out, nc.load(x.at((.., .., 0)))); // HERE too_many_indices
    }
    backward_range: OutOfBounds, [4, 8], |nc, x, out| {
        let (from, to) = (5, 3);
        nc.store(out, nc.load(x.at((.., from..to)))); // HERE backward_range
    }
    partitions_cannot_be_split: AccessPattern, [4, 8], |nc, x, out| {
        let tile = nc.load(x);
        nc.store(out, tile.step(0, 2)); // HERE partitions_cannot_be_split
    }
    one_element_is_no_whole_one: AccessPattern, [4, 8], |nc, x, out| {
        let tile = nc.load(x).to::<bf16>();
        let pairs = tile.reshape([4, 8, 1]).bitcast::<f32>(); // HERE one_element_is_no_whole_one
        nc.store(out.at((.., 0..8)), pairs.reshape([4, 8]));
    }
    uneven_merge: AccessPattern, [4, 12], |nc, x, out| {
        let tile = nc.load(x).split(1, &[3, 4]).permute(&[0, 2, 1]);
        nc.store(out, tile.merge(1, 3)); // HERE uneven_merge
    }
    wrong_reshape: Shape, [4, 12], |nc, x, out| {
        nc.store(out, nc.load(x.reshape([4, 13]))); // HERE wrong_reshape
    }
    wrong_rearrange: Shape, [4, 12], |nc, x, out| {
        nc.store(out, nc.load(x.rearrange("a b -> b", &[]))); // HERE wrong_rearrange
    }
    no_free_dimension: Shape, [4, 12], |nc, x, out| {
        nc.sbuf::<f32>([4]); // HERE no_free_dimension
        nc.store(out, nc.load(x));
    }
    empty_blocks: Parameter, [4, 12], |nc, x, out| {
        for r in nc.tiles(4, 0) { // HERE empty_blocks
            nc.store(out.at((r, ..)), nc.load(x.at((r, ..))));
        }
    }
    late_setter: Form, [4, 12], |nc, x, out| {
        let tile = nc.load(x);
        let started = nc.activation(tile, Act::Exp, tile); // HERE late_setter
        nc.store(out, tile);
        started.scale(2.0);
    }
}

#[test]
fn handles_of_other_traces_are_reported() {
    #[nki::kernel]
    fn outer(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        #[nki::kernel]
        fn inner(nc: Nc, y: Hbm<f32>, stolen: Smuggled) -> Hbm<f32> {
            let out = nc.hbm(y.shape());
            nc.store(out, stolen.tensor()); // HERE foreign
            out
        }
        let out = nc.hbm(x.shape());
        SMUGGLED.with(|s| s.set(Some(x)));
        let found = inner::specialize([4, 4], Smuggled).trace().expect_err("a handle was mixed in");
        assert_eq!(found.first_code(), Some(Code::Trace), "{found}");
        nc.store(out, nc.load(x));
        out
    }
    #[derive(Clone)]
    struct Smuggled;
    thread_local!(static SMUGGLED: std::cell::Cell<Option<Hbm<f32>>> = const { std::cell::Cell::new(None) });
    impl Smuggled {
        fn tensor(&self) -> Hbm<f32> {
            SMUGGLED.with(|s| s.get().expect("set before"))
        }
    }
    // The outer trace goes on as if nothing had happened.
    outer::specialize([4, 4]).trace().unwrap();
}

#[test]
fn returned_tensors_are_whole_and_made_here() {
    #[nki::kernel]
    fn identity(_nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        x
    }
    #[nki::kernel]
    fn part(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        let out = nc.hbm(x.shape());
        nc.store(out, nc.load(x));
        out.at((0..2, ..))
    }
    #[nki::kernel]
    fn twice(nc: Nc, x: Hbm<f32>) -> (Hbm<f32>, Hbm<f32>) {
        let out = nc.hbm(x.shape());
        nc.store(out, nc.load(x));
        (out, out)
    }
    for spec in [identity::specialize([4, 4]), part::specialize([4, 4]), twice::specialize([4, 4])] {
        assert_eq!(spec.trace().unwrap_err().first_code(), Some(Code::Argument), "{spec:?}");
    }
}

#[test]
fn unrolling_thousands_of_times_warns() {
    #[nki::kernel]
    fn unrolled(nc: Nc, x: Hbm<f32>, turns: usize) -> Hbm<f32> {
        let out = nc.hbm(x.shape());
        let mut tile = nc.load(x);
        for _ in 0..turns {
            tile += 1.0;
        }
        nc.store(out, tile);
        out
    }
    assert!(unrolled::specialize([1, 1], 4000).trace().unwrap().warnings.is_empty());
    let warnings = unrolled::specialize([1, 1], 5000).trace().unwrap().warnings;
    let codes: Vec<_> = warnings.iter().map(|d| (d.code, d.severity)).collect();
    assert_eq!(codes, [(Code::Unroll, Severity::Warning)]);
}

#[nki::kernel]
fn scheduled(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        let tile = nc.load(x.at((r, ..)));
        let doubled = tile * 2.0;
        nc.store(out.at((r, ..)), doubled);
    }
    out
}

#[test]
fn schedules_reach_tails_and_change_no_result() {
    let at = scheduled::at;
    let schedule = Schedule::new()
        .buffers(at.tile, 3)
        .unroll(at.r, 2)
        .engine(at.doubled, Engine::Scalar)
        .place(at.doubled, 0, 4096);
    let traced = scheduled::specialize([300, 8]).schedule(schedule.clone()).trace().unwrap();
    let k = traced.kernel;
    let tiles: Vec<_> = k.bufs.values().filter(|b| b.name.starts_with("tile")).map(|b| b.buffers).collect();
    assert_eq!(tiles, [Some(3), Some(3)], "the loop's tile and the tail's");
    assert!(k.loops.values().all(|l| matches!(l, nki::ir::LoopData::For { unroll: Some(2), .. })));
    let scaled: Vec<_> =
        k.insts.values().filter(|i| i.op == nki::ir::Op::TensorScalar).map(|i| i.engine).collect();
    assert_eq!(scaled, [Engine::Scalar, Engine::Scalar]);
    nki::check(scheduled::specialize([300, 8]).schedule(schedule.clone()))
        .reference(|args| args["x"].iter().map(|v| v * 2.0).collect::<Vec<_>>())
        .passes();
    let more = schedule.queue(at.tile, 5).order(at.tile, at.doubled).no_reorder(at.r);
    let k = scheduled::specialize([300, 8]).schedule(more.clone()).trace().unwrap().kernel;
    let tiles: Vec<_> = k.bufs.iter().filter(|(_, b)| b.name.starts_with("tile")).collect();
    assert!(tiles.len() == 2 && tiles.iter().all(|(_, b)| b.queue == Some(5)));
    let after: Vec<_> = k.bufs.values().filter_map(|b| b.after).collect();
    assert_eq!(after, tiles.iter().map(|(b, _)| *b).collect::<Vec<_>>());
    assert!(k.loops.values().any(|l| matches!(l, nki::ir::LoopData::NoReorder { .. })));
    nki::check(scheduled::specialize([300, 8]).schedule(more))
        .reference(|args| args["x"].iter().map(|v| v * 2.0).collect::<Vec<_>>())
        .passes();
    // One block needs no loop, and unrolling what is none changes nothing.
    scheduled::specialize([128, 8]).schedule(Schedule::new().unroll(at.r, 2)).trace().unwrap();
}

#[test]
fn schedules_that_cannot_be_applied_say_why() {
    let at = scheduled::at;
    let unknown = Label { name: "nothing", ..at.tile };
    for (schedule, why) in [
        (Schedule::new().buffers(at.r, 2), "buffers(scheduled::at.r, 2)` needs a tile"),
        (Schedule::new().unroll(at.tile, 2), "is not a device loop"),
        (Schedule::new().buffers(at.out, 2), "needs a tile in SBUF or PSUM"),
        (Schedule::new().buffers(at.tile, 0), "asks for no buffer"),
        (Schedule::new().unroll(unknown, 2), "names nothing"),
        (Schedule::new().queue(at.tile, 16), "a ring beyond 15"),
        (Schedule::new().queue(at.out, 1), "needs a tile in SBUF or PSUM"),
        (Schedule::new().order(at.doubled, at.tile), "contradicts the source"),
        (Schedule::new().order(at.tile, at.r), "needs two tiles"),
        (
            Schedule::new().order(unknown, at.tile),
            "order(scheduled::at.nothing, scheduled::at.tile)` names nothing",
        ),
        (Schedule::new().no_reorder(at.tile), "is not a device loop"),
    ] {
        let found = scheduled::specialize([300, 8]).schedule(schedule).trace().unwrap_err();
        assert_eq!(found.first_code(), Some(Code::Schedule));
        assert!(
            found.to_string().contains(why) && found.to_string().contains("tests/mistakes.rs:"),
            "{found}"
        );
    }
}

/// What does not fit is the last axis: the message counts it.
#[test]
fn a_bitcast_says_how_many_elements_make_one() {
    #[nki::kernel]
    fn kernel(nc: Nc, x: Hbm<bf16>) -> Hbm<f32> {
        let out = nc.hbm([4, 8]);
        nc.store(out, nc.load(x).expand(2).bitcast::<f32>().reshape([4, 8]));
        out
    }
    let found = kernel::specialize([4, 8]).verify(Target::Trn2).unwrap_err().to_string();
    assert!(found.contains("the last axis has 1 of bf16, and 2 make one f32"), "{found}");
}

#[test]
fn the_compilers_own_choices_are_a_schedule_that_gives_the_same_program() {
    use nki::backend::device::{CompileOptions, compile};
    let compiled = |schedule: Schedule| {
        let traced = scheduled::specialize([1280, 64]).schedule(schedule).trace().unwrap();
        let verified = nki::ir::verify(traced.kernel, Target::Trn2).unwrap();
        (traced.labels, compile(&verified, &CompileOptions::default()).unwrap())
    };
    let (labels, first) = compiled(Schedule::new());
    let (chosen, remarks) = Schedule::chosen(&labels, &first.report);
    let text = chosen.to_string();
    for step in
        ["unroll(scheduled::at.r, 10)", "queue(scheduled::at.tile, 0)", "buffers(scheduled::at.doubled, "]
    {
        assert!(text.contains(step), "{text}\n{remarks:?}");
    }
    let (_, again) = compiled(chosen);
    assert_eq!(again.report.estimate_ns, first.report.estimate_ns, "{text}\n{remarks:?}");
    assert_eq!(again.program.placements, first.program.placements);
    // Hardware loops of two turns each are another program, with the same choices read back.
    let (labels, pairs) = compiled(Schedule::new().unroll(scheduled::at.r, 2));
    let (chosen, _) = Schedule::chosen(&labels, &pairs.report);
    assert!(chosen.to_string().contains("unroll(scheduled::at.r, 2)"), "{chosen}");
}
