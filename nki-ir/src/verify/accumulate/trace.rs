//! Runs the instructions that touch one PSUM tile on flags instead of data.
//!
//! Loops whose variable moves no write to the tile run two turns: a turn sets flags that do not depend on what was there, so
//! all turns after the first see the same. Other loops run in full; their turns are bounded by the size of the tile.

use super::super::bounds::values;
use super::super::flat::Flat;
use super::super::footprint::{ByteMap, Footprint, Pin, footprint, whole};
use super::super::structure::vars;
use super::accumulate;
use super::flags::Flags;
use crate::entity::{Buf, Inst, Loop, Region, Var};
use crate::kernel::{Bound, InstData, Kernel, LoopData, Operand};
use crate::op::{Effect, Op};
use crate::view::View;

/// Executions of instructions that a trace may take.
const MAX_STEPS: u32 = 1 << 17;

/// The part of a kernel that touches one tile.
pub struct Program {
    pub buf: Buf,
    /// The instructions, in program order.
    pub insts: Vec<Inst>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// `insts[i]`.
    Touch(usize),
    For(Turns),
    While,
    /// Ends the innermost loop.
    Again,
    If,
    Else,
    EndIf,
}

/// How a counted loop runs.
#[derive(Clone, Copy, Debug)]
struct Turns {
    var: Var,
    lo: i64,
    step: i64,
    /// Turns to run.
    count: u64,
    /// The loop may have no turn at all.
    maybe_none: bool,
}

/// What a trace reports to.
pub trait Trace {
    /// `program.insts[i]` is a matmul about to write bytes with these flags. `open`: counted loops around it inside the tile's
    /// scope, outermost first, and whether each is in its first turn.
    fn matmul(&mut self, i: usize, inst: Inst, flags: &[Flags], open: &[(Var, bool)]);
}

impl Program {
    /// Loops and branches around the touches, without anything else. `None` for a tile that is never allocated.
    pub fn new(kernel: &Kernel, flat: &Flat, buf: Buf, touches: &[(usize, Inst)]) -> Option<Program> {
        let (home, _) = flat.alloc(buf)?;
        let mut program = Program { buf, insts: Vec::new(), steps: Vec::new() };
        let moving = moving(kernel, buf, touches);
        let mut open: Vec<(Loop, Region)> = Vec::new();
        for &(_, inst) in touches {
            let (region, _) = flat.inst(inst)?;
            if flat.is_dead(kernel, region) {
                continue;
            }
            let mut chain: Vec<(Loop, Region)> =
                flat.enclosing(region).take_while(|(_, r)| *r != home && !flat.contains(*r, home)).collect();
            chain.reverse();
            let same = open.iter().zip(&chain).take_while(|(a, b)| a == b).count();
            let branch = same < open.len() && chain.get(same).is_some_and(|c| c.0 == open[same].0);
            while open.len() > same + usize::from(branch) {
                program.close(kernel, open.pop());
            }
            if branch {
                program.steps.push(Step::Else);
                open[same] = chain[same];
            }
            for (l, region) in &chain[open.len()..] {
                program.enter(kernel, *l, *region, &moving);
                open.push((*l, *region));
            }
            program.steps.push(Step::Touch(program.insts.len()));
            program.insts.push(inst);
        }
        while !open.is_empty() {
            program.close(kernel, open.pop());
        }
        Some(program)
    }

    fn enter(&mut self, kernel: &Kernel, l: Loop, region: Region, moving: &[Var]) {
        match &kernel.loops[l] {
            LoopData::For { var, lo, hi, .. } => {
                let Some(x) = values(kernel, *var) else { return };
                let count = if moving.contains(var) { x.count } else { x.count.min(2) };
                let maybe_none = matches!((lo, hi), (Bound::Reg { .. }, _) | (_, Bound::Reg { .. }));
                self.steps.push(Step::For(Turns { var: *var, lo: x.lo, step: x.step, count, maybe_none }));
            }
            LoopData::While { .. } => self.steps.push(Step::While),
            LoopData::If { then, .. } => {
                self.steps.push(Step::If);
                if *then != region {
                    self.steps.push(Step::Else);
                }
            }
            LoopData::NoReorder { .. } => {}
        }
    }

    fn close(&mut self, kernel: &Kernel, open: Option<(Loop, Region)>) {
        let Some((l, _)) = open else { return };
        match &kernel.loops[l] {
            LoopData::For { .. } | LoopData::While { .. } => self.steps.push(Step::Again),
            LoopData::If { .. } => self.steps.push(Step::EndIf),
            LoopData::NoReorder { .. } => {}
        }
    }
}

/// Variables that move a write to `buf`.
fn moving(kernel: &Kernel, buf: Buf, touches: &[(usize, Inst)]) -> Vec<Var> {
    let mut out: Vec<Var> =
        touches.iter().flat_map(|(_, i)| writes(&kernel.insts[*i], buf)).flat_map(vars).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Views of `buf` that the instruction writes.
fn writes(data: &InstData, buf: Buf) -> impl Iterator<Item = &View> {
    let pairs = data.operands.iter().zip(data.op.row().operands);
    pairs
        .filter(|(_, s)| s.effect != Effect::Read)
        .filter_map(|(o, _)| o.view())
        .filter(move |v| v.buf == buf)
}

/// Views of `buf` that the instruction reads.
fn reads(data: &InstData, buf: Buf) -> impl Iterator<Item = &View> {
    let pairs = data.operands.iter().zip(data.op.row().operands);
    pairs
        .filter(|(_, s)| s.effect == Effect::Read)
        .filter_map(|(o, _)| o.view())
        .filter(move |v| v.buf == buf)
}

/// An open loop or branch.
enum Frame {
    For { start: usize, turns: Turns, turn: u64, entry: Option<ByteMap<Flags>> },
    While { start: usize, turn: u64, entry: ByteMap<Flags> },
    If { entry: ByteMap<Flags>, then: Option<ByteMap<Flags>> },
}

/// Runs `program`. `None` if that takes too many steps.
pub fn run(kernel: &Kernel, program: &Program, trace: &mut impl Trace) -> Option<()> {
    let buf = &kernel.bufs[program.buf];
    let mut state = ByteMap::new(buf, Flags::FRESH);
    let mut frames: Vec<Frame> = Vec::new();
    // Counted loops with their values.
    let mut open: Vec<(Var, i64, bool)> = Vec::new();
    let (mut at, mut left) = (0, MAX_STEPS);
    while let Some(step) = program.steps.get(at) {
        left = left.checked_sub(1)?;
        at += 1;
        match *step {
            Step::Touch(i) => touch(kernel, program, i, &mut state, &open, trace),
            Step::For(turns) => {
                let entry = turns.maybe_none.then(|| state.clone());
                open.push((turns.var, turns.lo, true));
                frames.push(Frame::For { start: at, turns, turn: 0, entry });
            }
            Step::While => frames.push(Frame::While { start: at, turn: 0, entry: state.clone() }),
            Step::If => frames.push(Frame::If { entry: state.clone(), then: None }),
            Step::Else => {
                if let Some(Frame::If { entry, then }) = frames.last_mut() {
                    *then = Some(std::mem::replace(&mut state, entry.clone()));
                }
            }
            Step::EndIf => {
                if let Some(Frame::If { entry, then }) = frames.pop() {
                    state.merge(&then.unwrap_or(entry), Flags::or);
                }
            }
            Step::Again => match frames.last_mut() {
                Some(Frame::For { start, turns, turn, .. }) if *turn + 1 < turns.count => {
                    *turn += 1;
                    if let Some(last) = open.last_mut() {
                        *last = (turns.var, last.1 + turns.step, false);
                    }
                    at = *start;
                }
                Some(Frame::While { start, turn, .. }) if *turn == 0 => {
                    *turn = 1;
                    at = *start;
                }
                _ => match frames.pop() {
                    Some(Frame::For { entry, .. }) => {
                        open.pop();
                        if let Some(entry) = entry {
                            state.merge(&entry, Flags::or);
                        }
                    }
                    Some(Frame::While { entry, .. }) => state.merge(&entry, Flags::or),
                    _ => {}
                },
            },
        }
    }
    Some(())
}

fn touch(
    kernel: &Kernel,
    program: &Program,
    i: usize,
    state: &mut ByteMap<Flags>,
    open: &[(Var, i64, bool)],
    trace: &mut impl Trace,
) {
    let (inst, buf) = (program.insts[i], &kernel.bufs[program.buf]);
    let data = &kernel.insts[inst];
    // Variables outside the tile's scope have some value, the same throughout.
    let outer = |v: Var| kernel.var_range(v).map_or(0, |r| r.0);
    let pin = |v: Var| Pin::At(open.iter().find(|o| o.0 == v).map_or_else(|| outer(v), |o| o.1));
    // Views outside their buffer are reported elsewhere.
    let area = |view: &View| match view.dynamic {
        None => footprint(kernel, view, buf, &pin),
        Some(_) => Some(whole(buf)),
    };
    for area in reads(data, program.buf).filter_map(area) {
        state.update(&area, Flags::read);
    }
    for view in writes(data, program.buf) {
        let Some(area) = area(view) else { continue };
        if accumulate(data).is_some() {
            let open: Vec<(Var, bool)> = open.iter().map(|o| (o.0, o.2)).collect();
            trace.matmul(i, inst, &found(state, &area), &open);
            state.update(&area, |_| Flags::MATMUL);
        } else {
            let flag = if is_zero(data) { Flags::ZERO } else { Flags::OTHER };
            let certain = view.dynamic.is_none() && area.exact;
            state.update(&area, |old| if certain { flag } else { old.or(flag) });
        }
    }
}

/// The different flags of the bytes of `area`.
fn found(state: &ByteMap<Flags>, area: &Footprint) -> Vec<Flags> {
    let mut out = Vec::new();
    state.any(area, |_, _, flags| {
        if !out.contains(&flags) {
            out.push(flags);
        }
        false
    });
    out
}

/// A memset to zero.
fn is_zero(data: &InstData) -> bool {
    let value = data.op.row().operand("value").and_then(|i| data.operands.get(i));
    data.op == Op::Memset
        && match value {
            Some(Operand::Imm(x)) => *x == 0.0,
            Some(Operand::Int(x)) => *x == 0,
            _ => false,
        }
}
