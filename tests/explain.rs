//! The Rust examples of `nki explain` compile, and do what their pages say.

use nki::ir::explain::{Language, page};
use nki::ir::{Code, Diagnostics};

macro_rules! examples {
    ($($code:ident: $failing:ident = $failing_file:literal, $repaired:ident = $repaired_file:literal;)*) => {
        $(
            mod $failing {
                include!(concat!("../nki-ir/src/explain/rust/", $failing_file));
            }
            mod $repaired {
                include!(concat!("../nki-ir/src/explain/rust/", $repaired_file));
            }
        )*
        /// What an example returns: warnings, or errors.
        type Run = fn() -> Result<Diagnostics, Diagnostics>;
        const EXAMPLES: &[(Code, Run, Run)] = &[$((Code::$code, $failing::run, $repaired::run)),*];
    };
}

examples! {
    KernelPanic: panic_failing = "kernel_panic_failing.rs", panic_repaired = "kernel_panic_repaired.rs";
    Ensure: ensure_failing = "ensure_failing.rs", ensure_repaired = "ensure_repaired.rs";
    Trace: trace_failing = "trace_failing.rs", trace_repaired = "trace_repaired.rs";
    ControlFlow: control_failing = "control_flow_failing.rs", control_repaired = "control_flow_repaired.rs";
    Unroll: unroll_failing = "unroll_failing.rs", unroll_repaired = "unroll_repaired.rs";
    Schedule: schedule_failing = "schedule_failing.rs", schedule_repaired = "schedule_repaired.rs";
    Config: config_failing = "config_failing.rs", config_repaired = "config_repaired.rs";
    Argument: argument_failing = "argument_failing.rs", argument_repaired = "argument_repaired.rs";
    Mismatch: mismatch_failing = "mismatch_failing.rs", mismatch_repaired = "mismatch_repaired.rs";
}

#[test]
fn every_rust_example_fails_and_is_repaired() {
    for code in Code::ALL.iter().filter(|c| page(**c).language == Language::Rust) {
        assert!(EXAMPLES.iter().any(|e| e.0 == *code), "the example of {code} is not run");
    }
    for (code, failing, repaired) in EXAMPLES {
        let found = failing().unwrap_or_else(|errors| errors);
        assert!(!found.is_empty(), "{code}: the failing example passes");
        assert!(found.iter().all(|d| d.code == *code), "{code}: {found}");
        let rest = repaired().unwrap_or_else(|errors| errors);
        assert!(rest.is_empty(), "{code}: the repaired example fails: {rest}");
    }
}
