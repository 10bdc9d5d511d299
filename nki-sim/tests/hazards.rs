//! A corpus of machine programs with one mistake each, `hazards/*.nkim`, and of correct ones beside them.
//!
//! The comments at the top of a file say what is wrong and what must come of it: `; expect CODE: part of the message`, or
//! `; expect ok`. A program that passes the gate is run, on zeros. What the static proof finds must also be found by running
//! the program without a proof.

use nki_ir::Tensor;
use nki_ir::diag::{Code, Diagnostics};
use nki_ir::kernel::BufKind;
use nki_sim::{Program, SimOptions, VerifyOptions, run, verify, verify_with};
use std::path::Path;

struct Hazard {
    name: String,
    program: Result<Program, Diagnostics>,
    /// `None`: nothing is wrong.
    code: Option<Code>,
    words: String,
}

fn corpus() -> Vec<Hazard> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hazards");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| hazard(p)).collect()
}

fn hazard(path: &Path) -> Hazard {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let expect = text.lines().find_map(|l| l.strip_prefix("; expect "));
    let expect = expect.unwrap_or_else(|| panic!("{name} has no `; expect` line"));
    let (code, words) = expect.split_once(": ").unwrap_or((expect, ""));
    let code = (code != "ok").then(|| code.parse().unwrap_or_else(|_| panic!("{name}: no code `{code}`")));
    let program = nki_sim::text::parse(&text, &name);
    Hazard { name, program, code, words: words.into() }
}

fn inputs(p: &Program) -> Vec<Tensor> {
    let given = p.tensors.iter().filter(|t| matches!(t.kind, BufKind::Input | BufKind::InOut));
    let shape = |t: &nki_sim::program::HbmTensor| t.shape.iter().map(|&d| d as usize).collect::<Vec<_>>();
    given.map(|t| Tensor::zeros(t.dtype, &shape(t))).collect()
}

/// Everything found in a program by the gate, or by running it.
fn findings(h: &Hazard, budget: Option<u64>, options: &SimOptions) -> Diagnostics {
    let program = match &h.program {
        Ok(p) => p.clone(),
        Err(d) => return d.clone(),
    };
    let verified = match budget {
        None => verify(program),
        Some(budget) => verify_with(program, &VerifyOptions { budget }),
    };
    match verified.and_then(|v| run(&v, &inputs(&v.to_program()), options)) {
        Ok(out) => out.warnings,
        Err(found) => found,
    }
}

#[test]
fn every_mistake_is_found_and_named() {
    let corpus = corpus();
    assert!(corpus.iter().filter(|h| h.code.is_some()).count() >= 40);
    let mut failures = String::new();
    for h in &corpus {
        let found = findings(h, None, &SimOptions::default());
        let right = match h.code {
            None => found.is_empty(),
            Some(code) => found.iter().any(|d| d.code == code && d.message.contains(&h.words)),
        };
        if !right {
            failures += &format!("{}: expected {:?} `{}`, got\n{found}\n", h.name, h.code, h.words);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A transfer that reads too early may find nothing there before its writer shows up.
#[test]
fn running_finds_the_races_that_the_proof_finds() {
    for h in corpus().iter().filter(|h| h.code == Some(Code::Race)) {
        for adversary in [None, Some(1), Some(2)] {
            let found = findings(h, Some(1), &SimOptions { adversary, ..SimOptions::default() });
            let code = found.first_code();
            assert!(
                matches!(code, Some(Code::Race | Code::Uninitialized | Code::Accumulate)),
                "{} with {adversary:?}: {found}",
                h.name
            );
        }
    }
}

#[test]
fn correct_programs_raise_nothing_under_any_adversary() {
    for h in corpus().iter().filter(|h| h.code.is_none()) {
        for seed in 0..8 {
            for budget in [None, Some(1)] {
                let options = SimOptions { adversary: Some(seed), ..SimOptions::default() };
                let found = findings(h, budget, &options);
                assert!(found.is_empty(), "{} with seed {seed}: {found}", h.name);
            }
        }
    }
}
