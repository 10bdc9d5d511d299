//! The reader of machine programs and their verifier.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    if let Ok(program) = nki_sim::text::parse(source, "fuzz.nkim") {
        let _ = nki_sim::verify(program);
    }
});
