//! Errors as values: a code, a place, what was found, the limit and where it comes from, and a help line that is an action.

mod render;

pub use render::{render, render_one};

use crate::loc::{Loc, LocTable, SourceLoc};
use crate::verify::rules::Rule;
use std::collections::BTreeMap;
use std::fmt;

/// Severity of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal;)*) => {
        /// What went wrong, as a stable name: `nki::shape`. `nki explain CODE` shows a failing and a repaired example.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }
        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
            /// The name without the `nki::` prefix.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    // Structure.
    /// Malformed text of a `.nkir` or `.nkim` file.
    Syntax, "syntax";
    /// A name that is not defined, or not in scope.
    Undefined, "undefined";
    /// A name defined twice.
    Duplicate, "duplicate";
    /// A tile of a loop body used after the loop.
    Escape, "escape";
    /// Operands or attributes do not match the op table.
    Form, "form";
    // Operands.
    /// Shapes or element counts that must agree do not (G3).
    Shape, "shape";
    /// More than 128 partitions, or none (G1).
    Partition, "partition";
    /// An illegal start partition (G2).
    StartPartition, "start_partition";
    /// A slice or pattern leaves its buffer (G4).
    OutOfBounds, "oob";
    /// An access pattern the hardware cannot express (G4).
    AccessPattern, "access_pattern";
    /// An operand in a memory that the instruction cannot reach (G5, G6, G7).
    Memory, "memory";
    /// A dtype that the instruction does not take (G9, G10, G11).
    Dtype, "dtype";
    /// A destination that overlaps itself or an input (G12).
    Overlap, "overlap";
    /// An operator that the instruction does not take (G9, G17).
    Operator, "operator";
    /// Not available on the target (G8).
    Target, "target";
    /// An engine that cannot run the instruction (G14).
    Engine, "engine";
    /// A parameter outside its range.
    Parameter, "parameter";
    /// Misuse of a reduce register (G16).
    ReduceCmd, "reduce_cmd";
    /// A dynamic index where none is legal (G15).
    DynamicIndex, "dynamic_index";
    // Memories.
    /// SBUF is too small at the peak (G13).
    SbufCapacity, "sbuf_capacity";
    /// PSUM is too small at the peak (G13).
    PsumCapacity, "psum_capacity";
    /// The tensors of a kernel exceed the device's HBM.
    HbmCapacity, "hbm_capacity";
    /// A matmul result crosses a PSUM bank.
    PsumBank, "psum_bank";
    /// Misuse of PSUM accumulation (isa.md section 13).
    Accumulate, "accumulate";
    /// Read of storage never written (G20).
    Uninitialized, "uninitialized";
    /// A write to a read-only input.
    ReadOnly, "read_only";
    /// An output that is never written.
    OutputNotWritten, "output_not_written";
    // Language.
    /// The kernel's own Rust code panicked.
    KernelPanic, "kernel_panic";
    /// `ensure!` in a kernel failed.
    Ensure, "ensure";
    /// Handles of different traces were mixed.
    Trace, "trace";
    /// A device loop left by `break`, `return` or `?`.
    ControlFlow, "control_flow";
    /// One source line recorded thousands of times.
    Unroll, "unroll";
    /// A schedule step that cannot be applied.
    Schedule, "schedule";
    /// A configuration value outside what the kernel supports.
    Config, "config";
    // Running.
    /// Arguments do not match the kernel's signature.
    Argument, "argument";
    /// A file that cannot be read or written, or is malformed.
    File, "file";
    /// Two accesses not ordered by any semaphore.
    Race, "race";
    /// Engines wait for each other.
    Deadlock, "deadlock";
    /// A semaphore leaves its range.
    Semaphore, "semaphore";
    /// A machine program that the target cannot load.
    Load, "load";
    /// A dynamic index outside its tensor, found while running.
    RuntimeIndex, "runtime_index";
    /// A device assertion failed.
    Assert, "assert";
    /// A limit of this implementation, not of the hardware.
    Limit, "limit";
    /// Results of two ways of running, or a result and its reference, differ.
    Mismatch, "mismatch";
    /// Command line misuse.
    Usage, "usage";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nki::{}", self.name())
    }
}

impl std::str::FromStr for Code {
    type Err = ();
    /// Accepts `nki::shape` and `shape`.
    fn from_str(s: &str) -> Result<Self, ()> {
        let s = s.strip_prefix("nki::").unwrap_or(s);
        Code::ALL.iter().copied().find(|c| c.name() == s).ok_or(())
    }
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    pub code: Code,
    /// The violated rule, when the gate reports it.
    pub rule: Option<&'static Rule>,
    pub severity: Severity,
    /// One sentence with the user's names, what was found and the limit.
    pub message: String,
    pub at: Option<Box<SourceLoc>>,
    /// Other places that matter, with what they are.
    pub related: Vec<(SourceLoc, String)>,
    /// Where a limit comes from and other facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            rule: None,
            severity: Severity::Error,
            message: message.into(),
            at: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }
    /// A warning without a place.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }
    /// Sets the place.
    pub fn at(mut self, locs: &LocTable, loc: Loc) -> Self {
        self.at = locs.resolve(loc).map(Box::new);
        self
    }
    /// Sets the place.
    pub fn at_source(mut self, at: SourceLoc) -> Self {
        self.at = Some(Box::new(at));
        self
    }
    /// Adds another place.
    pub fn related(mut self, locs: &LocTable, loc: Loc, what: impl Into<String>) -> Self {
        if let Some(at) = locs.resolve(loc) {
            self.related.push((at, what.into()));
        }
        self
    }
    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
    /// Sets what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        if let Some(at) = &self.at {
            write!(f, "\n  --> {at}")?;
            for (kernel, call) in &at.stack {
                if let Some((file, line, column)) = call {
                    write!(f, "\n  = in kernel `{kernel}`, called at {file}:{line}:{column}")?;
                }
            }
        }
        for (at, what) in &self.related {
            write!(f, "\n  ::: {at}: {what}")?;
        }
        for note in &self.notes {
            write!(f, "\n  = note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Several findings, in source order of discovery. `Debug` prints what `Display` does, so that `unwrap` in a test is readable.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No findings.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a finding.
    pub fn push(&mut self, d: Diagnostic) {
        self.list.push(d);
    }
    /// Number of findings.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// Adds the findings of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }
    /// The same findings, where one rule is broken at one place again and again (an unrolled loop, say): the first three, the
    /// third of which says how many more there are.
    pub fn collapsed(self) -> Diagnostics {
        const KEPT: usize = 3;
        let mut seen = BTreeMap::new();
        let mut out: Vec<Diagnostic> = Vec::new();
        for d in self.list {
            let key = (d.code, d.rule.map(|r| r.name), d.at.clone());
            let (count, last) = seen.entry(key).or_insert((0usize, 0));
            *count += 1;
            if *count <= KEPT || d.at.is_none() {
                *last = out.len();
                out.push(d);
            }
        }
        for (count, last) in seen.into_values() {
            if count > KEPT && out[last].at.is_some() {
                out[last].notes.push(format!("and {} more of this kind at this line", count - KEPT));
            }
        }
        Diagnostics { list: out }
    }
    /// All findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
    /// Whether there is no finding at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }
    /// The code of the first error.
    pub fn first_code(&self) -> Option<Code> {
        self.list.iter().find(|d| d.severity == Severity::Error).map(|d| d.code)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Diagnostics { list: vec![d] }
    }
}

impl From<Box<Diagnostic>> for Diagnostics {
    fn from(d: Box<Diagnostic>) -> Self {
        Diagnostics { list: vec![*d] }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            fmt::Display::fmt(d, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostic {}
impl std::error::Error for Diagnostics {}
