//! What a schedule asks for: unrolling into hardware loops, rings, order.

use crate::agree::check;
use crate::kernels::compile;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::{Code, Kernel, Target};
use nki_sim::program::{MBound, MInst, MKind, Program};

/// A product summed over 12 turns of an inner loop, in 6 turns of an outer one, with these words behind the loops and tiles.
fn product(outer: &str, inner: &str, acc: &str, a: &str) -> Kernel {
    let text = format!(
        "nki-ir 1
kernel @product(%a: in hbm<f32, [6, 24, 16, 8]>, %b: in hbm<f32, [24, 16, 10]>, %out: out hbm<f32, [6, 8, 10]>) {{
  for %m in 0..6 {outer} {{
    %acc = alloc psum<f32, [8, 10]>{acc}
    for %k in 0..24 step 2 {inner} {{
      %ta = alloc sbuf<f32, [16, 8]>{a}
      %tb = alloc sbuf<f32, [16, 10]>
      dma_copy %ta, %a[%m, %k, :, :]
      dma_copy %tb, %b[%k, :, :]
      nc_matmul %acc, %ta, %tb {{accumulate = unless_first(%k)}}
    }}
    %res = alloc sbuf<f32, [8, 10]>
    tensor_copy %res, %acc
    dma_copy %out[%m, :, :], %res
  }}
}}
"
    );
    nki_ir::text::parse(&text, "product.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Trip counts of the hardware loops of the sync engine's stream, outermost first.
fn hardware_loops(p: &Program) -> Vec<i64> {
    fn walk(stream: &[MInst], out: &mut Vec<i64>) {
        for i in stream {
            if let MKind::For { hi: MBound::Const(n), body, .. } = &i.kind {
                out.push(*n);
                walk(body, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(&p.streams[4], &mut out);
    out
}

#[test]
fn unrolled_turns_are_one_turn_of_a_hardware_loop() {
    let all: [(&str, &str, &[i64]); 8] = [
        ("", "", &[]),
        ("unroll 6", "unroll 12", &[]),
        ("unroll 100", "unroll 100", &[]),
        ("unroll 2", "", &[3]),
        ("unroll 1", "unroll 1", &[6, 12]),
        ("unroll 3", "unroll 4", &[2, 3, 3, 3]),
        ("", "unroll 6", &[2; 6]),
        ("unroll 6", "unroll 3", &[4; 6]),
    ];
    for (outer, inner, loops) in all {
        let k = product(outer, inner, "", "");
        for target in [Target::Trn1, Target::Trn2, Target::Trn3] {
            check(&format!("{outer}, {inner}"), &k, target, &CompileOptions::default());
        }
        let c = compile(&k, Target::Trn2, &CompileOptions::default()).unwrap();
        assert_eq!(hardware_loops(&c.program), loops, "{outer}, {inner}");
        // A small budget does not undo what was asked for.
        let small = CompileOptions { unroll_budget: 5, ..CompileOptions::default() };
        check(&format!("{outer}, {inner}, small"), &k, Target::Trn2, &small);
    }
}

#[test]
fn turns_that_are_left_over_come_behind_the_loop() {
    let all: [(&str, &str, &[i64]); 5] = [
        ("unroll 4", "", &[1]),
        ("", "unroll 5", &[2; 6]),
        ("", "unroll 7", &[1; 6]),
        ("unroll 4", "unroll 5", &[1, 2, 2, 2, 2, 2, 2]),
        ("unroll 1", "unroll 11", &[6, 1]),
    ];
    for (outer, inner, loops) in all {
        let k = product(outer, inner, "", "");
        for target in [Target::Trn1, Target::Trn2, Target::Trn3] {
            check(&format!("{outer}, {inner}"), &k, target, &CompileOptions::default());
        }
        let c = compile(&k, Target::Trn2, &CompileOptions::default()).unwrap();
        assert_eq!(hardware_loops(&c.program), loops, "{outer}, {inner}");
    }
}

#[test]
fn transfers_use_the_ring_asked_for() {
    let k = product("", "", "", " queue 7");
    check("queue", &k, Target::Trn2, &CompileOptions::default());
    let o = CompileOptions::default().without(Pass::ReuseLoads).without(Pass::LateStores);
    let c = compile(&k, Target::Trn2, &o).unwrap();
    let rings = c.program.streams.iter().flatten().filter_map(|i| match &i.kind {
        MKind::Dma { queue, .. } => Some(*queue),
        _ => None,
    });
    let mut count = [0; 16];
    rings.for_each(|r| count[r as usize] += 1);
    assert_eq!((count[0], count[1], count[7]), (72, 6, 72));
    let d = compile(&product("", "", "", " queue 16"), Target::Trn2, &CompileOptions::default()).unwrap_err();
    assert_eq!(d.first_code(), Some(Code::Schedule), "{d}");
}

#[test]
fn what_comes_after_a_tile_waits_for_it() {
    // Loads of one turn wait for the products of the turns before.
    let k = product("", "", "", " after %acc");
    let free = product("", "", "", "");
    let o = CompileOptions::default().without(Pass::ReuseLoads);
    check("after", &k, Target::Trn2, &o);
    let time = |k: &Kernel| compile(k, Target::Trn2, &o).unwrap().report.estimate_ns;
    // Every one of 72 loads takes 2 µs and can begin only when a product is complete.
    assert!(time(&k) > 60.0 * 2000.0 && time(&free) < 0.5 * time(&k), "{} {}", time(&k), time(&free));
}
