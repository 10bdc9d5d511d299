//! Runs every `.nkir` file under `tests/filetests`.
//!
//! The comments at the top of a file say what to do with it and what must come of it:
//!
//! ```text
//! ; test verify                                   one line per test, see `TESTS`
//! ; target trn2                                   one line per target; trn2 if there is none
//! ; expect error nki::shape at 12:3: has 4 columns
//! ```
//!
//! `expect` lines are the findings, in order: severity, code, place (`line:column` in the file itself, `file:line:column`
//! elsewhere, nothing if the finding has none), and a part of the message. `expect ok`, or no such line, is no findings.
//! Other lines of the header are plain comments; they do not start with a directive's word.
//!
//! The tests `run`, `compile` and `boundary` have directives of their own: see `filetests/run.rs` and `filetests/boundary.rs`.
//!
//! `NKI_BLESS=1 cargo test --test filetests` rewrites the `expect` lines (and bodies, for tests that have a canonical one) to
//! what happens: look at the difference before you commit it. `NKI_FILETEST=part` runs the files whose path contains `part`.

use nki_ir::diag::{Diagnostic, Severity};
use nki_ir::target::Gen;
use nki_ir::text::{self, PrintOptions, Printer};
use nki_ir::{Kernel, Target};
use std::path::{Path, PathBuf};

#[path = "filetests/boundary.rs"]
mod boundary;
#[path = "filetests/run.rs"]
mod execute;

/// What a test may do with a file whose text parses.
type Run = fn(&Case, &Kernel, Target) -> Outcome;

/// Every test by the name that files use.
const TESTS: &[(&str, Run)] = &[
    ("parse", parse),
    ("print", print),
    ("verify", verify),
    ("run", execute::run),
    ("compile", execute::compile),
    ("boundary", boundary::check),
];

/// Outcome of one test, or of all tests of a file, for one target.
#[derive(Default, PartialEq)]
struct Outcome {
    findings: Vec<Finding>,
    /// What the file below its header should be, if the test knows.
    body: Option<String>,
    /// First elements of outputs, for the `result` lines.
    results: Vec<(String, String)>,
    /// Failures that no `expect` line can cover.
    broken: Vec<String>,
}

/// The text parses: nothing more is asked.
fn parse(_: &Case, _: &Kernel, _: Target) -> Outcome {
    Outcome::default()
}

/// The file is what its kernel prints as, with positions if the file has any, and printing is stable.
fn print(case: &Case, kernel: &Kernel, _: Target) -> Outcome {
    let options = PrintOptions { locations: case.text.contains("loc(") };
    let body = Printer::new(kernel, options).kernel();
    let mut broken = Vec::new();
    let full = text::print(kernel);
    match text::parse(&full, &case.name) {
        Ok(again) if text::print(&again) != full => broken.push("printing again gives another text".into()),
        Ok(_) => {}
        Err(errors) => broken.push(format!("the printed text does not parse:\n{errors}\n{full}")),
    }
    Outcome { body: Some(body), broken, ..Outcome::default() }
}

/// What the gate says, errors or warnings, after automatic decisions have been taken.
fn verify(case: &Case, kernel: &Kernel, target: Target) -> Outcome {
    let found = match nki_ir::verify::resolve_and_verify(kernel.clone(), target) {
        Ok(verified) => verified.warnings().clone(),
        Err(found) => found,
    };
    let findings = found.iter().map(|d| Finding::new(d, &case.name)).collect();
    Outcome { findings, ..Outcome::default() }
}

/// A finding as an `expect` line has it.
#[derive(Clone, PartialEq)]
struct Finding {
    /// `error nki::shape`
    what: String,
    at: Option<String>,
    message: String,
}

impl Finding {
    fn new(d: &Diagnostic, file: &str) -> Finding {
        let severity = if d.severity == Severity::Error { "error" } else { "warning" };
        let at = d
            .at
            .as_ref()
            .map(|at| if at.file == file { format!("{}:{}", at.line, at.column) } else { at.to_string() });
        let message = d.message.lines().next().unwrap_or_default().trim().to_string();
        Finding { what: format!("{severity} {}", d.code), at, message }
    }

    /// `error CODE [at PLACE]: MESSAGE`
    fn parse(line: &str) -> Result<Finding, String> {
        let (head, message) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        let (what, at) = match head.split_once(" at ") {
            Some((what, at)) => (what, Some(at.trim().to_string())),
            None => (head, None),
        };
        let known = what.split_once(' ').is_some_and(|(severity, code)| {
            matches!(severity, "error" | "warning")
                && code.starts_with("nki::")
                && code.parse::<nki_ir::Code>().is_ok()
        });
        if !known {
            return Err(format!("cannot read `expect {line}`"));
        }
        Ok(Finding { what: what.into(), at, message: message.trim().into() })
    }

    fn line(&self) -> String {
        let at = self.at.as_ref().map_or(String::new(), |at| format!(" at {at}"));
        format!("{}{at}: {}", self.what, self.message)
    }

    /// Whether `self`, as expected, describes `found`.
    fn covers(&self, found: &Finding) -> bool {
        self.what == found.what && self.at == found.at && found.message.contains(&self.message)
    }

    /// The finding as it will be when the file has `delta` more lines above it.
    fn shifted(mut self, delta: isize) -> Finding {
        let place = self.at.as_ref().and_then(|at| {
            let (line, column) = at.split_once(':')?;
            let line: usize = line.parse().ok()?;
            Some(format!("{}:{column}", line.checked_add_signed(delta)?))
        });
        self.at = place.or(self.at);
        self
    }
}

/// A file with its directives.
struct Case {
    name: String,
    text: String,
    tests: Vec<(&'static str, Run)>,
    targets: Vec<Target>,
    expected: Vec<Finding>,
    /// Bytes of the header.
    header: usize,
}

impl Case {
    fn new(name: &str, text: String) -> Result<Case, String> {
        let mut case = Case {
            name: name.into(),
            tests: Vec::new(),
            targets: Vec::new(),
            expected: Vec::new(),
            header: header(&text).len(),
            text,
        };
        for line in case.text[..case.header].lines() {
            let line = line.trim_start_matches([';', ' ']).trim_end();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "test" => match TESTS.iter().find(|t| t.0 == rest) {
                    Some(test) => case.tests.push(*test),
                    None => return Err(format!("there is no test `{rest}`")),
                },
                "target" => {
                    let target = rest.parse().map_err(|()| format!("there is no target `{rest}`"))?;
                    case.targets.push(target);
                }
                "expect" if rest == "ok" => {}
                "expect" => case.expected.push(Finding::parse(rest)?),
                _ => {}
            }
        }
        if case.tests.is_empty() {
            return Err("the header has no `; test ..` line".into());
        }
        if case.targets.is_empty() {
            case.targets.push(Target::Trn2);
        }
        Ok(case)
    }

    /// The directives.
    fn header_text(&self) -> &str {
        &self.text[..self.header]
    }

    /// Runs the tests. `Ok(Some)`: the blessed text differs from the file.
    fn run(&self, bless: bool) -> Result<Option<String>, String> {
        let mut first: Option<Outcome> = None;
        for target in &self.targets {
            let outcome = self.on(*target);
            if !outcome.broken.is_empty() {
                return Err(format!("on {target}: {}", outcome.broken.join("\n")));
            }
            if first.as_ref().is_some_and(|f| *f != outcome) {
                return Err(format!("{target} finds other things than {}", self.targets[0]));
            }
            first = Some(outcome);
        }
        let found = first.unwrap_or_default();
        if bless {
            let text = self.blessed(&found);
            return Ok((text != self.text).then_some(text));
        }
        self.compare(&found).map(|()| None)
    }

    fn on(&self, target: Target) -> Outcome {
        let kernel = match text::parse(&self.text, &self.name) {
            Ok(kernel) => kernel,
            Err(errors) => {
                let findings = errors.iter().map(|d| Finding::new(d, &self.name)).collect();
                return Outcome { findings, ..Outcome::default() };
            }
        };
        let mut all = Outcome::default();
        for (_, run) in &self.tests {
            let one = run(self, &kernel, target);
            all.findings.extend(one.findings);
            all.results.extend(one.results);
            all.broken.extend(one.broken);
            all.body = one.body.or(all.body);
        }
        all
    }

    /// The file's expectations against what happened.
    fn compare(&self, found: &Outcome) -> Result<(), String> {
        let findings = &found.findings;
        let same = findings.len() == self.expected.len()
            && self.expected.iter().zip(findings).all(|(e, f)| e.covers(f));
        if !same {
            let lines = |list: &[Finding]| match list {
                [] => "  ok\n".to_string(),
                list => list.iter().map(|f| format!("  {}\n", f.line())).collect(),
            };
            return Err(format!("expected\n{}found\n{}", lines(&self.expected), lines(findings)));
        }
        for (name, words) in execute::values(self.header_text(), "result") {
            match found.results.iter().find(|r| r.0 == name) {
                Some((_, values)) if *values == words.join(" ") => {}
                Some((_, values)) => {
                    return Err(format!("result {name} =\n  {values}\nexpected\n  {}", words.join(" ")));
                }
                None => return Err(format!("no test gives a result `{name}`")),
            }
        }
        match &found.body {
            Some(body) if without_comments(body) != without_comments(&self.text[self.header..]) => {
                Err(format!("prints as\n{body}"))
            }
            _ => Ok(()),
        }
    }

    /// The file with `expect` lines (after all other directives) and body as found.
    fn blessed(&self, outcome: &Outcome) -> String {
        let found = &outcome.findings;
        let is_expect = |line: &&str| line.trim_start_matches([';', ' ']).starts_with("expect ");
        let (old, kept): (Vec<&str>, Vec<&str>) = self.text[..self.header].lines().partition(is_expect);
        let delta = found.len().max(1) as isize - old.len() as isize;
        let mut out = String::new();
        for line in kept {
            let name = execute::values(line, "result").first().map(|r| r.0);
            match outcome.results.iter().find(|r| Some(r.0.as_str()) == name) {
                Some((name, values)) => out.push_str(&format!("; result {name} = {values}\n")),
                None => out.push_str(&format!("{line}\n")),
            }
        }
        if found.is_empty() {
            out.push_str("; expect ok\n");
        }
        for (i, finding) in found.iter().enumerate() {
            // An expectation that holds keeps its wording.
            let expected = self.expected.get(i).filter(|e| e.covers(finding));
            let message = expected.map_or(&finding.message, |e| &e.message).clone();
            out.push_str(&format!(
                "; expect {}\n",
                Finding { message, ..finding.clone().shifted(delta) }.line()
            ));
        }
        out.push_str(outcome.body.as_deref().unwrap_or(&self.text[self.header..]));
        out
    }
}

/// The comment lines that a text starts with.
fn header(text: &str) -> &str {
    let lines = text.split_inclusive('\n').take_while(|line| line.starts_with(';'));
    &text[..lines.map(str::len).sum()]
}

/// The lines of a text without comments, trailing blanks and empty lines.
fn without_comments(text: &str) -> Vec<String> {
    let mut quoted = false;
    let bare = |line: &str| {
        let end = line.char_indices().find(|(i, c)| {
            quoted ^= *c == '"' && !line[..*i].ends_with('\\');
            *c == ';' && !quoted
        });
        line[..end.map_or(line.len(), |(i, _)| i)].trim_end().to_string()
    };
    text.lines().map(bare).filter(|line| !line.is_empty()).collect()
}

/// All `.nkir` files under `dir`, in order of their names.
fn files(dir: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "nkir") {
            out.push(path);
        }
    }
    Ok(())
}

#[test]
fn files_do_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let bless = std::env::var("NKI_BLESS").is_ok_and(|v| v == "1");
    let only = std::env::var("NKI_FILETEST").unwrap_or_default();
    let mut paths = Vec::new();
    files(&root, &mut paths).expect("the folder of filetests can be read");
    let (mut failures, mut ran, mut blessed) = (Vec::new(), 0, 0);
    for path in paths {
        let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if !name.contains(&only) {
            continue;
        }
        ran += 1;
        let text = std::fs::read_to_string(&path).map_err(|e| e.to_string());
        match text.and_then(|text| Case::new(&name, text)?.run(bless)) {
            Ok(None) => {}
            Ok(Some(text)) => {
                blessed += 1;
                std::fs::write(&path, text).expect("a blessed file can be written");
            }
            Err(why) => failures.push(format!("tests/filetests/{name}: {why}")),
        }
    }
    println!("{ran} files, {blessed} blessed");
    assert!(ran > 0, "no file under tests/filetests matches `{only}`");
    assert!(failures.is_empty(), "{} of {ran} files fail\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// Rules that no text can break, and why. Unit tests of the gate build them by hand.
const UNWRITABLE: &[(&str, &str)] = &[
    ("TREE", "a text is a tree"),
    ("ENTITY", "a name that nothing has is refused by the reader, as undefined"),
    ("ACC_AUTO", "what a text leaves open is decided before the gate, or refused by another rule"),
];

/// Rules that only some generations have, beyond those of instructions that only some have: rules, generations, why.
const ONLY: &[(&[&str], &[Gen], &str)] = &[
    (
        &["TARGET_OP", "TARGET_DTYPE", "TARGET_OPERATOR", "DMA_PRIORITY_TARGET"],
        &[Gen::Gen2, Gen::Gen3],
        "they refuse what came with gen4",
    ),
    (
        &["DMA_HWDGE", "DT_MODE", "DT_INDEX_TARGET", "ACT_RECIPROCAL", "ACT_BIAS_SCALAR"],
        &[Gen::Gen2],
        "they refuse what came with gen3",
    ),
    (&["PACKED", "MEMSET_PACKED", "MM_FP8"], &[Gen::Gen4], "others refuse the dtype itself"),
    (
        &["IND_DTYPE", "IND_INDEX", "IND_START", "IND_SCATTER", "IND_MATMUL", "IND_MX", "IND_ACCUMULATE"],
        &[Gen::Gen4],
        "others refuse columns by an index tile at all: INDIRECT",
    ),
    (&["MM_BANK"], &[Gen::Gen2, Gen::Gen3], "on gen4 a result may lie in several banks"),
    (
        &["MM_TRANSPOSE_DST", "DT_INDEX"],
        &[Gen::Gen3, Gen::Gen4],
        "gen2 multiplies, and transposes no rows by index",
    ),
    (&["RS_CMD"], &[Gen::Gen3, Gen::Gen4], "of an instruction that came with gen3"),
    (
        &["SET_STATE_WORDS", "SET_STATE_FORM", "GET_STATE_WORDS", "GET_STATE_FORM"],
        &[Gen::Gen3, Gen::Gen4],
        "of instructions that came with gen3",
    ),
    (&["RAND_RANGE", "RAND_DTYPE"], &[Gen::Gen4], "of an instruction that came with gen4"),
];

/// Every rule has a program at its limit that the gate accepts, and the edit of it that breaks the rule: on every generation
/// that has the rule.
#[test]
fn every_rule_has_its_boundary_on_every_generation() {
    use nki_ir::verify::rules;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/boundary");
    let mut paths = Vec::new();
    files(&root, &mut paths).expect("the folder of boundaries can be read");
    let mut covered = std::collections::BTreeSet::new();
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a listed file can be read");
        let case = Case::new(&name, text).expect("the header is sound");
        for edit in boundary::edits(&case).unwrap_or_else(|e| panic!("{name}: {e}")) {
            for (rule, target) in edit.rules.iter().flat_map(|r| edit.targets.iter().map(move |t| (r, t))) {
                covered.insert((rule.clone(), target.generation()));
            }
        }
    }
    let mut missing = Vec::new();
    for rule in rules::ALL.iter().filter(|r| UNWRITABLE.iter().all(|u| u.0 != r.name)) {
        for generation in [Gen::Gen2, Gen::Gen3, Gen::Gen4] {
            let here = |o: &(&[&str], &[Gen], &str)| !o.0.contains(&rule.name) || o.1.contains(&generation);
            let ever = applies(rule, generation) && ONLY.iter().all(here);
            if ever && !covered.contains(&(rule.name.to_string(), generation)) {
                missing.push(format!("{} on {generation:?}", rule.name));
            }
        }
    }
    let known = |name: &&&str| rules::ALL.iter().all(|r| r.name != **name);
    let stale: Vec<_> =
        ONLY.iter().flat_map(|o| o.0).chain(UNWRITABLE.iter().map(|u| &u.0)).filter(known).collect();
    assert!(stale.is_empty(), "there are no rules {stale:?}");
    assert!(missing.is_empty(), "no file under tests/filetests/boundary crosses {missing:#?}");
}

/// Whether a generation has the rule: a rule of an instruction that it lacks is none of its own.
fn applies(rule: &nki_ir::verify::rules::Rule, generation: Gen) -> bool {
    let section = rule.id.split('/').next().unwrap_or_default();
    let mut rows = nki_ir::op::OPS.iter().filter(|row| row.section == section).peekable();
    rows.peek().is_none() || rows.any(|row| row.engines_on(generation).next().is_some())
}

/// Every instruction is in a kernel that the gate accepts on each target that has it, and in one that is refused with the
/// target's rule on each target that has it not.
#[test]
fn every_instruction_has_files_for_every_target() {
    use nki_ir::op::Op;
    use nki_ir::verify::{resolve_and_verify, rules};
    use std::collections::BTreeSet;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mut paths = Vec::new();
    files(&root, &mut paths).expect("the folder of filetests can be read");
    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&path).expect("a listed file can be read");
        let Ok(kernel) = text::parse(&source, &name) else { continue };
        let ops: BTreeSet<&str> = kernel.insts.values().map(|i| i.op.name()).collect();
        for target in Target::ALL {
            match resolve_and_verify(kernel.clone(), target) {
                Ok(_) => accepted.extend(ops.iter().map(|op| (*op, target.name()))),
                // The message begins with the instruction's name.
                Err(found) => refused.extend(
                    found
                        .iter()
                        .filter(|d| d.rule.is_some_and(|r| r.name == rules::TARGET_OP.name))
                        .filter_map(|d| Some((*ops.get(d.message.split(':').next()?)?, target.name()))),
                ),
            }
        }
    }
    let mut missing = Vec::new();
    for (op, target) in Op::all().flat_map(|op| Target::ALL.map(|t| (op, t))) {
        let has = op.row().engines_on(target.generation()).next().is_some();
        let files = if has { &accepted } else { &refused };
        if !files.contains(&(op.name(), target.name())) {
            missing.push(format!("{op} {} {target}", if has { "accepted on" } else { "refused on" }));
        }
    }
    assert!(missing.is_empty(), "no file has these:\n{}", missing.join("\n"));
}

// The harness itself: what is wrong in a file is seen.

const BODY: &str = "nki-ir 1\n\nkernel @k() {\n  memset %x, 0.0\n}\n";

fn run(text: &str, bless: bool) -> Result<Option<String>, String> {
    Case::new("t.nkir", text.into())?.run(bless)
}

#[test]
fn expectations_must_hold_exactly() {
    let expect = |lines: &str| run(&format!("; test parse\n{lines}{BODY}"), false);
    assert_eq!(expect("; expect error nki::undefined at 6:10: `%x` is not\n"), Ok(None));
    for wrong in [
        "",
        "; expect ok\n",
        "; expect error nki::shape at 6:10: `%x` is not\n",
        "; expect warning nki::undefined at 6:10: `%x` is not\n",
        "; expect error nki::undefined at 6:11: `%x` is not\n",
        "; expect error nki::undefined: `%x` is not\n",
        "; expect error nki::undefined at 6:10: something else\n",
        "; expect error nki::undefined at 7:10:\n; expect error nki::undefined at 7:10:\n",
        "; expect error nki::undefinde at 6:10:\n",
        "; target trn9\n",
        "; test none\n",
    ] {
        assert!(expect(wrong).is_err(), "{wrong}");
    }
    assert!(run(BODY, false).is_err(), "a file without a test");
}

#[test]
fn blessing_gives_a_file_that_passes() {
    let blessed = run(&format!("; test parse\n; why\n{BODY}"), true).unwrap().unwrap();
    assert_eq!(
        header(&blessed),
        "; test parse\n; why\n; expect error nki::undefined at 7:10: `%x` is not defined here\n"
    );
    assert_eq!(run(&blessed, false), Ok(None));
    assert_eq!(run(&blessed, true), Ok(None));
    // More expectations than findings: the places move up.
    let two = format!(
        "; test parse\n; expect error nki::shape at 1:1:\n; expect error nki::undefined at 1:1:\n{BODY}"
    );
    assert_eq!(run(&run(&two, true).unwrap().unwrap(), false), Ok(None));
    // The wording of an expectation that holds is kept.
    let short = format!("; test parse\n; expect error nki::undefined at 6:10: `%x`\n{BODY}");
    assert_eq!(run(&short, true), Ok(None));
}

#[test]
fn results_are_compared_and_blessed() {
    let text = |result: &str| {
        format!(
            "; test run\n; arg x = 1 -2.5\n; result y = {result}\n; expect ok\nnki-ir 1\nkernel @k(\n  %x: in hbm<f32, [1, 4]>,\n  \
             %y: out hbm<f32, [1, 4]>,\n) {{\n  %t = alloc sbuf<f32, [1, 4]>\n  dma_copy %t, %x\n  dma_copy %y, %t\n}}\n"
        )
    };
    assert_eq!(run(&text("1.0 -2.5 1.0"), false), Ok(None));
    assert!(run(&text("1.0 2.5 1.0"), false).is_err());
    assert_eq!(run(&text("0 0"), true), Ok(Some(text("1.0 -2.5"))));
    assert!(run(&text("1.0").replace("result y", "result z"), false).is_err());
    assert!(run(&text("1.0").replace("arg x", "arg z"), false).is_err());
}

#[test]
fn a_text_that_is_not_canonical_is_seen_and_blessed() {
    let text = "; test print\nnki-ir 1\nkernel  @k( ) { ; why\n  reg %r :i32 }";
    assert!(run(text, false).unwrap_err().starts_with("prints as\n"));
    let blessed = run(text, true).unwrap().unwrap();
    assert_eq!(blessed, "; test print\n; expect ok\nnki-ir 1\n\nkernel @k() {\n  reg %r: i32\n}\n");
    assert_eq!(run(&blessed, false), Ok(None));
}
