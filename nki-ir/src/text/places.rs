//! Source positions while parsing: trailers, positions in the file itself, and the `locations` section.

use super::lexer::{Pos, Tok};
use super::parser::{Parse, Parser};
use super::{MAX_ENTITIES, values};
use crate::diag::Code;
use crate::loc::{Frame, FrameData, Loc, LocData, LocTable};

/// Stands for the `.nkir` file until the number of files is known.
const THIS_FILE: u32 = u32::MAX;

/// Positions read so far. File and frame numbers are the text's and may still be undefined.
#[derive(Default)]
pub struct Places {
    locs: Vec<LocData>,
    /// Where in the text each of `locs` was first given.
    origins: Vec<Pos>,
    files: Vec<String>,
    frames: Vec<FrameData>,
}

impl Places {
    fn intern(&mut self, data: LocData, origin: Pos) -> Loc {
        let recent = self.locs.len().saturating_sub(64);
        if let Some(i) = self.locs[recent..].iter().position(|l| *l == data) {
            return Loc((recent + i) as u32);
        }
        self.locs.push(data);
        self.origins.push(origin);
        Loc(self.locs.len() as u32 - 1)
    }

    /// The position of a token of the text itself.
    pub fn here(&mut self, pos: Pos) -> Loc {
        self.intern(LocData { file: THIS_FILE, line: pos.line, column: pos.column, frame: Frame(0) }, pos)
    }

    /// The table, once everything is read and checked.
    pub fn finish(mut self, file: &str, kernel: &str) -> LocTable {
        if self.frames.is_empty() && !self.locs.is_empty() {
            self.frames.push(FrameData { kernel: kernel.into(), call: None });
        }
        let own = self.files.iter().position(|f| f == file).unwrap_or(self.files.len()) as u32;
        for loc in self.locs.iter_mut().filter(|l| l.file == THIS_FILE) {
            loc.file = own;
            if own as usize == self.files.len() {
                self.files.push(file.into());
            }
        }
        LocTable { files: self.files, locs: self.locs, frames: self.frames }
    }
}

impl Parser<'_> {
    /// `loc(..)` if it is there, else the position `pos` of the text.
    pub fn trailer(&mut self, pos: Pos) -> Parse<Loc> {
        if self.is_word("loc") { self.loc() } else { Ok(self.places.here(pos)) }
    }

    fn loc(&mut self) -> Parse<Loc> {
        let origin = self.token.pos;
        self.word("loc")?;
        self.punct("(")?;
        if self.eat("?") {
            self.punct(")")?;
            return Ok(Loc::UNKNOWN);
        }
        let file = self.int::<u32>("a file number")?;
        if file == THIS_FILE {
            return self.fail(origin, Code::Limit, format!("file number {file} is too large"));
        }
        self.punct(":")?;
        let line = self.int("a line")?;
        self.punct(":")?;
        let column = self.int("a column")?;
        let frame = if self.eat_word("in") { self.int("a frame number")? } else { 0 };
        self.punct(")")?;
        Ok(self.places.intern(LocData { file, line, column, frame: Frame(frame) }, origin))
    }

    /// `locations { .. }`.
    pub fn locations(&mut self) -> Parse<()> {
        self.word("locations")?;
        self.punct("{")?;
        while !self.eat("}") {
            let pos = self.token.pos;
            if self.places.files.len() + self.places.frames.len() >= MAX_ENTITIES {
                return self.fail(pos, Code::Limit, format!("more than {MAX_ENTITIES} files and frames"));
            }
            if self.eat_word("file") {
                let number = self.int::<u32>("a file number")?;
                self.in_order(pos, "file", number, self.places.files.len())?;
                let Tok::Str(name) = &self.token.tok else {
                    return self.unexpected("a file name in quotes");
                };
                let name = name.to_string();
                self.advance();
                self.places.files.push(name);
            } else if self.eat_word("frame") {
                self.frame(pos)?;
            } else {
                return self.unexpected("`file`, `frame` or `}`");
            }
        }
        Ok(())
    }

    fn frame(&mut self, pos: Pos) -> Parse<()> {
        let number = self.int::<u32>("a frame number")?;
        self.in_order(pos, "frame", number, self.places.frames.len())?;
        let kernel = self.symbol("the name of the called kernel, `@name`")?;
        let call = if self.is_word("loc") { Some(self.loc()?) } else { None };
        // Callers come first, so that the frames are a tree.
        if let Some(caller) = call.and_then(|c| self.places.locs.get(c.0 as usize)).map(|l| l.frame.0)
            && caller >= number
        {
            let message = format!("frame {number} is called from frame {caller}, which does not precede it");
            return self.fail(pos, Code::Syntax, message);
        }
        self.places.frames.push(FrameData { kernel, call });
        Ok(())
    }

    fn in_order(&mut self, pos: Pos, what: &str, number: u32, expected: usize) -> Parse<()> {
        if number as usize == expected {
            return Ok(());
        }
        self.fail(
            pos,
            Code::Syntax,
            format!("{what} {number} is out of order; the next number is {expected}"),
        )
    }

    /// Reports trailers with undefined numbers.
    pub fn check_places(&mut self) {
        let frames = self.places.frames.len().max(1);
        let files = self.places.files.len();
        let undefined = |l: &LocData| {
            let file = l.file != THIS_FILE && l.file as usize >= files;
            let frame = l.frame.0 as usize >= frames;
            match (file, frame) {
                (true, _) => Some(format!("file {}", l.file)),
                (_, true) => Some(format!("frame {}", l.frame.0)),
                _ => None,
            }
        };
        let places = self.places.locs.iter().zip(&self.places.origins);
        let missing: Vec<_> =
            places.filter_map(|(l, pos)| Some((undefined(l)?, *pos))).take(values::FEW).collect();
        for (what, pos) in missing {
            let message = format!("{what} is not listed in the `locations` section");
            let _ = self.fail::<()>(pos, Code::Undefined, message);
        }
    }
}
