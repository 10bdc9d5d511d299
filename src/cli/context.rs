//! Where a command's words go: text to standard output as it is found, or one JSON object at the end.

use indicatif::{ProgressBar, ProgressStyle};
use nki_ir::Diagnostics;
use nki_ir::diag::{Diagnostic, Severity};
use nki_ir::loc::SourceLoc;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// What a command found.
pub struct Outcome {
    /// The JSON twin of what was said, an object with a `schema` field.
    pub json: Value,
    /// Whether the exit status is 0.
    pub success: bool,
}

impl Outcome {
    /// A successful outcome.
    pub fn ok(json: Value) -> Outcome {
        Outcome { json, success: true }
    }
}

/// How to speak to whoever runs the command.
pub struct Context {
    json: bool,
}

impl Context {
    pub fn new(json: bool) -> Context {
        Context { json }
    }

    /// A line of text (or several) for people.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            print(text.as_ref());
        }
    }

    /// A spinner on a terminal, nothing elsewhere, while something takes long.
    pub fn progress(&self, text: impl Into<String>) -> Progress {
        let bar = ProgressBar::new_spinner().with_message(text.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress(bar)
    }

    /// A bar on a terminal, nothing elsewhere, over `total` steps.
    pub fn bar(&self, total: usize) -> Progress {
        let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg} ({elapsed})");
        let bar = ProgressBar::new(total as u64);
        Progress(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Findings that do not keep a command from its work.
    pub fn warn(&self, warnings: &Diagnostics) {
        if !warnings.is_empty() {
            self.report(warnings);
        }
    }

    /// A finding as part of what is said.
    pub fn render(&self, found: &Diagnostic) -> String {
        nki_ir::diag::render_one(found, &source, std::io::stdout().is_terminal())
    }

    fn report(&self, found: &Diagnostics) {
        let color = std::io::stderr().is_terminal();
        eprintln!("{}", nki_ir::diag::render(&found.clone().collapsed(), &source, color).trim_end());
    }

    /// Ends a command that found what it looked for.
    pub fn finish(&self, outcome: &Outcome) {
        if self.json {
            print(&outcome.json.to_string());
        }
    }

    /// Ends a command that could not do its work.
    pub fn fail(&self, errors: &Diagnostics) {
        self.report(errors);
        if self.json {
            print(&json!({ "schema": "nki.error/1", "errors": diagnostics(errors) }).to_string());
        }
    }
}

/// The text of a source file, where this runs in the tree that it belongs to.
pub fn source(file: &str) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

/// A sign of life; disappears when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// `done` steps are done.
    pub fn at(&self, done: usize, text: impl Into<String>) {
        self.0.set_position(done as u64);
        self.0.set_message(text.into());
    }

    /// One step done; `next` is what comes now.
    pub fn step(&self, next: impl Into<String>) {
        self.0.inc(1);
        self.0.set_message(next.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints a line. A reader that has gone away (`nki list | head -1`) is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
}

/// Findings as JSON.
pub fn diagnostics(list: &Diagnostics) -> Value {
    Value::Array(list.iter().map(diagnostic).collect())
}

fn diagnostic(d: &Diagnostic) -> Value {
    json!({
        "code": d.code.to_string(),
        "severity": if d.severity == Severity::Error { "error" } else { "warning" },
        "message": d.message,
        "at": d.at.as_deref().map(place),
        "related": d.related.iter().map(|(at, what)| json!({ "at": place(at), "what": what })).collect::<Vec<_>>(),
        "notes": d.notes,
        "help": d.help,
    })
}

fn place(at: &SourceLoc) -> Value {
    let frame = |(kernel, call): &(String, Option<(String, u32, u32)>)| {
        let call =
            call.as_ref().map(|(file, line, column)| json!({ "file": file, "line": line, "column": column }));
        json!({ "kernel": kernel, "called_at": call })
    };
    json!({
        "file": at.file,
        "line": at.line,
        "column": at.column,
        "stack": at.stack.iter().map(frame).collect::<Vec<_>>(),
    })
}
