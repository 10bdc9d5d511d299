//! Parses operands, accesses, affine expressions and attributes.

use super::base::{Base, Parse};
use super::{MAX_LIST, MAX_RANK};
use crate::program::{Access, DynamicAccess, MBound, MOperand, RegAffine, SeqReg, Terms};
use nki_ir::diag::Code;
use nki_ir::entity::Var;
use nki_ir::kernel::{Accumulate, Attr, Space};
use nki_ir::op::{AttrKind, Op};
use nki_ir::text::lexer::{Tok, shorten};
use nki_ir::view::Dim;
use smallvec::SmallVec;

/// How deep the index of a dynamic access may itself be dynamic.
const MAX_NEST: usize = 4;

impl Base<'_> {
    pub fn register(&mut self) -> Parse<SeqReg> {
        self.numbered('r', "a register (`r0`)").map(SeqReg)
    }

    pub fn bound(&mut self) -> Parse<MBound> {
        match self.peek_numbered('r') {
            Some(_) => self.register().map(MBound::Reg),
            None => self.signed("a number or register").map(MBound::Const),
        }
    }

    pub fn affine(&mut self) -> Parse<RegAffine> {
        let pos = self.token.pos;
        let mut constant = 0i128;
        let mut terms: Vec<(SeqReg, i128)> = Vec::new();
        let mut negative = self.eat("-");
        loop {
            let sign = if negative { -1i128 } else { 1 };
            let (factor, reg) = self.term()?;
            match reg {
                None => constant += sign * factor,
                Some(reg) => match terms.iter().position(|t| t.0 == reg) {
                    Some(i) => terms[i].1 += sign * factor,
                    None if terms.len() < MAX_RANK => terms.push((reg, sign * factor)),
                    None => {
                        return self.fail(
                            pos,
                            Code::Limit,
                            format!("more than {MAX_RANK} registers in a sum"),
                        );
                    }
                },
            }
            negative = self.is("-");
            if !negative && !self.is("+") {
                break;
            }
            self.advance();
        }
        terms.retain(|t| t.1 != 0);
        terms.sort_by_key(|t| t.0);
        let narrow = |x: i128| i64::try_from(x).ok();
        let sum: Option<Terms> = terms.into_iter().map(|(r, k)| Some((r, narrow(k)?))).collect();
        match (narrow(constant), sum) {
            (Some(constant), Some(terms)) => Ok(RegAffine { constant, terms }),
            _ => self.fail(pos, Code::Syntax, "a sum that leaves 64 bits"),
        }
    }

    fn term(&mut self) -> Parse<(i128, Option<SeqReg>)> {
        if self.peek_numbered('r').is_some() {
            let reg = self.register()?;
            let factor = if self.eat("*") { self.int::<u64>("a factor")? } else { 1 };
            return Ok((factor.into(), Some(reg)));
        }
        let number = self.int::<u64>("a number or register")?;
        let reg = if self.eat("*") { Some(self.register()?) } else { None };
        Ok((number.into(), reg))
    }

    pub fn operands(&mut self, op: Op) -> Parse<Vec<MOperand>> {
        let mut out = Vec::new();
        let wanted = op.row().operands.len();
        for i in 0..wanted {
            if i > 0 {
                self.punct(",")?;
            }
            out.push(self.operand()?);
        }
        if self.is(",") {
            let message = format!("{op} takes {wanted} operands; write `_` for one that is absent");
            return self.fail(self.token.pos, Code::Form, message);
        }
        Ok(out)
    }

    fn operand(&mut self) -> Parse<MOperand> {
        match self.token.tok {
            Tok::Word("_") => {
                self.advance();
                Ok(MOperand::None)
            }
            Tok::Word("hbm" | "sbuf" | "psum") => self.access(0).map(MOperand::Access),
            Tok::Word(_) if self.peek_numbered('r').is_some() => self.register().map(MOperand::Reg),
            _ => self.number(),
        }
    }

    /// An integer or a float immediate.
    fn number(&mut self) -> Parse<MOperand> {
        let negative = self.is("-");
        if negative {
            let pos = self.token.pos;
            self.advance();
            return match self.token.tok {
                Tok::Int(n) => {
                    self.advance();
                    match i64::try_from(-i128::from(n)) {
                        Ok(n) => Ok(MOperand::Int(n)),
                        Err(_) => self.fail(pos, Code::Syntax, "an integer that leaves 64 bits"),
                    }
                }
                _ => self.float().map(|x| MOperand::Imm(-x)),
            };
        }
        match self.token.tok {
            Tok::Int(_) => self.signed("an integer").map(MOperand::Int),
            _ => self.float().map(MOperand::Imm),
        }
    }

    /// A float without a sign.
    fn float(&mut self) -> Parse<f32> {
        let x = match self.token.tok {
            Tok::Float(x) => x,
            Tok::Word("inf") => f32::INFINITY,
            Tok::Word("nan") => {
                self.advance();
                if !self.eat("(") {
                    return Ok(f32::NAN);
                }
                let bits = self.int::<u32>("the bits of a float")?;
                self.punct(")")?;
                return Ok(f32::from_bits(bits));
            }
            _ => return self.unexpected("an operand"),
        };
        self.advance();
        Ok(x)
    }

    pub fn access(&mut self, nest: usize) -> Parse<Access> {
        let pos = self.token.pos;
        if nest >= MAX_NEST {
            return self.fail(pos, Code::Limit, "indices nested too deeply");
        }
        let space = match self.any_word("`sbuf`, `psum` or `hbm`")? {
            "sbuf" => Space::Sbuf,
            "psum" => Space::Psum,
            "hbm" => Space::Hbm,
            w => {
                return self.fail(
                    pos,
                    Code::Syntax,
                    format!("expected `sbuf`, `psum` or `hbm`, found `{}`", shorten(w)),
                );
            }
        };
        self.punct("<")?;
        let dtype = self.named("a dtype")?;
        self.punct(">")?;
        self.punct("(")?;
        let first = self.affine()?;
        let (partition, partitions, offset) = if self.eat("+:") {
            let count = self.int("a number of partitions")?;
            self.punct(",")?;
            (first, count, self.affine()?)
        } else if space == Space::Hbm {
            (RegAffine::from(0), 1, first)
        } else {
            return self.unexpected("`+:` and the number of partitions");
        };
        let mut dims = Vec::new();
        while self.eat(",") {
            if dims.len() >= MAX_RANK {
                return self.fail(self.token.pos, Code::Limit, format!("more than {MAX_RANK} dimensions"));
            }
            self.punct("[")?;
            let stride = self.signed("a stride")?;
            self.punct(",")?;
            let count = self.int("a count")?;
            self.punct("]")?;
            dims.push(Dim { stride, count });
        }
        self.punct(")")?;
        let object = if self.eat_word("of") { Some(self.int("an index")?) } else { None };
        let dynamic =
            if self.is(".") && !self.token.first { Some(Box::new(self.dynamic(nest)?)) } else { None };
        let dims = dims.into();
        Ok(Access { space, dtype, partition, partitions, offset, dims, object, dynamic })
    }

    fn dynamic(&mut self, nest: usize) -> Parse<DynamicAccess> {
        self.punct(".")?;
        let pos = self.token.pos;
        let how = self.any_word("`register`, `scalar`, `rows` or `indirect`")?;
        self.punct("(")?;
        let out = match how {
            "register" => {
                let reg = self.register()?;
                self.punct("*")?;
                DynamicAccess::Register { reg, scale: self.signed("a scale")? }
            }
            "scalar" | "rows" => {
                let index = Box::new(self.access(nest + 1)?);
                self.punct("*")?;
                let scale = self.signed("a scale")?;
                if how == "scalar" {
                    DynamicAccess::Scalar { index, scale }
                } else {
                    DynamicAccess::Vector { index, scale }
                }
            }
            "indirect" => {
                let index = Box::new(self.access(nest + 1)?);
                self.punct("*")?;
                DynamicAccess::Indirect { index, elements: self.int("a number of elements")? }
            }
            _ => {
                let message =
                    format!("expected `register`, `scalar`, `rows` or `indirect`, found `{}`", shorten(how));
                return self.fail(pos, Code::Syntax, message);
            }
        };
        self.punct(")")?;
        Ok(out)
    }

    /// Attributes in braces; those left out take their default, or none.
    pub fn attrs(&mut self, op: Op) -> Parse<SmallVec<[Attr; 4]>> {
        let row = op.row();
        let mut out: SmallVec<[Attr; 4]> =
            row.attrs.iter().map(|a| a.default.map_or(Attr::None, |d| d())).collect();
        if self.token.first || !self.eat("{") {
            return Ok(out);
        }
        while !self.is("}") {
            let pos = self.token.pos;
            let name = self.any_word("an attribute")?;
            let Some(slot) = row.attr(name) else {
                let all: Vec<&str> = row.attrs.iter().map(|a| a.name).collect();
                let message = format!("{op} has no attribute `{}`; it has {}", shorten(name), all.join(", "));
                return self.fail(pos, Code::Form, message);
            };
            out[slot] = if self.eat("=") { self.attr(row.attrs[slot].kind)? } else { Attr::Bool(true) };
            if !self.eat(",") {
                break;
            }
        }
        self.punct("}")?;
        Ok(out)
    }

    fn attr(&mut self, kind: AttrKind) -> Parse<Attr> {
        if self.is_word("_") {
            self.advance();
            return Ok(Attr::None);
        }
        Ok(match kind {
            AttrKind::Bool => Attr::Bool(self.named("`true` or `false`")?),
            AttrKind::Int => Attr::Int(self.signed("an integer")?),
            AttrKind::F32 => match self.number()? {
                MOperand::Imm(x) => Attr::F32(x),
                MOperand::Int(n) => Attr::F32(n as f32),
                _ => return self.unexpected("a number"),
            },
            AttrKind::Ints => Attr::Ints(self.list(|p| p.signed("an integer"))?),
            AttrKind::Pairs => Attr::Pairs(self.list(|p| {
                p.punct("[")?;
                let a = p.signed("an integer")?;
                p.punct(",")?;
                let b = p.signed("an integer")?;
                p.punct("]")?;
                Ok([a, b])
            })?),
            AttrKind::Alu => Attr::Alu(self.named("an operator")?),
            AttrKind::Act => Attr::Act(self.named("an activation function")?),
            AttrKind::ReduceCmd => Attr::ReduceCmd(self.named("a reduce command")?),
            AttrKind::Oob => Attr::Oob(self.named("`error` or `skip`")?),
            AttrKind::Dge => Attr::Dge(self.named("a descriptor mode")?),
            AttrKind::Engine => Attr::Engine(self.named("an engine")?),
            AttrKind::MatmulPerf => Attr::MatmulPerf(self.named("a performance mode")?),
            AttrKind::Text => Attr::Text(self.string()?),
            AttrKind::Accumulate => Attr::Accumulate(self.accumulate_attr()?),
        })
    }

    fn accumulate_attr(&mut self) -> Parse<Accumulate> {
        let pos = self.token.pos;
        Ok(match self.any_word("`auto`, `overwrite`, `add` or `unless_first`")? {
            "auto" => Accumulate::Auto,
            "overwrite" => Accumulate::Overwrite,
            "add" => Accumulate::Add,
            "unless_first" => {
                self.punct("(")?;
                let mut vars = SmallVec::new();
                while !self.is(")") && vars.len() < MAX_LIST {
                    vars.push(Var(self.int("a loop variable")?));
                    if !self.eat(",") {
                        break;
                    }
                }
                self.punct(")")?;
                Accumulate::UnlessFirst(vars)
            }
            w => return self.fail(pos, Code::Syntax, format!("`{}` is no way to accumulate", shorten(w))),
        })
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        self.punct("[")?;
        let mut out = Vec::new();
        while !self.is("]") {
            if out.len() >= MAX_LIST {
                return self.fail(self.token.pos, Code::Limit, format!("more than {MAX_LIST} elements"));
            }
            out.push(item(self)?);
            if !self.eat(",") {
                break;
            }
        }
        self.punct("]")?;
        Ok(out)
    }
}
