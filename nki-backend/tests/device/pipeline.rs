//! Loops on registers take several turns at a time; transfers at the ends of a program go in pieces; stores wait behind loads.

use crate::agree::check;
use crate::kernels::compile;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::{Kernel, Target};
use nki_sim::program::{MBound, MInst, MKind};
use nki_sim::{Mode, SimOptions};

fn parse(text: &str) -> Kernel {
    nki_ir::text::parse(text, "kernel.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Rows that are scaled and stored, and summed over the turns in SBUF and as products in PSUM, over `count` of at most `max` turns.
fn counted(count: i64, max: u32) -> Kernel {
    parse(&format!(
        "nki-ir 1
kernel @counted(%a: in hbm<f32, [{max}, 16, 8]>, %b: in hbm<f32, [16, 10]>, %out: inout hbm<f32, [{max}, 16, 8]>, %sums: out hbm<f32, [16, 8]>, %products: out hbm<f32, [8, 10]>) {{
  reg %n: i32
  %tb = alloc sbuf<f32, [16, 10]>
  dma_copy %tb, %b
  %sum = alloc sbuf<f32, [16, 8]>
  memset %sum, 0.0
  %acc = alloc psum<f32, [8, 10]>
  nc_matmul %acc, %sum, %tb {{accumulate = overwrite}}
  register_move %n, {count}
  for %i in 0..%n max {max} {{
    %ta = alloc sbuf<f32, [16, 8]>
    %scaled = alloc sbuf<f32, [16, 8]>
    dma_copy %ta, %a[%i, :, :]
    tensor_scalar %scaled, %ta, operand0: 2.0 {{op0 = multiply}}
    tensor_tensor %sum, %sum, %scaled {{op = add}}
    nc_matmul %acc, %ta, %tb {{accumulate = unless_first(%i)}}
    dma_copy %out[%i, :, :], %scaled
  }}
  dma_copy %sums, %sum
  %res = alloc sbuf<f32, [8, 10]>
  tensor_copy %res, %acc
  dma_copy %products, %res
}}
"
    ))
}

/// Steps of the loops on registers of the sync engine's stream.
fn steps(stream: &[MInst], out: &mut Vec<i64>) {
    for i in stream {
        if let MKind::For { hi, step, body, .. } = &i.kind {
            if let MBound::Reg(_) = hi {
                out.push(*step);
            }
            steps(body, out);
        }
    }
}

#[test]
fn loops_on_registers_take_several_turns_at_a_time() {
    let off = CompileOptions::default().without(Pass::PipelineLoops);
    for (max, expected) in
        [(1, vec![1]), (3, vec![1]), (4, vec![2, 1]), (9, vec![4, 1]), (40, vec![16, 4, 1])]
    {
        let k = counted(max.into(), max);
        let found = |o: &CompileOptions| {
            let mut out = Vec::new();
            steps(&compile(&k, Target::Trn2, o).unwrap().program.streams[4], &mut out);
            out
        };
        assert_eq!(found(&CompileOptions::default()), expected, "at most {max} turns");
        assert_eq!(found(&off), [1], "at most {max} turns");
    }
}

#[test]
fn any_number_of_turns_gives_the_same() {
    for target in Target::ALL {
        for count in [-1, 0, 1, 2, 3, 4, 5, 15, 16, 17, 20, 21, 37, 40] {
            check(&format!("{count} turns"), &counted(count, 40), target, &CompileOptions::default());
        }
        for max in 1..8 {
            check("few turns", &counted(i64::from(max), max), target, &CompileOptions::default());
        }
    }
}

fn time(k: &Kernel, o: &CompileOptions) -> f64 {
    let program = nki_sim::verify(compile(k, Target::Trn2, o).unwrap().program).unwrap();
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    nki_sim::run(&program, &[], &options).unwrap().report.kernel_ns
}

#[test]
fn turns_of_a_loop_on_registers_overlap() {
    let k = counted(40, 40);
    let o = CompileOptions::default();
    let (with, without) = (time(&k, &o), time(&k, &o.clone().without(Pass::PipelineLoops)));
    assert!(with < 0.6 * without, "{with} ns, {without} ns one turn after the other");
}

/// 2048 columns that come in one transfer, are computed 512 at a time and leave in one transfer.
fn wide(turns: u32) -> Kernel {
    parse(&format!(
        "nki-ir 1
kernel @wide(%x: in hbm<f32, [{turns}, 128, 2048]>, %out: out hbm<f32, [128, 2048]>) {{
  %sum = alloc sbuf<f32, [128, 2048]>
  memset %sum, 0.0
  for %i in 0..{turns} {{
    %t = alloc sbuf<f32, [128, 2048]>
    dma_copy %t, %x[%i, :, :]
    for %c in 0..2048 step 512 {{
      activation %t[:, %c +: 512], %t[:, %c +: 512] {{op = exp}}
      tensor_tensor %sum[:, %c +: 512], %sum[:, %c +: 512], %t[:, %c +: 512] {{op = add}}
    }}
  }}
  dma_copy %out, %sum
}}
"
    ))
}

#[test]
fn transfers_at_the_ends_come_in_pieces() {
    let o = CompileOptions::default();
    let off = o.clone().without(Pass::SplitTransfers);
    for turns in [1, 4] {
        let k = wide(turns);
        check("pieces", &k, Target::Trn2, &o);
        let (with, without) =
            (compile(&k, Target::Trn2, &o).unwrap(), compile(&k, Target::Trn2, &off).unwrap());
        assert!(with.report.transfers > without.report.transfers, "{}", with.report);
        let (with, without) = (time(&k, &o), time(&k, &off));
        assert!(with < 0.99 * without, "{turns} turns: {with} ns in pieces, {without} ns whole");
    }
}
