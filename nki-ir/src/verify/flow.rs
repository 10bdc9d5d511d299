//! Rule G20 and outputs: no read of bytes that nothing can have written, no output left unwritten.
//!
//! Only what is certain is reported. Two maps of written bytes are kept for each buffer, both supersets of the truth:
//! *first*, what is written when every open loop is in its first turn and every closed loop has finished; and *ever*, what is
//! written in any turn. A read is checked in the first turn against *first*, and at the end of the outermost loop around
//! it (inside the buffer's scope) in all turns against *ever*, because writes further down the body serve later turns.

use super::context::{Report, type_of, violation};
use super::flat::{Flat, Step};
use super::footprint::{ByteMap, Footprint, Pin, footprint, whole};
use super::rules;
use super::structure::{index_of, vars};
use crate::diag::{Diagnostics, Severity};
use crate::entity::{Buf, Entity, Inst, Loop, Var};
use crate::kernel::{Bound, BufData, BufKind, InstData, Kernel, LoopData};
use crate::op::Effect;
use crate::view::View;
use std::cell::RefCell;

struct Flow<'a> {
    kernel: &'a Kernel,
    flat: &'a Flat,
    out: &'a RefCell<Diagnostics>,
    /// Buffers that start without content.
    first: Vec<Option<ByteMap<bool>>>,
    ever: Vec<Option<ByteMap<bool>>>,
    /// Whether a loop's body is open.
    open: Vec<bool>,
    /// Open loops and branches, outermost first.
    stack: Vec<OpenLoop<'a>>,
    /// Buffers already reported.
    reported: Vec<bool>,
}

struct OpenLoop<'a> {
    owner: Loop,
    writes: Vec<&'a View>,
    /// Reads to be checked in all turns when this loop closes.
    reads: Vec<(Inst, &'a str, &'a View)>,
}

/// Checks reads and outputs.
pub fn check(kernel: &Kernel, flat: &Flat, out: &RefCell<Diagnostics>) {
    let tracked = |b: &BufData| matches!(b.kind, BufKind::Private | BufKind::Output);
    let maps = || -> Vec<Option<ByteMap<bool>>> {
        kernel.bufs.values().map(|b| tracked(b).then(|| ByteMap::new(b, false))).collect()
    };
    let mut flow = Flow {
        kernel,
        flat,
        out,
        first: maps(),
        ever: maps(),
        open: vec![false; kernel.loops.len()],
        stack: Vec::new(),
        reported: vec![false; kernel.bufs.len()],
    };
    flow.run();
    flow.outputs();
}

/// Views of which an instruction certainly reads every element, with the operand's name.
fn reads(data: &InstData) -> impl Iterator<Item = (&'static str, &View)> {
    let row = data.op.row();
    let read = |i: usize| matches!(row.effect(i, &data.attrs), Effect::Read | Effect::Update);
    let direct = data.operands.iter().zip(row.operands).enumerate();
    let direct = direct.filter(move |(i, (_, s))| read(*i) && !s.kind.is_partial());
    let direct = direct.filter_map(|(_, (o, s))| Some((s.name, o.view()?)));
    let index = data.operands.iter().filter_map(|o| Some(("index", index_of(o.view()?)?)));
    direct.chain(index)
}

/// Views that an instruction writes.
fn writes(data: &InstData) -> impl Iterator<Item = &View> {
    let specs = data.op.row().operands;
    data.operands.iter().zip(specs).filter(|(_, s)| s.effect != Effect::Read).filter_map(|(o, _)| o.view())
}

impl<'a> Flow<'a> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(step) = self.flat.steps.get(at) {
            match *step {
                Step::Enter(l, region) if self.turns(l) == Some(0) => {
                    at = self.flat.span(region).map_or(at, |s| s.leave);
                }
                Step::Enter(l, _) => {
                    self.open[l.index()] = true;
                    self.stack.push(OpenLoop { owner: l, writes: Vec::new(), reads: Vec::new() });
                }
                Step::Leave(..) => self.close(),
                Step::Inst(inst) => self.inst(inst),
                Step::Alloc(_) => {}
            }
            at += 1;
        }
    }

    /// Turns of a counted loop, as far as they are known: 0 also for register bounds that allow none.
    fn turns(&self, l: Loop) -> Option<u64> {
        match &self.kernel.loops[l] {
            LoopData::For { var, .. } if self.kernel.var_range(*var).is_none() => Some(0),
            data => data.trip_count(),
        }
    }

    fn inst(&mut self, inst: Inst) {
        let data = &self.kernel.insts[inst];
        for (operand, view) in reads(data) {
            if self.first[view.buf.index()].is_none() {
                continue;
            }
            // The innermost branch makes "the first turn" unknown; without loops around it that does not matter.
            let inside = |f: &Self, o: &OpenLoop| f.in_scope(o.owner, view.buf);
            let outer = self.stack.iter().position(|o| inside(self, o) && self.repeats(o.owner));
            let branch = self
                .stack
                .iter()
                .any(|o| inside(self, o) && matches!(self.kernel.loops[o.owner], LoopData::If { .. }));
            if outer.is_none() || !branch {
                self.read(inst, operand, view, false);
            }
            if let Some(i) = outer {
                self.stack[i].reads.push((inst, operand, view));
            }
        }
        for view in writes(data) {
            self.write(view, true);
            self.write(view, false);
            if let Some(o) = self.stack.last_mut() {
                o.writes.push(view);
            }
        }
    }

    /// Leaves the innermost open loop: its variable now has had all its values.
    fn close(&mut self) {
        let Some(done) = self.stack.pop() else { return };
        self.open[done.owner.index()] = false;
        let var = match &self.kernel.loops[done.owner] {
            LoopData::For { var, .. } => Some(*var),
            _ => None,
        };
        for view in &done.writes {
            if var.is_some_and(|v| vars(view).contains(&v)) {
                self.write(view, false);
            }
        }
        for (inst, operand, view) in done.reads {
            self.read(inst, operand, view, true);
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.writes.extend(done.writes);
        }
    }

    /// Whether `l` can have more than one turn.
    fn repeats(&self, l: Loop) -> bool {
        match &self.kernel.loops[l] {
            LoopData::If { .. } | LoopData::NoReorder { .. } => false,
            data => data.trip_count() != Some(1),
        }
    }

    /// Whether every turn of `l` sees the same instance of `buf`.
    fn in_scope(&self, l: Loop, buf: Buf) -> bool {
        let region = self.kernel.loops[l].regions()[0];
        let enter = self.flat.span(region).map_or(0, |s| s.enter);
        self.flat.alloc(buf).is_none_or(|(_, at)| at < enter)
    }

    /// `all`: every turn of the loops that share the buffer; otherwise the first turn of open loops.
    fn pin(&self, buf: Buf, v: Var, all: bool) -> Pin {
        let owner = self.kernel.vars[v].owner;
        if self.starts_anywhere(v) {
            return Pin::Sweep;
        }
        if self.in_scope(owner, buf) && (all || !self.open[owner.index()]) {
            Pin::Sweep
        } else {
            Pin::At(self.kernel.var_range(v).map_or(0, |r| r.0))
        }
    }

    /// Whether the first value of a loop variable is not known.
    fn starts_anywhere(&self, v: Var) -> bool {
        let owner = &self.kernel.loops[self.kernel.vars[v].owner];
        matches!(owner, LoopData::For { lo: Bound::Reg { .. }, .. })
    }

    fn area(&self, view: &View, all: bool) -> Option<Footprint> {
        footprint(self.kernel, view, &self.kernel.bufs[view.buf], &|v| self.pin(view.buf, v, all))
    }

    fn write(&mut self, view: &View, all: bool) {
        let buf = &self.kernel.bufs[view.buf];
        let area = match view.dynamic {
            // A view outside its buffer is reported elsewhere.
            None => self.area(view, all).unwrap_or_else(|| whole(buf)),
            Some(_) => whole(buf),
        };
        let maps = if all { &mut self.ever } else { &mut self.first };
        if let Some(map) = &mut maps[view.buf.index()] {
            map.update(&area, |_| true);
        }
    }

    /// Checks a read in the first turn, or in all turns.
    fn read(&mut self, inst: Inst, operand: &str, view: &View, all: bool) {
        let buf = &self.kernel.bufs[view.buf];
        let maps = if all { &self.ever } else { &self.first };
        let Some(map) = &maps[view.buf.index()] else { return };
        let mut missing = None;
        // How far a loop on registers goes is not known either.
        let open_ended = |v: Var| {
            self.starts_anywhere(v) || all && self.kernel.loops[self.kernel.vars[v].owner].is_dynamic()
        };
        let known = view.dynamic.is_none() && !vars(view).into_iter().any(open_ended);
        let exact = known.then(|| self.area(view, all)).flatten().filter(|a| a.exact);
        match &exact {
            Some(area) => {
                map.any(area, |parts, bytes, written| {
                    missing = (!written).then_some((parts.0, bytes.0));
                    !written
                });
            }
            // Somewhere in the buffer: wrong only if nothing at all is there.
            None if !map.any(&whole(buf), |_, _, written| written) => missing = Some((0, 0)),
            None => {}
        }
        let Some(byte) = missing else { return };
        if std::mem::replace(&mut self.reported[view.buf.index()], true) {
            return;
        }
        let data = &self.kernel.insts[inst];
        let nothing = !map.any(&whole(buf), |_, _, written| written);
        let later = self.ever[view.buf.index()].as_ref().is_some_and(|m| m.any(&whole(buf), |_, _, w| w));
        let what = match (nothing, later) {
            (true, _) => "nothing has been written to it".to_string(),
            _ => format!("element {:?} has not been written", element(buf, byte)),
        };
        let message = format!("{}: {operand} `{}` is read, but {what}", data.op, buf.name);
        let d = violation(&rules::UNINITIALIZED, message).at(&self.kernel.locs, data.loc);
        let help = match buf.space {
            crate::kernel::Space::Psum => "write it with nc_matmul or memset first",
            _ => "load it with dma_copy, or fill it with memset, before this read",
        };
        Report::new(d, self.kernel, self.out)
            .related(
                buf.loc,
                format!("`{}` ({}) is allocated here, with undefined content", buf.name, type_of(buf)),
            )
            .help(help);
    }

    fn outputs(&self) {
        for (b, buf) in self.kernel.bufs.iter().filter(|(_, b)| b.kind == BufKind::Output) {
            let Some(map) = &self.ever[b.index()] else { continue };
            let mut missing = None;
            map.any(&whole(buf), |parts, bytes, written| {
                missing = (!written).then_some((parts.0, bytes.0));
                !written
            });
            let Some(byte) = missing else { continue };
            // The other program writes the rest.
            if self.kernel.program.is_some_and(|(_, n)| n > 1) {
                continue;
            }
            let nothing = !map.any(&whole(buf), |_, _, written| written);
            let message = if nothing {
                format!("output `{}` is never written", buf.name)
            } else {
                format!("output `{}`: element {:?} is never written", buf.name, element(buf, byte))
            };
            let mut d = violation(&rules::OUTPUT_WRITE, message).at(&self.kernel.locs, buf.loc);
            if !nothing {
                d.severity = Severity::Warning;
            }
            let help = if nothing {
                "store the result with dma_copy"
            } else {
                "let the loops cover the whole tensor"
            };
            Report::new(d, self.kernel, self.out).help(help);
        }
    }
}

/// The index of the element at partition and byte `(p, b)` of `buf`.
fn element(buf: &BufData, (p, b): (u64, u64)) -> Vec<u64> {
    let mut rest = b / buf.dtype.bytes() as u64;
    let free = if buf.space.on_chip() { &buf.shape[1..] } else { &buf.shape[..] };
    let mut index: Vec<u64> = free
        .iter()
        .rev()
        .map(|n| {
            let i = rest % u64::from(*n);
            rest /= u64::from(*n);
            i
        })
        .collect();
    if buf.space.on_chip() {
        index.push(p);
    }
    index.reverse();
    index
}
