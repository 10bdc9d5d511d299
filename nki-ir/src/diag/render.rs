//! Findings for a terminal: source snippet with a caret, related places, notes, call stack and help.

use super::{Diagnostic, Diagnostics, Severity};
use crate::loc::SourceLoc;
use std::fmt::Write;

/// Longest part of a source line that is shown, in characters.
const WIDTH: usize = 110;
/// Columns that a tab stands for.
const TAB: usize = 4;

/// All findings with snippets, and a last line that counts them. `source` gives the text of a file by the name that
/// positions use, or nothing if it cannot be read. `color` writes ANSI colours.
pub fn render(found: &Diagnostics, source: &dyn Fn(&str) -> Option<String>, color: bool) -> String {
    let mut out = Renderer { out: String::new(), source: Sources { read: source, files: Vec::new() }, color };
    for d in found.iter() {
        out.diagnostic(d);
        out.out.push('\n');
    }
    out.summary(found);
    out.out
}

/// One finding with its snippets, without the line that counts.
pub fn render_one(found: &Diagnostic, source: &dyn Fn(&str) -> Option<String>, color: bool) -> String {
    let mut out = Renderer { out: String::new(), source: Sources { read: source, files: Vec::new() }, color };
    out.diagnostic(found);
    out.out
}

/// Files read so far.
struct Sources<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    files: Vec<(String, Option<String>)>,
}

impl Sources<'_> {
    fn line(&mut self, file: &str, line: u32) -> Option<String> {
        let at = match self.files.iter().position(|f| f.0 == file) {
            Some(at) => at,
            None => {
                self.files.push((file.to_string(), (self.read)(file)));
                self.files.len() - 1
            }
        };
        let text = self.files[at].1.as_ref()?;
        text.lines().nth((line as usize).checked_sub(1)?).map(str::to_string)
    }
}

struct Renderer<'a> {
    out: String,
    source: Sources<'a>,
    color: bool,
}

#[derive(Clone, Copy)]
enum Style {
    Error,
    Warning,
    Strong,
    Gutter,
    Help,
}

impl Renderer<'_> {
    fn paint(&mut self, style: Style, text: &str) {
        if !self.color {
            self.out.push_str(text);
            return;
        }
        let code = match style {
            Style::Error => "1;31",
            Style::Warning => "1;33",
            Style::Strong => "1",
            Style::Gutter => "1;34",
            Style::Help => "1;36",
        };
        // Writing to a string does not fail.
        let _ = write!(self.out, "\x1b[{code}m{text}\x1b[0m");
    }

    fn diagnostic(&mut self, d: &Diagnostic) {
        let (word, style) = match d.severity {
            Severity::Error => ("error", Style::Error),
            Severity::Warning => ("warning", Style::Warning),
        };
        let lines = d.at.iter().map(|a| a.line).chain(d.related.iter().map(|r| r.0.line));
        let margin = lines.max().unwrap_or(0).to_string().len().max(2);
        self.paint(style, &format!("{word}[{}]", d.code));
        self.paint(Style::Strong, &format!(": {}", clean(&d.message)));
        self.out.push('\n');
        if let Some(at) = &d.at {
            self.place(margin, "-->", at, "");
            self.snippet(margin, at, '^', style);
            for (kernel, call) in &at.stack {
                if let Some((file, line, column)) = call {
                    let text = format!("in kernel `{kernel}`, called at {file}:{line}:{column}");
                    self.item(margin, Style::Gutter, "", &text);
                }
            }
        }
        for (at, what) in &d.related {
            self.place(margin, ":::", at, what);
            self.snippet(margin, at, '-', Style::Gutter);
        }
        for note in &d.notes {
            self.item(margin, Style::Strong, "note: ", note);
        }
        if let Some(help) = &d.help {
            self.item(margin, Style::Help, "help: ", help);
        }
    }

    /// `  --> file:line:column: what`
    fn place(&mut self, margin: usize, arrow: &str, at: &SourceLoc, what: &str) {
        self.out.push_str(&" ".repeat(margin));
        self.paint(Style::Gutter, arrow);
        let _ = write!(self.out, " {}", clean(&at.to_string()));
        if !what.is_empty() {
            let _ = write!(self.out, ": {}", clean(what));
        }
        self.out.push('\n');
    }

    /// `   = note: text`
    fn item(&mut self, margin: usize, style: Style, word: &str, text: &str) {
        self.out.push_str(&" ".repeat(margin + 1));
        self.paint(Style::Gutter, "= ");
        self.paint(style, word);
        let indent = " ".repeat(margin + 3 + word.len());
        for (i, line) in text.lines().enumerate() {
            if i > 0 {
                let _ = write!(self.out, "\n{indent}");
            }
            self.out.push_str(&clean(line));
        }
        self.out.push('\n');
    }

    /// The source line with a mark under the word at the position.
    fn snippet(&mut self, margin: usize, at: &SourceLoc, mark: char, style: Style) {
        let Some(line) = self.source.line(&at.file, at.line) else { return };
        let (text, from, width) = window(&line, at.column.max(1) as usize - 1);
        self.paint(Style::Gutter, &format!("{:>margin$} | ", at.line));
        self.out.push_str(&text);
        self.out.push('\n');
        self.paint(Style::Gutter, &format!("{:>margin$} | ", ""));
        self.out.push_str(&" ".repeat(from));
        self.paint(style, &mark.to_string().repeat(width));
        self.out.push('\n');
    }

    fn summary(&mut self, found: &Diagnostics) {
        let count = |s: Severity| found.iter().filter(|d| d.severity == s).count();
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let text = match (errors, warnings) {
            (0, 0) => return,
            (0, w) => plural(w, "warning"),
            (e, 0) => plural(e, "error"),
            (e, w) => format!("{}, {}", plural(e, "error"), plural(w, "warning")),
        };
        self.paint(if errors > 0 { Style::Error } else { Style::Warning }, &text);
        self.out.push('\n');
    }
}

/// The part of a line around `column` (in characters, from 0) with tabs expanded, where the mark starts in it, and how
/// many characters to mark: the word there, or one.
fn window(line: &str, column: usize) -> (String, usize, usize) {
    let mut shown = Vec::new();
    let mut mark = None;
    let mut word = 0;
    for (i, c) in line.chars().enumerate() {
        let at = shown.len();
        if i == column {
            mark = Some(at);
        }
        if mark.is_some() && i == column + word && (c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '@'))
        {
            word += 1;
        }
        match c {
            '\t' => shown.extend(std::iter::repeat_n(' ', TAB)),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    while shown.last().is_some_and(|c| c.is_whitespace()) {
        shown.pop();
    }
    // A position past the end (the line has changed since) is marked at the end.
    let mark = mark.unwrap_or(shown.len());
    let first = if mark + word.min(WIDTH / 2) > WIDTH { mark - WIDTH / 3 } else { 0 };
    let last = shown.len().min(first + WIDTH);
    let mut text: String = shown[first.min(last)..last].iter().collect();
    let mut from = mark - first;
    if first > 0 {
        text.insert_str(0, "..");
        from += 2;
    }
    if last < shown.len() {
        text.push_str("..");
    }
    (text, from, word.clamp(1, WIDTH.saturating_sub(from).max(1)))
}

/// Text without characters that control a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Code;

    fn at(file: &str, line: u32, column: u32) -> SourceLoc {
        SourceLoc { file: file.into(), line, column, stack: Vec::new() }
    }

    const SOURCE: &str = "fn k() {\n    let acc = nc.psum([128, 1024]);\n\tnc.matmul(acc, a, b);\n}\n";

    fn show(d: Diagnostic) -> String {
        render(&d.into(), &|file| (file == "k.rs").then(|| SOURCE.to_string()), false)
    }

    #[test]
    fn the_whole_picture() {
        let mut place = at("k.rs", 3, 5);
        place.stack = vec![("inner".into(), Some(("main.rs".into(), 7, 9))), ("outer".into(), None)];
        let mut d = Diagnostic::error(Code::PsumBank, "dst `acc` crosses a bank")
            .at_source(place)
            .note("a bank holds 2 KiB")
            .help("use smaller tiles");
        d.related.push((at("k.rs", 2, 15), "`acc` is psum".into()));
        assert_eq!(
            show(d),
            "\
error[nki::psum_bank]: dst `acc` crosses a bank
  --> k.rs:3:5
 3 |     nc.matmul(acc, a, b);
   |        ^^^^^^
   = in kernel `inner`, called at main.rs:7:9
  ::: k.rs:2:15: `acc` is psum
 2 |     let acc = nc.psum([128, 1024]);
   |               -------
   = note: a bank holds 2 KiB
   = help: use smaller tiles

1 error
"
        );
    }

    #[test]
    fn places_that_do_not_exist_and_lines_that_are_too_long() {
        let far = show(Diagnostic::error(Code::Shape, "x").at_source(at("k.rs", 99, 1)));
        assert_eq!(far, "error[nki::shape]: x\n  --> k.rs:99:1\n\n1 error\n");
        let past = show(Diagnostic::error(Code::Shape, "x").at_source(at("k.rs", 1, 80)));
        assert!(past.contains("1 | fn k() {\n   |         ^\n"), "{past}");
        let long = format!("{}needle{}", "a ".repeat(200), " b".repeat(200));
        for column in [1, 100, 401, 600, 4000] {
            let d = Diagnostic::warning(Code::Shape, "x").at_source(at("k.rs", 1, column));
            let text = render(&d.into(), &|_| Some(long.clone()), false);
            assert!(text.lines().all(|l| l.chars().count() <= WIDTH + 12), "{text}");
            if column == 401 {
                let lines: Vec<&str> = text.lines().collect();
                let mark = lines[3].find('^').unwrap();
                assert_eq!(&lines[2][mark..mark + 6], "needle", "{text}");
                assert!(lines[3].ends_with("^^^^^^") && text.ends_with("1 warning\n"));
            }
        }
    }

    #[test]
    fn source_cannot_control_the_terminal() {
        let d = Diagnostic::error(Code::Shape, "a\x1b[31mb").at_source(at("k", 1, 1));
        let text = render(&d.into(), &|_| Some("x\x1b[2Jy".into()), false);
        assert!(!text.contains('\x1b'), "{text:?}");
    }
}
