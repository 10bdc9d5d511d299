//! The writer.

use super::VERSION;
use crate::program::*;
use nki_ir::kernel::{Accumulate, Attr, BufKind, Space};
use nki_ir::loc::Loc;
use nki_ir::text::{float, lexer::is_name_char};
use std::fmt::Write;

/// Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

/// `name` behind a sigil, quoted if it is not a word.
fn symbol(name: &str) -> String {
    if !name.is_empty() && name.chars().all(is_name_char) {
        format!("@{name}")
    } else {
        format!("@{}", quoted(name))
    }
}

fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => put!(out, "\\u{{{:x}}}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn kind_name(kind: BufKind) -> &'static str {
    match kind {
        BufKind::Input => "input",
        BufKind::Output => "output",
        BufKind::InOut => "inout",
        BufKind::Private => "private",
    }
}

pub(super) fn print(p: &Program) -> String {
    let mut out = String::new();
    put!(out, "nkim {VERSION}\nprogram {} target {}\n", symbol(&p.name), p.target);
    put!(out, "semaphores {}\nregisters", p.semaphores);
    for (engine, n) in STREAM_ENGINES.iter().zip(&p.registers) {
        put!(out, " {engine} {n}");
    }
    out.push('\n');
    let mut printer = Printer { p, out };
    printer.objects();
    for (engine, body) in STREAM_ENGINES.iter().zip(&p.streams) {
        if !body.is_empty() {
            put!(printer.out, "\nstream {engine} {{\n");
            printer.stream(body);
            printer.out.push_str("}\n");
        }
    }
    printer.locations();
    printer.out
}

struct Printer<'a> {
    p: &'a Program,
    out: String,
}

/// A body being printed, and what follows it.
struct Frame<'a> {
    rest: std::slice::Iter<'a, MInst>,
    otherwise: Option<&'a [MInst]>,
}

impl<'a> Printer<'a> {
    fn objects(&mut self) {
        for (i, t) in self.p.tensors.iter().enumerate() {
            let shape: Vec<String> = t.shape.iter().map(u32::to_string).collect();
            let (kind, name) = (kind_name(t.kind), symbol(&t.name));
            put!(
                self.out,
                "tensor {i} {kind} {name} {} [{}] at {:#x}\n",
                t.dtype,
                shape.join(", "),
                t.address
            );
        }
        for (i, p) in self.p.placements.iter().enumerate() {
            let name = symbol(&p.name);
            put!(
                self.out,
                "placement {i} {} {name} partitions {} +: {}",
                p.space,
                p.start_partition,
                p.partitions
            );
            put!(self.out, " bytes {} +: {}", p.offset, p.bytes);
            self.loc(p.loc);
            self.out.push('\n');
        }
    }

    fn stream(&mut self, body: &'a [MInst]) {
        let mut stack = vec![Frame { rest: body.iter(), otherwise: None }];
        while let Some(frame) = stack.last_mut() {
            let Some(inst) = frame.rest.next() else {
                let frame = stack.pop().expect("the loop runs while there is a frame");
                if !stack.is_empty() {
                    self.indent(stack.len());
                    match frame.otherwise {
                        Some(body) => {
                            self.out.push_str("} else {\n");
                            stack.push(Frame { rest: body.iter(), otherwise: None });
                        }
                        None => self.out.push_str("}\n"),
                    }
                }
                continue;
            };
            self.indent(stack.len());
            self.instruction(inst);
            match &inst.kind {
                MKind::For { body, .. } | MKind::While { body, .. } => {
                    self.out.push_str(" {\n");
                    stack.push(Frame { rest: body.iter(), otherwise: None });
                }
                MKind::If { then, otherwise, .. } => {
                    self.out.push_str(" {\n");
                    let otherwise = (!otherwise.is_empty()).then_some(otherwise.as_slice());
                    stack.push(Frame { rest: then.iter(), otherwise });
                }
                _ => self.out.push('\n'),
            }
        }
    }

    fn indent(&mut self, depth: usize) {
        (0..depth).for_each(|_| self.out.push_str("  "));
    }

    /// An instruction up to its end, or to the brace that opens its body.
    fn instruction(&mut self, inst: &MInst) {
        match &inst.kind {
            MKind::Compute { op, operands, attrs, accumulate } => {
                self.operation(*op, operands, attrs);
                match accumulate {
                    MAccumulate::Overwrite => {}
                    MAccumulate::Add => self.out.push_str(" add"),
                    MAccumulate::UnlessFirst(first) => {
                        let list: Vec<String> =
                            first.iter().map(|(r, v)| format!("r{} = {v}", r.0)).collect();
                        put!(self.out, " unless_first({})", list.join(", "));
                    }
                }
            }
            MKind::Dma { op, operands, attrs, queue, dge } => {
                self.operation(*op, operands, attrs);
                put!(self.out, " queue {queue} {dge}");
            }
            MKind::Sync => self.out.push_str("sync"),
            MKind::For { reg, lo, hi, step, max, .. } => {
                put!(self.out, "for r{} in {}..{}", reg.0, bound(lo), bound(hi));
                if *step != 1 {
                    put!(self.out, " step {step}");
                }
                if let Some(max) = max {
                    put!(self.out, " max {max}");
                }
            }
            MKind::While { cond, .. } => put!(self.out, "while r{}", cond.0),
            MKind::If { cond, .. } => put!(self.out, "if r{}", cond.0),
            MKind::RegLoad { reg, src } => {
                put!(self.out, "reg_load r{}, ", reg.0);
                self.access(src);
            }
            MKind::RegStore { dst, reg } => {
                self.out.push_str("reg_store ");
                self.access(dst);
                put!(self.out, ", r{}", reg.0);
            }
            MKind::RegMove { reg, src } => put!(self.out, "reg_move r{}, {}", reg.0, affine(src)),
        }
        self.tail(inst);
    }

    fn operation(&mut self, op: nki_ir::Op, operands: &[MOperand], attrs: &[Attr]) {
        put!(self.out, "{op}");
        for (i, o) in operands.iter().enumerate() {
            self.out.push_str(if i == 0 { " " } else { ", " });
            match o {
                MOperand::None => self.out.push('_'),
                MOperand::Access(a) => self.access(a),
                MOperand::Imm(x) => self.out.push_str(&float(*x)),
                MOperand::Int(n) => put!(self.out, "{n}"),
                MOperand::Reg(r) => put!(self.out, "r{}", r.0),
            }
        }
        let specs = op.row().attrs.iter().zip(attrs);
        let given = specs.filter(|(spec, a)| spec.default.map(|d| d()).unwrap_or(Attr::None) != **a);
        let list: Vec<String> = given
            .map(|(spec, a)| match a {
                Attr::Bool(true) => spec.name.to_string(),
                a => format!("{} = {}", spec.name, value(a)),
            })
            .collect();
        if !list.is_empty() {
            put!(self.out, " {{{}}}", list.join(", "));
        }
    }

    /// The index of a dynamic access may be dynamic itself; the nest is as deep as the program's.
    fn access(&mut self, a: &Access) {
        put!(self.out, "{}<{}>(", a.space, a.dtype);
        if a.space == Space::Hbm {
            // Partitions of an HBM access are always 0 +: 1 in a legal program; others are shown to be rejected.
            if a.partitions != 1 || a.partition != RegAffine::from(0) {
                put!(self.out, "{} +: {}, ", affine(&a.partition), a.partitions);
            }
            match a.offset.as_constant() {
                Some(x) if x >= 0 => put!(self.out, "{x:#x}"),
                _ => self.out.push_str(&affine(&a.offset)),
            }
        } else {
            put!(self.out, "{} +: {}, {}", affine(&a.partition), a.partitions, affine(&a.offset));
        }
        for d in a.dims.iter() {
            put!(self.out, ", [{}, {}]", d.stride, d.count);
        }
        self.out.push(')');
        if let Some(o) = a.object {
            put!(self.out, " of {o}");
        }
        match a.dynamic.as_deref() {
            None => {}
            Some(DynamicAccess::Register { reg, scale }) => {
                put!(self.out, " .register(r{} * {scale})", reg.0)
            }
            Some(DynamicAccess::Scalar { index, scale }) => self.index("scalar", index, *scale),
            Some(DynamicAccess::Vector { index, scale }) => self.index("rows", index, *scale),
            Some(DynamicAccess::Indirect { index, elements }) => {
                self.index("indirect", index, i64::from(*elements))
            }
        }
    }

    fn index(&mut self, how: &str, index: &Access, factor: i64) {
        put!(self.out, " .{how}(");
        self.access(index);
        put!(self.out, " * {factor})");
    }

    fn tail(&mut self, inst: &MInst) {
        if !inst.waits.is_empty() {
            let list: Vec<String> =
                inst.waits.iter().map(|w| format!("s{} >= {}", w.sem.0, affine(&w.at_least))).collect();
            put!(self.out, " wait({})", list.join(", "));
        }
        if !inst.signals.is_empty() {
            let list: Vec<String> =
                inst.signals.iter().map(|s| format!("s{} + {}", s.sem.0, s.add)).collect();
            put!(self.out, " signal({})", list.join(", "));
        }
        if let Some(source) = inst.source {
            put!(self.out, " source {source}");
        }
        self.loc(inst.loc);
    }

    fn loc(&mut self, loc: Loc) {
        match self.p.locs.locs.get(loc.0 as usize) {
            None => self.out.push_str(" loc(?)"),
            Some(l) if l.frame.0 == 0 => put!(self.out, " loc({}:{}:{})", l.file, l.line, l.column),
            Some(l) => put!(self.out, " loc({}:{}:{} in {})", l.file, l.line, l.column, l.frame.0),
        }
    }

    fn locations(&mut self) {
        let locs = &self.p.locs;
        if locs.files.is_empty() && locs.frames.is_empty() {
            return;
        }
        self.out.push_str("\nlocations {\n");
        for (i, f) in locs.files.iter().enumerate() {
            put!(self.out, "  file {i} {}\n", quoted(f));
        }
        for (i, f) in locs.frames.iter().enumerate() {
            put!(self.out, "  frame {i} {}", symbol(&f.kernel));
            if let Some(call) = f.call {
                self.loc(call);
            }
            self.out.push('\n');
        }
        self.out.push_str("}\n");
    }
}

fn bound(b: &MBound) -> String {
    match b {
        MBound::Const(c) => c.to_string(),
        MBound::Reg(r) => format!("r{}", r.0),
    }
}

fn affine(a: &RegAffine) -> String {
    let mut out = if a.constant != 0 || a.terms.is_empty() { a.constant.to_string() } else { String::new() };
    for (r, k) in &a.terms {
        let sign = match (out.is_empty(), *k < 0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        out.push_str(sign);
        match k.unsigned_abs() {
            1 => put!(out, "r{}", r.0),
            k => put!(out, "r{}*{k}", r.0),
        }
    }
    out
}

fn value(a: &Attr) -> String {
    fn ints(v: &[i64]) -> String {
        let list: Vec<String> = v.iter().map(i64::to_string).collect();
        format!("[{}]", list.join(", "))
    }
    match a {
        Attr::None => "_".into(),
        Attr::Bool(b) => b.to_string(),
        Attr::Int(n) => n.to_string(),
        Attr::F32(x) => float(*x),
        Attr::Ints(v) => ints(v),
        Attr::Pairs(v) => {
            let list: Vec<String> = v.iter().map(|p| ints(p)).collect();
            format!("[{}]", list.join(", "))
        }
        Attr::Alu(x) => x.name().into(),
        Attr::Act(x) => x.name().into(),
        Attr::ReduceCmd(x) => x.name().into(),
        Attr::Accumulate(Accumulate::Auto) => "auto".into(),
        Attr::Accumulate(Accumulate::Overwrite) => "overwrite".into(),
        Attr::Accumulate(Accumulate::Add) => "add".into(),
        Attr::Accumulate(Accumulate::UnlessFirst(vars)) => {
            let list: Vec<String> = vars.iter().map(|v| v.0.to_string()).collect();
            format!("unless_first({})", list.join(", "))
        }
        Attr::Oob(x) => x.name().into(),
        Attr::Dge(x) => x.name().into(),
        Attr::Engine(x) => x.name().into(),
        Attr::MatmulPerf(x) => x.name().into(),
        Attr::Text(s) => quoted(s),
    }
}
