//! Independent models of the semantics, written from isa.md's equations in float64 and exact integers: they share no code
//! with `sem` but its public interface.

use crate::op::Op;

mod activation;
mod cast;
mod elementwise;
mod gather;
mod harness;
mod matrix;
mod mx;
mod random;
mod rows;
mod selection;
mod transfer;
mod transpose;

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

/// Every instruction of the op table has a model here, or a test of its own behaviour through the language.
#[test]
fn every_instruction_has_a_model() {
    let models = [
        include_str!("activation.rs"),
        include_str!("elementwise.rs"),
        include_str!("gather.rs"),
        include_str!("matrix.rs"),
        include_str!("mx.rs"),
        include_str!("random.rs"),
        include_str!("rows.rs"),
        include_str!("selection.rs"),
        include_str!("transfer.rs"),
        include_str!("transpose.rs"),
    ];
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    for op in Op::all() {
        let variant = format!("Op::{op:?}");
        let modelled = models.iter().any(|m| {
            m.match_indices(&variant)
                .any(|(at, _)| !m[at + variant.len()..].starts_with(|c: char| c.is_alphanumeric()))
        });
        let elsewhere = THROUGH_THE_LANGUAGE.iter().find(|e| e.0 == op).is_some_and(|(_, file, method)| {
            let text = std::fs::read_to_string(tests.join(file)).unwrap_or_default();
            text.contains(method)
        });
        assert!(modelled || elsewhere, "{op} has neither a model nor a test through the language");
    }
}
