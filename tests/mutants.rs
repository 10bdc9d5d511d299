//! Kernels with one mistake: the gate rejects each with the code that belongs to it, and nothing runs them.
//!
//! `NKI_CASES` sets the number of kernels per target (the long run uses 1000), `NKI_SEED` the first seed. All that executes
//! takes a `Verified`, which only the gate makes, so that it is enough to show that no way to one is open: not the program's
//! own front door, not the text of the kernel read again.

use nki::check::Prepared;
use nki::ir::diag::Severity;
use nki::ir::testgen::{GenOptions, Mutant, generate, mutate};
use nki::ir::verify::{resolve_and_verify, verify};
use nki::ir::{Code, Diagnostics, Target, text};
use std::collections::BTreeMap;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn errors(found: &Diagnostics) -> Vec<(Code, String)> {
    let errors = found.iter().filter(|d| d.severity == Severity::Error);
    errors.map(|d| (d.code, d.message.clone())).collect()
}

/// Why the mutant is not refused as it should be.
fn accepted(mutant: &Mutant, target: Target) -> Option<String> {
    let Err(found) = verify(mutant.kernel.clone(), target) else {
        return Some("the gate lets it pass".into());
    };
    if !errors(&found).iter().any(|(code, _)| *code == mutant.code) {
        return Some(format!("{} is not reported, but\n{found}", mutant.code));
    }
    if found.to_string().is_empty() {
        return Some("the findings print as nothing".into());
    }
    // What leaves a decision open is a mistake in a finished kernel, and legal in one that is handed in: there the gate
    // first decides. Whatever it says then, the front door says the same.
    let at_gate = resolve_and_verify(mutant.kernel.clone(), target);
    let at_door = Prepared::from_ir(mutant.kernel.clone(), Vec::new(), target);
    match (at_gate, at_door) {
        (Err(gate), Err(door)) if errors(&gate) == errors(&door) => {}
        (Ok(_), Ok(_)) if mutant.code == Code::Accumulate => {}
        (gate, door) => {
            let say = |r: Option<Diagnostics>| r.map_or("passes".to_string(), |e| e.to_string());
            return Some(format!("the gate: {}\nthe front door: {}", say(gate.err()), say(door.err())));
        }
    }
    // What cannot be written cannot be read; what can is refused again. Equal names are made different when written.
    if mutant.code == Code::Duplicate {
        return None;
    }
    let again = text::parse(&text::print(&mutant.kernel), "mutant.nkir").map(|k| verify(k, target));
    matches!(again, Ok(Ok(_))).then(|| "its text, read again, passes the gate".into())
}

fn all_refused(target: Target) {
    let (cases, first) = (number("NKI_CASES", 100), number("NKI_SEED", 0));
    let mut edits: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let options = GenOptions { target, control: seed % 2 == 1, ..GenOptions::default() };
        let mutant = mutate(seed, &generate(seed, &options), target);
        *edits.entry(mutant.edit).or_default() += 1;
        if let Some(why) = accepted(&mutant, target) {
            panic!("seed {seed} on {target}, {}: {why}\n{}", mutant.edit, text::print(&mutant.kernel));
        }
    }
    // One edit cannot stand for all.
    assert!(edits.len() as u64 >= (cases / 8).min(30), "{edits:?}");
}

#[test]
fn a_mistake_is_refused_everywhere_on_trn1() {
    all_refused(Target::Trn1);
}

#[test]
fn a_mistake_is_refused_everywhere_on_trn2() {
    all_refused(Target::Trn2);
}

#[test]
fn a_mistake_is_refused_everywhere_on_trn3() {
    all_refused(Target::Trn3);
}
