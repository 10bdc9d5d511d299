//! The parser's base: tokens, errors, recovery, names in scope.

use super::lexer::{Lexer, Pos, Tok, Token};
use super::places::Places;
use super::{MAX_BYTES, MAX_ENTITIES, MAX_ERRORS, VERSION};
use crate::builder::Builder;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::entity::{Buf, Reg, Var};
use crate::kernel::Kernel;
use crate::loc::SourceLoc;
use std::collections::HashMap;

/// `Err`: reported already; the statement is to be skipped.
pub type Parse<T> = Result<T, Reported>;

/// An error that is in the list.
#[derive(Clone, Copy, Debug)]
pub struct Reported;

/// What a `%name` stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    Buf(Buf),
    Reg(Reg),
    Var(Var),
    /// Its definition is in error; uses are not reported again.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Defined {
    pub meaning: Meaning,
    pub pos: Pos,
}

pub struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to be read next.
    pub token: Token<'a>,
    file: &'a str,
    pub errors: Diagnostics,
    count: usize,
    entities: usize,
    /// Buffers and registers.
    globals: HashMap<String, Defined>,
    /// Loop variables in scope, innermost last.
    pub vars: Vec<(String, Defined)>,
    pub builder: Builder,
    pub places: Places,
    /// Inside the braces of an attribute list.
    pub in_attrs: bool,
}

/// Reads a kernel.
pub fn parse(text: &str, file: &str) -> Result<Kernel, Diagnostics> {
    if text.len() > MAX_BYTES {
        let found = format!("the text has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Diagnostic::error(Code::Limit, found)
            .at_source(source(file, Pos { line: 1, column: 1 }))
            .into());
    }
    let mut parser = Parser::new(text, file);
    // An error that ends the parse is in the list as well.
    let _ = parser.file();
    let Parser { errors, builder, places, .. } = parser;
    if errors.has_errors() {
        return Err(errors);
    }
    let mut kernel = builder.finish();
    kernel.locs = places.finish(file, &kernel.name);
    Ok(kernel)
}

fn source(file: &str, pos: Pos) -> SourceLoc {
    SourceLoc { file: file.into(), line: pos.line, column: pos.column, stack: Vec::new() }
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, file: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next_token();
        Parser {
            lexer,
            token,
            file,
            errors: Diagnostics::new(),
            count: 0,
            entities: 0,
            globals: HashMap::new(),
            vars: Vec::new(),
            builder: Builder::new(""),
            places: Places::default(),
            in_attrs: false,
        }
    }

    fn file(&mut self) -> Parse<()> {
        self.version()?;
        self.kernel()?;
        if self.is_word("locations") {
            self.locations()?;
        }
        self.check_places();
        match self.token.tok {
            Tok::End => Ok(()),
            _ => self.unexpected("the end of the file"),
        }
    }

    fn version(&mut self) -> Parse<()> {
        let pos = self.token.pos;
        let header = format!("the first line must be `nki-ir {VERSION}`");
        if !self.is_word("nki") {
            return self.fail(pos, Code::Syntax, format!("{header}, found {}", self.token.tok));
        }
        self.advance();
        self.punct("-")?;
        self.word("ir")?;
        let at = self.token.pos;
        let version = self.int::<u32>("a version")?;
        if version != VERSION {
            return self.fail(
                at,
                Code::Syntax,
                format!("version {version} of the format is not known; {header}"),
            );
        }
        Ok(())
    }

    // ---- errors

    /// Reports an error that does not end the statement.
    pub fn report(&mut self, pos: Pos, diagnostic: Diagnostic) {
        self.count += 1;
        if self.count <= MAX_ERRORS {
            self.errors.push(diagnostic.at_source(source(self.file, pos)));
        }
    }
    /// Whether so many errors were reported that the rest is not read.
    pub fn gave_up(&self) -> bool {
        self.count >= MAX_ERRORS
    }
    /// Reports an error that ends the statement.
    pub fn fail<T>(&mut self, pos: Pos, code: Code, message: String) -> Parse<T> {
        self.report(pos, Diagnostic::error(code, message));
        Err(Reported)
    }
    /// The same with a help line.
    pub fn fail_help<T>(&mut self, pos: Pos, code: Code, message: String, help: Option<String>) -> Parse<T> {
        let diagnostic = Diagnostic::error(code, message);
        self.report(pos, Diagnostic { help, ..diagnostic });
        Err(Reported)
    }
    /// Reports that something else was expected here.
    pub fn unexpected<T>(&mut self, expected: &str) -> Parse<T> {
        self.fail(self.token.pos, Code::Syntax, format!("expected {expected}, found {}", self.token.tok))
    }
    /// Reports an error with another place that matters.
    pub fn report_related(&mut self, pos: Pos, code: Code, message: String, other: Pos, what: &str) {
        let mut diagnostic = Diagnostic::error(code, message);
        diagnostic.related.push((source(self.file, other), what.into()));
        self.report(pos, diagnostic);
    }

    // ---- tokens

    /// Goes on to the next token.
    pub fn advance(&mut self) -> Token<'a> {
        let next = self.lexer.next_token();
        std::mem::replace(&mut self.token, next)
    }
    /// The token after the next.
    pub fn peek(&self) -> Tok<'a> {
        self.lexer.clone().next_token().tok
    }
    pub fn is_punct(&self, p: &str) -> bool {
        matches!(self.token.tok, Tok::Punct(q) if q == p)
    }
    pub fn is_word(&self, w: &str) -> bool {
        matches!(self.token.tok, Tok::Word(v) if v == w)
    }
    /// Takes `p` if it is next.
    pub fn eat(&mut self, p: &str) -> bool {
        let found = self.is_punct(p);
        if found {
            self.advance();
        }
        found
    }
    /// Takes the word `w` if it is next.
    pub fn eat_word(&mut self, w: &str) -> bool {
        let found = self.is_word(w);
        if found {
            self.advance();
        }
        found
    }
    pub fn punct(&mut self, p: &str) -> Parse<()> {
        if self.eat(p) { Ok(()) } else { self.unexpected(&format!("`{p}`")) }
    }
    pub fn word(&mut self, w: &str) -> Parse<()> {
        if self.eat_word(w) { Ok(()) } else { self.unexpected(&format!("`{w}`")) }
    }
    /// Any word.
    pub fn any_word(&mut self, expected: &str) -> Parse<&'a str> {
        match self.token.tok {
            Tok::Word(w) => {
                self.advance();
                Ok(w)
            }
            _ => self.unexpected(expected),
        }
    }
    /// A word that `read` understands.
    pub fn named<T>(&mut self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Parse<T> {
        match self.token.tok {
            Tok::Word(w) => match read(w) {
                Some(value) => {
                    self.advance();
                    Ok(value)
                }
                None => self.unexpected(expected),
            },
            _ => self.unexpected(expected),
        }
    }
    /// `%name`.
    pub fn value_name(&mut self, expected: &str) -> Parse<(String, Pos)> {
        match &self.token.tok {
            Tok::Value(name) => {
                let name = name.to_string();
                Ok((name, self.advance().pos))
            }
            _ => self.unexpected(expected),
        }
    }
    /// `@name`.
    pub fn symbol(&mut self, expected: &str) -> Parse<String> {
        match &self.token.tok {
            Tok::Symbol(name) => {
                let name = name.to_string();
                self.advance();
                Ok(name)
            }
            _ => self.unexpected(expected),
        }
    }
    /// An integer with an optional minus sign.
    pub fn int<T: TryFrom<i128>>(&mut self, expected: &str) -> Parse<T> {
        let pos = self.token.pos;
        let negative = self.eat("-");
        let Tok::Int(magnitude) = self.token.tok else {
            return self.unexpected(expected);
        };
        self.advance();
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        match T::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.fail(pos, Code::Limit, format!("{value} is out of range for {expected}")),
        }
    }

    /// Items separated by commas up to `close`, which is taken; a trailing comma is allowed.
    pub fn list(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Parse<()>) -> Parse<()> {
        while !self.eat(close) {
            item(self)?;
            if !self.eat(",") && !self.is_punct(close) {
                return self.unexpected(&format!("`,` or `{close}`"));
            }
        }
        Ok(())
    }

    /// Skips the rest of the line. Stops before a `}` that closes the block it is in. `true`: the line opens a block.
    pub fn skip_line(&mut self, start: Pos) -> bool {
        let mut braces = usize::from(std::mem::take(&mut self.in_attrs));
        let mut opens = false;
        while self.token.tok != Tok::End && (!self.token.first || self.token.pos == start) {
            opens = self.is_punct("{");
            match self.token.tok {
                Tok::Punct("{") => braces += 1,
                Tok::Punct("}") if braces == 0 => return false,
                Tok::Punct("}") => braces -= 1,
                _ => {}
            }
            self.advance();
        }
        opens
    }

    // ---- names

    /// Counts an entity against the limit.
    pub fn count_entity(&mut self) -> Parse<()> {
        self.entities += 1;
        if self.entities > MAX_ENTITIES {
            self.count = MAX_ERRORS - 1;
            return self.fail(
                self.token.pos,
                Code::Limit,
                format!("more than {MAX_ENTITIES} definitions and operations"),
            );
        }
        Ok(())
    }
    /// What `name` means here.
    pub fn lookup(&self, name: &str) -> Option<Defined> {
        let var = self.vars.iter().rev().find(|v| v.0 == name).map(|v| v.1);
        var.or_else(|| self.globals.get(name).copied())
    }
    /// The meaning of a used name; an unknown name is reported once.
    pub fn resolve(&mut self, name: &str, pos: Pos) -> Meaning {
        if let Some(defined) = self.lookup(name) {
            return defined.meaning;
        }
        let known = self.globals.keys().chain(self.vars.iter().map(|v| &v.0));
        let help = closest(name, known.map(String::as_str)).map(|n| format!("did you mean `%{n}`?"));
        let message = format!("`%{}` is not defined here", super::lexer::shorten(name));
        self.report(pos, Diagnostic { help, ..Diagnostic::error(Code::Undefined, message) });
        self.globals.insert(name.into(), Defined { meaning: Meaning::Unknown, pos });
        Meaning::Unknown
    }
    /// Reports a name that is in use already.
    pub fn check_new(&mut self, name: &str, pos: Pos) {
        if let Some(Defined { meaning, pos: first }) = self.lookup(name)
            && meaning != Meaning::Unknown
        {
            let message = format!("`%{}` is defined twice", super::lexer::shorten(name));
            self.report_related(pos, Code::Duplicate, message, first, "first defined here");
        }
    }
    /// Defines a buffer or register.
    pub fn define(&mut self, name: String, meaning: Meaning, pos: Pos) {
        self.globals.insert(name, Defined { meaning, pos });
    }
}

/// The candidate nearest to `word`, if one is near enough to be meant. Deterministic in any order of candidates.
pub fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    const LONGEST: usize = 32;
    if word.len() > LONGEST {
        return None;
    }
    let near =
        candidates.filter(|c| c.len() <= LONGEST).map(|c| (distance(word.as_bytes(), c.as_bytes()), c));
    near.min().filter(|(d, _)| *d <= word.len().div_ceil(3)).map(|(_, c)| c)
}

/// Edit distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
