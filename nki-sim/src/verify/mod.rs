//! The gate before every run of a machine program.
//!
//! [`verify`] checks, and reports as many findings at once as it can:
//!
//! - load (`load`): semaphores, registers, tensors and placements fit the target and do not overlap where they must not;
//! - form (`form`): operands, attributes and engines match the op table; queues, descriptor modes, semaphores and registers are in range;
//! - places (`place`): start partitions, access patterns, and bounds at the extremes of the loop counters;
//! - shapes (`shape`): operands pair up; matmul sizes and PSUM banks;
//! - order (`hazard`): no deadlock, and every pair of conflicting accesses is ordered (the rules of [`crate::program`]), by
//!   executing the streams abstractly. Programs whose control flow depends on data, or that exceed the budget, are
//!   checked while they run instead.

mod form;
mod load;
mod order;
mod place;
mod shape;

pub(crate) use load::tensor_bytes;

use crate::code::{CodeOp, Flat};
use crate::program::{MBound, MInst, MKind, Program, STREAM_ENGINES, SeqReg};
use nki_ir::diag::{Code as DiagCode, Diagnostic, Diagnostics};
use nki_ir::kernel::Space;
use nki_ir::op::Engine;

/// How much the order check may cost.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Executed instructions after which the static proof gives up and leaves the check to the run.
    pub budget: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { budget: 2_000_000 }
    }
}

/// What the order check found out before the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Free of races and deadlock in every legal timing.
    Proven,
    /// Has to be checked while running, for this reason.
    Dynamic(String),
}

/// A program that may run.
#[derive(Clone, Debug)]
pub struct VerifiedProgram {
    pub(crate) flat: Flat,
    proof: Proof,
}

impl VerifiedProgram {
    /// Name, target, tensors, placements and locations; its streams are empty.
    pub fn header(&self) -> &Program {
        &self.flat.header
    }
    /// What is known about its order.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }
    /// Whether registers are loaded from or stored to memory: such a program cannot run in
    /// [`Mode::TimeOnly`](crate::Mode::TimeOnly).
    pub fn depends_on_data(&self) -> bool {
        self.flat.insts.iter().any(|i| matches!(i.kind, MKind::RegLoad { .. } | MKind::RegStore { .. }))
    }
    /// The whole program again.
    pub fn to_program(&self) -> Program {
        self.flat.rebuild()
    }
}

/// Checks a program. See the module's description for what; errors carry the place in the source.
pub fn verify(program: Program) -> Result<VerifiedProgram, Diagnostics> {
    verify_with(program, &VerifyOptions::default())
}

/// [`verify`] with options.
pub fn verify_with(program: Program, options: &VerifyOptions) -> Result<VerifiedProgram, Diagnostics> {
    let flat = Flat::new(program);
    let mut check = Checker::new(&flat);
    load::check(&mut check);
    for stream in 0..STREAM_ENGINES.len() {
        check.stream(stream);
    }
    let diags = check.diags;
    if diags.has_errors() {
        return Err(diags);
    }
    let proof = order::prove(&flat, options)?;
    Ok(VerifiedProgram { flat, proof })
}

/// Findings after which the checker stops.
const MAX_FINDINGS: usize = 50;

/// What a loop counter can be: `first, first + step, ..` up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: i64,
    pub last: i64,
    pub step: i64,
}

pub(crate) struct Checker<'a> {
    pub flat: &'a Flat,
    pub diags: Diagnostics,
    findings: usize,
    /// Stream being checked.
    pub engine: Engine,
    pub stream: usize,
    pub inst: Option<&'a MInst>,
    /// Per register of the stream; `None`: anything.
    ranges: Vec<Option<Range>>,
}

impl<'a> Checker<'a> {
    fn new(flat: &'a Flat) -> Self {
        Checker {
            flat,
            diags: Diagnostics::new(),
            findings: 0,
            engine: Engine::Unknown,
            stream: 0,
            inst: None,
            ranges: Vec::new(),
        }
    }

    fn stream(&mut self, stream: usize) {
        self.stream = stream;
        self.engine = STREAM_ENGINES[stream];
        self.ranges = vec![None; self.flat.header.registers[stream].min(1 << 16) as usize];
        let flat = self.flat;
        let mut open: Vec<Option<(SeqReg, Option<Range>)>> = Vec::new();
        for code in &flat.streams[stream] {
            if self.findings >= MAX_FINDINGS {
                return;
            }
            let inst = &flat.insts[code.inst as usize];
            self.inst = Some(inst);
            match code.op {
                CodeOp::Inst => form::instruction(self, inst),
                CodeOp::ForEnter { .. } => {
                    form::waits_and_signals(self, inst);
                    open.push(self.enter_for(inst));
                }
                CodeOp::WhileTest { .. } | CodeOp::If { .. } => {
                    form::waits_and_signals(self, inst);
                    if let MKind::While { cond, .. } | MKind::If { cond, .. } = inst.kind {
                        form::register(self, cond);
                    }
                    open.push(None);
                }
                CodeOp::Leave => {
                    if let Some(Some((reg, before))) = open.pop() {
                        self.set_range(reg, before);
                    }
                }
                CodeOp::Enter | CodeOp::ForNext { .. } | CodeOp::WhileNext { .. } | CodeOp::Else { .. } => {}
            }
        }
        self.inst = None;
    }

    /// Checks a counted loop and makes its counter's range known inside it.
    fn enter_for(&mut self, inst: &MInst) -> Option<(SeqReg, Option<Range>)> {
        let MKind::For { reg, lo, hi, step, max, .. } = &inst.kind else { return None };
        form::register(self, *reg);
        for b in [lo, hi] {
            match b {
                MBound::Reg(r) => form::register(self, *r),
                MBound::Const(c) if c.unsigned_abs() > 1 << 31 => self
                    .error(DiagCode::Parameter, format!("the loop bound {c} does not fit a 32-bit register")),
                MBound::Const(_) => {}
            }
        }
        if *step < 1 || *step > 1 << 31 {
            self.error(
                DiagCode::Parameter,
                format!("the loop step is {step}; it must be at least 1 and fit 32 bits"),
            );
            return None;
        }
        let range = match (lo, hi) {
            (MBound::Const(lo), MBound::Const(hi)) if hi > lo => {
                Some(Range { first: *lo, last: lo + (hi - 1 - lo) / step * step, step: *step })
            }
            // What the promise says; a start that is not known is at least 0.
            (MBound::Const(lo), MBound::Reg(_)) if max.is_some_and(|max| max > *lo) => {
                let max = max.unwrap_or(*lo + 1);
                Some(Range { first: *lo, last: lo + (max - 1 - lo) / step * step, step: *step })
            }
            (MBound::Reg(_), hi) if max.is_some_and(|max| max > 0) => {
                let max = max.unwrap_or(1);
                let hi = if let MBound::Const(hi) = hi { max.min(*hi).max(1) } else { max };
                Some(Range { first: 0, last: hi - 1, step: 1 })
            }
            // The body never runs; any value will do.
            (MBound::Const(lo), MBound::Const(_)) => Some(Range { first: *lo, last: *lo, step: *step }),
            _ => None,
        };
        let before = self.range(*reg);
        self.set_range(*reg, range);
        Some((*reg, before))
    }

    pub fn range(&self, r: SeqReg) -> Option<Range> {
        self.ranges.get(r.0 as usize).copied().flatten()
    }
    fn set_range(&mut self, r: SeqReg, range: Option<Range>) {
        if let Some(x) = self.ranges.get_mut(r.0 as usize) {
            *x = range;
        }
    }

    /// Reports an error at the current instruction.
    pub fn error(&mut self, code: DiagCode, message: String) {
        self.report(Diagnostic::error(code, message));
    }
    pub fn report(&mut self, mut d: Diagnostic) {
        if let Some(inst) = self.inst {
            let name = self.inst_name(inst);
            d.message = format!("{name}: {}", d.message);
            d = d.at(&self.flat.header.locs, inst.loc);
        }
        self.findings += 1;
        if self.findings <= MAX_FINDINGS {
            self.diags.push(d);
        } else if self.findings == MAX_FINDINGS + 1 {
            self.diags.push(Diagnostic::error(DiagCode::Limit, "more findings are not shown"));
        }
    }
    fn inst_name(&self, inst: &MInst) -> String {
        let what = match &inst.kind {
            MKind::Compute { op, .. } | MKind::Dma { op, .. } => op.name(),
            MKind::Sync => "sync",
            MKind::For { .. } => "for",
            MKind::While { .. } => "while",
            MKind::If { .. } => "if",
            MKind::RegLoad { .. } => "reg_load",
            MKind::RegStore { .. } => "reg_store",
            MKind::RegMove { .. } => "reg_move",
        };
        format!("{what} on {}", self.engine)
    }
    /// The name of an access's object, for messages.
    pub fn object_name(&self, space: Space, object: Option<u32>) -> String {
        let header = &self.flat.header;
        let name = object.and_then(|o| match space {
            Space::Hbm => header.tensors.get(o as usize).map(|t| &t.name),
            _ => header.placements.get(o as usize).map(|p| &p.name),
        });
        name.map_or_else(|| space.name().to_string(), |n| format!("`{n}`"))
    }
}
