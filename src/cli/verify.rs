//! `nki verify`: files through the gate, without running them.

use super::command::Verify;
use super::context::{Context, Outcome, diagnostics};
use super::subject::{is_file, read_ir};
use crate::check::gate;
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::json;

pub fn run(context: &Context, args: &Verify) -> Result<Outcome, Diagnostics> {
    let (mut list, mut success) = (Vec::new(), true);
    for file in &args.files {
        let found = match one(file, args) {
            Ok(warnings) => {
                context.say(format!("{file}: ok for {}", args.target));
                warnings
            }
            Err(errors) => {
                success = false;
                errors
            }
        };
        context.warn(&found);
        list.push(json!({ "file": file, "passed": !found.has_errors(), "findings": diagnostics(&found) }));
    }
    let json =
        json!({ "schema": "nki.verify/1", "target": args.target.name(), "passed": success, "files": list });
    Ok(Outcome { json, success })
}

/// The warnings of a file that passes.
fn one(file: &str, args: &Verify) -> Result<Diagnostics, Diagnostics> {
    if !is_file(file, "nkir") {
        let text = format!("{file}: not a .nkir file");
        return Err(Diagnostic::error(Code::Usage, text).into());
    }
    let mut warnings = Diagnostics::new();
    gate(read_ir(file)?, args.target, &mut warnings)?;
    Ok(warnings)
}
