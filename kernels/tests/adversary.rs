//! Random orders: every kernel of the library under transfers that complete in any order and engines that stall at random. No order
//! raises an alarm, and none changes a bit.
//!
//! `NKI_SEEDS=20 NKI_ALL=1 cargo test --release -p nki-kernels --test adversary` tries more seeds, on all cases of every kernel.

use nki::check::{Contract, Plan, Prepared, Problem};
use nki::ir::Diagnostics;
use nki::sim::{Mode, SimOptions, VerifyOptions, run, verify_with};
use nki_kernels as _;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What one case finds, in words.
fn alarms(prepared: &Prepared, seeds: u64) -> Result<Vec<String>, Diagnostics> {
    let compiled = prepared.compile()?.program;
    // With the static proof, and without it: the order is then checked while running.
    let proven = nki::sim::verify(compiled.clone())?;
    let unproven = verify_with(compiled, &VerifyOptions { budget: 1 })?;
    let calm = run(&proven, prepared.inputs(), &SimOptions::default())?;
    let mut found: Vec<String> = calm.warnings.iter().map(|d| format!("calm: {d}")).collect();
    for seed in 0..seeds {
        let program = if seed % 2 == 0 { &unproven } else { &proven };
        let options = SimOptions { adversary: Some(seed), mode: Mode::Full, ..SimOptions::default() };
        match run(program, prepared.inputs(), &options) {
            Err(d) => found.push(format!("seed {seed}: {d}")),
            Ok(out) => {
                found.extend(out.warnings.iter().map(|d| format!("seed {seed}: {d}")));
                if out.outputs != calm.outputs {
                    found.push(format!("seed {seed} computes something else"));
                }
            }
        }
    }
    Ok(found)
}

#[test]
fn no_order_of_events_raises_an_alarm() {
    let (seeds, all) = (number("NKI_SEEDS", 2), number("NKI_ALL", 0) > 0);
    let plan = Plan::default();
    let (mut tried, mut bad) = (0, Vec::new());
    for contract in Contract::all() {
        let cases = (contract.cases)();
        let items = plan.items(contract, &cases);
        for item in items.iter().take(if all { usize::MAX } else { 1 }) {
            let found = Problem::new(item.contract.kernel, &item.given)
                .and_then(|problem| Prepared::of(&problem, plan.target))
                .and_then(|prepared| alarms(&prepared, seeds));
            match found {
                Ok(found) => bad.extend(found.into_iter().map(|f| format!("{}: {f}", contract.kernel.name))),
                Err(d) => bad.push(format!("{}: {d}", contract.kernel.name)),
            }
            tried += 1;
        }
    }
    assert!(tried >= Contract::all().len(), "{tried} cases");
    assert!(bad.is_empty(), "{} of {tried}\n{}", bad.len(), bad.join("\n"));
}
