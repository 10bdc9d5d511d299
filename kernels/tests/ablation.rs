//! The passes of the device compiler, over the whole library: none changes a bit, and no schedule is slower than the order of
//! the source.
//!
//! `NKI_TABLE=1 cargo test -p nki-kernels --test ablation -- --nocapture` prints what each pass gains on each kernel.

use nki::backend::device::{CompileOptions, Pass};
use nki::check::{Case, Contract, Given, Prepared, Problem};
use nki::ir::{Code, Tensor};
use nki::prelude::Target;
use nki::sim::{Mode, SimOptions};
use nki_kernels as _;

/// Everything on, each pass off, everything off.
fn variants() -> Vec<(String, CompileOptions)> {
    let mut all = vec![("all".to_string(), CompileOptions::default())];
    all.extend(Pass::ALL.iter().map(|&p| (format!("-{p}"), CompileOptions::default().without(p))));
    all.push(("none".into(), Pass::ALL.iter().fold(CompileOptions::default(), |o, &p| o.without(p))));
    all
}

fn prepare(contract: &'static Contract, case: &Case) -> Prepared {
    let given = Given {
        args: case.args.iter().map(|(n, v)| (n.to_string(), v.clone())).collect(),
        dims: case.dims.iter().map(|(n, d)| (n.to_string(), *d)).collect(),
        dtype: case.dtypes.first().copied(),
        seed: 1,
    };
    let problem = Problem::new(contract.kernel, &given).unwrap_or_else(|e| panic!("{contract:?}: {e}"));
    Prepared::of(&problem, Target::Trn2).unwrap_or_else(|e| panic!("{contract:?}: {e}"))
}

/// Simulated time, and the results where they are computed.
fn simulate(prepared: &Prepared, options: &CompileOptions, mode: Mode) -> Option<(f64, Vec<Tensor>)> {
    // Without sharing of slots, some kernels do not fit.
    let program = nki::sim::verify(prepared.compile_with(options).ok()?.program).expect("our programs pass");
    let run = |mode| {
        let inputs = if mode == Mode::Full { prepared.inputs() } else { &[] };
        nki::sim::run(&program, inputs, &SimOptions { mode, ..SimOptions::default() })
    };
    // The time of what depends on data is found with data.
    let out =
        run(mode).or_else(|e| if e.first_code() == Some(Code::Limit) { run(Mode::Full) } else { Err(e) });
    let out = out.expect("our programs run");
    Some((out.report.kernel_ns, out.outputs))
}

#[test]
fn no_pass_changes_a_bit_of_any_kernel() {
    let mut different = Vec::new();
    for contract in Contract::all() {
        let cases = (contract.cases)();
        let mut chosen = vec![cases.len() / 3, cases.len() - 1];
        chosen.dedup();
        for case in chosen.into_iter().map(|k| &cases[k]) {
            let prepared = prepare(contract, case);
            let mut reference: Option<Vec<Tensor>> = None;
            for (name, options) in variants() {
                let Some((_, outputs)) = simulate(&prepared, &options, Mode::Full) else { continue };
                match &reference {
                    None => reference = Some(outputs),
                    Some(r) if *r == outputs => {}
                    Some(_) => different.push(format!("{} {case:?} {name}", contract.kernel.name)),
                }
            }
            assert!(reference.is_some(), "{contract:?} {case:?} does not compile");
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn no_schedule_is_slower_than_the_order_of_the_source() {
    let table = std::env::var_os("NKI_TABLE").is_some();
    let named = |n: &str| n == "all" || n == "none" || n == "-schedule";
    let all: Vec<_> = variants().into_iter().filter(|v| table || named(&v.0)).collect();
    let mut slower = Vec::new();
    for contract in Contract::all() {
        let size = |c: &Case| c.dims.iter().map(|d| d.1 as u64).product::<u64>();
        let cases = (contract.cases)();
        let largest = cases.iter().max_by_key(|c| size(c)).expect("every kernel has cases");
        let prepared = prepare(contract, largest);
        let times: Vec<Option<f64>> =
            all.iter().map(|(_, o)| Some(simulate(&prepared, o, Mode::TimeOnly)?.0)).collect();
        let ours = times[0].unwrap_or_else(|| panic!("{contract:?} does not compile"));
        let mut line = format!("{:<18} {:>10.1} µs", contract.kernel.name, ours / 1e3);
        for ((name, _), time) in all.iter().zip(&times).skip(1) {
            let gain = time.map_or("does not fit".into(), |t| format!("{:+.1} %", 100.0 * (t / ours - 1.0)));
            line += &format!("  {name} {gain}");
            if named(name) && time.is_some_and(|t| t < ours) {
                slower.push(format!("{}: {ours:.1} ns, {name} {gain}", contract.kernel.name));
            }
        }
        println!("{line}");
    }
    assert!(slower.is_empty(), "{}", slower.join("\n"));
}
