//! One instruction under examination: its operands resolved, its attributes by name, and a way to report.

use super::rules::Rule;
use crate::diag::{Diagnostic, Diagnostics};
use crate::dtype::DType;
use crate::kernel::{Accumulate, Attr, BufData, InstData, Kernel, Operand, Space};
use crate::loc::Loc;
use crate::op::{ActFn, AluOp, Effect, Engine, OpRow, OperandSpec, ReduceCmd};
use crate::target::{Gen, Target};
use crate::view::{Pattern, View};
use smallvec::SmallVec;
use std::cell::RefCell;

/// An operand that is a view, resolved.
#[derive(Debug)]
pub struct Arg<'a> {
    pub spec: &'static OperandSpec,
    pub view: &'a View,
    pub buf: &'a BufData,
    pub pattern: Pattern,
    /// Shape of the view; partitions first on chip.
    pub shape: SmallVec<[u32; 4]>,
    /// Elements per partition (HBM: all elements).
    pub n: u64,
}

impl Arg<'_> {
    /// Element type of the view.
    pub fn dtype(&self) -> DType {
        self.view.dtype
    }
    /// Memory of the buffer.
    pub fn space(&self) -> Space {
        self.buf.space
    }
    /// Partitions touched.
    pub fn parts(&self) -> u32 {
        self.pattern.parts
    }
    /// ``dst `acc` ``: the role and the author's name.
    pub fn name(&self) -> String {
        format!("{} `{}`", self.spec.name, self.buf.name)
    }
    /// `bf16[128, 512]`.
    pub fn ty(&self) -> String {
        format!("{}{:?}", self.dtype(), self.shape.as_slice())
    }
    /// Whether the instruction writes it.
    pub fn is_dst(&self) -> bool {
        self.spec.effect != Effect::Read
    }
}

/// An instruction under examination. Its form has been checked: operands and attributes match its row.
pub struct Cx<'a> {
    pub kernel: &'a Kernel,
    pub target: Target,
    pub data: &'a InstData,
    pub row: &'static OpRow,
    /// Engine that runs it.
    pub engine: Engine,
    /// By operand position; `None` where the operand is not a view.
    pub args: SmallVec<[Option<Arg<'a>>; 5]>,
    pub out: &'a RefCell<Diagnostics>,
}

/// A finding being completed; it is recorded when dropped.
pub struct Report<'a> {
    d: Option<Diagnostic>,
    kernel: &'a Kernel,
    out: &'a RefCell<Diagnostics>,
}

impl<'a> Report<'a> {
    /// Records `d` when dropped.
    pub fn new(d: Diagnostic, kernel: &'a Kernel, out: &'a RefCell<Diagnostics>) -> Self {
        Report { d: Some(d), kernel, out }
    }
    fn map(mut self, f: impl FnOnce(Diagnostic) -> Diagnostic) -> Self {
        self.d = self.d.take().map(f);
        self
    }
    /// What to do.
    pub fn help(self, help: impl Into<String>) -> Self {
        self.map(|d| d.help(help))
    }
    /// Another place.
    pub fn related(self, loc: Loc, what: impl Into<String>) -> Self {
        let locs = &self.kernel.locs;
        self.map(|d| d.related(locs, loc, what))
    }
    /// Where `buf` was allocated.
    pub fn buffer(self, buf: &BufData) -> Self {
        self.related(buf.loc, format!("`{}` is {}", buf.name, type_of(buf)))
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if let Some(d) = self.d.take() {
            self.out.borrow_mut().push(d);
        }
    }
}

impl<'a> Cx<'a> {
    /// Generation of the target.
    pub fn generation(&self) -> Gen {
        self.target.generation()
    }
    /// The operand named `name`, if it is a view.
    pub fn arg(&self, name: &str) -> Option<&Arg<'a>> {
        self.args[self.row.operand(name)?].as_ref()
    }
    /// All operands that are views.
    pub fn views(&self) -> impl Iterator<Item = &Arg<'a>> {
        self.args.iter().flatten()
    }
    /// The operand named `name`; `Operand::None` if the row has none of that name.
    pub fn operand(&self, name: &str) -> &'a Operand {
        self.row.operand(name).map_or(&Operand::None, |i| &self.data.operands[i])
    }
    /// Whether the operand named `name` is given.
    pub fn has(&self, name: &str) -> bool {
        !matches!(self.operand(name), Operand::None)
    }
    fn attr(&self, name: &str) -> &'a Attr {
        self.row.attr(name).map_or(&Attr::None, |i| &self.data.attrs[i])
    }
    /// An operator; `Bypass` stands for none.
    pub fn alu(&self, name: &str) -> AluOp {
        if let Attr::Alu(op) = self.attr(name) { *op } else { AluOp::Bypass }
    }
    /// An activation function.
    pub fn act(&self, name: &str) -> Option<ActFn> {
        if let Attr::Act(f) = self.attr(name) { Some(*f) } else { None }
    }
    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.attr(name), Attr::Bool(true))
    }
    /// An integer.
    pub fn int(&self, name: &str) -> i64 {
        if let Attr::Int(i) = self.attr(name) { *i } else { 0 }
    }
    /// A float.
    pub fn f32(&self, name: &str) -> f32 {
        if let Attr::F32(x) = self.attr(name) { *x } else { 0.0 }
    }
    /// A list of integers.
    pub fn ints(&self, name: &str) -> &'a [i64] {
        if let Attr::Ints(v) = self.attr(name) { v } else { &[] }
    }
    /// A list of `[step, count]` pairs.
    pub fn pairs(&self, name: &str) -> &'a [[i64; 2]] {
        if let Attr::Pairs(v) = self.attr(name) { v } else { &[] }
    }
    /// A reduce command.
    pub fn reduce_cmd(&self) -> ReduceCmd {
        if let Attr::ReduceCmd(c) = self.attr("reduce_cmd") { *c } else { ReduceCmd::Idle }
    }
    /// When a matmul adds; `None` for other instructions.
    pub fn accumulate(&self) -> Option<&'a Accumulate> {
        if let Attr::Accumulate(a) = self.attr("accumulate") { Some(a) } else { None }
    }
    /// Another attribute.
    pub fn raw(&self, name: &str) -> &'a Attr {
        self.attr(name)
    }

    /// Reports a violation of `rule` by this instruction.
    pub fn fail(&self, rule: &'static Rule, message: impl AsRef<str>) -> Report<'a> {
        let message = format!("{}: {}", self.row.name, message.as_ref());
        let d = violation(rule, message).at(&self.kernel.locs, self.data.loc);
        Report { d: Some(d), kernel: self.kernel, out: self.out }
    }
    /// Reports a violation that involves the operand `arg`, and says where its buffer was allocated.
    pub fn fail_arg(&self, rule: &'static Rule, arg: &Arg, message: impl AsRef<str>) -> Report<'a> {
        self.fail(rule, message).buffer(arg.buf)
    }
    /// The same for the operand named `name`, which may be an immediate.
    pub fn fail_on(&self, rule: &'static Rule, name: &str, message: impl AsRef<str>) -> Report<'a> {
        match self.arg(name) {
            Some(arg) => self.fail_arg(rule, arg, message),
            None => self.fail(rule, message),
        }
    }
}

/// A diagnostic for a violation of `rule`: code, number, and the fact behind it.
pub fn violation(rule: &'static Rule, message: impl Into<String>) -> Diagnostic {
    let mut d = Diagnostic::error(rule.code, message).note(rule.fact);
    d.rule = Some(rule);
    d
}

/// `sbuf bf16[128, 512]`.
pub fn type_of(buf: &BufData) -> String {
    format!("{} {}{:?}", buf.space, buf.dtype, buf.shape)
}
