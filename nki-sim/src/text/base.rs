//! The parser's base: tokens, errors, recovery, source positions.

use super::MAX_ERRORS;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::loc::{Frame, FrameData, Loc, LocData, LocTable, SourceLoc};
use nki_ir::text::lexer::{Lexer, Pos, Tok, Token, shorten};
use std::collections::HashMap;

/// `Err`: reported already; the statement is to be skipped.
pub(super) type Parse<T> = Result<T, Reported>;

/// An error that is in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// File number of positions in the `.nkim` file itself, until its place in the table is known.
const HERE: u32 = u32::MAX;

pub(super) struct Base<'a> {
    lexer: Lexer<'a>,
    /// The token to be read next.
    pub token: Token<'a>,
    file: &'a str,
    pub errors: Diagnostics,
    count: usize,
    locs: Vec<LocData>,
    known: HashMap<LocData, Loc>,
    /// Where files and frames are used, to check that they exist.
    used: Vec<(u32, u32, Pos)>,
    pub files: Vec<String>,
    pub frames: Vec<FrameData>,
}

pub(super) fn source(file: &str, pos: Pos) -> SourceLoc {
    SourceLoc { file: file.into(), line: pos.line, column: pos.column, stack: Vec::new() }
}

impl<'a> Base<'a> {
    pub fn new(text: &'a str, file: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next_token();
        Base {
            lexer,
            token,
            file,
            errors: Diagnostics::new(),
            count: 0,
            locs: Vec::new(),
            known: HashMap::new(),
            used: Vec::new(),
            files: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Reports an error.
    pub fn fail<T>(&mut self, pos: Pos, code: Code, message: impl Into<String>) -> Parse<T> {
        self.count += 1;
        if self.count <= MAX_ERRORS {
            self.errors.push(Diagnostic::error(code, message).at_source(source(self.file, pos)));
        }
        Err(Reported)
    }
    /// Whether so much is wrong that going on is pointless.
    pub fn hopeless(&self) -> bool {
        self.count >= MAX_ERRORS
    }
    pub fn unexpected<T>(&mut self, wanted: &str) -> Parse<T> {
        let found = self.token.tok.to_string();
        self.fail(self.token.pos, Code::Syntax, format!("expected {wanted}, found {found}"))
    }

    pub fn advance(&mut self) {
        self.token = self.lexer.next_token();
    }
    pub fn is(&self, p: &str) -> bool {
        matches!(self.token.tok, Tok::Punct(x) if x == p)
    }
    pub fn is_word(&self, w: &str) -> bool {
        matches!(self.token.tok, Tok::Word(x) if x == w)
    }
    pub fn eat(&mut self, p: &str) -> bool {
        let found = self.is(p);
        if found {
            self.advance();
        }
        found
    }
    /// A word on the same line.
    pub fn eat_word(&mut self, w: &str) -> bool {
        let found = self.is_word(w) && !self.token.first;
        if found {
            self.advance();
        }
        found
    }
    pub fn punct(&mut self, p: &'static str) -> Parse<()> {
        if self.eat(p) { Ok(()) } else { self.unexpected(&format!("`{p}`")) }
    }
    pub fn word(&mut self, w: &str) -> Parse<()> {
        if self.is_word(w) {
            self.advance();
            return Ok(());
        }
        self.unexpected(&format!("`{w}`"))
    }
    pub fn any_word(&mut self, wanted: &str) -> Parse<&'a str> {
        match self.token.tok {
            Tok::Word(w) => {
                self.advance();
                Ok(w)
            }
            _ => self.unexpected(wanted),
        }
    }
    /// A member of an enumeration by its name.
    pub fn named<T: std::str::FromStr>(&mut self, wanted: &str) -> Parse<T> {
        let pos = self.token.pos;
        let word = self.any_word(wanted)?;
        match word.parse() {
            Ok(x) => Ok(x),
            Err(_) => self.fail(pos, Code::Syntax, format!("expected {wanted}, found `{}`", shorten(word))),
        }
    }
    pub fn symbol(&mut self) -> Parse<String> {
        match &self.token.tok {
            Tok::Symbol(s) => {
                let s = s.to_string();
                self.advance();
                Ok(s)
            }
            _ => self.unexpected("a name with `@`"),
        }
    }
    pub fn string(&mut self) -> Parse<String> {
        match &self.token.tok {
            Tok::Str(s) => {
                let s = s.to_string();
                self.advance();
                Ok(s)
            }
            _ => self.unexpected("a string"),
        }
    }
    /// An unsigned integer in the range of `T`.
    pub fn int<T: TryFrom<u64>>(&mut self, wanted: &str) -> Parse<T> {
        let Tok::Int(n) = self.token.tok else { return self.unexpected(wanted) };
        let pos = self.token.pos;
        match T::try_from(n) {
            Ok(x) => {
                self.advance();
                Ok(x)
            }
            Err(_) => self.fail(pos, Code::Syntax, format!("{n} is too large for {wanted}")),
        }
    }
    /// A signed integer.
    pub fn signed(&mut self, wanted: &str) -> Parse<i64> {
        let pos = self.token.pos;
        let negative = self.eat("-");
        let magnitude = i128::from(self.int::<u64>(wanted)?);
        match i64::try_from(if negative { -magnitude } else { magnitude }) {
            Ok(x) => Ok(x),
            Err(_) => self.fail(pos, Code::Syntax, format!("a number too large for {wanted}")),
        }
    }
    /// `r5` or `s5`.
    pub fn numbered(&mut self, prefix: char, wanted: &str) -> Parse<u32> {
        match self.peek_numbered(prefix) {
            Some(n) => {
                self.advance();
                Ok(n)
            }
            None => self.unexpected(wanted),
        }
    }
    pub fn peek_numbered(&self, prefix: char) -> Option<u32> {
        let Tok::Word(w) = self.token.tok else { return None };
        w.strip_prefix(prefix)?.parse().ok()
    }

    /// Skips to the next line or closing brace; returns the braces that were opened on the way.
    pub fn recover(&mut self, from_line: u32) -> usize {
        let mut opened = 0;
        loop {
            match &self.token.tok {
                Tok::End => return opened,
                _ if self.token.first && self.token.pos.line > from_line => return opened,
                Tok::Punct("{") => opened += 1,
                Tok::Punct("}") if opened > 0 => opened -= 1,
                Tok::Punct("}") => return opened,
                _ => {}
            }
            self.advance();
        }
    }

    /// `loc(..)`, or the position `here` in this file.
    pub fn loc(&mut self, here: Pos) -> Parse<Loc> {
        if self.token.first || !self.is_word("loc") {
            return Ok(self.intern(LocData {
                file: HERE,
                line: here.line,
                column: here.column,
                frame: Frame(0),
            }));
        }
        let pos = self.token.pos;
        self.advance();
        self.punct("(")?;
        if self.eat("?") {
            self.punct(")")?;
            return Ok(Loc(u32::MAX));
        }
        let file = self.int("a file number")?;
        self.punct(":")?;
        let line = self.int("a line")?;
        self.punct(":")?;
        let column = self.int("a column")?;
        let frame = if self.eat_word("in") { self.int("a frame number")? } else { 0 };
        self.punct(")")?;
        self.used.push((file, frame, pos));
        Ok(self.intern(LocData { file, line, column, frame: Frame(frame) }))
    }

    fn intern(&mut self, data: LocData) -> Loc {
        if let Some(loc) = self.known.get(&data) {
            return *loc;
        }
        let loc = Loc(self.locs.len() as u32);
        self.locs.push(data.clone());
        self.known.insert(data, loc);
        loc
    }

    /// The table of positions; `name` is the program's.
    pub fn locations(&mut self, name: &str) -> LocTable {
        let (files, frames) = (self.files.len() as u32, self.frames.len() as u32);
        for (file, frame, pos) in std::mem::take(&mut self.used) {
            if file >= files || frame >= frames.max(1) {
                let what = if file >= files { format!("file {file}") } else { format!("frame {frame}") };
                let _: Parse<()> =
                    self.fail(pos, Code::Undefined, format!("{what} is not among the locations"));
            }
        }
        let mut table = LocTable {
            files: std::mem::take(&mut self.files),
            locs: std::mem::take(&mut self.locs),
            frames: std::mem::take(&mut self.frames),
        };
        if table.locs.iter().any(|l| l.file == HERE) {
            let here = table.files.iter().position(|f| f == self.file).unwrap_or_else(|| {
                table.files.push(self.file.into());
                table.files.len() - 1
            });
            table.locs.iter_mut().filter(|l| l.file == HERE).for_each(|l| l.file = here as u32);
        }
        if !table.locs.is_empty() && table.frames.is_empty() {
            table.frames.push(FrameData { kernel: name.into(), call: None });
        }
        table
    }
}
