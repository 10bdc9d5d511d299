//! The reader of tile IR and the gate: what parses prints and parses again alike, and the gate answers on every target.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nki_ir::{Target, text, verify};

fuzz_target!(|source: &str| {
    let Ok(kernel) = text::parse(source, "fuzz.nkir") else { return };
    let printed = text::print(&kernel);
    let again = text::parse(&printed, "fuzz.nkir").expect("printed kernels parse");
    assert_eq!(text::print(&again), printed);
    for target in Target::ALL {
        let _ = verify::resolve_and_verify(kernel.clone(), target);
    }
});
