//! Random kernels, compiled under random options, against the interpreter.

use crate::agree::{check, check_orders};
use crate::kernels::compile;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::testgen::{GenOptions, Rng, generate};
use nki_ir::{BufKind, Code, Kernel, LoopData, Target};

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

/// Asks for a number of buffers for every third tile. What does not fit then is asked for no more.
fn random_depths(rng: &mut Rng, kernel: &Kernel, target: Target, o: &CompileOptions) -> Kernel {
    let mut asking = kernel.clone();
    for (buf, data) in kernel.bufs.iter().filter(|(_, b)| b.kind == BufKind::Private && b.space.on_chip()) {
        if data.buffers.is_none() && rng.percent(33) {
            asking.bufs[buf].buffers = Some(rng.range(1, 6));
        }
    }
    match compile(&asking, target, o) {
        Err(e) if matches!(e.first_code(), Some(Code::SbufCapacity | Code::PsumCapacity)) => kernel.clone(),
        _ => asking,
    }
}

/// Programs with loops of 0 to 5 turns, buffers of random depths, transfers that finish in random orders.
/// `NKI_LOOPS=2000` for a long run.
#[test]
fn loops_of_few_turns_agree_at_any_depth_in_any_order() {
    let count: u64 = std::env::var("NKI_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut turns, mut asked) = ([0u64; 6], 0);
    let mut seed = 30_000;
    let mut programs = 0;
    while programs < count {
        seed += 1;
        let mut rng = Rng::new(seed ^ 0x1009);
        let target = Target::ALL[rng.below(4) as usize];
        let shape =
            GenOptions { target, max_depth: rng.range(1, 3), statements: 15, ..GenOptions::default() };
        let kernel = generate(seed, &shape);
        let trips: Vec<u64> = kernel.loops.values().filter_map(LoopData::trip_count).collect();
        if trips.is_empty() {
            continue;
        }
        programs += 1;
        for t in trips {
            turns[t.min(5) as usize] += 1;
        }
        let o = options(&mut rng);
        let kernel = random_depths(&mut rng, &kernel, target, &o);
        asked += kernel.bufs.values().filter(|b| b.buffers.is_some()).count();
        let orders: Vec<Option<u64>> = (0..3).map(|k| Some(seed * 3 + k)).collect();
        check_orders(&format!("seed {seed}"), &kernel, target, &o, &orders);
    }
    println!("{programs} programs, loops by turns {turns:?}, {asked} buffers with a depth");
    assert!(count < 60 || (turns.iter().all(|&n| n > 0) && asked > 0), "{turns:?}, {asked}");
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
