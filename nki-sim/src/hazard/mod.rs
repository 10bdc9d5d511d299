//! Races: conflicting accesses that the program's semaphores do not order, in any legal timing.
//!
//! The same tracker serves the static proof, which executes the streams abstractly, and the check of a run, which feeds it
//! the instructions as they issue.

mod clock;
mod pattern;
mod shadow;

pub(crate) use clock::{Clocks, Corrections};

use crate::access::{Place, Strides, strides};
use crate::code::{Flat, Regs};
use crate::data::Resolved;
use crate::program::{Access, DynamicAccess, MInst, MKind, MOperand, STREAM_ENGINES};
use clock::{TRANSFER_ADD, Who};
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::{BufKind, Space};
use nki_ir::op::{Effect, TimingClass};
use nki_ir::target::{PARTITIONS, PSUM_BYTES_PER_PARTITION};
use pattern::Pattern;
use shadow::{Shadow, Touch};
use smallvec::SmallVec;
use std::collections::HashMap;

/// The fixed part of an access.
#[derive(Clone, Copy, Debug)]
struct AccessShape {
    /// Of a dynamic access: everything that it can reach.
    pattern: u32,
    /// Where a dynamic access really is, once that is known: one row of it if rows are chosen one by one.
    actual: u32,
    effect: Effect,
    /// Nothing ever writes there.
    constant: bool,
}

pub(crate) struct Tracker<'a> {
    flat: &'a Flat,
    pub clocks: Clocks,
    patterns: Vec<Pattern>,
    /// Per instruction, in the order of [`accesses`].
    shapes: Vec<SmallVec<[AccessShape; 4]>>,
    sbuf: Shadow,
    psum: Shadow,
    hbm: Shadow,
}

/// Two accesses without an order.
pub(crate) struct Race {
    pub diagnostic: Box<Diagnostic>,
    /// Where one of them is depends on data: they may never meet.
    pub vague: bool,
}

/// The accesses of an instruction, what it does with them, and which operand they are; an operand's index tile comes behind it.
fn accesses(inst: &MInst) -> SmallVec<[(&Access, Effect, usize); 6]> {
    let mut out = SmallVec::new();
    let mut push = |a, effect, operand| {
        out.push((a, effect, operand));
        if let Some(index) = index(a) {
            out.push((index, Effect::Read, operand));
        }
    };
    match &inst.kind {
        MKind::Compute { op, operands, .. } | MKind::Dma { op, operands, .. } => {
            for (n, (spec, o)) in op.row().operands.iter().zip(operands).enumerate() {
                if let MOperand::Access(a) = o {
                    push(a, spec.effect, n);
                }
            }
        }
        MKind::RegLoad { src, .. } => push(src, Effect::Read, 0),
        MKind::RegStore { dst, .. } => push(dst, Effect::Write, 0),
        _ => {}
    }
    out
}

fn index(a: &Access) -> Option<&Access> {
    use crate::program::DynamicAccess::*;
    match a.dynamic.as_deref()? {
        Register { .. } => None,
        Scalar { index, .. } | Vector { index, .. } | Indirect { index, .. } => Some(index),
    }
}

/// Everything that a dynamic access can reach: base, dimensions and first partition and partitions.
fn reach(flat: &Flat, a: &Access) -> (i64, Strides, u32) {
    let whole = |lo: u64, bytes: u64| {
        let dims = match u32::try_from(bytes) {
            Ok(n) => SmallVec::from_slice(&[(1i64, n)]),
            Err(_) => SmallVec::from_slice(&[(1i64 << 16, (bytes >> 16) as u32 + 1), (1, 1 << 16)]),
        };
        (lo as i64, dims, 1)
    };
    match (a.space, a.object) {
        (Space::Hbm, Some(o)) => match flat.header.tensors.get(o as usize) {
            Some(t) => whole(t.address, crate::verify::tensor_bytes(t).unwrap_or(0)),
            None => whole(0, 0),
        },
        (Space::Hbm, None) => whole(0, 0),
        (_, Some(o)) if (o as usize) < flat.header.placements.len() => {
            let p = &flat.header.placements[o as usize];
            whole(p.offset.into(), p.bytes.into())
        }
        (Space::Psum, _) => whole(0, PSUM_BYTES_PER_PARTITION.into()),
        _ => whole(0, flat.header.target.sbuf_bytes_per_partition().into()),
    }
}

/// Times that a check starts again because a wait proves less than it seemed.
pub(crate) const MAX_PASSES: usize = 8;

impl<'a> Tracker<'a> {
    pub fn new(flat: &'a Flat, corrections: Corrections) -> Tracker<'a> {
        let mut patterns: Vec<Pattern> = Vec::new();
        let mut known: HashMap<(Strides, usize), u32> = HashMap::new();
        let mut intern = |dims: Strides, size: usize| {
            *known.entry((dims, size)).or_insert_with_key(|(dims, size)| {
                patterns.push(Pattern::new(dims, *size));
                (patterns.len() - 1) as u32
            })
        };
        let mut shape = |a: &Access, effect: Effect| {
            let actual = match a.dynamic.as_deref() {
                Some(DynamicAccess::Vector { .. }) => {
                    let row = Access { dims: a.dims.iter().skip(1).copied().collect(), ..a.clone() };
                    strides(&row)
                }
                _ => strides(a),
            };
            let actual = intern(actual, a.dtype.bytes());
            let pattern = if a.dynamic.is_some() { intern(reach(flat, a).1, 1) } else { actual };
            let tensor = a.object.filter(|_| a.space == Space::Hbm);
            let tensor = tensor.and_then(|o| flat.header.tensors.get(o as usize));
            AccessShape {
                pattern,
                actual,
                effect,
                constant: tensor.is_some_and(|t| t.kind == BufKind::Input),
            }
        };
        let shapes = flat
            .insts
            .iter()
            .map(|i| accesses(i).into_iter().map(|(a, e, _)| shape(a, e)).collect())
            .collect();
        Tracker {
            flat,
            clocks: Clocks::new(flat.header.semaphores, corrections),
            patterns,
            shapes,
            sbuf: Shadow::default(),
            psum: Shadow::default(),
            hbm: Shadow::default(),
        }
    }

    /// Whether the shadow memories had to forget something.
    pub fn overflowed(&self) -> bool {
        self.sbuf.overflowed || self.psum.overflowed || self.hbm.overflowed || self.clocks.overflowed()
    }

    /// Executes an instruction whose waits are satisfied; the first race that it is part of. `resolved` tells where dynamic
    /// accesses are.
    pub fn execute(
        &mut self,
        stream: usize,
        inst: u32,
        regs: &Regs,
        resolved: Option<&Resolved>,
    ) -> Option<Race> {
        let flat = self.flat;
        let node = &flat.insts[inst as usize];
        let number = self.clocks.issue(stream);
        for w in &node.waits {
            self.clocks.wait(stream, w.sem, w.at_least.eval(regs));
        }
        let who = match &node.kind {
            MKind::Compute { .. } => Who::Path { stream: stream as u8, number },
            MKind::Dma { .. } => Who::Transfer { id: self.clocks.trigger(stream) },
            _ => Who::Sequencer { stream: stream as u8, number },
        };
        let race = self.touch_all(stream, inst, node, who, regs, resolved);
        self.signal(stream, node, who);
        race
    }

    /// Passes the waits of a structured node.
    pub fn enter(&mut self, stream: usize, inst: u32, regs: &Regs) {
        self.clocks.issue(stream);
        for w in &self.flat.insts[inst as usize].waits {
            self.clocks.wait(stream, w.sem, w.at_least.eval(regs));
        }
    }

    /// Fires the signals of a structured node.
    pub fn leave(&mut self, stream: usize, inst: u32) {
        let number = self.clocks.issue(stream);
        let who = Who::Sequencer { stream: stream as u8, number };
        self.signal(stream, &self.flat.insts[inst as usize], who);
    }

    fn signal(&mut self, stream: usize, node: &MInst, who: Who) {
        for s in &node.signals {
            let add = if matches!(who, Who::Transfer { .. }) { TRANSFER_ADD } else { s.add.into() };
            self.clocks.signal(stream, s.sem, add, who);
        }
    }

    fn touch_all(
        &mut self,
        stream: usize,
        inst: u32,
        node: &MInst,
        who: Who,
        regs: &Regs,
        resolved: Option<&Resolved>,
    ) -> Option<Race> {
        // PSUM adds in the pipeline's order, so that an accumulating matmul does not read its destination.
        let matmul =
            matches!(&node.kind, MKind::Compute { op, .. } if op.row().timing == TimingClass::Matmul);
        let mut found = None;
        // Reads come before writes, so that an instruction does not hide what it overwrites in place.
        for write in [false, true] {
            for (n, (a, effect, operand)) in accesses(node).into_iter().enumerate() {
                let shape = self.shapes[inst as usize][n];
                debug_assert_eq!(shape.effect, effect);
                let does = match effect {
                    Effect::Read => !write,
                    Effect::Write => write,
                    Effect::ReadWrite => write || !matmul,
                    Effect::Update => true,
                };
                if !does || shape.constant {
                    continue;
                }
                let place = Place::new(a, regs);
                let mut touch = Touch {
                    who,
                    inst,
                    pattern: shape.pattern,
                    base: if a.dynamic.is_some() { reach(self.flat, a).0 } else { place.base },
                    part: place.part.clamp(0, i64::from(PARTITIONS) - 1) as u8,
                    parts: place.parts.min(PARTITIONS) as u8,
                    write,
                    vague: a.dynamic.is_some(),
                };
                let known = resolved.and_then(|r| r.bases(operand)).filter(|_| a.dynamic.is_some());
                let Some(bases) = known else {
                    let race = self.conflict(stream, &touch, a.space);
                    found = found.or_else(|| race.map(|other| self.report(stream, &touch, &other, a)));
                    continue;
                };
                (touch.pattern, touch.vague) = (shape.actual, false);
                for base in bases {
                    touch.base = base + self.origin(a);
                    let race = self.conflict(stream, &touch, a.space);
                    found = found.or_else(|| race.map(|other| self.report(stream, &touch, &other, a)));
                }
            }
        }
        found
    }

    /// Address of the first byte of the tensor of an access; 0 on chip.
    fn origin(&self, a: &Access) -> i64 {
        let tensor = a.object.filter(|_| a.space == Space::Hbm);
        let tensor = tensor.and_then(|o| self.flat.header.tensors.get(o as usize));
        tensor.map_or(0, |t| t.address as i64)
    }

    fn conflict(&mut self, stream: usize, t: &Touch, space: Space) -> Option<Touch> {
        let clocks = &self.clocks;
        let ordered = |before: &Touch| happens_before(clocks, before, t, stream);
        let shadow = match space {
            Space::Sbuf => &mut self.sbuf,
            Space::Psum => &mut self.psum,
            Space::Hbm => &mut self.hbm,
        };
        shadow.touch(t, &self.patterns, &ordered)
    }

    fn report(&self, stream: usize, now: &Touch, before: &Touch, a: &Access) -> Race {
        let header = &self.flat.header;
        let object = a.object.and_then(|o| match a.space {
            Space::Hbm => header.tensors.get(o as usize).map(|t| t.name.clone()),
            _ => header.placements.get(o as usize).map(|p| p.name.clone()),
        });
        let what = object.map_or_else(|| a.space.name().to_string(), |n| format!("`{n}`"));
        let verb = |t: &Touch| if t.write { "writes" } else { "reads" };
        let name = |inst: u32| match &self.flat.insts[inst as usize].kind {
            MKind::Compute { op, .. } | MKind::Dma { op, .. } => op.name(),
            MKind::RegLoad { .. } => "reg_load",
            _ => "reg_store",
        };
        let doer = |t: &Touch| match t.who {
            Who::Path { stream, .. } | Who::Sequencer { stream, .. } => {
                format!("{} on {}", name(t.inst), STREAM_ENGINES[stream as usize])
            }
            Who::Transfer { .. } => name(t.inst).to_string(),
        };
        let message = format!(
            "{} {} {what} while {} that {} it may not be complete",
            doer(now),
            verb(now),
            doer(before),
            verb(before)
        );
        let byte =
            if a.space == Space::Hbm { now.base.to_string() } else { format!("{} of a partition", now.base) };
        let mut d = Diagnostic::error(Code::Race, message)
            .at(&header.locs, self.flat.loc(now.inst))
            .related(&header.locs, self.flat.loc(before.inst), format!("{} here", verb(before)))
            .note(format!("{} bytes from byte {byte} on", a.space));
        let same = matches!(before.who, Who::Path { stream: s, .. } if s as usize == stream);
        if same && before.write && !now.write {
            d = d.note("a data path completes in order, but starts the next instruction before that");
        }
        d = match before.who {
            Who::Transfer { .. } => d.help(
                "wait for the transfer's semaphore, for a value that cannot be reached without the transfer's last increment",
            ),
            _ => d.help("let the first signal a semaphore and the second, or something before it, wait for that"),
        };
        Race { diagnostic: Box::new(d), vague: now.vague || before.vague }
    }
}

/// Whether `before` does what it does to memory before `now`, on `stream`, does, in every timing.
fn happens_before(clocks: &Clocks, before: &Touch, now: &Touch, stream: usize) -> bool {
    let same_path = match (before.who, now.who) {
        (Who::Path { stream: a, .. }, Who::Path { stream: b, .. }) => a == b,
        _ => false,
    };
    // One data path reads when it issues and writes when it completes, both in order: only a read after a write has to wait.
    (same_path && (now.write || !before.write)) || clocks.complete(before.who, stream)
}
