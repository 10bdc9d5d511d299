//! Every way of running on a random valid kernel: eager, interpreter, simulator and native code give the same bits.
#![no_main]

#[path = "../../tests/ways/agree.rs"]
mod agree;

use libfuzzer_sys::fuzz_target;
use nki::ir::testgen::{GenOptions, generate_from};
use nki::ir::{Op, Target, text};

fuzz_target!(|bytes: &[u8]| {
    let [first, second, third, choices @ ..] = bytes else { return };
    let target = Target::ALL[*first as usize % Target::ALL.len()];
    // Half of the kernels are around one instruction.
    let focus = (second & 128 != 0).then(|| Op::all().nth(usize::from(second & 127))).flatten();
    let focus = focus.filter(|op| {
        !["9.7", "9.8.1", "9.8.2", "10"].contains(&op.row().section)
            && op.row().engines_on(target.generation()).next().is_some()
    });
    let options = GenOptions {
        target,
        focus,
        control: first & 16 != 0,
        everything: first & 64 != 0,
        indirect: third & 1 != 0,
        faults: third & 3 == 3,
        statements: 6,
        ..GenOptions::default()
    };
    let kernel = generate_from(choices, &options);
    if let Some((way, what)) = agree::disagreement(&kernel, target, 1, first & 32 != 0, options.faults) {
        panic!("{way} on {target}: {what}\n{}", text::print(&kernel));
    }
});
