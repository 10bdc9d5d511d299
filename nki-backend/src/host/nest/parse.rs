//! Finds result tiles: sums of tile products over loops, finished and written out.

use super::Finish;
use super::access::{Access, Load, Turns};
use crate::host::layout::Layout;
use nki_ir::entity::Entity;
use nki_ir::kernel::{Accumulate, Attr, Bound, InstData, LoopData, Node, Operand, Space};
use nki_ir::op::{AluOp, MatmulPerf, Op, ReduceCmd};
use nki_ir::sem::act;
use nki_ir::view::Dynamic;
use nki_ir::{ActFn, Buf, DType, Inst, Kernel, Loop, View};

/// One `nc_matmul` of a sum.
#[derive(Clone, Debug)]
pub struct Product {
    pub a: Access,
    pub b: Access,
    /// The loop over K that it stands in.
    pub turns: Option<Turns>,
}

/// A result tile.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Loops of the nest around it, outermost first.
    pub loops: Vec<Turns>,
    pub products: Vec<Product>,
    pub finish: Vec<Finish>,
    pub out: Access,
    /// The finished sum is added to what is there.
    pub adds: bool,
}

/// How often each buffer is an operand, or the index of one.
pub fn uses(kernel: &Kernel) -> Vec<u32> {
    let mut counts = vec![0; kernel.bufs.len()];
    for inst in kernel.insts.values() {
        count(inst, &mut |b| counts[b.index()] += 1);
    }
    counts
}

fn count(inst: &InstData, f: &mut dyn FnMut(Buf)) {
    for view in inst.operands.iter().filter_map(Operand::view) {
        f(view.buf);
        if let Some(
            Dynamic::Scalar { index, .. } | Dynamic::Vector { index } | Dynamic::Indirect { index, .. },
        ) = &view.dynamic
        {
            f(index.buf);
        }
    }
}

/// The result tiles that the first nodes compute, and how many nodes that is. Buffers of these nodes are used nowhere else.
pub fn parse(kernel: &Kernel, layout: &Layout, uses: &[u32], nodes: &[Node]) -> Option<(Vec<Piece>, usize)> {
    let consumed = match nodes.first()? {
        Node::Loop(_) => 1,
        Node::Alloc(_) => first_result(kernel, nodes)?,
        Node::Inst(_) => return None,
    };
    let nodes = &nodes[..consumed];
    let (loads, locals, inside) = (Vec::new(), Vec::new(), Vec::new());
    let mut parser = Parser { kernel, layout, loads, locals, inside, budget: BUDGET };
    let pieces = parser.region(nodes)?;
    let used = |b: &Buf| parser.inside.iter().filter(|x| *x == b).count() as u32;
    let private = parser.locals.iter().all(|b| used(b) == uses[b.index()]);
    (private && !pieces.is_empty()).then_some((pieces, consumed))
}

/// Most nodes of a nest: larger ones are unrolled, and cost more to understand than they gain.
const BUDGET: usize = 512;

/// Most nodes of a straight sequence that computes one result tile.
const STRAIGHT: usize = 64;

/// The number of nodes up to the first one that writes to a tensor.
fn first_result(kernel: &Kernel, nodes: &[Node]) -> Option<usize> {
    let mut products = false;
    for (i, node) in nodes.iter().enumerate().take(STRAIGHT) {
        match *node {
            Node::Alloc(_) => {}
            Node::Loop(l) => products |= has_product(kernel, l),
            Node::Inst(inst) => {
                let data = &kernel.insts[inst];
                products |= data.op == Op::NcMatmul;
                let dst = data.operands.first().and_then(Operand::view)?;
                if products && (data.op == Op::DmaCopy && kernel.bufs[dst.buf].space == Space::Hbm) {
                    return Some(i + 1);
                }
            }
        }
    }
    None
}

fn has_product(kernel: &Kernel, l: Loop) -> bool {
    let regions = kernel.loops[l].regions();
    let mut nodes = regions.iter().flat_map(|r| &kernel.regions[*r].nodes);
    nodes.any(|n| matches!(n, Node::Inst(i) if kernel.insts[*i].op == Op::NcMatmul))
}

/// The turns of a counted loop that has any, and its body.
fn turns(kernel: &Kernel, l: Loop) -> Option<(Turns, &[Node])> {
    match kernel.loops[l] {
        LoopData::For { var, lo: Bound::Const(lo), hi: Bound::Const(_), step, body, .. } => {
            let count = kernel.loops[l].trip_count().filter(|n| *n > 0)?;
            Some((Turns { var, lo, step, count }, &kernel.regions[body].nodes))
        }
        _ => None,
    }
}

/// A result tile that is being computed.
struct Open {
    acc: Buf,
    products: Vec<Product>,
    /// The tile that holds the result so far.
    tile: Buf,
    finish: Vec<Finish>,
}

impl Open {
    /// The result has reached its place.
    fn piece(self, out: Access, adds: bool) -> Piece {
        Piece { loops: Vec::new(), products: self.products, finish: self.finish, out, adds }
    }
}

struct Parser<'a> {
    kernel: &'a Kernel,
    layout: &'a Layout,
    loads: Vec<Load>,
    /// Tiles allocated by the nodes.
    locals: Vec<Buf>,
    /// Every use of a buffer.
    inside: Vec<Buf>,
    /// Nodes that may still be looked at.
    budget: usize,
}

impl Parser<'_> {
    /// The result tiles of some nodes.
    fn region(&mut self, nodes: &[Node]) -> Option<Vec<Piece>> {
        self.budget = self.budget.checked_sub(nodes.len())?;
        let kernel = self.kernel;
        let known = self.loads.len();
        let (mut pieces, mut open) = (Vec::new(), None);
        for node in nodes {
            match *node {
                Node::Alloc(b) => self.locals.push(b),
                Node::Inst(i) => {
                    if let Some(piece) = self.inst(i, &mut open)? {
                        pieces.push(piece);
                    }
                }
                Node::Loop(l) => {
                    let (turns, body) = turns(kernel, l)?;
                    match body {
                        [Node::Inst(i)] if kernel.insts[*i].op == Op::DmaCopy => {
                            self.load(*i, Some(turns))?;
                        }
                        _ if has_product(kernel, l) => self.sum(body, turns, &mut open)?,
                        _ if open.is_none() => {
                            let mut inner = self.region(body)?;
                            inner.iter_mut().for_each(|p| p.loops.insert(0, turns));
                            pieces.append(&mut inner);
                        }
                        _ => return None,
                    }
                }
            }
        }
        // What these nodes have loaded is forgotten behind them.
        self.loads.truncate(known);
        open.is_none().then_some(pieces)
    }

    /// A loop over K: loads, and one product.
    fn sum(&mut self, body: &[Node], turns: Turns, open: &mut Option<Open>) -> Option<()> {
        self.budget = self.budget.checked_sub(body.len())?;
        let known = self.loads.len();
        for node in body {
            match *node {
                Node::Alloc(b) => self.locals.push(b),
                Node::Inst(i) if self.kernel.insts[i].op == Op::DmaCopy => self.load(i, None)?,
                Node::Inst(i) if self.kernel.insts[i].op == Op::NcMatmul => {
                    self.product(i, Some(turns), open)?;
                }
                _ => return None,
            }
        }
        self.loads.truncate(known);
        Some(())
    }

    fn inst(&mut self, i: Inst, open: &mut Option<Open>) -> Option<Option<Piece>> {
        let data = &self.kernel.insts[i];
        match data.op {
            Op::NcMatmul => self.product(i, None, open)?,
            Op::DmaCopy => {
                let dst = data.operands[0].view()?;
                if self.kernel.bufs[dst.buf].space.on_chip() {
                    self.load(i, None)?;
                } else {
                    return Some(Some(self.store(i, open)?));
                }
            }
            Op::TensorCopy | Op::Activation => return self.finish(i, open),
            Op::TensorTensor => return Some(Some(self.add(i, open)?)),
            _ => return None,
        }
        Some(None)
    }

    fn note(&mut self, i: Inst) {
        count(&self.kernel.insts[i], &mut |b| self.inside.push(b));
    }

    fn access(&self, view: &View) -> Option<Access> {
        Access::of(self.kernel, self.layout, view)
    }

    fn load(&mut self, i: Inst, turns: Option<Turns>) -> Option<()> {
        self.note(i);
        let data = &self.kernel.insts[i];
        let (to, from) = (self.access(data.operands[0].view()?)?, self.access(data.operands[1].view()?)?);
        let from_tensor = !self.kernel.bufs[from.buf].space.on_chip();
        let fresh = self.locals.contains(&to.buf) && self.loads.iter().all(|l| l.to.buf != to.buf);
        let same = to.dtype == from.dtype && (to.rows, to.cols) == (from.rows, from.cols);
        if !from_tensor || !fresh || !same {
            return None;
        }
        self.loads.push(Load { to, from, turns });
        Some(())
    }

    fn product(&mut self, i: Inst, turns: Option<Turns>, open: &mut Option<Open>) -> Option<()> {
        self.note(i);
        let data = &self.kernel.insts[i];
        let accumulate = data.attrs.iter().find_map(|a| match a {
            Attr::Accumulate(a) => Some(a),
            _ => None,
        })?;
        let transpose = data.attrs[data.op.row().attr("is_transpose")?] == Attr::Bool(true);
        let plain = |a: &Attr| !matches!(a, Attr::MatmulPerf(m) if *m != MatmulPerf::None);
        if transpose || !data.attrs.iter().all(plain) {
            return None;
        }
        let [acc, a, b] = [0, 1, 2].map(|n| data.operands[n].view().and_then(|v| self.access(v)));
        let (acc, a, b) = (acc?, self.origin(a?)?, self.origin(b?)?);
        let first = match accumulate {
            Accumulate::Overwrite => turns.is_none(),
            Accumulate::UnlessFirst(vars) => turns.is_some_and(|t| vars.as_slice() == [t.var]),
            Accumulate::Add => false,
            Accumulate::Auto => return None,
        };
        if first {
            let fresh = open.is_none() && self.locals.contains(&acc.buf);
            let whole = acc.is_whole(self.kernel) && acc.dtype == DType::F32;
            if !fresh || !whole || (acc.rows, acc.cols) != (a.cols, b.cols) {
                return None;
            }
            *open = Some(Open { acc: acc.buf, products: Vec::new(), tile: acc.buf, finish: Vec::new() });
        } else if *accumulate != Accumulate::Add {
            return None;
        }
        let open = open.as_mut()?;
        let same = open.acc == acc.buf && open.tile == acc.buf && acc.is_whole(self.kernel);
        let fits = a.rows == b.rows && a.dtype == b.dtype && (acc.rows, acc.cols) == (a.cols, b.cols);
        if !same || !fits {
            return None;
        }
        open.products.push(Product { a, b, turns });
        Some(())
    }

    /// Where an operand comes from: a tensor that was loaded, or a tile filled before the nest.
    fn origin(&self, read: Access) -> Option<Access> {
        match self.loads.iter().find(|l| l.to.buf == read.buf) {
            Some(load) => load.forward(self.kernel, &read),
            None => (!self.locals.contains(&read.buf)).then_some(read),
        }
    }

    /// A copy or an activation of the result, to another tile of the nest or out of it.
    fn finish(&mut self, i: Inst, open: &mut Option<Open>) -> Option<Option<Piece>> {
        self.note(i);
        let data = &self.kernel.insts[i];
        let (to, from) = (self.access(data.operands[0].view()?)?, self.access(data.operands[1].view()?)?);
        let current = open.as_mut()?;
        if from.buf != current.tile || !from.is_whole(self.kernel) || to.buf == from.buf {
            return None;
        }
        if (to.rows, to.cols) != (from.rows, from.cols) {
            return None;
        }
        let (function, affine) = match data.op {
            Op::TensorCopy => (nki_rt::Activation::Copy, None),
            _ => activation(data)?,
        };
        nki_ir::sem::cast::row_format(to.dtype)?;
        current.finish.push(Finish { function, affine, dtype: to.dtype });
        if self.locals.contains(&to.buf) {
            if !to.is_whole(self.kernel) {
                return None;
            }
            current.tile = to.buf;
            return Some(None);
        }
        let open = open.take()?;
        Some(Some(open.piece(to, false)))
    }

    /// The result is added to a running sum outside of the nest: `sum = sum + result`, in f32.
    fn add(&mut self, i: Inst, open: &mut Option<Open>) -> Option<Piece> {
        self.note(i);
        let data = &self.kernel.insts[i];
        let [to, old, new] = [0, 1, 2].map(|n| data.operands[n].view().and_then(|v| self.access(v)));
        let (to, old, new) = (to?, old?, new?);
        let open = open.take()?;
        let plain = data.attrs[data.op.row().attr("op")?] == Attr::Alu(AluOp::Add);
        let same = to == old && to.dtype == DType::F32 && (to.rows, to.cols) == (new.rows, new.cols);
        let outside = !self.locals.contains(&to.buf) && self.loads.iter().all(|l| l.to.buf != to.buf);
        if !plain || !same || !outside || new.buf != open.tile || !new.is_whole(self.kernel) {
            return None;
        }
        Some(open.piece(to, true))
    }

    /// The result leaves the nest for a tensor.
    fn store(&mut self, i: Inst, open: &mut Option<Open>) -> Option<Piece> {
        self.note(i);
        let data = &self.kernel.insts[i];
        let (to, from) = (self.access(data.operands[0].view()?)?, self.access(data.operands[1].view()?)?);
        let open = open.take()?;
        let same = to.dtype == from.dtype && (to.rows, to.cols) == (from.rows, from.cols);
        if from.buf != open.tile || !from.is_whole(self.kernel) || !same {
            return None;
        }
        Some(open.piece(to, false))
    }
}

/// An activation without vectors and without a sum.
fn activation(data: &InstData) -> Option<(nki_rt::Activation, Option<[f32; 2]>)> {
    let row = data.op.row();
    let operand = |name| row.operand(name).and_then(|i| data.operands.get(i));
    let number = |name, absent| match operand(name)? {
        Operand::None => Some(absent),
        Operand::Imm(x) => Some(*x),
        _ => None,
    };
    let affine = [number("scale", 1.0)?, number("bias", 0.0)?];
    let idle = data.attrs[row.attr("reduce_cmd")?] == Attr::ReduceCmd(ReduceCmd::Idle);
    if !idle || *operand("reduce_res")? != Operand::None {
        return None;
    }
    let Attr::Act(f) = data.attrs[row.attr("op")?] else { return None };
    if f == ActFn::Prelu {
        return None;
    }
    Some((act::row_function(f)?, Some(affine)))
}
