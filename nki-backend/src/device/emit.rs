//! Emit: the machine program. Semaphores get their numbers here: one counter per engine, and for transfers as many as are in
//! flight at once. A transfer reuses a semaphore only when its issuer knows that the previous transfer on it is complete, so
//! that a value proves completion whatever order transfers finish in.

mod control;

use crate::device::allocate::Allocation;
use crate::device::expand::{Block, DynamicBounds, HardLoop, ItemAccess, Stream};
use crate::device::legalise::{Form, IndexKind, Template, ViewForm};
use crate::device::schedule::{Plan, ring};
use crate::device::sync::Waits;
use nki_ir::kernel::{Accumulate, Bound};
use nki_ir::{Attr, Code, Diagnostic, Diagnostics, Kernel, Loc};
use nki_sim::program::{
    Access, DynamicAccess, MAccumulate, MBound, MInst, MKind, MOperand, RegAffine, SEMAPHORE_MAX, Sem,
    SeqReg, Signal, Wait, Waits as WaitList,
};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// Semaphores of a core (machine.md section 7).
pub const SEMAPHORES: u32 = 256;
/// A transfer adds one from each of the 16 DMA engines.
const TRANSFER: u32 = 16;

/// The operands of a template with all variables at zero, for questions about cost.
pub fn bare_operands(t: &Template) -> Vec<MOperand> {
    let bare = |v: &ViewForm| access(v, v.part.offset().into(), v.offset.offset().into(), None, None);
    t.operands
        .iter()
        .map(|o| match o {
            Form::None => MOperand::None,
            Form::Imm(x) => MOperand::Imm(*x),
            Form::Int(x) => MOperand::Int(*x),
            Form::Reg(_) | Form::Index(_) => MOperand::Reg(SeqReg(0)),
            Form::View(v) => {
                let mut a = bare(v);
                a.dynamic = v.index.as_ref().map(|i| match &i.view {
                    Some(view) => dynamic(i.kind, bare(view), i.scale),
                    None => access_at(SeqReg(0), i.scale),
                });
                MOperand::Access(a)
            }
        })
        .collect()
}

fn dynamic(kind: IndexKind, index: Access, scale: i64) -> Box<DynamicAccess> {
    let index = Box::new(index);
    Box::new(match kind {
        IndexKind::Scalar | IndexKind::Register(_) => DynamicAccess::Scalar { index, scale },
        IndexKind::Vector => DynamicAccess::Vector { index, scale },
        IndexKind::Indirect(elements) => DynamicAccess::Indirect { index, elements },
    })
}

fn access_at(reg: SeqReg, scale: i64) -> Box<DynamicAccess> {
    Box::new(DynamicAccess::Register { reg, scale })
}

fn access(
    v: &ViewForm,
    partition: RegAffine,
    offset: RegAffine,
    object: Option<u32>,
    dynamic: Option<Box<DynamicAccess>>,
) -> Access {
    Access {
        space: v.space,
        dtype: v.dtype,
        partition,
        partitions: v.parts,
        offset,
        dims: v.dims.clone(),
        object,
        dynamic,
    }
}

/// A scheduled and synchronised straight block.
pub struct Scheduled {
    pub plan: Plan,
    pub waits: Waits,
}

/// The streams of a program with their estimated start times.
#[derive(Debug, Default)]
pub struct Emitted {
    pub streams: [Vec<MInst>; 5],
    pub semaphores: u32,
    pub registers: u32,
    /// Waits added because no semaphore was free.
    pub forced_waits: u32,
}

/// Everything emission reads.
pub struct Source<'a> {
    pub kernel: &'a Kernel,
    pub templates: &'a [Template],
    pub stream: &'a Stream,
    pub allocation: &'a Allocation,
    /// One per straight block, in order.
    pub blocks: &'a [Scheduled],
}

/// Emits all blocks.
pub fn emit(source: &Source<'_>) -> Result<Emitted, Diagnostics> {
    let loop_registers = source.stream.loops.iter().map(|l| l.depth + 1).max().unwrap_or(0);
    let (colors, used) = control::colors(source);
    let mut e = Emitter {
        s: source,
        next_block: 0,
        values: vec![(0, 0); source.stream.items.len()],
        engine_sem: [u32::MAX; 5],
        sems: Vec::new(),
        free: Vec::new(),
        busy: std::collections::VecDeque::new(),
        barriers: !source.stream.is_straight(),
        loop_registers,
        colors,
        registers: loop_registers + used,
        sequencer_sem: [u32::MAX; 5],
        next: Vec::new(),
        counters: Vec::new(),
        attrs: source.templates.iter().map(|t| t.attrs.as_slice().into()).collect(),
        seen: Vec::new(),
        forced_waits: 0,
        error: None,
    };
    let mut streams: [Vec<MInst>; 5] = Default::default();
    e.blocks(&source.stream.blocks, &mut streams);
    if let Some(error) = e.error {
        return Err(error.into());
    }
    // What regions on registers have added is part of what every wait waits for.
    for (reg, steps) in &e.counters {
        streams.iter_mut().for_each(|s| add_terms(s, *reg, steps));
    }
    Ok(Emitted {
        streams,
        semaphores: e.sems.len() as u32,
        registers: e.registers,
        forced_waits: e.forced_waits,
    })
}

/// A semaphore while emitting. Values leave out the terms of hardware loops, which are added when a loop is closed.
#[derive(Clone, Copy, Debug)]
struct SemState {
    value: u64,
    loc: Loc,
}

struct Emitter<'a> {
    s: &'a Source<'a>,
    next_block: usize,
    /// Semaphore and value that prove an item complete.
    values: Vec<(u32, u64)>,
    engine_sem: [u32; 5],
    sems: Vec<SemState>,
    /// Transfer semaphores without a transfer in flight.
    free: Vec<u32>,
    /// Transfer semaphores and the last transfer on each, oldest first.
    busy: std::collections::VecDeque<(u32, u32)>,
    /// Blocks are separated by barriers.
    barriers: bool,
    /// By semaphore: the value at the last barrier.
    seen: Vec<u64>,
    forced_waits: u32,
    error: Option<Diagnostic>,
    /// Registers that count loops; those of the kernel come behind them.
    loop_registers: u32,
    /// By register of the kernel: which of the machine's it is.
    colors: Vec<u32>,
    /// Registers taken.
    registers: u32,
    /// The semaphore that each sequencer signals itself.
    sequencer_sem: [u32; 5],
    /// Registers that say where the next of several loops begins, by loop of the source that is open.
    next: Vec<SeqReg>,
    /// Registers that count executions of regions, with what one execution adds to each semaphore.
    counters: Vec<(SeqReg, Vec<u64>)>,
    /// By template: what all its instructions share.
    attrs: Vec<Arc<[Attr]>>,
}

/// How many busy semaphores are examined for reuse before a new one is taken.
const REUSE_WINDOW: usize = 16;

impl Emitter<'_> {
    fn blocks(&mut self, blocks: &[Block], out: &mut [Vec<MInst>; 5]) {
        for b in blocks {
            match b {
                Block::Straight(_) => {
                    let scheduled = &self.s.blocks[self.next_block];
                    self.next_block += 1;
                    self.straight(scheduled, out);
                    if self.barriers {
                        self.barrier(out);
                    }
                }
                Block::Loop(l, body) if l.dynamic.is_some() => self.dynamic_loop(l, body, out),
                Block::Loop(l, body) => self.hardware_loop(l, body, out),
                Block::Register(i) => self.register(*i, out),
                Block::While(l, body) => self.while_loop(*l, body, out),
                Block::Branch(l, [then, otherwise]) => self.branch(*l, [then, otherwise], out),
            }
        }
    }

    /// Recursion is bounded by the nesting of hardware loops, which the register file bounds.
    fn hardware_loop(&mut self, l: &HardLoop, body: &[Block], out: &mut [Vec<MInst>; 5]) {
        let loc = self.s.kernel.loops[l.source].loc();
        let before: Vec<u64> = self.sems.iter().map(|s| s.value).collect();
        let mut inner: [Vec<MInst>; 5] = Default::default();
        self.blocks(body, &mut inner);
        let before = |sem: usize| before.get(sem).copied().unwrap_or(0);
        let steps: Vec<u64> = self.sems.iter().enumerate().map(|(i, s)| s.value - before(i)).collect();
        for (i, step) in steps.iter().enumerate() {
            match step.checked_mul(l.trip).and_then(|n| n.checked_add(before(i))) {
                Some(end) if end <= SEMAPHORE_MAX => {
                    self.sems[i].value = end;
                    self.seen.resize(self.sems.len(), 0);
                    self.seen[i] = end;
                }
                _ => self.fail(loc, "a hardware loop counts a semaphore beyond 32 bits"),
            }
        }
        let reg = SeqReg(l.depth);
        for (stream, mut insts) in out.iter_mut().zip(inner) {
            add_terms(&mut insts, reg, &steps);
            let (lo, hi) = (MBound::Const(0), MBound::Const(l.trip as i64));
            let kind = MKind::For { reg, lo, hi, step: 1, max: None, body: insts };
            stream.push(MInst { kind, waits: smallvec![], signals: smallvec![], loc, source: None });
        }
    }

    /// Every stream waits for everything that was signalled since the last barrier.
    fn barrier(&mut self, out: &mut [Vec<MInst>; 5]) {
        self.seen.resize(self.sems.len(), 0);
        let mut waits: WaitList = smallvec![];
        let mut loc = Loc(0);
        for (i, s) in self.sems.iter().enumerate() {
            if s.value != self.seen[i] {
                waits.push(Wait { sem: Sem(i as u32), at_least: (s.value as i64).into() });
                loc = s.loc;
            }
            self.seen[i] = s.value;
        }
        for stream in out {
            let (kind, waits) = (MKind::Sync, waits.clone());
            stream.push(MInst { kind, waits, signals: smallvec![], loc, source: None });
        }
        self.free.extend(self.busy.drain(..).map(|b| b.0));
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn straight(&mut self, b: &Scheduled, out: &mut [Vec<MInst>; 5]) {
        let first = b.plan.items.start;
        let mut last_compute = [u32::MAX; 5];
        let mut count = [0usize; 5];
        for &i in &b.plan.order {
            let stream = b.plan.stream(i);
            count[stream] += 1;
            if !self.template(i).is_dma() {
                last_compute[stream] = i;
            }
        }
        for (stream, n) in out.iter_mut().zip(count) {
            stream.reserve(n);
        }
        for &i in &b.plan.order {
            let stream = b.plan.stream(i);
            let t = self.template(i);
            let mut waits: WaitList = smallvec![];
            for &before in b.waits.of(i) {
                self.add_wait(&mut waits, before);
            }
            let mut signals: SmallVec<[Signal; 1]> = smallvec![];
            let signals_end = self.barriers && (t.is_dma() || last_compute[stream] == i);
            if b.waits.awaited[(i - first) as usize] || signals_end {
                let loc = t.loc;
                let (sem, add) = if t.is_dma() {
                    (self.transfer_semaphore(i, stream, b, &mut waits, loc), TRANSFER)
                } else {
                    (self.engine_semaphore(stream, loc), 1)
                };
                self.sems[sem as usize].value += u64::from(add);
                self.sems[sem as usize].loc = loc;
                self.values[i as usize] = (sem, self.sems[sem as usize].value);
                signals.push(Signal { sem: Sem(sem), add });
            }
            let kind = self.kind(i, b.plan.one_ring);
            let t = self.template(i);
            out[stream].push(MInst { kind, waits, signals, loc: t.loc, source: Some(t.inst.0) });
        }
    }

    /// Waits on one semaphore merge into the largest value.
    fn add_wait(&self, waits: &mut WaitList, before: u32) {
        let (sem, value) = self.values[before as usize];
        let value = value as i64;
        match waits.iter_mut().find(|w| w.sem == Sem(sem)) {
            Some(w) => w.at_least.constant = w.at_least.constant.max(value),
            None => waits.push(Wait { sem: Sem(sem), at_least: value.into() }),
        }
    }

    /// The counter of an engine; a full one is followed by a new one.
    fn engine_semaphore(&mut self, stream: usize, loc: Loc) -> u32 {
        let current = self.engine_sem[stream];
        if self.sems.get(current as usize).is_none_or(|s| s.value >= SEMAPHORE_MAX) {
            self.engine_sem[stream] = self.new_semaphore(loc);
        }
        self.engine_sem[stream]
    }

    /// A semaphore on which nothing is in flight when transfer `i` is issued.
    fn transfer_semaphore(
        &mut self,
        i: u32,
        stream: usize,
        b: &Scheduled,
        waits: &mut WaitList,
        loc: Loc,
    ) -> u32 {
        let full = |e: &Self, sem: u32| e.sems[sem as usize].value + u64::from(TRANSFER) > SEMAPHORE_MAX;
        let enter = |e: &mut Self, sem: u32| {
            // One that this transfer fills up is not offered again.
            if e.sems[sem as usize].value + 2 * u64::from(TRANSFER) <= SEMAPHORE_MAX {
                e.busy.push_back((sem, i));
            }
            sem
        };
        while let Some(sem) = self.free.pop() {
            if !full(self, sem) {
                return enter(self, sem);
            }
        }
        // Four engines and the sync engine may each need a counter later.
        let exhausted = self.sems.len() as u32 >= SEMAPHORES - 8;
        let window = if exhausted { self.busy.len() } else { REUSE_WINDOW.min(self.busy.len()) };
        let ready = (0..window).find(|&k| {
            let (_, before) = self.busy[k];
            b.waits.complete_at(before, i, stream)
        });
        let taken = match ready {
            Some(k) => self.busy.remove(k),
            None if exhausted => {
                // Wait for the oldest transfer.
                let oldest = self.busy.pop_front();
                if let Some((_, before)) = oldest {
                    self.add_wait(waits, before);
                    self.forced_waits += 1;
                }
                oldest
            }
            None => None,
        };
        let sem = match taken {
            Some((sem, _)) => sem,
            None => self.new_semaphore(loc),
        };
        enter(self, sem)
    }

    fn new_semaphore(&mut self, loc: Loc) -> u32 {
        if self.sems.len() as u32 >= SEMAPHORES {
            self.fail(loc, "the program needs more than 256 semaphores");
            // The program is not returned; any number will do.
            return SEMAPHORES - 1;
        }
        self.sems.push(SemState { value: 0, loc });
        self.sems.len() as u32 - 1
    }

    fn fail(&mut self, loc: Loc, text: &str) {
        if self.error.is_none() {
            let d = Diagnostic::error(Code::Semaphore, text).at(&self.s.kernel.locs, loc);
            self.error = Some(
                d.note("256 semaphores of 32 bits per core")
                    .help("use larger tiles or fewer iterations per kernel"),
            );
        }
    }

    fn template(&self, i: u32) -> &Template {
        &self.s.templates[self.s.stream.items[i as usize].template as usize]
    }

    fn kind(&self, i: u32, one_ring: bool) -> MKind {
        let item = &self.s.stream.items[i as usize];
        let t = self.template(i);
        let mut accesses = self.s.stream.accesses_of(i as usize).iter();
        let mut take = || *accesses.next().expect("an item has an access per view");
        let mut operands = Vec::with_capacity(t.operands.len());
        for o in &t.operands {
            operands.push(match o {
                Form::None => MOperand::None,
                Form::Imm(x) => MOperand::Imm(*x),
                Form::Int(x) => MOperand::Int(*x),
                Form::Reg(r) => MOperand::Reg(self.seq_reg(*r)),
                Form::Index(_) => unreachable!("only register instructions take positions"),
                Form::View(v) => MOperand::Access(self.operand_access(i, v, &mut take)),
            });
        }
        let attrs = self.attrs[item.template as usize].clone();
        if let Some(dma) = &t.dma {
            return MKind::Dma { op: t.op, operands, attrs, queue: ring(t, one_ring), dge: dma.dge };
        }
        let accumulate = match (item.adds, item.conditional, &t.accumulate) {
            (true, true, Accumulate::UnlessFirst(vars)) => {
                let loops = self.s.stream.loops_around(i).iter().filter(|l| vars.contains(&l.var));
                let first = |l: &HardLoop| match l.dynamic {
                    Some(DynamicBounds { lo: Bound::Const(lo), .. }) => lo,
                    _ => 0,
                };
                MAccumulate::UnlessFirst(loops.map(|l| (SeqReg(l.depth), first(l))).collect())
            }
            (true, ..) => MAccumulate::Add,
            (false, ..) => MAccumulate::Overwrite,
        };
        MKind::Compute { op: t.op, operands, attrs, accumulate }
    }

    fn physical(&self, i: u32, v: &ViewForm, a: ItemAccess) -> Access {
        let place = &self.s.allocation.places[a.instance as usize];
        let size = v.dtype.bytes() as i64;
        let mut partition = RegAffine::from(i64::from(place.partition) + i64::from(a.part));
        let mut offset = RegAffine::from(place.offset as i64 + a.offset);
        for l in self.s.stream.loops_around(i) {
            for (affine, to, scale) in [(&v.part, &mut partition, 1), (&v.offset, &mut offset, size)] {
                let c = affine.coefficient(l.var) * l.step * scale;
                if c != 0 {
                    to.terms.push((SeqReg(l.depth), c));
                }
            }
        }
        partition.terms.sort_unstable();
        offset.terms.sort_unstable();
        access(v, partition, offset, Some(place.object), None)
    }
}

/// In turn `reg` of a loop whose body adds `steps` to each semaphore, all values are higher by that much per turn.
fn add_terms(insts: &mut [MInst], reg: SeqReg, steps: &[u64]) {
    for inst in insts {
        for w in &mut inst.waits {
            let step = steps.get(w.sem.0 as usize).copied().unwrap_or(0);
            if step != 0 {
                w.at_least.terms.push((reg, step as i64));
                w.at_least.terms.sort_unstable();
            }
        }
        match &mut inst.kind {
            MKind::For { body, .. } | MKind::While { body, .. } => add_terms(body, reg, steps),
            MKind::If { then, otherwise, .. } => {
                add_terms(then, reg, steps);
                add_terms(otherwise, reg, steps);
            }
            _ => {}
        }
    }
}
