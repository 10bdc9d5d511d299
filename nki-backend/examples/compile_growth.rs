//! Time and memory of the device compiler as programs grow:
//! `cargo run --release -p nki-backend --no-default-features --example compile_growth`.
//!
//! Kinds of kernels, each of about 10^3, 10^4, 10^5 and 10^6 instructions after unrolling, for trn2 with default options: the
//! time of one compilation (of the processor, on one thread; the best of three, each in a process of its own, as the command
//! compiles), how many instructions remain, and by how much the peak of resident memory grew (Linux; 0 elsewhere). Exits with 1 if a size takes more than 12 times the size before (times below
//! 20 ms count as 20 ms), or if 10^5 instructions take more than 5 s.
//! Arguments: kinds to measure, and the largest power of ten (`6`).

use nki_backend::device::{CompileOptions, compile};
use nki_ir::{Target, text};
use std::time::Instant;

/// One load, two instructions and one store a turn.
fn stream(size: u32) -> String {
    let turns = size / 4;
    format!(
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
    )
}

/// A product tile by tile, 16 tiles deep, every operand loaded where it is used: 50 instructions a result tile.
fn product(size: u32) -> String {
    let tiles = size / 50;
    let rows =
        (1..=tiles).take_while(|r| r * r <= tiles).filter(|r| tiles.is_multiple_of(*r)).last().unwrap_or(1);
    let columns = tiles / rows;
    format!(
        "nki-ir 1
kernel @product(%a: in hbm<bf16, [2048, {m}]>, %b: in hbm<bf16, [2048, {n}]>, %out: out hbm<bf16, [{m}, {n}]>) {{
  for %mi in 0..{rows} {{
    for %ni in 0..{columns} {{
      %acc = alloc psum<f32, [128, 512]>
      for %ki in 0..16 {{
        %x = alloc sbuf<bf16, [128, 128]>
        dma_copy %x, %a[%ki*128 +: 128, %mi*128 +: 128]
        %y = alloc sbuf<bf16, [128, 512]>
        dma_copy %y, %b[%ki*128 +: 128, %ni*512 +: 512]
        nc_matmul %acc, %x, %y {{accumulate = unless_first(%ki)}}
      }}
      %r = alloc sbuf<bf16, [128, 512]>
      tensor_copy %r, %acc
      dma_copy %out[%mi*128 +: 128, %ni*512 +: 512], %r
    }}
  }}
}}
",
        m = rows * 128,
        n = columns * 512
    )
}

/// Rows divided by their sums: small tiles beside one that every turn reads.
fn rows(size: u32) -> String {
    let turns = size / 5;
    format!(
        "nki-ir 1
kernel @rows(%x: in hbm<f32, [{turns}, 128, 64]>, %out: out hbm<f32, [{turns}, 128, 64]>) {{
  %eps = alloc sbuf<f32, [128, 1]>
  memset %eps, 1.0
  for %i in 0..{turns} {{
    %t = alloc sbuf<f32, [128, 64]>
    %sum = alloc sbuf<f32, [128, 1]>
    %inverse = alloc sbuf<f32, [128, 1]>
    dma_copy %t, %x[%i, :, :]
    tensor_reduce %sum, %t {{op = add, axis = [1]}}
    activation %inverse, %sum, bias: %eps {{op = exp}}
    tensor_scalar %t, %t, operand0: %inverse {{op0 = multiply}}
    dma_copy %out[%i, :, :], %t
  }}
}}
"
    )
}

/// Tiles written to scratch in device memory, and read back across.
fn scratch(size: u32) -> String {
    let turns = size / 4;
    let rows =
        (1..=turns).take_while(|r| r * r <= turns).filter(|r| turns.is_multiple_of(*r)).last().unwrap_or(1);
    let columns = turns / rows;
    format!(
        "nki-ir 1
kernel @scratch(%x: in hbm<f32, [{h}, {w}]>, %out: out hbm<f32, [{h}, {w}]>) {{
  %s = alloc hbm<f32, [{h}, {w}]>
  for %i in 0..{rows} {{
    for %j in 0..{columns} {{
      %t = alloc sbuf<f32, [128, 64]>
      dma_copy %t, %x[%i*128 +: 128, %j*64 +: 64]
      dma_copy %s[%i*128 +: 128, %j*64 +: 64], %t
    }}
  }}
  for %j in 0..{columns} {{
    for %i in 0..{rows} {{
      %u = alloc sbuf<f32, [128, 64]>
      dma_copy %u, %s[%i*128 +: 128, %j*64 +: 64]
      dma_copy %out[%i*128 +: 128, %j*64 +: 64], %u
    }}
  }}
}}
",
        h = rows * 128,
        w = columns * 64
    )
}

/// Peak of resident memory in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Seconds that this thread has computed: others may use this machine too. Elsewhere than on Linux, the time since `start`.
fn computed(start: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    ns.map_or(start.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Others who use the machine disturb some of so many compilations.
const REPEATS: usize = 3;

/// The text of a kernel of about so many instructions.
type Source = fn(u32) -> String;

const KINDS: [(&str, Source); 4] =
    [("stream", stream), ("product", product), ("rows", rows), ("scratch", scratch)];

/// The first argument of a process that compiles one kernel.
const ONE: &str = "--one";

/// What one compilation took: instructions emitted, seconds, MiB.
fn measure(source: Source, name: &str, power: u32) -> (u64, f64, f64) {
    let kernel = text::parse(&source(10u32.pow(power)), name).expect("the text is a kernel");
    let verified = nki_ir::verify(kernel, Target::Trn2).expect("the kernel is valid");
    let start = Instant::now();
    let (memory, before_it) = (peak(), computed(start));
    let compiled = compile(&verified, &CompileOptions::default()).expect("the kernel fits");
    let seconds = computed(start) - before_it;
    (compiled.report.instructions.iter().sum(), seconds, peak() - memory)
}

/// [`measure`] in a new process: memory that an earlier compilation has left behind is cheaper than new memory.
fn measure_apart(name: &str, power: u32) -> (u64, f64, f64) {
    let this = std::env::current_exe().expect("the program that runs has a path");
    let output = std::process::Command::new(this).args([ONE, name, &power.to_string()]).output();
    let output = output.expect("the program runs again");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().filter_map(|w| w.parse::<f64>().ok());
    let mut next = || words.next().expect("the process prints three numbers");
    (next() as u64, next(), next())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let largest = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(6);
    let asked = |name: &str| {
        let mut names = arguments.iter().filter(|a| *a != ONE && a.parse::<u32>().is_err()).peekable();
        names.peek().is_none() || names.any(|a| a == name)
    };
    let kinds = KINDS.into_iter().filter(|k| asked(k.0));
    if arguments.iter().any(|a| a == ONE) {
        for (name, source) in kinds {
            let (emitted, seconds, memory) = measure(source, name, largest);
            println!("{emitted} {seconds} {memory}");
        }
        return;
    }
    let mut slow = 0;
    println!(
        "{:<10}{:>14}{:>12}{:>10}{:>9}{:>11}",
        "", "instructions", "emitted", "seconds", "growth", "MiB"
    );
    for (name, _) in kinds {
        let mut before: Option<f64> = None;
        for power in 3..=largest {
            let runs = (0..REPEATS).map(|_| measure_apart(name, power));
            let best = runs.min_by(|a, b| a.1.total_cmp(&b.1));
            let (emitted, seconds, grown) = best.expect("it is measured at least once");
            let growth = before.map(|b| seconds.max(0.02) / b);
            let shown = growth.map_or(String::new(), |g| format!("{g:.1}x"));
            let size = 10u32.pow(power);
            println!("{name:<10}{size:>14}{emitted:>12}{seconds:>10.3}{shown:>9}{grown:>11.0}");
            slow += u32::from(growth.is_some_and(|g| g > 12.0) || (power == 5 && seconds > 5.0));
            before = Some(seconds.max(0.02));
        }
    }
    if slow > 0 {
        println!("{slow} sizes take too long");
        std::process::exit(1);
    }
}
