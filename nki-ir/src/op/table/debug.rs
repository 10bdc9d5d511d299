//! What a kernel tells its author while it runs. The sync engine's sequencer does it, in program order.

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::DevicePrint,
        name: "device_print",
        section: "10",
        engines: &[(Engine::Sync, Gen2)],
        operands: &[src("src", HS, Free)],
        attrs: &[attr("text", A::Text), with("shape", A::Ints, || Attr::Ints(vec![]))],
        timing: TimingClass::None,
        summary: "print a tensor while the kernel runs",
    },
    OpRow {
        op: Op::DeviceAssert,
        name: "device_assert",
        section: "10",
        engines: &[(Engine::Sync, Gen2)],
        operands: &[src("condition", HS, Free)],
        attrs: &[attr("text", A::Text)],
        timing: TimingClass::None,
        summary: "end the run unless every element is not 0",
    },
];
