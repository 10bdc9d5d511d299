//! The schedule is never slower than the order of the source.

use nki_backend::device::{CompileOptions, Pass, compile};
use nki_ir::testgen::{GenOptions, generate};
use nki_ir::{Kernel, Target};
use nki_sim::{Mode, SimOptions};

/// Simulated kernel time, in nanoseconds.
fn time(what: &str, kernel: &Kernel, target: Target, o: &CompileOptions) -> f64 {
    let verified = nki_ir::verify(kernel.clone(), target).unwrap_or_else(|e| panic!("{what}: {e}"));
    let compiled = compile(&verified, o).unwrap_or_else(|e| panic!("{what}: {e}"));
    let program = nki_sim::verify(compiled.program).unwrap_or_else(|e| panic!("{what}: {e}"));
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    nki_sim::run(&program, &[], &options).unwrap_or_else(|e| panic!("{what}: {e}")).report.kernel_ns
}

/// Options without any pass: instructions in the order of the source, one buffer each, everything issued by its first engine.
fn nothing() -> CompileOptions {
    Pass::ALL.iter().fold(CompileOptions::default(), |o, &p| o.without(p))
}

/// `NKI_ORDER` sets the number of programs (the long run uses 500).
#[test]
fn no_schedule_is_slower_than_the_order_of_the_source() {
    let count = std::env::var("NKI_ORDER").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let mut slower = Vec::new();
    let (mut sum, mut plain) = (0.0, 0.0);
    for seed in 0..count {
        let target = Target::ALL[(seed % 4) as usize];
        let statements = if seed % 5 == 4 { 40 } else { 10 };
        let options = GenOptions { target, statements, ..GenOptions::default() };
        let kernel = generate(seed, &options);
        let what = format!("seed {seed}");
        let ours = time(&what, &kernel, target, &CompileOptions::default());
        sum += ours;
        for (name, o) in [
            ("the order of the source", CompileOptions::default().without(Pass::Schedule)),
            ("no pass at all", nothing()),
        ] {
            let theirs = time(&what, &kernel, target, &o);
            plain += theirs / 2.0;
            if ours > theirs {
                slower.push(format!("{what} on {target}: {ours:.1} ns, {name} {theirs:.1} ns"));
            }
        }
    }
    println!("{count} programs: {sum:.0} ns, on average {plain:.0} ns without");
    assert!(slower.is_empty(), "{} of {count}\n{}", slower.len(), slower.join("\n"));
}
