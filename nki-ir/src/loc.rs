//! Where an operation was written: file, line, column, and the stack of kernel calls that led there.

use std::fmt;

/// Index of a source position in a kernel's [`LocTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loc(pub u32);

impl Loc {
    /// No position: an index that no table has.
    pub const UNKNOWN: Loc = Loc(u32::MAX);
}

/// Index of a call frame in a kernel's [`LocTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u32);

/// A position within one call frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocData {
    /// Index into [`LocTable::files`].
    pub file: u32,
    pub line: u32,
    pub column: u32,
    pub frame: Frame,
}

/// A kernel or sub-kernel being traced. Frame 0 is the outermost kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrameData {
    /// Name of the kernel function.
    pub kernel: String,
    /// Where it was called from; `None` for the outermost.
    pub call: Option<Loc>,
}

/// Interned positions of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocTable {
    pub files: Vec<String>,
    pub locs: Vec<LocData>,
    pub frames: Vec<FrameData>,
}

/// A position in words, independent of any table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceLoc {
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// Innermost first: kernel name, and where it was called from.
    pub stack: Vec<(String, Option<CallSite>)>,
}

/// File, line and column of a call.
pub type CallSite = (String, u32, u32);

impl LocTable {
    /// Interns a position. Recent positions are found without a search of the whole table.
    pub fn loc(&mut self, file: &str, line: u32, column: u32, frame: Frame) -> Loc {
        let file = match self.files.iter().position(|f| f == file) {
            Some(i) => i as u32,
            None => {
                self.files.push(file.to_string());
                self.files.len() as u32 - 1
            }
        };
        let data = LocData { file, line, column, frame };
        let recent = self.locs.len().saturating_sub(64);
        if let Some(i) = self.locs[recent..].iter().position(|l| *l == data) {
            return Loc((recent + i) as u32);
        }
        self.locs.push(data);
        Loc(self.locs.len() as u32 - 1)
    }
    /// Adds a call frame.
    pub fn frame(&mut self, kernel: &str, call: Option<Loc>) -> Frame {
        let data = FrameData { kernel: kernel.to_string(), call };
        let recent = self.frames.len().saturating_sub(64);
        if let Some(i) = self.frames[recent..].iter().position(|f| *f == data) {
            return Frame((recent + i) as u32);
        }
        self.frames.push(data);
        Frame(self.frames.len() as u32 - 1)
    }
    /// The position in words.
    pub fn resolve(&self, loc: Loc) -> Option<SourceLoc> {
        let l = self.locs.get(loc.0 as usize)?;
        let mut stack = Vec::new();
        let mut frame = self.frames.get(l.frame.0 as usize);
        // A well-formed table is a tree; the bound keeps a malformed file from looping.
        while let Some(f) = frame {
            if stack.len() > 64 {
                break;
            }
            let call = f.call.and_then(|c| self.locs.get(c.0 as usize));
            let at = call.map(|c| (self.file(c.file).to_string(), c.line, c.column));
            stack.push((f.kernel.clone(), at));
            frame = call.and_then(|c| self.frames.get(c.frame.0 as usize));
        }
        Some(SourceLoc { file: self.file(l.file).to_string(), line: l.line, column: l.column, stack })
    }
    fn file(&self, i: u32) -> &str {
        self.files.get(i as usize).map_or("?", |s| s)
    }
}

impl fmt::Display for SourceLoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
