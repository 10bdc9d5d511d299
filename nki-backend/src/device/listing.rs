//! The schedule as text: one table per engine, each line with its time, what it does, where, and what it waits for.

use crate::device::Compiled;
use crate::device::emit::Scheduled;
use nki_ir::Space;
use nki_ir::op::Effect;
use nki_sim::Program;
use nki_sim::program::{Access, MInst, MKind, MOperand, RegAffine, STREAM_ENGINES};
use std::fmt::Write;

/// Estimated starts per stream, in the order in which instructions are emitted.
pub(super) fn starts(blocks: &[Scheduled]) -> [Vec<f32>; 5] {
    let mut out: [Vec<f32>; 5] = Default::default();
    let mut base = 0.0f32;
    for b in blocks {
        for &i in &b.plan.order {
            out[b.plan.stream(i)].push(base + b.plan.start(i));
        }
        base += b.plan.time as f32;
    }
    out
}

impl Compiled {
    /// The streams as text, one section per engine, at most `limit` lines each. Times are the compiler's estimate in
    /// nanoseconds.
    pub fn listing(&self, limit: usize) -> String {
        let mut out = String::new();
        for (s, engine) in STREAM_ENGINES.iter().enumerate() {
            let stream = &self.program.streams[s];
            if stream.is_empty() {
                continue;
            }
            let _ = writeln!(out, "{engine}: {} instructions", self.report.instructions[s]);
            let mut lines =
                Lines { program: &self.program, starts: &self.report.starts[s], next: 0, left: limit };
            lines.section(stream, &mut out);
        }
        out
    }
}

struct Lines<'a> {
    program: &'a Program,
    starts: &'a [f32],
    next: usize,
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
                let _ = writeln!(out, "  ...");
                return;
            }
            self.left -= 1;
            let depth = stack.len();
            self.line(inst, depth, out);
            if let MKind::For { body, .. } | MKind::While { body, .. } = &inst.kind {
                stack.push(body.iter());
            }
        }
    }

    fn line(&mut self, inst: &MInst, depth: usize, out: &mut String) {
        let timed = matches!(inst.kind, MKind::Compute { .. } | MKind::Dma { .. });
        let time = match self.starts.get(self.next) {
            Some(t) if timed => format!("{t:>10.0}"),
            _ => format!("{:>10}", ""),
        };
        self.next += usize::from(timed);
        let indent = "  ".repeat(depth);
        let at = self.program.locs.resolve(inst.loc).map_or(String::new(), |l| format!("  ; {l}"));
        let _ = writeln!(out, "{time}{indent}{}{}{}{at}", waits(inst), self.what(&inst.kind), signals(inst));
    }

    fn what(&self, kind: &MKind) -> String {
        match kind {
            MKind::Compute { op, operands, .. } => format!("{op} {}", self.operands(*op, operands)),
            MKind::Dma { op, operands, queue, dge, .. } => {
                format!("{op} {} (ring {queue}, descriptors {dge})", self.operands(*op, operands))
            }
            MKind::Sync => "sync".into(),
            MKind::For { reg, hi, .. } => format!("for s{} in 0..{hi:?}", reg.0),
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
                MOperand::Reg(r) => format!("s{}", r.0),
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

fn affine(a: &RegAffine, base: i64) -> String {
    let mut text = (a.constant - base).to_string();
    for (reg, c) in &a.terms {
        let _ = write!(text, "+{c}*s{}", reg.0);
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
