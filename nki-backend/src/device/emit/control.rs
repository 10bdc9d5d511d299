//! Registers and control flow on them.
//!
//! Every stream has registers of its own and executes every register instruction, so that all take the same branches and turns.
//! What a register takes from memory is read between two barriers.
//!
//! How often a region on registers runs is not known, and so neither are the values of semaphores behind it. Each region whose
//! instructions signal has a register that counts its executions; every wait of the program adds that register times what
//! one execution adds to the semaphore. A region's own waits are those of its first execution.

use super::{Emitter, access_at, dynamic};
use crate::device::expand::{Block, HardLoop};
use crate::device::legalise::{Form, IndexKind, Template};
use nki_ir::entity::Entity;
use nki_ir::kernel::{Bound, LoopData};
use nki_ir::{Affine, Code, Diagnostic, Loc, Loop, Op, Reg};
use nki_sim::program::{Access, MBound, MInst, MKind, RegAffine, Sem, SeqReg, Signal, Terms};
use smallvec::{SmallVec, smallvec};

/// Registers of a sequencer (machine.md 2.1).
const REGISTERS: u32 = 64;

/// The stream that stores registers.
const SYNC: usize = 4;

/// A register as it is.
fn once(reg: SeqReg) -> Terms {
    std::iter::once((reg, 1)).collect()
}

fn plain(kind: MKind, loc: Loc) -> MInst {
    MInst { kind, waits: smallvec![], signals: smallvec![], loc, source: None }
}

impl Emitter<'_> {
    /// The machine's register of a register of the kernel.
    pub(super) fn seq_reg(&self, r: Reg) -> SeqReg {
        SeqReg(self.loop_registers + self.colors[r.index()])
    }

    fn new_register(&mut self, loc: Loc) -> SeqReg {
        self.registers += 1;
        if self.registers > REGISTERS && self.error.is_none() {
            let text = format!("the kernel needs more than {REGISTERS} registers of a sequencer");
            let d = Diagnostic::error(Code::Limit, text).at(&self.s.kernel.locs, loc);
            self.error = Some(d.help("use fewer loops and branches on registers"));
        }
        SeqReg(self.registers - 1)
    }

    fn bound(&self, b: Bound) -> MBound {
        match b {
            Bound::Const(c) => MBound::Const(c),
            Bound::Reg { reg, .. } => MBound::Reg(self.seq_reg(reg)),
        }
    }

    /// A register instruction on all streams; a store on one.
    pub(super) fn register(&mut self, i: u32, out: &mut [Vec<MInst>; 5]) {
        let t = self.template(i);
        let (loc, source) = (t.loc, Some(t.inst.0));
        let kind = self.register_kind(i, t);
        let memory = t.op != Op::RegisterMove;
        let streams = if t.op == Op::RegisterStore { SYNC..SYNC + 1 } else { 0..5 };
        for s in streams {
            let mut inst = MInst { source, ..plain(kind.clone(), loc) };
            if memory {
                let sem = self.sequencer_semaphore(s, loc);
                self.sems[sem as usize].value += 1;
                self.sems[sem as usize].loc = loc;
                inst.signals.push(Signal { sem: Sem(sem), add: 1 });
            }
            out[s].push(inst);
        }
        if memory {
            self.barrier(out);
        }
    }

    fn register_kind(&self, i: u32, t: &Template) -> MKind {
        let reg = |n: usize| match &t.operands[n] {
            Form::Reg(r) => self.seq_reg(*r),
            _ => unreachable!("the gate checks the form of register instructions"),
        };
        match t.op {
            Op::RegisterLoad => MKind::RegLoad { reg: reg(0), src: Box::new(self.register_access(i, t, 1)) },
            Op::RegisterStore => {
                MKind::RegStore { dst: Box::new(self.register_access(i, t, 0)), reg: reg(1) }
            }
            _ => {
                let src = match &t.operands[1] {
                    Form::Int(x) => RegAffine::from(*x),
                    Form::Reg(r) => RegAffine { constant: 0, terms: once(self.seq_reg(*r)) },
                    Form::Index(a) => self.position(i, a),
                    _ => unreachable!("the gate checks the form of register instructions"),
                };
                MKind::RegMove { reg: reg(0), src }
            }
        }
    }

    fn register_access(&self, i: u32, t: &Template, operand: usize) -> Access {
        let mut accesses = self.s.stream.accesses_of(i as usize).iter();
        match &t.operands[operand] {
            Form::View(v) => self.operand_access(i, v, &mut || *accesses.next().expect("an access per view")),
            _ => unreachable!("the gate checks the form of register instructions"),
        }
    }

    /// A position in the loops that are kept.
    fn position(&self, i: u32, a: &Affine) -> RegAffine {
        let constant = self.s.stream.positions.get(&i).copied().unwrap_or(a.offset());
        let mut out = RegAffine::from(constant);
        for l in self.s.stream.loops_around(i) {
            let c = a.coefficient(l.var) * l.step;
            if c != 0 {
                out.terms.push((SeqReg(l.depth), c));
            }
        }
        out.terms.sort_unstable();
        out
    }

    /// The semaphore that a stream's sequencer signals itself.
    fn sequencer_semaphore(&mut self, stream: usize, loc: Loc) -> u32 {
        let current = self.sequencer_sem[stream];
        if self.sems.get(current as usize).is_none_or(|s| s.value >= super::SEMAPHORE_MAX) {
            self.sequencer_sem[stream] = self.new_semaphore(loc);
        }
        self.sequencer_sem[stream]
    }

    /// The instructions of a region that may run any number of times. Semaphores count as if it did not run; waits get what
    /// it adds at the end of emission.
    fn region(&mut self, body: &[Block], loc: Loc) -> [Vec<MInst>; 5] {
        let before: Vec<u64> = self.sems.iter().map(|s| s.value).collect();
        let mut inner: [Vec<MInst>; 5] = Default::default();
        self.blocks(body, &mut inner);
        self.seen.resize(self.sems.len(), 0);
        let mut steps = Vec::with_capacity(self.sems.len());
        for (i, s) in self.sems.iter_mut().enumerate() {
            let start = before.get(i).copied().unwrap_or(0);
            steps.push(s.value - start);
            s.value = start;
            self.seen[i] = start;
        }
        if steps.iter().any(|s| *s > 0) {
            let count = self.new_register(loc);
            let next = RegAffine { constant: 1, terms: once(count) };
            for stream in &mut inner {
                stream.push(plain(MKind::RegMove { reg: count, src: next.clone() }, loc));
            }
            self.counters.push((count, steps));
        }
        inner
    }

    /// `while` and counted loops with bounds in registers.
    pub(super) fn dynamic_loop(&mut self, l: &HardLoop, body: &[Block], out: &mut [Vec<MInst>; 5]) {
        let loc = self.s.kernel.loops[l.source].loc();
        let Some(bounds) = l.dynamic else { return };
        // A turn needs as many turns of the source.
        let missing = i64::from(bounds.turns) - 1;
        let mut lo = self.bound(bounds.lo);
        let move_to = |reg, src: RegAffine, out: &mut [Vec<MInst>; 5]| {
            for stream in out.iter_mut() {
                stream.push(plain(MKind::RegMove { reg, src: src.clone() }, loc));
            }
        };
        // Where the next loop begins.
        let next = match bounds.level {
            0 if bounds.last => None,
            0 => {
                let next = self.new_register(loc);
                move_to(next, RegAffine::from(0), out);
                self.next.push(next);
                Some(next)
            }
            _ => self.next.last().copied(),
        };
        if bounds.level > 0 {
            lo = MBound::Reg(next.expect("the first of several loops has set where the next begins"));
        }
        // The bound is what it was when the loop began.
        let hi = match bounds.hi {
            Bound::Const(c) => MBound::Const(c),
            Bound::Reg { reg, .. } => {
                let copy = self.new_register(loc);
                let src = RegAffine { constant: -missing, terms: once(self.seq_reg(reg)) };
                for stream in out.iter_mut() {
                    stream.push(plain(MKind::RegMove { reg: copy, src: src.clone() }, loc));
                }
                MBound::Reg(copy)
            }
        };
        let max = match bounds.hi {
            Bound::Reg { max, .. } | Bound::Const(max) => Some(max - missing),
        };
        let mut inner = self.region(body, loc);
        match next {
            Some(next) if !bounds.last => {
                let src = RegAffine { constant: bounds.turns.into(), terms: once(SeqReg(l.depth)) };
                move_to(next, src, &mut inner);
            }
            Some(_) => _ = self.next.pop(),
            None => {}
        }
        for (stream, body) in out.iter_mut().zip(inner) {
            let kind = MKind::For {
                reg: SeqReg(l.depth),
                lo,
                hi,
                step: bounds.step * i64::from(bounds.turns),
                max,
                body,
            };
            stream.push(plain(kind, loc));
        }
    }

    pub(super) fn while_loop(&mut self, l: Loop, body: &[Block], out: &mut [Vec<MInst>; 5]) {
        let LoopData::While { cond, loc, .. } = self.s.kernel.loops[l] else { return };
        let cond = self.seq_reg(cond);
        let inner = self.region(body, loc);
        for (stream, body) in out.iter_mut().zip(inner) {
            stream.push(plain(MKind::While { cond, body }, loc));
        }
    }

    pub(super) fn branch(&mut self, l: Loop, bodies: [&[Block]; 2], out: &mut [Vec<MInst>; 5]) {
        let LoopData::If { cond, loc, .. } = self.s.kernel.loops[l] else { return };
        let cond = self.seq_reg(cond);
        let [then, otherwise] = bodies.map(|body| self.region(body, loc));
        for (stream, (then, otherwise)) in out.iter_mut().zip(then.into_iter().zip(otherwise)) {
            stream.push(plain(MKind::If { cond, then, otherwise }, loc));
        }
    }

    /// The access of an operand with its index.
    pub(super) fn operand_access(
        &self,
        i: u32,
        v: &crate::device::legalise::ViewForm,
        take: &mut dyn FnMut() -> crate::device::expand::ItemAccess,
    ) -> Access {
        let mut a = self.physical(i, v, take());
        if let Some(index) = &v.index {
            a.dynamic = Some(match (index.kind, &index.view) {
                (IndexKind::Register(r), _) => access_at(self.seq_reg(r), index.scale),
                (kind, Some(view)) => dynamic(kind, self.physical(i, view, take()), index.scale),
                (_, None) => unreachable!("an index is in a register or in a tile"),
            });
        }
        a
    }
}

/// Registers of the machine for those of the kernel, by [`Reg`]: two share one if they never hold something at the same time.
pub(super) fn colors(source: &super::Source<'_>) -> (Vec<u32>, u32) {
    let mut uses = Uses { source, at: 0, lives: vec![None; source.kernel.regs.len()], loops: Vec::new() };
    uses.blocks(&source.stream.blocks);
    let Uses { mut lives, loops, .. } = uses;
    // What a loop takes in or hands on lives through all of its turns.
    for life in lives.iter_mut().flatten() {
        for &(from, to) in &loops {
            let inside = from <= life.0 && life.1 <= to;
            let apart = life.1 < from || to < life.0;
            if !inside && !apart {
                *life = (life.0.min(from), life.1.max(to));
            }
        }
    }
    let mut order: Vec<usize> = (0..lives.len()).filter(|r| lives[*r].is_some()).collect();
    order.sort_unstable_by_key(|r| lives[*r]);
    let mut colors = vec![0; lives.len()];
    let mut ends: Vec<u32> = Vec::new();
    for r in order {
        let (from, to) = lives[r].unwrap_or_default();
        let free = ends.iter().position(|end| *end < from);
        let color = free.unwrap_or(ends.len());
        if color == ends.len() {
            ends.push(0);
        }
        ends[color] = to;
        colors[r] = color as u32;
    }
    (colors, ends.len() as u32)
}

/// Where registers are used, in the order of emission.
struct Uses<'a> {
    source: &'a super::Source<'a>,
    at: u32,
    lives: Vec<Option<(u32, u32)>>,
    /// First and last position of every loop, inner ones first.
    loops: Vec<(u32, u32)>,
}

impl Uses<'_> {
    /// Recursion is bounded by the nesting of kept loops, which the text's depth bounds.
    fn blocks(&mut self, blocks: &[Block]) {
        for b in blocks {
            self.at += 1;
            match b {
                Block::Straight(items) => items.clone().for_each(|i| self.item(i)),
                Block::Register(i) => self.item(*i),
                Block::Loop(l, body) => {
                    for bound in l.dynamic.into_iter().flat_map(|d| [d.lo, d.hi]) {
                        if let Bound::Reg { reg, .. } = bound {
                            self.touch(reg);
                        }
                    }
                    self.body(body);
                }
                Block::While(l, body) => {
                    let cond = match self.source.kernel.loops[*l] {
                        LoopData::While { cond, .. } => Some(cond),
                        _ => None,
                    };
                    let from = self.at + 1;
                    self.at += 1;
                    cond.into_iter().for_each(|c| self.touch(c));
                    self.blocks(body);
                    self.at += 1;
                    cond.into_iter().for_each(|c| self.touch(c));
                    self.loops.push((from, self.at));
                }
                Block::Branch(l, [then, otherwise]) => {
                    if let LoopData::If { cond, .. } = self.source.kernel.loops[*l] {
                        self.touch(cond);
                    }
                    self.blocks(then);
                    self.blocks(otherwise);
                }
            }
        }
    }
    fn body(&mut self, body: &[Block]) {
        let from = self.at + 1;
        self.blocks(body);
        self.at += 1;
        self.loops.push((from, self.at));
    }
    fn item(&mut self, i: u32) {
        let t = &self.source.templates[self.source.stream.items[i as usize].template as usize];
        let regs: SmallVec<[Reg; 4]> = t.registers().collect();
        regs.into_iter().for_each(|r| self.touch(r));
    }
    fn touch(&mut self, r: Reg) {
        let at = self.at;
        let life = self.lives[r.index()].get_or_insert((at, at));
        life.1 = at;
    }
}
