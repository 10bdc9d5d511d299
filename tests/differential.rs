//! Generated programs, run in every way: eagerly, by the interpreter, simulated (three orders of transfers) and natively.
//!
//! `NKI_CASES` sets the number of programs (the long run uses 1000), `NKI_SEED` the first seed. A failure names its seed and
//! prints the shrunk kernel, which belongs into a filetest.

#[path = "ways/agree.rs"]
mod agree;

use agree::disagreement;
use nki::ir::testgen::{GenOptions, generate, shrink};
use nki::ir::{Kernel, Op, Target};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Runs the kernel of `seed`; a failure is shrunk and printed.
fn agree(seed: u64, options: &GenOptions, special: bool) {
    let target = options.target;
    let kernel = generate(seed, options);
    let Some((way, message)) = disagreement(&kernel, target, seed, special, options.faults) else { return };
    let fails_alike =
        |k: &Kernel| disagreement(k, target, seed, special, options.faults).is_some_and(|f| f.0 == way);
    let small = shrink(&kernel, fails_alike);
    let message = disagreement(&small, target, seed, special, options.faults).map_or(message, |f| f.1);
    panic!("seed {seed} on {target}: {way}: {message}\n{}", nki::ir::text::print(&small));
}

fn agree_on(target: Target, cases: u64, first: u64) {
    for seed in first..first + cases {
        agree(
            seed,
            &GenOptions {
                target,
                control: seed % 2 == 1,
                everything: seed % 3 == 0,
                indirect: seed % 4 >= 2,
                faults: seed % 8 == 6,
                ..GenOptions::default()
            },
            false,
        );
    }
}

/// Kernels around one instruction each, on every target that has it, half of them on special values. `NKI_OP_CASES` sets
/// the number per instruction (the long run uses 200), `NKI_OP` chooses one.
#[test]
fn every_way_of_running_agrees_on_each_instruction() {
    let (cases, only) = (number("NKI_OP_CASES", 4), std::env::var("NKI_OP").ok());
    // Registers have generated kernels of their own; prints and assertions compute nothing; two programs are in
    // tests/programs.rs.
    for op in Op::all()
        .filter(|op| !["9.7", "9.8.1", "9.8.2", "10"].contains(&op.row().section))
        .filter(|op| only.as_ref().is_none_or(|o| o == op.name()))
    {
        let has = |t: &Target| op.row().engines_on(t.generation()).next().is_some();
        let targets: Vec<Target> = Target::ALL.into_iter().filter(has).collect();
        let mut executed = 0;
        for case in 0..cases {
            let target = targets[case as usize % targets.len()];
            // Every target takes its turn with and without indices that are data.
            let indirect = (case / targets.len() as u64).is_multiple_of(2);
            let options = GenOptions {
                target,
                focus: Some(op),
                statements: 4,
                max_depth: 1,
                indirect,
                faults: indirect && case % 16 < 4,
                ..GenOptions::default()
            };
            let seed = ((op as u64) << 32) + case;
            executed += u64::from(generate(seed, &options).insts.values().any(|i| i.op == op));
            agree(seed, &options, case % 2 == 1);
        }
        assert!(executed * 10 >= cases * 9, "{op} occurs in {executed} of {cases} kernels");
    }
}

/// Indices that are data, in every kernel: rows and positions in and out of range, in both modes; columns on trn3.
#[test]
fn every_way_of_running_agrees_on_indices() {
    let cases = number("NKI_CASES", 60) / 2;
    let (mut columns, mut rows) = (0, 0);
    for seed in (1 << 22)..(1 << 22) + cases {
        let target = [Target::Trn3, Target::Trn3, Target::Trn2, Target::Trn1][seed as usize % 4];
        let options = GenOptions {
            target,
            indirect: true,
            faults: seed % 3 == 0,
            everything: seed % 5 == 0,
            ..GenOptions::default()
        };
        let text = nki::ir::text::print(&generate(seed, &options));
        columns += usize::from(text.contains(".indirect("));
        rows += usize::from(text.contains("oob_mode = skip"));
        agree(seed, &options, false);
    }
    let enough = |n: usize| n as u64 * 8 >= cases;
    assert!(enough(columns) && enough(rows), "{columns} kernels with columns, {rows} that skip, of {cases}");
}

#[test]
fn every_way_of_running_agrees_on_trn2() {
    agree_on(Target::Trn2, number("NKI_CASES", 60), number("NKI_SEED", 0));
}

#[test]
fn every_way_of_running_agrees_on_trn1_and_trn3() {
    let cases = number("NKI_CASES", 60) / 4;
    agree_on(Target::Trn1, cases, 1 << 20);
    agree_on(Target::Trn3, cases, 1 << 21);
}
