//! The generator against the gate: what it calls valid passes, on every target.

use nki_ir::entity::Entity;
use nki_ir::interp::{InterpOptions, Uninitialized, run};
use nki_ir::op::Effect;
use nki_ir::testgen::{
    GenOptions, Mutant, arguments, edits, generate, generate_from, mutate, mutate_by, shrink,
};
use nki_ir::verify::verify;
use nki_ir::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn generated_kernels_pass_the_gate(seed: u64, target in 0usize..4, exact: bool, indirect: bool) {
        let options = GenOptions { target: Target::ALL[target], exact, indirect, ..GenOptions::default() };
        let kernel = generate(seed, &options);
        if let Err(errors) = verify(kernel.clone(), options.target) {
            panic!("{errors}\n{}", text::print(&kernel));
        }
    }
}

/// Inputs of the fuzz target `verifier` from which illegal kernels were once made, as bytes and how often each stands there: an
/// `exponential` whose destination overlapped its initial sums, and the second of
/// two `tensor_scalar_cumulative`, whose destination overlapped the first one's operand.
#[test]
fn kernels_from_choices_pass_the_gate() {
    let found: [(u8, &[(u8, usize)]); 2] = [
        (203, &[(20, 1), (64, 1), (134, 5), (78, 1)]),
        (18, &[(134, 39), (159, 3), (134, 14), (0, 3), (15, 1), (134, 11)]),
    ];
    for (first, runs) in found {
        let choices: Vec<u8> = runs.iter().flat_map(|&(byte, n)| vec![byte; n]).collect();
        let target = Target::ALL[first as usize % Target::ALL.len()];
        for control in [false, true] {
            let options = GenOptions { target, control, statements: 6, ..GenOptions::default() };
            let kernel = generate_from(&choices, &options);
            if let Err(errors) = verify(kernel.clone(), target) {
                panic!("{errors}\n{}", text::print(&kernel));
            }
        }
    }
}

#[test]
fn kernels_depend_on_nothing_but_their_seed_and_options() {
    for seed in 0..50 {
        let o = GenOptions::default();
        assert_eq!(text::print(&generate(seed, &o)), text::print(&generate(seed, &o)));
    }
}

/// What the generator is for: all operations, engines and forms of views occur, and nothing that is computed is lost.
#[test]
fn everything_occurs_and_is_used() {
    let mut seen = BTreeSet::new();
    // Some instructions occur only where a kernel is to have them.
    let ops: Vec<Op> = Op::all().collect();
    for seed in 0..400 + 24 * ops.len() as u64 {
        let target = Target::ALL[(seed % 4) as usize];
        let focus = seed.checked_sub(400).map(|i| ops[i as usize / 24]);
        let focus = focus.filter(|op| op.row().engines_on(target.generation()).next().is_some());
        let options = GenOptions {
            target,
            focus,
            control: seed % 3 == 1,
            indirect: seed % 8 >= 4,
            ..GenOptions::default()
        };
        let k = generate(seed, &options);
        let mut read = vec![false; k.bufs.len()];
        for data in k.insts.values() {
            seen.insert(data.op.name().to_string());
            seen.insert(format!("{}.{}", data.op, data.engine));
            for (operand, spec) in data.operands.iter().zip(data.op.row().operands) {
                let Some(view) = operand.view() else { continue };
                read[view.buf.index()] |= spec.effect == Effect::Read;
                seen.insert(format!("{} {}", spec.name, k.bufs[view.buf].space));
                let form = match &view.index {
                    Index::Slice(axes) if axes.iter().any(|a| a.drop) => "index",
                    Index::Slice(axes) if axes.iter().any(|a| a.step > 1) => "step",
                    Index::Slice(axes) if axes.iter().any(|a| a.start.as_constant().is_none()) => "moving",
                    Index::Slice(_) => "slice",
                    Index::Pattern(p) if p.dims.iter().any(|d| d.stride < 0) => "backwards",
                    Index::Pattern(p) if p.dims.iter().any(|d| d.stride == 0) => "broadcast",
                    Index::Pattern(_) => "pattern",
                };
                seen.insert(form.into());
                if let Some(
                    view::Dynamic::Vector { index }
                    | view::Dynamic::Scalar { index, .. }
                    | view::Dynamic::Indirect { index, .. },
                ) = &view.dynamic
                {
                    read[index.buf.index()] = true;
                    let columns = matches!(view.dynamic, Some(view::Dynamic::Indirect { .. }));
                    seen.insert(if columns {
                        format!("{} columns of {}", data.op, spec.name)
                    } else {
                        format!("rows of {}", spec.name)
                    });
                }
            }
        }
        for (buf, data) in k.bufs.iter().filter(|(_, d)| d.kind == BufKind::Private) {
            assert!(read[buf.index()], "seed {seed}: `{}` is never read\n{}", data.name, text::print(&k));
        }
        for l in k.loops.values() {
            seen.insert(format!("turns {:?}", l.trip_count()));
        }
    }
    // Nothing is printed: whoever runs many kernels would have to read it. Two programs need two kernels.
    let left_out = [Op::DevicePrint, Op::CoreBarrier, Op::Sendrecv];
    let ops = Op::all().filter(|op| !left_out.contains(op)).map(|op| op.name().to_string());
    let others = [
        "tensor_tensor.gpsimd",
        "tensor_scalar.gpsimd",
        "tensor_scalar.scalar",
        "tensor_copy.gpsimd",
        "memset.gpsimd",
        "tensor_copy.scalar",
        "nc_transpose.vector",
        "nc_transpose.tensor",
        "dst psum",
        "dst hbm",
        "data psum",
        "bias sbuf",
        "scale sbuf",
        "reduce_res sbuf",
        "reduce_init sbuf",
        "index",
        "step",
        "moving",
        "slice",
        "backwards",
        "broadcast",
        "pattern",
        "rows of src",
        "rows of dst",
        // Every operand that isa.md 3.6/2 lists.
        "nc_matmul columns of stationary",
        "nc_matmul columns of moving",
        "nc_matmul columns of dst",
        "nc_matmul_mx columns of stationary",
        "nc_matmul_mx columns of moving",
        "nc_matmul_mx columns of stationary_scale",
        "nc_matmul_mx columns of moving_scale",
        "tensor_tensor columns of data1",
        "tensor_tensor columns of dst",
        "tensor_scalar columns of data",
        "tensor_scalar columns of dst",
        "tensor_reduce columns of data",
        "tensor_copy columns of src",
        "tensor_copy columns of dst",
        "tensor_copy_predicated columns of predicate",
        "tensor_copy_predicated columns of dst",
        "tensor_scalar_reduce columns of data",
        "tensor_scalar_reduce columns of dst",
        "tensor_scalar_cumulative columns of src",
        "tensor_scalar_cumulative columns of dst",
        "activation columns of data",
        "activation columns of dst",
        "activation_reduce columns of data",
        "activation_reduce columns of dst",
        "activate2 columns of data",
        "activate2 columns of dst",
        "exponential columns of src",
        "exponential columns of dst",
        "turns None",
        "turns Some(0)",
        "turns Some(1)",
        "turns Some(5)",
    ];
    let missing: Vec<String> =
        ops.chain(others.map(String::from)).filter(|what| !seen.contains(what)).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

/// Every kind of mistake, at many places: rejected, with the code that belongs to it.
#[test]
fn every_mistake_is_reported_under_its_code() {
    let mut failures = BTreeMap::new();
    for edit in edits() {
        let (mut applied, mut seed) = (0, 0);
        while applied < 25 && seed < 2000 {
            let options = GenOptions {
                target: Target::ALL[(seed % 4) as usize],
                control: seed % 3 == 1,
                ..GenOptions::default()
            };
            let kernel = generate(seed, &options);
            if let Some(mutant) = mutate_by(edit, seed, &kernel, options.target) {
                applied += 1;
                if let Err(why) = rejected(&mutant, options.target) {
                    failures.entry(edit).or_insert(format!("seed {seed} on {}: {why}", options.target));
                }
            }
            seed += 1;
        }
        if applied < 25 {
            failures.insert(edit, format!("applies to {applied} of {seed} kernels"));
        }
    }
    let list: Vec<String> = failures.iter().map(|(edit, why)| format!("{edit}: {why}")).collect();
    assert!(failures.is_empty(), "{}", list.join("\n\n"));
}

fn rejected(mutant: &Mutant, target: Target) -> Result<(), String> {
    let found = match verify(mutant.kernel.clone(), target) {
        Ok(_) => Diagnostics::new(),
        Err(found) => found,
    };
    let wanted = |d: &diag::Diagnostic| d.code == mutant.code && d.severity == diag::Severity::Error;
    if found.iter().any(wanted) {
        return Ok(());
    }
    Err(format!("{} is not reported, but\n{found}\n{}", mutant.code, text::print(&mutant.kernel)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn kernels_with_one_mistake_are_rejected(seed: u64, edit: u64, target in 0usize..4) {
        let options = GenOptions { target: Target::ALL[target], ..GenOptions::default() };
        let mutant = mutate(edit, &generate(seed, &options), options.target);
        if let Err(why) = rejected(&mutant, options.target) {
            panic!("{}: {why}", mutant.edit);
        }
    }

    /// Mistakes on top of mistakes: the gate answers on every target, and what it still accepts prints and parses alike.
    #[test]
    fn kernels_with_several_mistakes_are_answered(seed: u64, edits: [u64; 3], target in 0usize..4, control: bool) {
        let options = GenOptions { target: Target::ALL[target], control, statements: 6, ..GenOptions::default() };
        let mut kernel = generate(seed, &options);
        for edit in edits {
            kernel = mutate(edit, &kernel, options.target).kernel;
        }
        for target in Target::ALL {
            if let Ok(verified) = verify(kernel.clone(), target) {
                let printed = text::print(verified.kernel());
                let again = text::parse(&printed, "accepted.nkir").map(|k| text::print(&k));
                prop_assert_eq!(again.as_ref(), Ok(&printed), "{}", printed);
            }
        }
    }

    /// Mutants are not well-formed, but their text must still be made without trouble.
    #[test]
    fn kernels_with_one_mistake_print(seed: u64, edit: u64) {
        let options = GenOptions::default();
        let mutant = mutate(edit, &generate(seed, &options), options.target);
        let printed = text::print(&mutant.kernel);
        if let Ok(again) = text::parse(&printed, "mutant.nkir") {
            prop_assert_eq!(text::print(&again), printed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Generated kernels compute something: every read finds data, and hardly an output is NaN or infinite.
    #[test]
    fn generated_kernels_run_on_numbers(seed: u64, target in 0usize..4, exact: bool, indirect: bool) {
        let options = GenOptions { target: Target::ALL[target], exact, indirect, ..GenOptions::default() };
        let kernel = generate(seed, &options);
        let inputs = arguments(&kernel, seed, false);
        let verified = verify(kernel.clone(), options.target).unwrap();
        let strict = InterpOptions { uninitialized: Uninitialized::Error, ..InterpOptions::default() };
        let outputs = run(&verified, &inputs, &strict)
            .unwrap_or_else(|e| panic!("{e}\n{}", text::print(&kernel)));
        prop_assert_eq!(outputs.len(), kernel.outputs().count());
        for ((_, data), out) in kernel.outputs().zip(&outputs).filter(|(b, _)| b.1.dtype.is_float()) {
            let bytes = data.dtype.bytes();
            let value = |e: &[u8]| {
                let mut bits = [0; 4];
                bits[..bytes].copy_from_slice(e);
                sem::cast::up(data.dtype, u32::from_le_bytes(bits))
            };
            let lost = out.data.chunks(bytes).filter(|e| !value(e).is_finite()).count();
            prop_assert!(lost == 0, "`{}`: {lost} of {} elements\n{}", data.name, out.elements(), text::print(&kernel));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Making a failure smaller keeps it, and takes away what has nothing to do with it.
    #[test]
    fn shrinking_keeps_the_failure(seed: u64) {
        let options = GenOptions::default();
        let kernel = generate(seed, &options);
        let fails = |k: &Kernel| {
            let legal = verify(k.clone(), options.target).is_ok();
            let printed = text::print(k);
            legal && printed.contains("activation ")
        };
        prop_assume!(fails(&kernel));
        let small = shrink(&kernel, fails);
        prop_assert!(fails(&small));
        let printed = text::print(&small);
        // One activation, what leads to it, and nothing more.
        prop_assert_eq!(printed.matches("activation ").count(), 1, "{}", printed);
        prop_assert!(!printed.contains(": out "), "{}", printed);
    }
}
