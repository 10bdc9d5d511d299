//! Writes a kernel as text.

use super::names::{Bare, Names, Quoted};
use super::trailer::Trailers;
use super::walk::{Step, Walk};
use crate::affine::Affine;
use crate::entity::{Buf, Entity, Inst, Var};
use crate::kernel::{
    Accumulate, Attr, Bound, BufData, BufKind, InstData, Kernel, LoopData, Node, Operand, RegData,
};
use crate::loc::Loc;
use crate::op::{AttrKind, AttrSpec, Engine};
use crate::view::{AxisSlice, Dynamic, Index, Pattern, View};
use std::fmt::Write;

/// What [`Printer`] leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Source positions and their tables. Without them the text reads better, but parses back with positions in itself.
    pub locations: bool,
}

impl Default for PrintOptions {
    fn default() -> Self {
        PrintOptions { locations: true }
    }
}

/// Writes the parts of one kernel with the names that its full text gives them.
pub struct Printer<'k> {
    kernel: &'k Kernel,
    names: Names,
    options: PrintOptions,
    trailers: Trailers<'k>,
    /// Loop variables in scope; `None`: any.
    open: Option<Vec<bool>>,
}

impl<'k> Printer<'k> {
    /// A printer for `kernel`.
    pub fn new(kernel: &'k Kernel, options: PrintOptions) -> Self {
        let names = Names::new(kernel);
        Printer { kernel, names, options, trailers: Trailers::new(kernel), open: None }
    }

    /// The whole kernel.
    pub fn kernel(mut self) -> String {
        let mut out = format!("nki-ir {}\n\nkernel @{}(", super::VERSION, Bare(&self.kernel.name));
        let mut params = self.kernel.bufs.iter().filter(|(_, b)| b.kind != BufKind::Private).peekable();
        if params.peek().is_some() {
            out.push('\n');
        }
        for (buf, data) in params {
            let kind = match data.kind {
                BufKind::Input => "in",
                BufKind::Output => "out",
                BufKind::InOut | BufKind::Private => "inout",
            };
            let _ = write!(out, "  {}: {kind} {}", self.names.buf(buf), self.buffer(data));
            self.trailer(&mut out, data.loc);
            out.push_str(",\n");
        }
        out.push(')');
        if let Some((id, n)) = self.kernel.program {
            let _ = write!(out, " program {id} of {n}");
        }
        out.push_str(" {\n");
        for (reg, RegData { dtype, loc, .. }) in self.kernel.regs.iter() {
            let _ = write!(out, "  reg {}: {dtype}", self.names.reg(reg));
            self.trailer(&mut out, *loc);
            out.push('\n');
        }
        self.body(&mut out);
        out.push_str("}\n");
        let section = self.trailers.section();
        if !section.is_empty() {
            out.push('\n');
            out.push_str(&section);
        }
        out
    }

    fn body(&mut self, out: &mut String) {
        self.open = Some(vec![false; self.kernel.vars.len()]);
        let mut walk = Walk::new(self.kernel);
        let mut depth = walk.depth();
        while let Some(step) = walk.next() {
            match step {
                Step::Node(node) => {
                    indent(out, depth);
                    self.node(out, node);
                    out.push('\n');
                }
                Step::Else(_) => {
                    indent(out, depth - 1);
                    out.push_str("} else {\n");
                }
                Step::End(l) => {
                    self.set_open(l, false);
                    indent(out, depth - 1);
                    out.push_str("}\n");
                }
            }
            depth = walk.depth();
        }
        self.open = None;
    }

    fn buffer(&self, data: &BufData) -> String {
        let shape: Vec<i64> = data.shape.iter().map(|&n| n.into()).collect();
        let mut out = format!("{}<{}, {}>", data.space, data.dtype, ints(&shape));
        if let Some((partition, offset)) = data.address {
            let _ = write!(out, " at ({partition}, {offset})");
        }
        if let Some(n) = data.buffers {
            let _ = write!(out, " buffers {n}");
        }
        if let Some(n) = data.queue {
            let _ = write!(out, " queue {n}");
        }
        if let Some(before) = data.after {
            let _ = write!(out, " after {}", self.names.buf(before));
        }
        out
    }

    fn set_open(&mut self, l: crate::entity::Loop, value: bool) {
        if let (Some(LoopData::For { var, .. }), Some(open)) = (self.kernel.loops.get(l), &mut self.open)
            && let Some(slot) = open.get_mut(var.index())
        {
            *slot = value;
        }
    }

    fn node(&mut self, out: &mut String, node: Node) {
        match node {
            Node::Alloc(buf) => match self.kernel.bufs.get(buf) {
                Some(data) => {
                    let _ = write!(out, "{} = alloc {}", self.names.buf(buf), self.buffer(data));
                    self.trailer(out, data.loc);
                }
                None => {
                    let _ = write!(out, "?{buf}");
                }
            },
            Node::Inst(inst) => match self.kernel.insts.get(inst) {
                Some(data) => {
                    out.push_str(&self.inst(inst));
                    self.trailer(out, data.loc);
                }
                None => {
                    let _ = write!(out, "?{inst}");
                }
            },
            Node::Loop(l) => {
                let Some(data) = self.kernel.loops.get(l) else {
                    let _ = write!(out, "?{l}");
                    return;
                };
                self.header(out, data);
                self.trailer(out, data.loc());
                out.push_str(" {");
                self.set_open(l, true);
            }
        }
    }

    fn trailer(&mut self, out: &mut String, loc: Loc) {
        if self.options.locations {
            out.push(' ');
            out.push_str(&self.trailers.text(loc));
        }
    }

    fn header(&self, out: &mut String, data: &LoopData) {
        let _ = match data {
            LoopData::For { var, lo, hi, step, unroll, .. } => {
                let _ = write!(out, "for {} in {}..{}", self.names.var(*var), self.bound(lo), self.bound(hi));
                if *step != 1 {
                    let _ = write!(out, " step {step}");
                }
                match unroll {
                    Some(n) => write!(out, " unroll {n}"),
                    None => Ok(()),
                }
            }
            LoopData::While { cond, .. } => write!(out, "while {}", self.names.reg(*cond)),
            LoopData::If { cond, .. } => write!(out, "if {}", self.names.reg(*cond)),
            LoopData::NoReorder { .. } => write!(out, "no_reorder"),
        };
    }

    fn bound(&self, bound: &Bound) -> String {
        match bound {
            Bound::Const(c) => format!("{c}"),
            Bound::Reg { reg, max } => format!("{} max {max}", self.names.reg(*reg)),
        }
    }

    /// An instruction on one line, without its position.
    pub fn inst(&self, inst: Inst) -> String {
        let Some(data) = self.kernel.insts.get(inst) else {
            return format!("?{inst}");
        };
        let mut out = String::new();
        if let Some(label) = &data.name {
            let bare = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && Bare(label).to_string() == *label;
            let _ = if bare { write!(out, "{label}: ") } else { write!(out, "{}: ", Quoted(label)) };
        }
        out.push_str(data.op.name());
        if data.engine != Engine::Unknown {
            let _ = write!(out, ".{}", data.engine);
        }
        self.operands(&mut out, data);
        self.attrs(&mut out, data);
        out
    }

    /// Required operands by position, optional ones (and whatever follows a missing one) by name.
    fn operands(&self, out: &mut String, data: &InstData) {
        let row = data.op.row();
        let mut separator = " ";
        let mut by_name = false;
        for (i, operand) in data.operands.iter().enumerate() {
            let spec = row.operands.get(i);
            if *operand == Operand::None {
                by_name |= spec.is_some_and(|s| !s.optional);
                continue;
            }
            out.push_str(separator);
            match spec {
                Some(s) if by_name || s.optional => {
                    let _ = write!(out, "{}: ", s.name);
                }
                Some(_) => {}
                None => out.push('?'),
            }
            out.push_str(&self.operand(operand));
            separator = ", ";
        }
    }

    fn attrs(&self, out: &mut String, data: &InstData) {
        let row = data.op.row();
        let mut separator = " {";
        for (i, attr) in data.attrs.iter().enumerate() {
            let spec = row.attrs.get(i);
            let default = spec.and_then(|s| s.default).map_or(Attr::None, |d| d());
            if *attr == default {
                continue;
            }
            out.push_str(separator);
            separator = ", ";
            out.push_str(spec.map_or("?", |s| s.name));
            if *attr != Attr::Bool(true) {
                let _ = write!(out, " = {}", self.attr(attr, spec));
            }
        }
        if separator == ", " {
            out.push('}');
        }
    }

    fn attr(&self, attr: &Attr, spec: Option<&AttrSpec>) -> String {
        let text = match attr {
            Attr::None => return "_".into(),
            Attr::Bool(b) => b.to_string(),
            Attr::Int(n) => n.to_string(),
            Attr::F32(x) => float(*x),
            Attr::Ints(v) => ints(v),
            Attr::Pairs(v) => list(v.iter().map(|pair| ints(pair))),
            Attr::Alu(x) => x.name().into(),
            Attr::Act(x) => x.name().into(),
            Attr::ReduceCmd(x) => x.name().into(),
            Attr::Accumulate(x) => self.accumulate(x),
            Attr::Oob(x) => x.name().into(),
            Attr::Dge(x) => x.name().into(),
            Attr::Engine(x) => x.name().into(),
            Attr::MatmulPerf(x) => x.name().into(),
            Attr::Text(s) => Quoted(s).to_string(),
        };
        // A value of the wrong kind must not read back as one of the right kind.
        if spec.is_some_and(|s| kind_of(attr) == Some(s.kind)) { text } else { format!("?{text}") }
    }

    fn accumulate(&self, a: &Accumulate) -> String {
        match a {
            Accumulate::Auto => "auto".into(),
            Accumulate::Overwrite => "overwrite".into(),
            Accumulate::Add => "add".into(),
            Accumulate::UnlessFirst(vars) => {
                let vars: Vec<String> = vars.iter().map(|v| self.var(*v)).collect();
                format!("unless_first({})", vars.join(", "))
            }
        }
    }

    /// An operand.
    pub fn operand(&self, operand: &Operand) -> String {
        match operand {
            Operand::None => "_".into(),
            Operand::View(v) => self.view(v),
            Operand::Imm(x) => float(*x),
            Operand::Int(n) => n.to_string(),
            Operand::Reg(r) => self.names.reg(*r).to_string(),
            Operand::Index(a) => self.affine(a),
        }
    }

    /// A view.
    pub fn view(&self, view: &View) -> String {
        let mut out = String::new();
        let mut closers: Vec<String> = Vec::new();
        let mut next = Some(view);
        // The index of a dynamic view is a view again: what follows it is kept until it is written.
        while let Some(v) = next.take() {
            self.static_view(&mut out, v);
            match &v.dynamic {
                None => {}
                Some(Dynamic::Register { reg, axis }) => {
                    let _ = write!(out, ".dynamic({}, axis {axis})", self.names.reg(*reg));
                }
                Some(Dynamic::Scalar { index, axis }) => {
                    out.push_str(".dynamic(");
                    closers.push(format!(", axis {axis})"));
                    next = Some(index);
                }
                Some(Dynamic::Vector { index }) => {
                    out.push_str(".rows(");
                    closers.push(")".into());
                    next = Some(index);
                }
                Some(Dynamic::Indirect { index, elements }) => {
                    out.push_str(".indirect(");
                    closers.push(format!(", {elements})"));
                    next = Some(index);
                }
            }
        }
        out.extend(closers.into_iter().rev());
        out
    }

    fn static_view(&self, out: &mut String, v: &View) {
        let _ = write!(out, "{}", self.names.buf(v.buf));
        let data = self.kernel.bufs.get(v.buf);
        match &v.index {
            Index::Slice(axes) => {
                let shape = data.map_or(&[][..], |d| &d.shape);
                let whole = |i: usize| shape.get(i).is_some_and(|&n| is_whole(&axes[i], n));
                if axes.len() != shape.len() || !(0..axes.len()).all(whole) {
                    let axis = |i: usize| if whole(i) { ":".into() } else { self.axis(&axes[i]) };
                    out.push_str(&list((0..axes.len()).map(axis)));
                }
            }
            Index::Pattern(p) => self.pattern(out, p),
        }
        if data.is_none_or(|d| d.dtype != v.dtype) {
            let _ = write!(out, ".view({})", v.dtype);
        }
    }

    /// `e` (dropped axis), `a:b`, or `e +: count step n`.
    fn axis(&self, a: &AxisSlice) -> String {
        if a.drop && a.count == 1 && a.step == 1 {
            return self.affine(&a.start);
        }
        let end = a.start.as_constant().filter(|s| *s >= 0).and_then(|s| s.checked_add(a.count.into()));
        let mut out = match end {
            Some(end) if a.step == 1 => format!("{}:{end}", self.affine(&a.start)),
            _ => format!("{} +: {}", self.affine(&a.start), a.count),
        };
        if a.step != 1 {
            let _ = write!(out, " step {}", a.step);
        }
        if a.drop {
            out.push_str(" drop");
        }
        out
    }

    fn pattern(&self, out: &mut String, p: &Pattern) {
        out.push_str(".ap(");
        if p.parts != 1 || p.part != Affine::constant(0) {
            let _ = write!(out, "partitions {} +: {}, ", self.affine(&p.part), p.parts);
        }
        if p.offset != Affine::constant(0) {
            let _ = write!(out, "offset {}, ", self.affine(&p.offset));
        }
        let dims = list(p.dims.iter().map(|d| format!("[{}, {}]", d.stride, d.count)));
        let _ = write!(out, "{dims})");
    }

    /// An affine expression: terms in the order of the loops, then the constant.
    pub fn affine(&self, a: &Affine) -> String {
        let mut terms = a.terms().to_vec();
        terms.sort_by_key(|t| (self.names.var_order(t.0), t.0));
        let mut out = String::new();
        let sign = |out: &mut String, negative: bool| {
            out.push_str(match (out.is_empty(), negative) {
                (true, false) => "",
                (true, true) => "-",
                (false, false) => " + ",
                (false, true) => " - ",
            });
        };
        for (var, coefficient) in terms {
            sign(&mut out, coefficient < 0);
            out.push_str(&self.var(var));
            if coefficient.unsigned_abs() != 1 {
                let _ = write!(out, "*{}", coefficient.unsigned_abs());
            }
        }
        if a.offset() != 0 || out.is_empty() {
            sign(&mut out, a.offset() < 0);
            let _ = write!(out, "{}", a.offset().unsigned_abs());
        }
        out
    }

    fn var(&self, v: Var) -> String {
        match &self.open {
            Some(open) if !open.get(v.index()).is_some_and(|open| *open) => format!("%?{v}"),
            _ => self.names.var(v).to_string(),
        }
    }

    /// Name of a buffer in the text, with its sigil.
    pub fn buf(&self, b: Buf) -> String {
        self.names.buf(b).to_string()
    }
}

fn indent(out: &mut String, depth: usize) {
    // Deep nests are not worth a quadratic text.
    out.extend(std::iter::repeat_n("  ", depth.min(16)));
}

fn is_whole(a: &AxisSlice, n: u32) -> bool {
    a.start.as_constant() == Some(0) && a.count == n && a.step == 1 && !a.drop
}

fn ints(v: &[i64]) -> String {
    list(v.iter().map(i64::to_string))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The shortest text that reads back as exactly `x`; a NaN other than the canonical one shows its bits.
pub fn float(x: f32) -> String {
    match x.to_bits() {
        0x7fc0_0000 => "nan".into(),
        bits if x.is_nan() => format!("nan({bits:#010x})"),
        _ => format!("{x:?}"),
    }
}

/// The kind of an attribute's value.
fn kind_of(attr: &Attr) -> Option<AttrKind> {
    Some(match attr {
        Attr::None => return None,
        Attr::Bool(_) => AttrKind::Bool,
        Attr::Int(_) => AttrKind::Int,
        Attr::F32(_) => AttrKind::F32,
        Attr::Ints(_) => AttrKind::Ints,
        Attr::Pairs(_) => AttrKind::Pairs,
        Attr::Alu(_) => AttrKind::Alu,
        Attr::Act(_) => AttrKind::Act,
        Attr::ReduceCmd(_) => AttrKind::ReduceCmd,
        Attr::Accumulate(_) => AttrKind::Accumulate,
        Attr::Oob(_) => AttrKind::Oob,
        Attr::Dge(_) => AttrKind::Dge,
        Attr::Engine(_) => AttrKind::Engine,
        Attr::MatmulPerf(_) => AttrKind::MatmulPerf,
        Attr::Text(_) => AttrKind::Text,
    })
}
