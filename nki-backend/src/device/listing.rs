//! The schedule as text: one table per engine, each line with its time, what it does, where, and what it waits for.

use crate::device::Compiled;
use nki_ir::Space;
use nki_ir::op::Effect;
use nki_sim::cost::{Ps, ns};
use nki_sim::program::{Access, MBound, MInst, MKind, MOperand, RegAffine, STREAM_ENGINES};
use nki_sim::trace::{Completed, Issued, Stalled, TraceSink, Triggered};
use nki_sim::{Mode, Program, SimOptions};
use smallvec::{SmallVec, smallvec};
use std::fmt::Write;

/// When an instruction starts and when its result can be used, in nanoseconds; in a loop, of the first turn.
type Times = [f64; 2];

impl Compiled {
    /// The streams as text, one section per engine, at most `limit` lines each: simulated start and end in nanoseconds, what
    /// is waited for, the instruction with its addresses, what is signalled, the source line. Times of a transfer are
    /// its trigger and its completion. Without times if the program cannot be simulated without data.
    pub fn listing(&self, limit: usize) -> String {
        let times = simulate(&self.program);
        let mut out = String::new();
        let mut number = 0;
        for (s, engine) in STREAM_ENGINES.iter().enumerate() {
            let stream = &self.program.streams[s];
            if !stream.is_empty() {
                let _ = writeln!(out, "{engine}: {} instructions", self.report.instructions[s]);
                let _ = writeln!(out, "{:>10} {:>10}  simulated ns", "start", "end");
                let mut lines = Lines { program: &self.program, times: &times, number, left: limit };
                lines.section(stream, &mut out);
            }
            number += count(stream);
        }
        out
    }
}

/// Instructions of a stream, nested ones and structured nodes included.
fn count(stream: &[MInst]) -> usize {
    let mut n = 0;
    let mut stack = vec![stream.iter()];
    while let Some(top) = stack.last_mut() {
        match top.next() {
            None => {
                stack.pop();
            }
            Some(inst) => {
                n += 1;
                stack.extend(bodies(inst).into_iter().rev().map(|b| b.iter()));
            }
        }
    }
    n
}

fn bodies(inst: &MInst) -> SmallVec<[&[MInst]; 2]> {
    match &inst.kind {
        MKind::For { body, .. } | MKind::While { body, .. } => smallvec![body.as_slice()],
        MKind::If { then, otherwise, .. } => smallvec![then.as_slice(), otherwise.as_slice()],
        _ => smallvec![],
    }
}

/// Times by instruction, numbered in the order of the streams, a node before its body.
fn simulate(program: &Program) -> Vec<Option<Times>> {
    let Ok(verified) = nki_sim::verify(program.clone()) else { return Vec::new() };
    let mut times = FirstTimes { by_inst: vec![None; program.streams.iter().map(|s| count(s)).sum()] };
    let options = SimOptions { mode: Mode::TimeOnly, max_path_events: 0, ..SimOptions::default() };
    match nki_sim::run_traced(&verified, &[], &options, &mut times) {
        Ok(_) => times.by_inst,
        Err(_) => Vec::new(),
    }
}

/// Remembers the first execution of every instruction.
struct FirstTimes {
    by_inst: Vec<Option<Times>>,
}

impl FirstTimes {
    fn set(&mut self, inst: u32, start: Ps, end: Ps) {
        if let Some(slot) = self.by_inst.get_mut(inst as usize) {
            slot.get_or_insert([ns(start), ns(end)]);
        }
    }
}

impl TraceSink for FirstTimes {
    fn issued(&mut self, e: &Issued) {
        self.set(e.inst, e.issued, e.visible);
    }
    fn triggered(&mut self, _: &Triggered) {}
    fn completed(&mut self, e: &Completed) {
        self.set(e.inst, e.triggered, e.at);
    }
    fn stalled(&mut self, _: &Stalled) {}
}

struct Lines<'a> {
    program: &'a Program,
    times: &'a [Option<Times>],
    /// Of the next instruction.
    number: usize,
    left: usize,
}

impl<'a> Lines<'a> {
    /// Instructions of nested loops are indented under them.
    fn section(&mut self, stream: &'a [MInst], out: &mut String) {
        let mut stack = vec![stream.iter()];
        while let Some(top) = stack.last_mut() {
            let Some(inst) = top.next() else {
                stack.pop();
                continue;
            };
            if self.left == 0 {
                let _ = writeln!(out, "{:>23}...", "");
                return;
            }
            self.left -= 1;
            self.line(inst, stack.len() - 1, out);
            stack.extend(bodies(inst).into_iter().rev().map(|b| b.iter()));
        }
    }

    fn line(&mut self, inst: &MInst, depth: usize, out: &mut String) {
        let time = match self.times.get(self.number) {
            Some(Some([start, end])) => format!("{start:>10.0} {end:>10.0}"),
            _ => format!("{:>21}", ""),
        };
        self.number += 1;
        let indent = "  ".repeat(depth);
        let at = self.program.locs.resolve(inst.loc).map_or(String::new(), |l| format!("  ; {l}"));
        let _ =
            writeln!(out, "{time}  {indent}{}{}{}{at}", waits(inst), self.what(&inst.kind), signals(inst));
    }

    fn what(&self, kind: &MKind) -> String {
        match kind {
            MKind::Compute { op, operands, .. } => format!("{op} {}", self.operands(*op, operands)),
            MKind::Dma { op, operands, queue, dge, .. } => {
                format!("{op} {} (ring {queue}, descriptors {dge})", self.operands(*op, operands))
            }
            MKind::Sync => "sync".into(),
            MKind::For { reg, lo, hi, .. } => format!("for r{} in {}..{}", reg.0, bound(*lo), bound(*hi)),
            MKind::While { .. } => "while".into(),
            MKind::If { .. } => "if".into(),
            MKind::RegLoad { .. } | MKind::RegStore { .. } | MKind::RegMove { .. } => "register".into(),
        }
    }

    /// Destinations, then `<-`, then sources.
    fn operands(&self, op: nki_ir::Op, operands: &[MOperand]) -> String {
        let (mut dst, mut src) = (Vec::new(), Vec::new());
        for (spec, o) in op.row().operands.iter().zip(operands) {
            let text = match o {
                MOperand::None => continue,
                MOperand::Access(a) => self.access(a),
                MOperand::Imm(x) => format!("{x}"),
                MOperand::Int(x) => format!("{x}"),
                MOperand::Reg(r) => format!("r{}", r.0),
            };
            if spec.effect == Effect::Read { src.push(text) } else { dst.push(text) }
        }
        format!("{} <- {}", dst.join(", "), src.join(", "))
    }

    /// Name, then where in the object: partitions and bytes, or the byte offset in a tensor.
    fn access(&self, a: &Access) -> String {
        let object = a.object.map(|o| o as usize);
        let shape = a.dims.iter().map(|d| d.count.to_string()).collect::<Vec<_>>().join("x");
        match a.space {
            Space::Hbm => {
                let tensor = object.and_then(|o| self.program.tensors.get(o));
                let (name, base) = tensor.map_or(("hbm", 0), |t| (t.name.as_str(), t.address));
                format!("{name}+{}[{shape}]", affine(&a.offset, base as i64))
            }
            space => {
                let place = object.and_then(|o| self.program.placements.get(o));
                let name = place.map_or(space.name(), |p| p.name.as_str());
                format!(
                    "{name}@{}:{}[{}x{shape}]",
                    affine(&a.partition, 0),
                    affine(&a.offset, 0),
                    a.partitions
                )
            }
        }
    }
}

fn bound(b: MBound) -> String {
    match b {
        MBound::Const(c) => c.to_string(),
        MBound::Reg(r) => format!("r{}", r.0),
    }
}

fn affine(a: &RegAffine, base: i64) -> String {
    let mut text = (a.constant - base).to_string();
    for (reg, c) in &a.terms {
        let _ = write!(text, "+{c}*r{}", reg.0);
    }
    text
}

fn waits(inst: &MInst) -> String {
    let all = inst.waits.iter().map(|w| format!("s[{}]>={}", w.sem.0, affine(&w.at_least, 0)));
    let all = all.collect::<Vec<_>>().join(" ");
    if all.is_empty() { all } else { format!("wait {all}: ") }
}

fn signals(inst: &MInst) -> String {
    inst.signals.iter().map(|s| format!(" => s[{}]+{}", s.sem.0, s.add)).collect()
}
