//! Random kernels, compiled under random options, against the interpreter.

use crate::agree::check;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::Target;
use nki_ir::testgen::{GenOptions, Rng, generate};

/// Passes switched off at random, loops kept at random.
fn options(rng: &mut Rng) -> CompileOptions {
    let mut o = CompileOptions::default();
    for &p in Pass::ALL {
        if rng.percent(20) {
            o = o.without(p);
        }
    }
    if rng.percent(30) {
        o.unroll_budget = rng.below(40).into();
    }
    if rng.percent(20) {
        o.max_buffers = rng.range(1, 4);
    }
    o
}

fn run(seeds: std::ops::Range<u64>, shape: GenOptions) {
    for seed in seeds {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let target = Target::ALL[rng.below(4) as usize];
        let kernel = generate(seed, &GenOptions { target, ..shape });
        let o = options(&mut rng);
        check(&format!("seed {seed}"), &kernel, target, &o);
    }
}

/// How many kernels of each shape: `NKI_FUZZ=1000` for a long run.
fn count() -> u64 {
    std::env::var("NKI_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

#[test]
fn small_kernels_agree() {
    run(0..count(), GenOptions::default());
}

#[test]
fn long_kernels_agree() {
    run(10_000..10_000 + count() / 4, GenOptions { statements: 40, ..GenOptions::default() });
}

#[test]
fn deep_loops_agree() {
    run(20_000..20_000 + count() / 2, GenOptions { max_depth: 4, max_free: 12, ..GenOptions::default() });
}
