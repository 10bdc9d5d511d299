//! Parses the signature and statements.

use super::lexer::{Pos, Tok};
use super::parser::{Defined, Meaning, Parse, Parser, closest};
use super::{MAX_DEPTH, MAX_RANK};
use crate::builder::Builder;
use crate::diag::Code;
use crate::dtype::DType;
use crate::entity::{Loop, Reg};
use crate::kernel::{Bound, BufData, BufKind, LoopData, Space};
use crate::loc::Loc;
use crate::op::{Engine, Op};

/// An open block.
struct Block {
    pos: Pos,
    /// The loop variable in scope.
    var: bool,
    /// An `if` that may still get an `else`.
    branch: Option<Loop>,
}

impl Parser<'_> {
    /// The kernel with its body.
    pub fn kernel(&mut self) -> Parse<()> {
        self.word("kernel")?;
        let name = self.symbol("the kernel's name, `@name`")?;
        self.builder.kernel_mut().name = name;
        self.punct("(")?;
        self.list(")", |p| p.param())?;
        if self.eat_word("program") {
            let id = self.int("the number of a program")?;
            self.word("of")?;
            self.builder.kernel_mut().program = Some((id, self.int("a number of programs")?));
        }
        let open = self.token.pos;
        self.punct("{")?;
        self.body(open)
    }

    fn param(&mut self) -> Parse<()> {
        let (name, pos) = self.value_name("a parameter, `%name`")?;
        self.check_new(&name, pos);
        self.punct(":")?;
        let kind = match self.any_word("`in`, `out` or `inout`")? {
            "in" => BufKind::Input,
            "out" => BufKind::Output,
            "inout" => BufKind::InOut,
            other => {
                let message = format!("a parameter is `in`, `out` or `inout`, not `{other}`");
                return self.fail(pos, Code::Syntax, message);
            }
        };
        let data = self.buffer(&name, kind, pos)?;
        self.count_entity()?;
        let buf = self.builder.param(data);
        self.define(name, Meaning::Buf(buf), pos);
        Ok(())
    }

    /// `space<dtype, [shape]>`, placement and trailer.
    fn buffer(&mut self, name: &str, kind: BufKind, pos: Pos) -> Parse<BufData> {
        let spaces = [Space::Hbm, Space::Sbuf, Space::Psum];
        let space =
            self.named("a memory (`hbm`, `sbuf` or `psum`)", |w| spaces.into_iter().find(|s| s.name() == w))?;
        self.punct("<")?;
        let dtype = self.dtype()?;
        self.punct(",")?;
        self.punct("[")?;
        let mut shape = Vec::new();
        self.list("]", |p| {
            shape.push(p.int("a dimension")?);
            p.check_rank(shape.len())
        })?;
        self.punct(">")?;
        let mut data = BufData::new(name, space, dtype, &shape, kind, Loc::UNKNOWN);
        if self.eat_word("at") {
            self.punct("(")?;
            let partition = self.int("a partition")?;
            self.punct(",")?;
            let offset = self.int("a byte offset")?;
            self.punct(")")?;
            data.address = Some((partition, offset));
        }
        if self.eat_word("buffers") {
            data.buffers = Some(self.int("a number of buffers")?);
        }
        if self.eat_word("queue") {
            data.queue = Some(self.int("a ring")?);
        }
        if self.eat_word("after") {
            let (name, at) = self.value_name("a buffer, `%name`")?;
            data.after = match self.resolve(&name, at) {
                Meaning::Buf(buf) => Some(buf),
                Meaning::Unknown => None,
                _ => {
                    let text = format!("`%{}` is not a buffer", super::lexer::shorten(&name));
                    return self.fail(at, Code::Form, text);
                }
            };
        }
        data.loc = self.trailer(pos)?;
        Ok(data)
    }

    /// A dtype by our name or NKI's.
    pub fn dtype(&mut self) -> Parse<DType> {
        self.named("a dtype such as `bf16`", |w| w.parse().ok())
    }

    pub fn check_rank(&mut self, rank: usize) -> Parse<()> {
        if rank <= MAX_RANK {
            return Ok(());
        }
        self.fail(self.token.pos, Code::Limit, format!("more than {MAX_RANK} dimensions"))
    }

    /// Statements up to the `}` of the kernel, which is taken.
    fn body(&mut self, open: Pos) -> Parse<()> {
        let mut blocks = vec![Block { pos: open, var: false, branch: None }];
        let mut fresh = true;
        while let Some(block) = blocks.last() {
            if self.gave_up() {
                return Err(super::parser::Reported);
            }
            match self.token.tok {
                Tok::End => {
                    let message = "the file ends inside a block".to_string();
                    self.report_related(
                        self.token.pos,
                        Code::Syntax,
                        message,
                        block.pos,
                        "the block starts here",
                    );
                    return Err(super::parser::Reported);
                }
                Tok::Punct("}") => {
                    self.close(&mut blocks);
                    fresh = false;
                }
                _ => {
                    let start = self.token.pos;
                    let depth = blocks.len();
                    if !fresh && !self.token.first {
                        let _ = self.unexpected::<()>("`,` or a new line");
                        self.skip_line(start);
                    } else if self.statement(&mut blocks).is_err()
                        && self.skip_line(start)
                        && blocks.len() == depth
                    {
                        // The block of a header in error: its statements are read for more errors.
                        self.open_unknown(&mut blocks, start);
                    }
                    fresh = blocks.len() > depth;
                }
            }
        }
        Ok(())
    }

    fn open_unknown(&mut self, blocks: &mut Vec<Block>, pos: Pos) {
        self.builder.begin_no_reorder(Loc::UNKNOWN);
        blocks.push(Block { pos, var: false, branch: None });
    }

    fn close(&mut self, blocks: &mut Vec<Block>) {
        let pos = self.advance().pos;
        let Some(block) = blocks.pop() else { return };
        if block.var {
            self.vars.pop();
        }
        if blocks.is_empty() {
            return;
        }
        if let (Some(l), true) = (block.branch, self.is_word("else")) {
            self.builder.begin_otherwise(l);
            self.advance();
            if self.punct("{").is_err() {
                self.skip_line(pos);
            }
            blocks.push(Block { pos, var: false, branch: None });
            return;
        }
        self.builder.end();
    }

    fn statement(&mut self, blocks: &mut Vec<Block>) -> Parse<()> {
        self.count_entity()?;
        let word = match self.token.tok {
            Tok::Value(_) => return self.alloc(),
            Tok::Word(word) => word,
            Tok::Str(_) => return self.inst(),
            _ => return self.unexpected("a statement"),
        };
        // A label may be any word.
        if self.peek() == Tok::Punct(":") {
            return self.inst();
        }
        match word {
            "reg" => self.reg(),
            "for" | "while" | "if" | "no_reorder" => self.header(word, blocks),
            _ => self.inst(),
        }
    }

    fn alloc(&mut self) -> Parse<()> {
        let (name, pos) = self.value_name("a name")?;
        self.check_new(&name, pos);
        // Known from here on, whatever is wrong with the rest, so that its uses are not reported too.
        self.define(name.clone(), Meaning::Unknown, pos);
        self.punct("=")?;
        self.word("alloc")?;
        let data = self.buffer(&name, BufKind::Private, pos)?;
        let buf = self.builder.alloc(data);
        self.define(name, Meaning::Buf(buf), pos);
        Ok(())
    }

    fn reg(&mut self) -> Parse<()> {
        self.word("reg")?;
        let (name, pos) = self.value_name("a register, `%name`")?;
        self.check_new(&name, pos);
        self.define(name.clone(), Meaning::Unknown, pos);
        self.punct(":")?;
        let dtype = self.dtype()?;
        let loc = self.trailer(pos)?;
        let reg = self.builder.reg(&name, dtype, loc);
        self.define(name, Meaning::Reg(reg), pos);
        Ok(())
    }

    /// A loop or branch up to its `{`.
    fn header(&mut self, word: &str, blocks: &mut Vec<Block>) -> Parse<()> {
        let pos = self.advance().pos;
        if blocks.len() > MAX_DEPTH {
            return self.fail(pos, Code::Limit, format!("more than {MAX_DEPTH} nested blocks"));
        }
        match word {
            "for" => self.for_header(pos, blocks),
            "no_reorder" => {
                let loc = self.trailer(pos)?;
                self.punct("{")?;
                self.builder.begin_no_reorder(loc);
                blocks.push(Block { pos, var: false, branch: None });
                Ok(())
            }
            _ => {
                let cond = self.reg_use()?;
                let loc = self.trailer(pos)?;
                self.punct("{")?;
                let branch = if word == "while" {
                    self.builder.begin_while(cond, loc);
                    None
                } else {
                    Some(self.builder.begin_if(cond, loc))
                };
                blocks.push(Block { pos, var: false, branch });
                Ok(())
            }
        }
    }

    fn for_header(&mut self, pos: Pos, blocks: &mut Vec<Block>) -> Parse<()> {
        let (name, at) = self.value_name("a loop variable, `%name`")?;
        self.check_new(&name, at);
        let bounds = self.for_bounds(pos);
        if bounds.is_err() {
            // The variable is known in the body all the same.
            if self.skip_line(pos) {
                self.open_unknown(blocks, pos);
                self.open_var(name, Meaning::Unknown, at, blocks);
            }
            return Ok(());
        }
        let (lo, hi, step, unroll, loc) = bounds?;
        let (l, var) = self.builder.begin_for(&name, lo, hi, step, loc);
        if let LoopData::For { unroll: slot, .. } = &mut self.builder.kernel_mut().loops[l] {
            *slot = unroll;
        }
        blocks.push(Block { pos, var: false, branch: None });
        self.open_var(name, Meaning::Var(var), at, blocks);
        Ok(())
    }

    fn open_var(&mut self, name: String, meaning: Meaning, pos: Pos, blocks: &mut [Block]) {
        self.vars.push((name, Defined { meaning, pos }));
        if let Some(block) = blocks.last_mut() {
            block.var = true;
        }
    }

    fn for_bounds(&mut self, pos: Pos) -> Parse<(Bound, Bound, i64, Option<u32>, Loc)> {
        self.word("in")?;
        let lo = self.bound()?;
        self.punct("..")?;
        let hi = self.bound()?;
        let step = if self.eat_word("step") { self.int("a step")? } else { 1 };
        let unroll = if self.eat_word("unroll") { Some(self.int("an unroll factor")?) } else { None };
        let loc = self.trailer(pos)?;
        self.punct("{")?;
        Ok((lo, hi, step, unroll, loc))
    }

    fn bound(&mut self) -> Parse<Bound> {
        if !matches!(self.token.tok, Tok::Value(_)) {
            return Ok(Bound::Const(self.int("a loop bound")?));
        }
        let reg = self.reg_use()?;
        self.word("max")?;
        Ok(Bound::Reg { reg, max: self.int("the largest value of the bound")? })
    }

    fn reg_use(&mut self) -> Parse<Reg> {
        let (name, pos) = self.value_name("a register, `%name`")?;
        match self.resolve(&name, pos) {
            Meaning::Reg(reg) => Ok(reg),
            Meaning::Unknown => Err(super::parser::Reported),
            _ => self.fail(pos, Code::Form, format!("`%{}` is not a register", super::lexer::shorten(&name))),
        }
    }

    /// `label: op.engine operands {attributes} loc(..)`
    fn inst(&mut self) -> Parse<()> {
        let mut label = None;
        if self.peek() == Tok::Punct(":") {
            label = match self.advance().tok {
                Tok::Word(w) => Some(w.to_string()),
                Tok::Str(s) => Some(s.to_string()),
                _ => return self.unexpected("a label"),
            };
            self.punct(":")?;
        }
        let pos = self.token.pos;
        let name = self.any_word("an operation")?;
        let Ok(op) = name.parse::<Op>() else {
            let near = closest(name, Op::all().map(Op::name)).map(|n| format!("did you mean `{n}`?"));
            let message = format!("there is no operation `{}`", super::lexer::shorten(name));
            return self.fail_help(pos, Code::Undefined, message, near);
        };
        let mut data = Builder::template(op, Loc::UNKNOWN);
        data.name = label;
        if self.eat(".") {
            data.engine = self.named("an engine", |w| w.parse::<Engine>().ok())?;
        }
        self.operands(&mut data)?;
        if self.eat("{") {
            self.in_attrs = true;
            let mut given = 0;
            self.list("}", |p| p.attr(&mut data, &mut given))?;
            self.in_attrs = false;
        }
        data.loc = self.trailer(pos)?;
        self.builder.inst(data);
        Ok(())
    }
}
