//! Whether two kernels are the same up to names and the numbering of their tables.

use nki_ir::kernel::{Accumulate, Bound};
use nki_ir::view::Dynamic;
use nki_ir::*;
use std::collections::HashMap;
use std::fmt::Debug;

/// Walks both kernels side by side.
pub fn same(a: &Kernel, b: &Kernel) -> Result<(), String> {
    let mut s = Same { a, b, bufs: HashMap::new(), vars: HashMap::new(), regs: HashMap::new() };
    eq("kernel", &a.name, &b.name)?;
    let params = |k: &Kernel| -> Vec<Buf> {
        k.bufs.iter().filter(|(_, d)| d.kind != BufKind::Private).map(|(buf, _)| buf).collect()
    };
    let (pa, pb) = (params(a), params(b));
    eq("parameters", &pa.len(), &pb.len())?;
    for (x, y) in pa.into_iter().zip(pb) {
        s.define(x, y)?;
    }
    for ((x, dx), (y, dy)) in a.regs.iter().zip(b.regs.iter()) {
        s.regs.insert(x, y);
        eq("register", &dx.dtype, &dy.dtype)?;
    }
    let mut work = vec![(a.body, b.body)];
    while let Some((x, y)) = work.pop() {
        eq("nodes", &a.regions[x].nodes.len(), &b.regions[y].nodes.len())?;
        for (m, n) in a.regions[x].nodes.iter().zip(&b.regions[y].nodes) {
            match (m, n) {
                (Node::Alloc(x), Node::Alloc(y)) => s.define(*x, *y)?,
                (Node::Inst(x), Node::Inst(y)) => s.inst(*x, *y)?,
                (Node::Loop(x), Node::Loop(y)) => {
                    s.header(*x, *y)?;
                    let (rx, ry) = (a.loops[*x].regions(), b.loops[*y].regions());
                    work.extend(rx.into_iter().zip(ry));
                }
                _ => return Err(format!("{m:?} became {n:?}")),
            }
        }
    }
    Ok(())
}

struct Same<'k> {
    a: &'k Kernel,
    b: &'k Kernel,
    bufs: HashMap<Buf, Buf>,
    vars: HashMap<Var, Var>,
    regs: HashMap<Reg, Reg>,
}

fn eq<T: PartialEq + Debug>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what}: {a:?} became {b:?}")) }
}

impl Same<'_> {
    fn loc(&self, a: Loc, b: Loc) -> Result<(), String> {
        eq("location", &self.a.locs.resolve(a), &self.b.locs.resolve(b))
    }

    fn define(&mut self, x: Buf, y: Buf) -> Result<(), String> {
        self.bufs.insert(x, y);
        let (p, q) = (&self.a.bufs[x], &self.b.bufs[y]);
        eq("space", &p.space, &q.space)?;
        eq("dtype", &p.dtype, &q.dtype)?;
        eq("shape", &p.shape, &q.shape)?;
        eq("kind", &p.kind, &q.kind)?;
        eq("placement", &(p.address, p.buffers), &(q.address, q.buffers))?;
        self.loc(p.loc, q.loc)
    }

    fn header(&mut self, x: Loop, y: Loop) -> Result<(), String> {
        let (p, q) = (&self.a.loops[x], &self.b.loops[y]);
        self.loc(p.loc(), q.loc())?;
        match (p, q) {
            (
                LoopData::For { var, lo, hi, step, unroll, .. },
                LoopData::For { var: v, lo: l, hi: h, step: s, unroll: u, .. },
            ) => {
                eq("bounds", &(self.bound(*lo), self.bound(*hi)), &(*l, *h))?;
                eq("step", &(step, unroll), &(s, u))?;
                self.vars.insert(*var, *v);
                eq("owner", &self.b.vars[*v].owner, &y)
            }
            (LoopData::While { cond, .. }, LoopData::While { cond: c, .. })
            | (LoopData::If { cond, .. }, LoopData::If { cond: c, .. }) => {
                eq("condition", &self.regs[cond], c)
            }
            (LoopData::NoReorder { .. }, LoopData::NoReorder { .. }) => Ok(()),
            _ => Err(format!("{p:?} became {q:?}")),
        }
    }

    fn bound(&self, b: Bound) -> Bound {
        match b {
            Bound::Reg { reg, max } => Bound::Reg { reg: self.regs[&reg], max },
            b => b,
        }
    }

    fn inst(&self, x: Inst, y: Inst) -> Result<(), String> {
        let (p, q) = (&self.a.insts[x], &self.b.insts[y]);
        eq("op", &(p.op, p.engine, &p.name), &(q.op, q.engine, &q.name))?;
        self.loc(p.loc, q.loc)?;
        eq("operands", &p.operands.len(), &q.operands.len())?;
        for (m, n) in p.operands.iter().zip(&q.operands) {
            match (m, n) {
                (Operand::View(v), Operand::View(w)) => eq("view", &self.view(v), w)?,
                (Operand::Imm(v), Operand::Imm(w)) => eq("immediate", &v.to_bits(), &w.to_bits())?,
                (Operand::Index(v), Operand::Index(w)) => eq("position", &self.affine(v), w)?,
                (Operand::Reg(v), Operand::Reg(w)) => eq("register", &self.regs[v], w)?,
                (m, n) => eq("operand", m, n)?,
            }
        }
        for (m, n) in p.attrs.iter().zip(&q.attrs) {
            match (m, n) {
                (Attr::F32(v), Attr::F32(w)) => eq("attribute", &v.to_bits(), &w.to_bits())?,
                (Attr::Accumulate(Accumulate::UnlessFirst(v)), n) => {
                    let vars = v.iter().map(|v| self.vars[v]).collect();
                    eq("accumulate", &Attr::Accumulate(Accumulate::UnlessFirst(vars)), n)?;
                }
                (m, n) => eq("attribute", m, n)?,
            }
        }
        Ok(())
    }

    /// `v` in the terms of the other kernel.
    fn view(&self, v: &View) -> View {
        let index = match &v.index {
            Index::Slice(axes) => {
                let axis = |x: &AxisSlice| AxisSlice { start: self.affine(&x.start), ..x.clone() };
                Index::Slice(axes.iter().map(axis).collect())
            }
            Index::Pattern(p) => Index::Pattern(Pattern {
                part: self.affine(&p.part),
                offset: self.affine(&p.offset),
                ..p.clone()
            }),
        };
        let boxed = |index: &View| Box::new(self.view(index));
        let dynamic = v.dynamic.as_ref().map(|d| match d {
            Dynamic::Register { reg, axis } => Dynamic::Register { reg: self.regs[reg], axis: *axis },
            Dynamic::Scalar { index, axis } => Dynamic::Scalar { index: boxed(index), axis: *axis },
            Dynamic::Vector { index } => Dynamic::Vector { index: boxed(index) },
            Dynamic::Indirect { index, elements } => {
                Dynamic::Indirect { index: boxed(index), elements: *elements }
            }
        });
        View { buf: self.bufs[&v.buf], dtype: v.dtype, index, dynamic }
    }

    fn affine(&self, a: &Affine) -> Affine {
        let mut out = Affine::constant(a.offset());
        for (v, c) in a.terms() {
            let term = Affine::var(self.vars[v]).scale(*c).expect("a factor that was there");
            out = out.add(&term).expect("a sum that was there");
        }
        out
    }
}
