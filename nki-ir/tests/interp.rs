//! The interpreter and the store of the eager mode on random valid kernels.

use nki_ir::interp::{EagerStore, InterpOptions, Uninitialized, run, run_with_warnings};
use nki_ir::kernel::Bound;
use nki_ir::sem::{Rounding, cast};
use nki_ir::testgen::{GenOptions, Rng, generate};
use nki_ir::verify::{Verified, verify};
use nki_ir::*;
use proptest::prelude::*;

/// Small numbers for every argument; indices below 4.
fn arguments(kernel: &Kernel, seed: u64) -> Vec<Tensor> {
    let mut rng = Rng::new(seed);
    let tensor = |data: &BufData| {
        let elements: usize = data.shape.iter().map(|&n| n as usize).product();
        let mut bytes = Vec::new();
        for _ in 0..elements {
            let x =
                if data.dtype.is_int() { rng.below(4) as f32 } else { rng.below(4096) as f32 / 1024.0 - 2.0 };
            bytes.extend(&cast::down(data.dtype, x).to_le_bytes()[..data.dtype.bytes()]);
        }
        Tensor { dtype: data.dtype, shape: data.shape.iter().map(|&n| n as usize).collect(), data: bytes }
    };
    kernel.inputs().map(|(_, data)| data).map(tensor).collect()
}

fn verified(seed: u64, target: Target) -> Verified {
    verify(generate(seed, &GenOptions { target, ..GenOptions::default() }), target)
        .expect("generated kernels are valid")
}

/// What the eager mode does: every node at once, loops as Rust loops.
fn eagerly(kernel: &Verified, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut store = EagerStore::new(kernel.target(), &InterpOptions::default());
    let kernel = kernel.kernel();
    for ((buf, _), tensor) in kernel.inputs().zip(inputs) {
        store.bind(kernel, buf, tensor).expect("arguments fit");
    }
    for (buf, data) in kernel.bufs.iter() {
        if data.kind == BufKind::Output {
            store.alloc(kernel, buf).expect("memory");
        }
    }
    region(kernel, kernel.body, &mut store);
    let outputs: Vec<Buf> = kernel.outputs().map(|(buf, _)| buf).collect();
    outputs.iter().map(|buf| store.finish(kernel, *buf).expect("an output")).collect()
}

fn region(kernel: &Kernel, r: Region, store: &mut EagerStore) {
    for node in &kernel.regions[r].nodes {
        match node {
            Node::Alloc(buf) => store.alloc(kernel, *buf).expect("memory"),
            Node::Inst(i) => store.exec(kernel, &kernel.insts[*i]).expect("runs"),
            Node::Loop(l) => match &kernel.loops[*l] {
                LoopData::For { var, lo: Bound::Const(lo), hi: Bound::Const(hi), step, body, .. } => {
                    let mut x = *lo;
                    while x < *hi {
                        store.set_var(*var, x, x == *lo);
                        region(kernel, *body, store);
                        x += step;
                    }
                }
                LoopData::NoReorder { body, .. } => region(kernel, *body, store),
                other => panic!("the generator makes no {other:?}"),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Bit for bit; nothing unwritten is read, so that leniency changes nothing either.
    #[test]
    fn interpreter_and_eager_agree(seed: u64, target in 0usize..4) {
        let kernel = verified(seed, Target::ALL[target]);
        let inputs = arguments(kernel.kernel(), seed);
        let want = run(&kernel, &inputs, &InterpOptions::default()).expect("runs");
        prop_assert_eq!(&eagerly(&kernel, &inputs), &want);
        let lenient = InterpOptions { uninitialized: Uninitialized::Warn, ..InterpOptions::default() };
        let out = run_with_warnings(&kernel, &inputs, &lenient).expect("runs");
        prop_assert_eq!(out.outputs, want);
        prop_assert!(out.warnings.is_empty(), "{}", out.warnings);
    }

    /// A seed fixes a stochastic run, whatever ran before.
    #[test]
    fn stochastic_runs_repeat(seed: u64) {
        let kernel = verified(seed, Target::Trn2);
        let inputs = arguments(kernel.kernel(), seed);
        let options = InterpOptions { rounding: Rounding::Stochastic { seed }, ..InterpOptions::default() };
        let [a, b] = [0, 1].map(|_| run(&kernel, &inputs, &options).expect("runs"));
        prop_assert_eq!(a, b);
    }
}

/// An instruction that is left out leaves its destination unwritten, and the first reader says so: no result is made up.
#[test]
fn left_out_instructions_are_noticed() {
    let mut noticed = 0;
    for seed in 0..40 {
        let mut kernel = generate(seed, &GenOptions { max_depth: 0, ..GenOptions::default() });
        let inputs = arguments(&kernel, seed);
        let body = kernel.body;
        let first = kernel.regions[body].nodes.iter().position(|n| matches!(n, Node::Inst(_)));
        kernel.regions[body].nodes.remove(first.expect("an instruction"));
        // The gate finds what is certainly wrong; the rest is found by running.
        let code = match verify(kernel, Target::Trn2) {
            Err(errors) => errors.first_code(),
            Ok(kernel) => run(&kernel, &inputs, &InterpOptions::default()).err().and_then(|e| e.first_code()),
        };
        noticed += u32::from(code == Some(Code::Uninitialized));
    }
    assert_eq!(noticed, 40);
}
