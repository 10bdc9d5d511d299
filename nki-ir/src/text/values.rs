//! Parses operands, views, affine expressions and attributes.

use super::lexer::{Pos, Tok, shorten};
use super::parser::{Meaning, Parse, Parser, Reported, closest};
use super::{MAX_LIST, MAX_RANK};
use crate::affine::Affine;
use crate::diag::Code;
use crate::dtype::DType;
use crate::entity::{Buf, Var};
use crate::kernel::{Accumulate, Attr, InstData, Operand};
use crate::op::AttrKind;
use crate::view::{AxisSlice, Dim, Dynamic, Index, Pattern, View};
use smallvec::SmallVec;

/// Errors of one kind that are worth reporting.
pub const FEW: usize = 8;

/// How deep the index of a dynamic view may itself be dynamic.
const MAX_NEST: usize = 4;

impl Parser<'_> {
    /// Operands of an instruction, up to what cannot be one.
    pub fn operands(&mut self, data: &mut InstData) -> Parse<()> {
        let row = data.op.row();
        let mut given = vec![false; row.operands.len()];
        let mut by_name = false;
        if self.token.first || !self.starts_operand() {
            return Ok(());
        }
        loop {
            let pos = self.token.pos;
            let slot = match self.token.tok {
                Tok::Word(name) if self.peek() == Tok::Punct(":") => {
                    by_name = true;
                    let slot = row.operand(name);
                    if slot.is_none() {
                        let names = row.operands.iter().map(|o| o.name);
                        let help = closest(name, names.clone()).map(|n| format!("did you mean `{n}`?"));
                        let all = format!("its operands are {}", names.collect::<Vec<_>>().join(", "));
                        let message = format!("`{}` has no operand `{}`", row.name, shorten(name));
                        return self.fail_help(pos, Code::Form, message, help.or(Some(all)));
                    }
                    self.advance();
                    self.punct(":")?;
                    slot
                }
                _ if by_name => return self.unexpected("`name:` before an operand that follows a named one"),
                _ => (0..row.operands.len()).find(|&i| !given[i] && !row.operands[i].optional),
            };
            let operand = self.operand()?;
            let Some(slot) = slot else {
                let message = format!("`{}` takes no further operand without a name", row.name);
                let names: Vec<_> = row.operands.iter().filter(|o| o.optional).map(|o| o.name).collect();
                let help = (!names.is_empty()).then(|| format!("optional operands are {}", names.join(", ")));
                return self.fail_help(pos, Code::Form, message, help);
            };
            if std::mem::replace(&mut given[slot], true) {
                let message = format!("operand `{}` is given twice", row.operands[slot].name);
                return self.fail(pos, Code::Duplicate, message);
            }
            data.operands[slot] = operand;
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    fn starts_operand(&self) -> bool {
        !matches!(self.token.tok, Tok::End | Tok::Punct("{" | "}") | Tok::Word("loc"))
    }

    fn operand(&mut self) -> Parse<Operand> {
        match &self.token.tok {
            Tok::Value(name) => {
                let (name, pos) = (name.to_string(), self.token.pos);
                match self.resolve(&name, pos) {
                    Meaning::Reg(reg) => {
                        self.advance();
                        Ok(Operand::Reg(reg))
                    }
                    Meaning::Var(_) => self.affine().map(Operand::Index),
                    _ => Ok(self.view(0)?.map_or(Operand::None, Operand::View)),
                }
            }
            Tok::Word("_") => {
                self.advance();
                Ok(Operand::None)
            }
            Tok::Punct("-") if matches!(self.peek(), Tok::Value(_)) => self.affine().map(Operand::Index),
            _ => match self.number("an operand")? {
                Number::Int(n) => Ok(Operand::Int(n)),
                Number::Float(x) => Ok(Operand::Imm(x)),
            },
        }
    }

    /// A view; `None` if its buffer is in error (which has been reported).
    fn view(&mut self, nest: usize) -> Parse<Option<View>> {
        let (name, pos) = self.value_name("a buffer, `%name`")?;
        if nest > MAX_NEST {
            return self.fail(
                pos,
                Code::Limit,
                format!("more than {MAX_NEST} dynamic views inside each other"),
            );
        }
        let buf = match self.resolve(&name, pos) {
            Meaning::Buf(buf) => Some(buf),
            Meaning::Unknown => None,
            _ => return self.fail(pos, Code::Form, format!("`%{}` is not a buffer", shorten(&name))),
        };
        let index = self.index(buf)?;
        let mut dtype = buf.map_or(DType::U8, |b| self.builder.kernel().bufs[b].dtype);
        let mut suffix = self.suffix()?;
        if suffix == Some("view") {
            dtype = self.dtype()?;
            self.punct(")")?;
            suffix = self.suffix()?;
        }
        let dynamic = match suffix {
            Some(suffix) => Some(self.dynamic(suffix, nest)?),
            None => None,
        };
        // A dynamic position in error leaves no view either.
        let dynamic = match dynamic {
            Some(None) => return Ok(None),
            Some(dynamic) => dynamic,
            None => None,
        };
        Ok(buf.map(|buf| View { buf, dtype, index, dynamic }))
    }

    /// `.name(` of a view's suffix.
    fn suffix(&mut self) -> Parse<Option<&'static str>> {
        if !self.eat(".") {
            return Ok(None);
        }
        let names = ["view", "dynamic", "rows", "indirect"];
        let expected = "`[..]`, `.ap(`, `.view(`, `.dynamic(`, `.rows(` or `.indirect(`, in this order";
        let name = self.named(expected, |w| names.into_iter().find(|n| *n == w))?;
        self.punct("(")?;
        Ok(Some(name))
    }

    /// What follows `.dynamic(`, `.rows(` or `.indirect(`.
    fn dynamic(&mut self, suffix: &str, nest: usize) -> Parse<Option<Dynamic>> {
        if suffix == "view" {
            return self.unexpected("one `.view(` per operand");
        }
        let pos = self.token.pos;
        let reg = match &self.token.tok {
            Tok::Value(name) if suffix == "dynamic" => match self.lookup(name).map(|d| d.meaning) {
                Some(Meaning::Reg(reg)) => Some(reg),
                _ => None,
            },
            _ => None,
        };
        let index = match reg {
            Some(_) => {
                self.advance();
                None
            }
            None => self.view(nest + 1)?.map(Box::new),
        };
        let axis = if suffix == "dynamic" {
            self.punct(",")?;
            self.word("axis")?;
            self.int("an axis")?
        } else {
            0
        };
        let elements = match suffix {
            "indirect" => {
                self.punct(",")?;
                self.int("a number of elements")?
            }
            _ => 0,
        };
        self.punct(")")?;
        Ok(match (reg, index, suffix) {
            (Some(reg), _, _) => Some(Dynamic::Register { reg, axis }),
            (None, None, _) => None,
            (None, Some(index), "dynamic") => Some(Dynamic::Scalar { index, axis }),
            (None, Some(index), "rows") => Some(Dynamic::Vector { index }),
            (None, Some(index), "indirect") => Some(Dynamic::Indirect { index, elements }),
            _ => return self.fail(pos, Code::Syntax, format!("`.{suffix}(` is not a suffix of a view")),
        })
    }

    fn index(&mut self, buf: Option<Buf>) -> Parse<Index> {
        if self.eat("[") {
            let mut axes = SmallVec::new();
            self.list("]", |p| {
                let axis = p.axis(buf, axes.len())?;
                axes.push(axis);
                p.check_rank(axes.len())
            })?;
            return Ok(Index::Slice(axes));
        }
        if self.is_punct(".") && self.peek() == Tok::Word("ap") {
            self.advance();
            self.advance();
            return Ok(Index::Pattern(self.pattern()?));
        }
        let shape = buf.map_or(&[][..], |b| &self.builder.kernel().bufs[b].shape);
        Ok(Index::Slice(shape.iter().map(|&n| AxisSlice::range(Affine::constant(0), n)).collect()))
    }

    fn axis(&mut self, buf: Option<Buf>, i: usize) -> Parse<AxisSlice> {
        let pos = self.token.pos;
        if self.eat(":") {
            let Some(buf) = buf else {
                return Ok(AxisSlice::range(Affine::constant(0), 0));
            };
            let data = &self.builder.kernel().bufs[buf];
            let Some(&n) = data.shape.get(i) else {
                let message =
                    format!("`%{}` has {} axes; there is no axis {i}", shorten(&data.name), data.shape.len());
                return self.fail(pos, Code::Shape, message);
            };
            return Ok(AxisSlice::range(Affine::constant(0), n));
        }
        let start = self.affine()?;
        let count = if self.eat("+:") {
            self.int("a number of elements")?
        } else if self.eat(":") {
            let Some(lo) = start.as_constant() else {
                let help = "write `start +: count` when the start depends on a loop".to_string();
                let message = "a range `a:b` has a constant start".to_string();
                return self.fail_help(pos, Code::Syntax, message, Some(help));
            };
            let hi = self.int::<i64>("the end of a range")?;
            let size = i128::from(hi) - i128::from(lo);
            match u32::try_from(size) {
                Ok(count) => count,
                Err(_) if size < 0 => {
                    return self.fail(
                        pos,
                        Code::OutOfBounds,
                        format!("the range {lo}:{hi} ends before it starts"),
                    );
                }
                Err(_) => return self.fail(pos, Code::Limit, format!("the range {lo}:{hi} is too long")),
            }
        } else {
            return Ok(AxisSlice::index(start));
        };
        let step = if self.eat_word("step") { self.int("a step")? } else { 1 };
        let drop = self.eat_word("drop");
        Ok(AxisSlice { start, count, step, drop })
    }

    /// What follows `.ap`.
    fn pattern(&mut self) -> Parse<Pattern> {
        self.punct("(")?;
        let mut out = Pattern {
            part: Affine::constant(0),
            parts: 1,
            offset: Affine::constant(0),
            dims: SmallVec::new(),
        };
        if self.eat_word("partitions") {
            out.part = self.affine()?;
            self.punct("+:")?;
            out.parts = self.int("a number of partitions")?;
            self.punct(",")?;
        }
        if self.eat_word("offset") {
            out.offset = self.affine()?;
            self.punct(",")?;
        }
        self.punct("[")?;
        self.list("]", |p| {
            p.punct("[")?;
            let stride = p.int("a stride")?;
            p.punct(",")?;
            let count = p.int("a count")?;
            p.punct("]")?;
            out.dims.push(Dim { stride, count });
            p.check_rank(out.dims.len())
        })?;
        self.punct(")")?;
        Ok(out)
    }

    fn affine(&mut self) -> Parse<Affine> {
        let pos = self.token.pos;
        let mut sum = Affine::constant(0);
        let mut negative = self.eat("-");
        loop {
            let (var, magnitude) = self.term()?;
            let factor = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
            let term = i64::try_from(factor).ok().and_then(|c| match var {
                Some(var) => Affine::var(var).scale(c),
                None => Some(Affine::constant(c)),
            });
            let Some(next) = term.and_then(|t| sum.add(&t)) else {
                return self.fail(pos, Code::Limit, "the expression leaves 64 bits".into());
            };
            sum = next;
            negative = self.is_punct("-");
            if !self.eat("+") && !self.eat("-") {
                return Ok(sum);
            }
        }
    }

    /// A term's variable and its unsigned factor.
    fn term(&mut self) -> Parse<(Option<Var>, u64)> {
        if matches!(self.token.tok, Tok::Value(_)) {
            let var = self.loop_var()?;
            let factor = if self.eat("*") { self.int("a factor")? } else { 1 };
            return Ok((Some(var), factor));
        }
        let factor = self.int("an index, a loop variable or `:`")?;
        let var = if self.eat("*") { Some(self.loop_var()?) } else { None };
        Ok((var, factor))
    }

    fn loop_var(&mut self) -> Parse<Var> {
        let (name, pos) = self.value_name("a loop variable")?;
        let found = match self.resolve(&name, pos) {
            Meaning::Var(var) => return Ok(var),
            Meaning::Unknown => return Err(Reported),
            Meaning::Buf(_) => "a buffer",
            Meaning::Reg(_) => "a register",
        };
        let help = "a position known only at run time is written `%x.dynamic(%index, axis n)`".to_string();
        let message =
            format!("an index takes loop variables and constants; `%{}` is {found}", shorten(&name));
        self.fail_help(pos, Code::Form, message, Some(help))
    }

    /// `name`, or `name = value`. `given` collects the slots seen.
    pub fn attr(&mut self, data: &mut InstData, given: &mut u64) -> Parse<()> {
        let row = data.op.row();
        let pos = self.token.pos;
        let name = self.any_word("an attribute")?;
        let Some(slot) = row.attr(name) else {
            let names = row.attrs.iter().map(|a| a.name);
            let help = match closest(name, names.clone()) {
                _ if name == "engine" => format!("an engine is written `{}.vector`", row.name),
                Some(near) => format!("did you mean `{near}`?"),
                None if row.attrs.is_empty() => format!("`{}` has no attributes", row.name),
                None => format!("its attributes are {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("`{}` has no attribute `{}`", row.name, shorten(name));
            return self.fail_help(pos, Code::Form, message, Some(help));
        };
        let kind = row.attrs[slot].kind;
        let value = if self.eat("=") {
            self.attr_value(name, kind)?
        } else if kind == AttrKind::Bool {
            Attr::Bool(true)
        } else {
            return self.unexpected(&format!("`=` and a value of `{name}`"));
        };
        // Rows have far fewer than 64 attributes.
        let bit = 1u64 << (slot % 64);
        if *given & bit != 0 {
            return self.fail(pos, Code::Duplicate, format!("attribute `{name}` is given twice"));
        }
        *given |= bit;
        data.attrs[slot] = value;
        Ok(())
    }

    fn attr_value(&mut self, name: &str, kind: AttrKind) -> Parse<Attr> {
        if self.eat_word("_") {
            return Ok(Attr::None);
        }
        let pos = self.token.pos;
        let expected = format!("a value of `{name}`");
        Ok(match kind {
            AttrKind::Bool => Attr::Bool(self.named("`true` or `false`", |w| w.parse().ok())?),
            AttrKind::Int => Attr::Int(self.int(&expected)?),
            AttrKind::F32 => match self.number(&expected)? {
                Number::Float(x) => Attr::F32(x),
                Number::Int(n) if (n as f32) as i128 == i128::from(n) => Attr::F32(n as f32),
                Number::Int(n) => {
                    return self.fail(pos, Code::Form, format!("{n} is not a float32 number"));
                }
            },
            AttrKind::Ints => Attr::Ints(self.ints()?),
            AttrKind::Pairs => Attr::Pairs(self.pairs()?),
            AttrKind::Alu => Attr::Alu(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::Act => Attr::Act(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::ReduceCmd => Attr::ReduceCmd(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::Oob => Attr::Oob(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::Dge => Attr::Dge(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::Engine => Attr::Engine(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::MatmulPerf => Attr::MatmulPerf(self.named(&expected, |w| w.parse().ok())?),
            AttrKind::Accumulate => Attr::Accumulate(self.accumulate()?),
            AttrKind::Text => match &self.token.tok {
                Tok::Str(s) => {
                    let text = s.to_string();
                    self.advance();
                    Attr::Text(text)
                }
                _ => return self.unexpected("a string in quotes"),
            },
        })
    }

    fn accumulate(&mut self) -> Parse<Accumulate> {
        let words = ["auto", "overwrite", "add", "unless_first"];
        let expected = "`auto`, `overwrite`, `add` or `unless_first(..)`";
        Ok(match self.named(expected, |w| words.into_iter().find(|x| *x == w))? {
            "auto" => Accumulate::Auto,
            "overwrite" => Accumulate::Overwrite,
            "add" => Accumulate::Add,
            _ => {
                self.punct("(")?;
                let mut vars = SmallVec::new();
                self.list(")", |p| {
                    vars.push(p.loop_var()?);
                    p.check_list(vars.len())
                })?;
                Accumulate::UnlessFirst(vars)
            }
        })
    }

    fn ints(&mut self) -> Parse<Vec<i64>> {
        let mut out = Vec::new();
        self.punct("[")?;
        self.list("]", |p| {
            out.push(p.int("an integer")?);
            p.check_list(out.len())
        })?;
        Ok(out)
    }

    fn pairs(&mut self) -> Parse<Vec<[i64; 2]>> {
        let mut out = Vec::new();
        self.punct("[")?;
        self.list("]", |p| {
            p.punct("[")?;
            let step = p.int("a step")?;
            p.punct(",")?;
            let num = p.int("a count")?;
            p.punct("]")?;
            out.push([step, num]);
            p.check_list(out.len())
        })?;
        Ok(out)
    }

    fn check_list(&mut self, len: usize) -> Parse<()> {
        if len <= MAX_LIST {
            return Ok(());
        }
        self.fail(self.token.pos, Code::Limit, format!("more than {MAX_LIST} elements in a list"))
    }

    /// An integer or float with an optional sign, `inf`, `nan` or `nan(bits)`.
    fn number(&mut self, expected: &str) -> Parse<Number> {
        let pos = self.token.pos;
        if matches!((&self.token.tok, self.peek()), (Tok::Int(_), _) | (Tok::Punct("-"), Tok::Int(_))) {
            return Ok(Number::Int(self.int(expected)?));
        }
        let negative = self.eat("-");
        let value = match self.token.tok {
            Tok::Float(x) => x,
            Tok::Word("inf") => f32::INFINITY,
            Tok::Word("nan") => {
                self.advance();
                return self.nan(pos).map(|x| Number::Float(if negative { -x } else { x }));
            }
            _ => return self.unexpected(expected),
        };
        self.advance();
        Ok(Number::Float(if negative { -value } else { value }))
    }

    fn nan(&mut self, pos: Pos) -> Parse<f32> {
        if !self.eat("(") {
            return Ok(f32::from_bits(0x7fc0_0000));
        }
        let bits = self.int::<u32>("the bits of a NaN")?;
        self.punct(")")?;
        let value = f32::from_bits(bits);
        if value.is_nan() {
            Ok(value)
        } else {
            self.fail(pos, Code::Form, format!("{bits:#010x} is not a NaN"))
        }
    }
}

enum Number {
    Int(i64),
    Float(f32),
}

const _: () = assert!(MAX_RANK <= MAX_LIST);
