//! The test `boundary`: a program at the limit of rules, and for each rule the edit that crosses the limit.
//!
//! ```text
//! ; test boundary
//! ; target trn1
//!   memset %t[96:128, :], 0.0
//!   ;! START_PARTITION: memset %t[95:127, :], 0.0
//! ```
//!
//! The program as it stands passes the gate without a finding on every target it names. Each line `;! RULE [+ RULE ..] [on
//! TARGET ..]: TEXT` puts `TEXT` in place of the line above it (`//` begins a new line; no text takes the line away), and the
//! program then breaks these rules and no other. Rules have their names in `nki_ir::verify::rules`; what the reader itself
//! refuses counts for the rule with its code.

use super::{Case, Finding, Outcome};
use nki_ir::diag::Diagnostics;
use nki_ir::verify::{resolve_and_verify, rules};
use nki_ir::{Kernel, Target, text};
use std::collections::BTreeSet;

/// An edit after which the program is wrong.
pub struct Edit {
    /// Names of the rules that it breaks.
    pub rules: BTreeSet<String>,
    pub targets: Vec<Target>,
    /// The whole text, edited.
    pub text: String,
    /// Number of the `;!` line, from 1.
    line: usize,
}

/// The edits of a file.
pub fn edits(case: &Case) -> Result<Vec<Edit>, String> {
    let lines: Vec<&str> = case.text.lines().collect();
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix(";!") else { continue };
        let (head, new) = rest.split_once(':').ok_or_else(|| format!("line {}: no `:`", i + 1))?;
        let (names, on) = head.split_once(" on ").unwrap_or((head, ""));
        let targets: Result<Vec<Target>, ()> = on.split_whitespace().map(str::parse).collect();
        let targets = targets.map_err(|()| format!("line {}: a target is unknown", i + 1))?;
        let rules: BTreeSet<String> = names.split('+').map(|n| n.trim().to_string()).collect();
        if let Some(unknown) = rules.iter().find(|n| rules::ALL.iter().all(|r| r.name != n.as_str())) {
            return Err(format!("line {}: there is no rule `{unknown}`", i + 1));
        }
        let at = (0..i).rev().find(|&j| !lines[j].trim_start().starts_with(";!"));
        let at = at.ok_or_else(|| format!("line {}: nothing to edit above", i + 1))?;
        let new = new.replace(" // ", "\n");
        let edited = lines.iter().enumerate().map(|(j, old)| if j == at { new.trim() } else { old });
        let targets = if targets.is_empty() { case.targets.clone() } else { targets };
        let text = edited.collect::<Vec<_>>().join("\n") + "\n";
        out.push(Edit { rules, targets, text, line: i + 1 });
    }
    Ok(out)
}

impl Edit {
    /// The rules that the edited program breaks on `target`.
    pub fn broken(&self, case: &Case, target: Target) -> BTreeSet<String> {
        let found: Diagnostics = match text::parse(&self.text, &case.name) {
            Err(refused) => refused,
            Ok(kernel) => match resolve_and_verify(kernel, target) {
                Ok(verified) => verified.warnings().clone(),
                Err(found) => found,
            },
        };
        let name = |d: &nki_ir::Diagnostic| match d.rule {
            Some(rule) => rule.name.to_string(),
            None => {
                let same = |n: &&String| rules::ALL.iter().any(|r| r.name == n.as_str() && r.code == d.code);
                self.rules.iter().find(same).cloned().unwrap_or_else(|| d.code.to_string())
            }
        };
        found.iter().map(name).collect()
    }
}

/// The test.
pub fn check(case: &Case, kernel: &Kernel, target: Target) -> Outcome {
    let mut outcome = Outcome::default();
    let found = match resolve_and_verify(kernel.clone(), target) {
        Ok(verified) => verified.warnings().clone(),
        Err(found) => found,
    };
    outcome.findings = found.iter().map(|d| Finding::new(d, &case.name)).collect();
    let edits = match edits(case) {
        Ok(edits) => edits,
        Err(why) => {
            outcome.broken.push(why);
            return outcome;
        }
    };
    for edit in edits.iter().filter(|e| e.targets.contains(&target)) {
        let broken = edit.broken(case, target);
        if broken != edit.rules {
            outcome.broken.push(format!("line {}: breaks {broken:?}, not {:?}", edit.line, edit.rules));
        }
    }
    outcome
}
