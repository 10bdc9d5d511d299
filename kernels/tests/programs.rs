//! Two programs of a logical core: the results of one, bit for bit, in less time where a kernel shares its work.

use nki::Mode;
use nki::check::{Contract, Given, Item, Plan, Prepared, Problem};
use nki::ir::Target;
use nki::sim::{Mode as SimMode, SimOptions};
use nki_kernels as _;

/// The cases of a contract, in its first dtype.
fn items(contract: &'static Contract) -> Vec<Item> {
    let plan = Plan { dtypes: Some(vec![contract.dtypes[0]]), ..Plan::default() };
    plan.items(contract, &(contract.cases)())
}

/// Bytes of the results of one program and of two.
fn agree(item: &Item, mode: Mode) {
    let problem = Problem::new(item.contract.kernel, &item.given).unwrap_or_else(|e| panic!("{e}"));
    let prepared = Prepared::of(&problem, Target::Trn2).unwrap_or_else(|e| panic!("{e}"));
    let run = |programs| {
        let ran = prepared.run_on(programs, mode).unwrap_or_else(|e| panic!("{programs} programs: {e}"));
        ran.results
    };
    let (one, two) = (run(1), run(2));
    let what = || format!("{} {}, {mode}", problem.kernel.name, problem.describe());
    assert_eq!(one.len(), two.len(), "{}", what());
    for ((name, a), (_, b)) in one.iter().zip(&two) {
        assert!(a.data == b.data, "`{name}` of {}", what());
    }
}

/// Every case interpreted, and a few of each kernel on the simulated machine.
#[test]
fn two_programs_give_what_one_gives() {
    let failed: Vec<String> = Contract::all()
        .into_iter()
        .filter_map(|contract| {
            let run = std::panic::catch_unwind(|| {
                let items = items(contract);
                items.iter().for_each(|item| agree(item, Mode::Interp));
                items.iter().step_by(items.len().div_ceil(3)).for_each(|item| agree(item, Mode::Sim));
            });
            run.err().map(|_| contract.kernel.name.to_string())
        })
        .collect();
    assert!(failed.is_empty() && !Contract::all().is_empty(), "{failed:?}");
}

/// Simulated nanoseconds of so many programs.
fn time(name: &str, dims: &[(&str, usize)], args: &[(&str, &str)], programs: usize) -> f64 {
    let contract = Contract::all().into_iter().find(|c| c.kernel.name == name).expect("a kernel");
    let given = Given {
        dims: dims.iter().map(|(n, d)| (n.to_string(), *d)).collect(),
        args: args.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        ..Given::default()
    };
    let problem = Problem::timed(contract.kernel, &given).unwrap_or_else(|e| panic!("{e}"));
    let spec = problem.specialize().unwrap_or_else(|e| panic!("{e}"));
    let spec = if programs == 1 { spec } else { spec.programs(programs) };
    let options = SimOptions { mode: SimMode::TimeOnly, ..SimOptions::default() };
    let run = spec.compile(Mode::Sim, Target::Trn2).and_then(|e| e.simulate(&[], &options));
    run.unwrap_or_else(|e| panic!("{e}")).report.expect("simulated").kernel_ns
}

/// Shapes of a Llama layer, prefill and decode. A core alone is held to 16 · 26.4 = 423 GB/s by its DMA engines, two to the 716 GB/s of their
/// stack: what only moves weights takes 2 · 423 / 716 / 2 = 0.59 of one core's time, and start and end come on top. An exchange by
/// `sendrecv` takes 1 µs to meet and that long to move the tile.
#[test]
fn two_programs_take_about_half_the_time() {
    type Row = (&'static str, &'static [(&'static str, usize)], &'static [(&'static str, &'static str)], f64);
    let rows: &[Row] = &[
        ("matmul_blocked", &[("m", 2048), ("k", 1024), ("n", 2048)], &[], 0.60),
        ("softmax", &[("rows", 2048), ("columns", 4096)], &[], 0.60),
        ("rmsnorm", &[("rows", 2048), ("columns", 4096)], &[], 0.62),
        ("layernorm", &[("rows", 2048), ("columns", 4096)], &[], 0.62),
        ("add", &[("rows", 2048), ("columns", 4096)], &[], 0.60),
        ("rope", &[("heads", 8), ("length", 2048)], &[], 0.65),
        ("rope_columns", &[("heads", 8), ("length", 4096)], &[], 0.65),
        ("rope_pair", &[("heads", 8), ("length", 2048)], &[], 0.68),
        (
            "matmul_general",
            &[("batch", 1), ("m", 2048), ("k", 1024), ("n", 2048)],
            &[("lhs_t", "normal"), ("rhs", "normal")],
            0.60,
        ),
        (
            "matmul_general",
            &[("batch", 1), ("m", 64), ("k", 16384), ("n", 1024)],
            &[("lhs_t", "normal"), ("rhs", "normal"), ("split_k", "true")],
            0.70,
        ),
        ("mlp", &[("tokens", 1024), ("hidden", 1024), ("inner", 2048)], &[("w_gate", "normal")], 0.60),
        ("mlp", &[("tokens", 1), ("hidden", 4096), ("inner", 14336)], &[("w_gate", "normal")], 0.60),
        (
            "qkv",
            &[("tokens", 2048), ("hidden", 1024), ("slots", 12), ("heads", 8), ("kv_heads", 2)],
            &[("kv_heads", "2")],
            0.65,
        ),
        (
            "qkv",
            &[("tokens", 1), ("hidden", 4096), ("slots", 48), ("heads", 32), ("kv_heads", 8), ("d", 128)],
            &[("kv_heads", "8")],
            0.65,
        ),
        (
            "attention",
            &[("heads", 4), ("kv_heads", 2), ("queries", 1024), ("keys", 1024)],
            &[("causal", "true")],
            0.60,
        ),
        (
            "attention_decode",
            &[("batch", 4), ("heads", 32), ("kv_heads", 8), ("slots", 4096), ("d", 128)],
            &[],
            0.62,
        ),
        (
            "attention_decode",
            &[("batch", 1), ("heads", 32), ("kv_heads", 8), ("slots", 4096), ("d", 128)],
            &[],
            0.65,
        ),
        ("projection", &[("tokens", 1), ("hidden", 4096), ("columns", 4096)], &[], 0.65),
        ("projection", &[("tokens", 1024), ("hidden", 1024), ("columns", 1024)], &[], 0.65),
        ("lm_head", &[("tokens", 1), ("hidden", 2048), ("vocabulary", 32768)], &[], 0.62),
        ("embedding", &[("tokens", 512), ("hidden", 4096), ("vocabulary", 32000)], &[], 0.75),
    ];
    for (name, dims, args, share) in rows {
        let (one, two) = (time(name, dims, args, 1), time(name, dims, args, 2));
        println!("{name} {dims:?}: {one:.0} ns, {two:.0} ns, {:.2}", two / one);
        assert!(two <= share * one, "{name} {dims:?}: {one:.0} ns by one program, {two:.0} ns by two");
    }
}
