//! A census: every instruction of the op table is tested against an independent model, or through the language.

use nki::ir::Op;
use std::path::Path;

/// Instructions without arithmetic, whose tests with expected values go through the language: the file, and their method.
const THROUGH_THE_LANGUAGE: &[(Op, &str, &str)] = &[
    (Op::RegisterMove, "control.rs", "register_move("),
    (Op::RegisterLoad, "methods.rs", "register_load("),
    (Op::RegisterStore, "control.rs", "register_store("),
    (Op::DevicePrint, "control.rs", "device_print("),
    (Op::DeviceAssert, "control.rs", "nc.assert("),
    (Op::CoreBarrier, "programs.rs", "core_barrier("),
    (Op::Sendrecv, "programs.rs", "sendrecv("),
];

/// The sources of the models: the tests of the semantics, which share no code with what they test.
fn models() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("nki-ir/src/sem/tests");
    let files = std::fs::read_dir(folder).expect("the models are part of the workspace");
    files.map(|f| std::fs::read_to_string(f.expect("an entry").path()).expect("a text")).collect()
}

#[test]
fn every_instruction_has_a_model() {
    let (models, tests) = (models(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    for op in Op::all() {
        let variant = format!("Op::{op:?}");
        let modelled = models.iter().any(|m| {
            m.match_indices(&variant)
                .any(|(at, _)| !m[at + variant.len()..].starts_with(|c: char| c.is_alphanumeric()))
        });
        let elsewhere = THROUGH_THE_LANGUAGE.iter().find(|e| e.0 == op).is_some_and(|(_, file, method)| {
            let text = std::fs::read_to_string(tests.join(file)).expect("a test of the language");
            text.contains(method)
        });
        assert!(modelled || elsewhere, "{op} has neither a model nor a test through the language");
    }
}
