//! The gate on kernels with mistakes: a valid kernel with up to three random edits. The gate answers on every target, and
//! what it accepts the interpreter executes without a fault that the gate should have found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nki_ir::interp::{InterpOptions, run};
use nki_ir::testgen::{GenOptions, Rng, arguments, generate_from, mutate};
use nki_ir::{Code, Target, verify};

fuzz_target!(|bytes: &[u8]| {
    let [first, edits, choices @ ..] = bytes else { return };
    let target = Target::ALL[*first as usize % Target::ALL.len()];
    let options = GenOptions { target, control: first & 16 != 0, statements: 6, ..GenOptions::default() };
    let mut kernel = generate_from(choices, &options);
    if let Err(errors) = verify::verify(kernel.clone(), target) {
        panic!("a generated kernel is not legal: {errors}");
    }
    let mut rng = Rng::from_bytes(choices);
    for _ in 0..edits % 4 {
        kernel = mutate(rng.bits(), &kernel, target).kernel;
    }
    for target in Target::ALL {
        let Ok(verified) = verify::resolve_and_verify(kernel.clone(), target) else { continue };
        let limits = InterpOptions { max_steps: Some(2000), ..InterpOptions::default() };
        let Err(errors) = run(&verified, &arguments(&kernel, 1, false), &limits) else { continue };
        // What depends on data is found while running.
        let at_run_time = [Code::RuntimeIndex, Code::Limit, Code::Assert, Code::Uninitialized];
        assert!(errors.iter().all(|d| at_run_time.contains(&d.code)), "{errors}");
    }
});
