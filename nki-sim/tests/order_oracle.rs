//! The static proof against brute force: small programs whose transfers and engines share semaphores in every way, and all
//! their timings.

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::DgeMode;
use nki_ir::testgen::Rng;
use nki_ir::{AluOp, DType, Target};
use nki_sim::program::*;
use nki_sim::{Proof, verify};
use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Load(usize),
    Store(usize),
    Write(usize),
    Read(usize),
    Nothing,
}

/// An instruction of the model: what it does to a buffer, on which stream, and its semaphores.
#[derive(Clone, Debug)]
struct Step {
    does: Does,
    stream: usize,
    waits: Vec<(usize, u32)>,
    signal: Option<usize>,
}

const SEMS: usize = 3;
const BUFFERS: usize = 2;

impl Step {
    fn is_transfer(&self) -> bool {
        matches!(self.does, Does::Load(_) | Does::Store(_))
    }
    fn add(&self) -> u32 {
        if self.is_transfer() { 16 } else { 1 }
    }
    fn buffer(&self) -> Option<(usize, bool)> {
        match self.does {
            Does::Load(b) | Does::Write(b) => Some((b, true)),
            Does::Store(b) | Does::Read(b) => Some((b, false)),
            Does::Nothing => None,
        }
    }
}

/// Steps in an order in which they can run: a wait asks for a value that the steps before reach. Most waits ask for the value
/// that a semaphore had after some earlier step, as compilers do.
fn steps(rng: &mut Rng) -> Vec<Step> {
    let mut totals = [0u32; SEMS];
    let mut reached: Vec<(usize, u32)> = Vec::new();
    let mut out = Vec::new();
    for _ in 0..rng.range(3, 10) {
        let buffer = rng.below(BUFFERS as u32) as usize;
        let (does, stream) = match rng.below(10) {
            0..4 => (Does::Load(buffer), rng.pick(&[1, 3, 4])),
            4..6 => (Does::Store(buffer), rng.pick(&[1, 4])),
            6 => (Does::Write(buffer), rng.pick(&[2, 3])),
            7..9 => (Does::Read(buffer), rng.pick(&[2, 3])),
            _ => (Does::Nothing, rng.pick(&[2, 4])),
        };
        let mut waits: Vec<(usize, u32)> = Vec::new();
        for _ in 0..rng.pick(&[0, 1, 1, 1, 2]) {
            let Some((sem, value)) = rng.choose(&reached) else { continue };
            let value = if rng.percent(8) { 1 + rng.below(totals[sem]) } else { value };
            match waits.iter_mut().find(|w| w.0 == sem) {
                Some(w) => w.1 = w.1.max(value),
                None => waits.push((sem, value)),
            }
        }
        let signal = (rng.percent(85)).then(|| rng.below(SEMS as u32) as usize);
        let step = Step { does, stream, waits, signal };
        if let Some(sem) = step.signal {
            totals[sem] += step.add();
            reached.push((sem, totals[sem]));
        }
        out.push(step);
    }
    out
}

fn machine_program(steps: &[Step]) -> Program {
    let mut p = program(Target::Trn2);
    let shape = [64, 128, 16];
    p.tensors = vec![
        tensor("x", BufKind::Input, DType::F32, &shape, 0),
        tensor("y", BufKind::Output, DType::F32, &shape, 8 << 30),
    ];
    let tile = |b: usize| sbuf(DType::F32, 128, b as i64 * 64, 16);
    for (n, s) in steps.iter().enumerate() {
        let device = |object: u32, base: u64| {
            let mut a = hbm(DType::F32, base + n as u64 * 8192, 128, 16, 16);
            a.object = Some(object);
            a
        };
        // Every read goes to a place of its own.
        let aside = sbuf(DType::F32, 128, 4096 + n as i64 * 64, 16);
        let ring = s.stream as u8;
        let mut i = match s.does {
            Does::Load(b) => dma(tile(b), device(0, 0), ring, DgeMode::None),
            Does::Store(b) => dma(device(1, 8 << 30), tile(b), ring, DgeMode::None),
            Does::Write(b) => memset(tile(b), 0.0),
            Does::Read(b) => tensor_tensor(aside, tile(b), tile(b), AluOp::Add),
            Does::Nothing => sync(),
        };
        for &(sem, value) in &s.waits {
            i = i.wait(sem as u32, value.into());
        }
        if let Some(sem) = s.signal {
            i = i.signal(sem as u32, s.add());
        }
        p.streams[s.stream].push(i);
    }
    p
}

/// Whether a data path does this.
fn on_path(s: &Step) -> bool {
    matches!(s.does, Does::Write(_) | Does::Read(_))
}

/// A state of the machine: what has issued and what has completed, by step.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    issued: u16,
    completed: u16,
}

/// Whether two conflicting steps can be under way at once in any timing. An unfinished transfer may have made up to 15 of its
/// 16 increments; more increments only let more happen, so each counts 15.
fn brute_force_race(steps: &[Step]) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![State { issued: 0, completed: 0 }];
    while let Some(s) = stack.pop() {
        if !seen.insert(s) {
            continue;
        }
        let has = |set: u16, n: usize| set >> n & 1 == 1;
        let mut value = [0u32; SEMS];
        for (n, step) in steps.iter().enumerate() {
            if let Some(sem) = step.signal {
                value[sem] += match (has(s.issued, n), has(s.completed, n)) {
                    (_, true) => step.add(),
                    (true, false) if step.is_transfer() => 15,
                    _ => 0,
                };
            }
        }
        for (n, step) in steps.iter().enumerate() {
            let earlier = || (0..n).filter(|&k| steps[k].stream == step.stream);
            if !has(s.issued, n) {
                let next = earlier().all(|k| has(s.issued, k));
                if next && step.waits.iter().all(|&(sem, v)| value[sem] >= v) {
                    if meets_another(steps, s, n) {
                        return true;
                    }
                    let completed = if step.does == Does::Nothing { 1 << n } else { 0 };
                    stack.push(State { issued: s.issued | 1 << n, completed: s.completed | completed });
                }
            } else if !has(s.completed, n) {
                // A data path completes in order.
                let first = !on_path(step) || earlier().all(|k| !on_path(&steps[k]) || has(s.completed, k));
                if first {
                    stack.push(State { completed: s.completed | 1 << n, ..s });
                }
            }
        }
    }
    false
}

/// Whether step `n` conflicts with one that is under way.
fn meets_another(steps: &[Step], s: State, n: usize) -> bool {
    let Some((buffer, write)) = steps[n].buffer() else { return false };
    (0..steps.len()).any(|k| {
        let under_way = s.issued >> k & 1 == 1 && s.completed >> k & 1 == 0;
        let one_path = on_path(&steps[n]) && on_path(&steps[k]) && steps[n].stream == steps[k].stream;
        let Some((b, w)) = steps[k].buffer().filter(|_| under_way) else { return false };
        // One data path reads when it issues and writes in order.
        let ordered = one_path && (write || !w);
        b == buffer && (w || write) && !ordered
    })
}

#[test]
fn the_proof_accepts_no_program_that_races_in_some_timing() {
    let cases: u64 = std::env::var("NKI_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    let (mut proven, mut racy, mut missed) = (0, 0, 0);
    for seed in 0..cases {
        let steps = steps(&mut Rng::new(seed));
        let accepted = match verify(machine_program(&steps)) {
            Ok(v) => {
                assert_eq!(*v.proof(), Proof::Proven, "seed {seed}: {steps:#?}");
                true
            }
            Err(_) => false,
        };
        let races = brute_force_race(&steps);
        assert!(!(accepted && races), "seed {seed} races and is accepted: {steps:#?}");
        proven += u64::from(accepted);
        racy += u64::from(races);
        missed += u64::from(!accepted && !races);
    }
    // Enough of both, and few that the proof is too weak for.
    assert!(proven > cases / 10 && racy > cases / 10, "{proven} proven, {racy} racy of {cases}");
    assert!(missed * 20 < cases, "{missed} of {cases} are free of races but not proven");
}
