//! Parses a file: header, streams, statements. Blocks are a stack, not recursion.

use super::base::{Base, Parse, Reported, source};
use super::{MAX_BYTES, MAX_DEPTH, VERSION};
use crate::program::*;
use nki_ir::Target;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::{BufKind, Space};
use nki_ir::loc::{FrameData, Loc, LocTable};
use nki_ir::op::{Op, TimingClass};
use nki_ir::text::lexer::{Pos, Tok, shorten};
use smallvec::SmallVec;

pub(super) fn parse(text: &str, file: &str) -> Result<Program, Diagnostics> {
    let start = Pos { line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Diagnostic::error(Code::Limit, message).at_source(source(file, start)).into());
    }
    let mut parser = Parser { base: Base::new(text, file), program: empty() };
    // An error that ends the parse is in the list as well.
    let _ = parser.file();
    let Parser { mut base, mut program } = parser;
    // In a text that is cut off or broken, positions without a table would only hide what is wrong.
    if !base.errors.has_errors() {
        program.locs = base.locations(&program.name);
    }
    if base.errors.has_errors() { Err(base.errors) } else { Ok(program) }
}

fn empty() -> Program {
    Program {
        name: String::new(),
        target: Target::Trn2,
        tensors: Vec::new(),
        placements: Vec::new(),
        streams: Default::default(),
        semaphores: 0,
        registers: [0; 5],
        locs: LocTable::default(),
    }
}

struct Parser<'a> {
    base: Base<'a>,
    program: Program,
}

/// An open block.
struct Block {
    body: Vec<MInst>,
    /// The node that it belongs to; `None` for the stream's own, or one whose header is in error.
    node: Option<Box<MInst>>,
    /// The first body of a branch, when this is the second.
    then: Option<Vec<MInst>>,
}

/// A statement.
enum Statement {
    Instruction(Box<MInst>),
    /// A node whose block has been opened.
    Open(Box<MInst>),
}

impl Parser<'_> {
    fn file(&mut self) -> Parse<()> {
        let b = &mut self.base;
        let pos = b.token.pos;
        if !b.is_word("nkim") {
            let found = b.token.tok.to_string();
            return b.fail(
                pos,
                Code::Syntax,
                format!("the first line must be `nkim {VERSION}`, found {found}"),
            );
        }
        b.advance();
        let pos = b.token.pos;
        let version = b.int::<u32>("a version")?;
        if version != VERSION {
            return b.fail(
                pos,
                Code::Syntax,
                format!("version {version} is not known; this reads version {VERSION}"),
            );
        }
        b.word("program")?;
        self.program.name = b.symbol()?;
        b.word("target")?;
        self.program.target = b.named("a target")?;
        loop {
            let line = self.base.token.pos.line;
            if self.base.token.tok == Tok::End || self.base.hopeless() {
                return Ok(());
            }
            if self.item().is_err() {
                // A block whose header is in error is skipped as a whole.
                let mut open = self.base.recover(line);
                while open > 0 && self.base.token.tok != Tok::End {
                    match self.base.token.tok {
                        Tok::Punct("{") => open += 1,
                        Tok::Punct("}") => open -= 1,
                        _ => {}
                    }
                    self.base.advance();
                }
                // A stray brace would stop recovery on the spot.
                self.base.eat("}");
            }
        }
    }

    /// An item of the file.
    fn item(&mut self) -> Parse<()> {
        let b = &mut self.base;
        let pos = b.token.pos;
        match b.any_word("`tensor`, `placement`, `stream` or `locations`")? {
            "semaphores" => self.program.semaphores = b.int("a number of semaphores")?,
            "registers" => return self.registers(),
            "tensor" => return self.tensor(),
            "placement" => return self.placement(pos),
            "stream" => return self.stream(),
            "locations" => return self.locations(),
            w => return b.fail(pos, Code::Syntax, format!("a file has no `{}`", shorten(w))),
        }
        Ok(())
    }

    fn registers(&mut self) -> Parse<()> {
        while !self.base.token.first && matches!(self.base.token.tok, Tok::Word(_)) {
            let stream = self.engine()?;
            self.program.registers[stream] = self.base.int("a number of registers")?;
        }
        Ok(())
    }

    /// The number of the stream of an engine.
    fn engine(&mut self) -> Parse<usize> {
        let pos = self.base.token.pos;
        let engine = self.base.named("an engine")?;
        match STREAM_ENGINES.iter().position(|e| *e == engine) {
            Some(i) => Ok(i),
            None => self.base.fail(pos, Code::Syntax, format!("{engine} has no stream")),
        }
    }

    /// The index that an object must have: they are written in order.
    fn index(&mut self, wanted: usize) -> Parse<()> {
        let pos = self.base.token.pos;
        let found = self.base.int::<u64>("an index")?;
        if found == wanted as u64 {
            return Ok(());
        }
        self.base.fail(
            pos,
            Code::Syntax,
            format!("objects are numbered in order; this one is {wanted}, not {found}"),
        )
    }

    fn tensor(&mut self) -> Parse<()> {
        self.index(self.program.tensors.len())?;
        let b = &mut self.base;
        let pos = b.token.pos;
        let kind = match b.any_word("`input`, `output`, `inout` or `private`")? {
            "input" => BufKind::Input,
            "output" => BufKind::Output,
            "inout" => BufKind::InOut,
            "private" => BufKind::Private,
            w => return b.fail(pos, Code::Syntax, format!("`{}` is no kind of tensor", shorten(w))),
        };
        let name = b.symbol()?;
        let dtype = b.named("a dtype")?;
        let shape = b.list(|b| b.int::<u32>("a size"))?;
        if shape.len() > super::MAX_RANK {
            return b.fail(pos, Code::Limit, format!("more than {} dimensions", super::MAX_RANK));
        }
        b.word("at")?;
        let address = b.int("an address")?;
        self.program.tensors.push(HbmTensor { name, kind, dtype, shape, address });
        Ok(())
    }

    fn placement(&mut self, here: Pos) -> Parse<()> {
        self.index(self.program.placements.len())?;
        let b = &mut self.base;
        let pos = b.token.pos;
        let space = match b.any_word("`sbuf` or `psum`")? {
            "sbuf" => Space::Sbuf,
            "psum" => Space::Psum,
            "hbm" => Space::Hbm,
            w => return b.fail(pos, Code::Syntax, format!("`{}` is no memory", shorten(w))),
        };
        let name = b.symbol()?;
        let range = |b: &mut Base, what: &str| -> Parse<(u32, u32)> {
            b.word(what)?;
            let start = b.int(what)?;
            b.punct("+:")?;
            Ok((start, b.int(what)?))
        };
        let (start_partition, partitions) = range(b, "partitions")?;
        let (offset, bytes) = range(b, "bytes")?;
        let loc = b.loc(here)?;
        self.program.placements.push(Placement {
            name,
            space,
            start_partition,
            partitions,
            offset,
            bytes,
            loc,
        });
        Ok(())
    }

    fn locations(&mut self) -> Parse<()> {
        let b = &mut self.base;
        b.punct("{")?;
        while !b.is("}") {
            let pos = b.token.pos;
            match b.any_word("`file` or `frame`")? {
                "file" => {
                    let index = b.int::<usize>("an index")?;
                    let name = b.string()?;
                    if index != b.files.len() {
                        return b.fail(pos, Code::Syntax, "files are numbered in order");
                    }
                    b.files.push(name);
                }
                "frame" => {
                    let index = b.int::<usize>("an index")?;
                    let kernel = b.symbol()?;
                    let call = if b.is_word("loc") && !b.token.first { Some(b.loc(pos)?) } else { None };
                    if index != b.frames.len() {
                        return b.fail(pos, Code::Syntax, "frames are numbered in order");
                    }
                    b.frames.push(FrameData { kernel, call });
                }
                w => return b.fail(pos, Code::Syntax, format!("locations have no `{}`", shorten(w))),
            }
        }
        b.punct("}")
    }

    fn stream(&mut self) -> Parse<()> {
        let pos = self.base.token.pos;
        let stream = self.engine()?;
        if !self.program.streams[stream].is_empty() {
            let message = format!("the stream of {} is given twice", STREAM_ENGINES[stream]);
            return self.base.fail(pos, Code::Duplicate, message);
        }
        self.base.punct("{")?;
        let mut open = vec![Block { body: Vec::new(), node: None, then: None }];
        loop {
            if self.base.token.tok == Tok::End || self.base.hopeless() {
                return self.base.unexpected("`}`");
            }
            if self.base.eat("}") {
                if let Some(body) = self.close(&mut open) {
                    self.program.streams[stream] = body;
                    return Ok(());
                }
                continue;
            }
            let line = self.base.token.pos.line;
            let statement = if open.len() > MAX_DEPTH {
                let message = format!("blocks nest more than {MAX_DEPTH} deep");
                self.base.fail(self.base.token.pos, Code::Limit, message)
            } else {
                self.statement()
            };
            match statement {
                Ok(Statement::Instruction(inst)) => innermost(&mut open).push(*inst),
                Ok(Statement::Open(node)) => {
                    open.push(Block { body: Vec::new(), node: Some(node), then: None })
                }
                Err(Reported) => {
                    for _ in 0..self.base.recover(line) {
                        open.push(Block { body: Vec::new(), node: None, then: None });
                    }
                }
            }
        }
    }

    /// Ends the innermost block; returns the stream's body when that was it.
    fn close(&mut self, open: &mut Vec<Block>) -> Option<Vec<MInst>> {
        let Block { body, node, then } = open.pop()?;
        if open.is_empty() {
            return Some(body);
        }
        let Some(mut node) = node else {
            // The block of a header in error; what follows `else` belongs to it too.
            if self.base.eat_word("else") && self.base.eat("{") {
                open.push(Block { body: Vec::new(), node: None, then: None });
            }
            return None;
        };
        match &mut node.kind {
            MKind::For { body: b, .. } | MKind::While { body: b, .. } => *b = body,
            MKind::If { then: t, otherwise, .. } => match then {
                Some(first) => (*t, *otherwise) = (first, body),
                None if self.base.eat_word("else") => {
                    if self.base.punct("{").is_ok() {
                        open.push(Block { body: Vec::new(), node: Some(node), then: Some(body) });
                    }
                    return None;
                }
                None => *t = body,
            },
            _ => {}
        }
        innermost(open).push(*node);
        None
    }

    fn statement(&mut self) -> Parse<Statement> {
        let b = &mut self.base;
        let pos = b.token.pos;
        let word = b.any_word("an instruction")?;
        let kind = match word {
            "sync" => MKind::Sync,
            "for" => {
                let reg = b.register()?;
                b.word("in")?;
                let lo = b.bound()?;
                b.punct("..")?;
                let hi = b.bound()?;
                let step = if b.eat_word("step") { b.signed("a step")? } else { 1 };
                let max = if b.eat_word("max") { Some(b.signed("the largest bound")?) } else { None };
                MKind::For { reg, lo, hi, step, max, body: Vec::new() }
            }
            "while" => MKind::While { cond: b.register()?, body: Vec::new() },
            "if" => MKind::If { cond: b.register()?, then: Vec::new(), otherwise: Vec::new() },
            "reg_load" => {
                let reg = b.register()?;
                b.punct(",")?;
                MKind::RegLoad { reg, src: Box::new(b.access(0)?) }
            }
            "reg_store" => {
                let dst = b.access(0)?;
                b.punct(",")?;
                MKind::RegStore { dst: Box::new(dst), reg: b.register()? }
            }
            "reg_move" => {
                let reg = b.register()?;
                b.punct(",")?;
                MKind::RegMove { reg, src: b.affine()? }
            }
            name => match name.parse::<Op>() {
                Ok(op) => self.operation(op)?,
                Err(()) => {
                    return b.fail(pos, Code::Undefined, format!("`{}` is no instruction", shorten(name)));
                }
            },
        };
        let block = matches!(kind, MKind::For { .. } | MKind::While { .. } | MKind::If { .. });
        let inst = Box::new(self.tail(kind, pos)?);
        if block {
            self.base.punct("{")?;
            return Ok(Statement::Open(inst));
        }
        let b = &mut self.base;
        if !b.token.first && !b.is("}") && b.token.tok != Tok::End {
            return b.unexpected("the end of the line");
        }
        Ok(Statement::Instruction(inst))
    }

    fn operation(&mut self, op: Op) -> Parse<MKind> {
        let b = &mut self.base;
        let operands = b.operands(op)?;
        let attrs = b.attrs(op)?.as_slice().into();
        if op.row().timing == TimingClass::Dma {
            b.word("queue")?;
            let queue = b.int("a queue")?;
            let dge = b.named("`none`, `hwdge` or `swdge`")?;
            return Ok(MKind::Dma { op, operands, attrs, queue, dge });
        }
        let mut accumulate = MAccumulate::Overwrite;
        if b.eat_word("add") {
            accumulate = MAccumulate::Add;
        } else if b.eat_word("unless_first") {
            b.punct("(")?;
            let mut first = Terms::default();
            while !b.is(")") && first.len() < super::MAX_LIST {
                let reg = b.register()?;
                b.punct("=")?;
                first.push((reg, b.signed("a value")?));
                if !b.eat(",") {
                    break;
                }
            }
            b.punct(")")?;
            accumulate = MAccumulate::UnlessFirst(first);
        }
        Ok(MKind::Compute { op, operands, attrs, accumulate })
    }

    fn tail(&mut self, kind: MKind, here: Pos) -> Parse<MInst> {
        let b = &mut self.base;
        let mut inst =
            MInst { kind, waits: SmallVec::new(), signals: SmallVec::new(), loc: Loc(0), source: None };
        if b.eat_word("wait") {
            b.punct("(")?;
            loop {
                let sem = Sem(b.numbered('s', "a semaphore (`s0`)")?);
                b.punct(">")?;
                b.punct("=")?;
                inst.waits.push(Wait { sem, at_least: b.affine()? });
                if !b.eat(",") {
                    break;
                }
            }
            b.punct(")")?;
        }
        if b.eat_word("signal") {
            b.punct("(")?;
            loop {
                let sem = Sem(b.numbered('s', "a semaphore (`s0`)")?);
                b.punct("+")?;
                inst.signals.push(Signal { sem, add: b.int("an increment")? });
                if !b.eat(",") {
                    break;
                }
            }
            b.punct(")")?;
        }
        if b.eat_word("source") {
            inst.source = Some(b.int("an index")?);
        }
        inst.loc = b.loc(here)?;
        Ok(inst)
    }
}

fn innermost(open: &mut [Block]) -> &mut Vec<MInst> {
    &mut open.last_mut().expect("the stream's own block is closed last").body
}
