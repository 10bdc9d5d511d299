//! `nki verify`: files through the gate, without running them.

use super::command::Verify;
use super::context::{Context, Outcome, diagnostics};
use super::subject::{FileKind, read_ir, read_text};
use crate::check::gate;
use nki_ir::{Code, Diagnostic, Diagnostics, Target};
use nki_sim::Proof;
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Verify) -> Result<Outcome, Diagnostics> {
    if let Some(file) = args.files.iter().find(|f| FileKind::of(f).is_none()) {
        return Err(unknown(file));
    }
    let (mut list, mut success) = (Vec::new(), true);
    for file in &args.files {
        let (found, passed) = match one(file, args.target) {
            Ok(passed) => {
                let note = passed.proof.as_ref().map_or(String::new(), |p| format!("; {p}"));
                context.say(format!("{file}: ok for {}{note}", passed.target));
                (passed.warnings.clone(), Some(passed))
            }
            Err(errors) => {
                success = false;
                (errors, None)
            }
        };
        context.warn(&found);
        list.push(json!({
            "file": file,
            "passed": passed.is_some(),
            "target": passed.as_ref().map(|p| p.target.name()),
            "order": passed.and_then(|p| p.proof),
            "findings": diagnostics(&found),
        }));
    }
    let target = args.target.map_or(Value::Null, |t| t.name().into());
    let json = json!({ "schema": "nki.verify/1", "target": target, "passed": success, "files": list });
    Ok(Outcome { json, success })
}

/// A file that passes.
struct Passed {
    target: Target,
    warnings: Diagnostics,
    /// What is known about the order of a machine program.
    proof: Option<String>,
}

fn one(file: &str, target: Option<Target>) -> Result<Passed, Diagnostics> {
    let mut warnings = Diagnostics::new();
    match FileKind::of(file) {
        Some(FileKind::TileIr) => {
            let target = target.unwrap_or(Target::Trn2);
            gate(read_ir(file)?, target, &mut warnings)?;
            Ok(Passed { target, warnings, proof: None })
        }
        Some(FileKind::Machine) => {
            let program = nki_sim::text::parse(&read_text(file)?, file)?;
            if let Some(t) = target.filter(|t| *t != program.target) {
                let text = format!("`--target {t}`: {file} is a program for {}", program.target);
                return Err(Diagnostic::error(Code::Usage, text).into());
            }
            let verified = nki_sim::verify(program)?;
            let proof = match verified.proof() {
                Proof::Proven => "free of races and deadlock".to_string(),
                Proof::Dynamic(why) => format!("its order is checked while it runs: {why}"),
            };
            Ok(Passed { target: verified.header().target, warnings, proof: Some(proof) })
        }
        None => Err(unknown(file)),
    }
}

fn unknown(file: &str) -> Diagnostics {
    Diagnostic::error(Code::Usage, format!("{file}: neither a .nkir nor a .nkim file")).into()
}
