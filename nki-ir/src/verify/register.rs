//! Registers (isa.md 9.7) and control flow on them (isa.md 11.3).

use super::context::{Arg, Cx, Report, violation};
use super::flat::{Flat, Step};
use super::{rules, structure};
use crate::affine::Affine;
use crate::diag::Diagnostics;
use crate::dtype::{DKind, DType};
use crate::entity::{Entity, Loop, Reg};
use crate::kernel::{Bound, Kernel, LoopData, Operand, RegData};
use crate::loc::Loc;
use crate::op::{Effect, Op};
use std::cell::RefCell;

/// Whether every value of `from` is a value of a register of `to`.
fn holds(to: DType, from: DType) -> bool {
    let unsigned = matches!(from.kind(), DKind::Unsigned | DKind::Bool);
    to == from
        || to.is_int() && unsigned && from.bytes() < to.bytes()
        || to.kind() == DKind::Signed && from.kind() == DKind::Signed && from.bytes() < to.bytes()
}

/// Whether a register can have this dtype.
fn is_register(d: DType) -> bool {
    d == DType::F32 || d.is_int() && d.bytes() <= 4
}

/// The smallest and largest value of an integer register.
fn range(d: DType) -> (i128, i128) {
    let bits = 8 * d.bytes() as u32;
    match d.kind() {
        DKind::Signed => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        _ => (0, (1 << bits) - 1),
    }
}

/// The checks of 9.7 for one instruction.
pub fn check(cx: &Cx) {
    let reg = |name: &str| match cx.operand(name) {
        Operand::Reg(r) => cx.kernel.regs.get(*r),
        _ => None,
    };
    match cx.data.op {
        Op::RegisterLoad => {
            if let (Some(dst), Some(src)) = (reg("dst"), cx.arg("src")) {
                one_element(cx, src);
                fits(cx, dst, src.dtype(), &src.name());
            }
        }
        Op::RegisterStore => {
            let Some(dst) = cx.arg("dst") else { return };
            one_element(cx, dst);
            if !is_register(dst.dtype()) {
                let message = format!("{} is {}", dst.name(), dst.dtype());
                cx.fail_arg(&rules::REG_DTYPE, dst, message).help("store into an integer or float32 tensor");
            }
        }
        _ => {
            let Some(dst) = reg("dst") else { return };
            match cx.operand("src") {
                Operand::Reg(r) => {
                    if let Some(src) = cx.kernel.regs.get(*r) {
                        fits(cx, dst, src.dtype, &format!("%{}", src.name));
                    }
                }
                Operand::Int(c) => value(cx, dst, &Affine::constant(*c)),
                Operand::Index(a) => value(cx, dst, a),
                _ => {}
            }
        }
    }
}

fn one_element(cx: &Cx, arg: &Arg) {
    let n = arg.n.saturating_mul(arg.parts().into());
    if n != 1 {
        cx.fail_arg(&rules::REG_ELEMENT, arg, format!("{} has {n} elements", arg.name()))
            .help("slice the tensor to the one element");
    }
}

fn fits(cx: &Cx, dst: &RegData, from: DType, name: &str) {
    if !holds(dst.dtype, from) {
        let message = format!("%{} is {}, {name} is {from}", dst.name, dst.dtype);
        cx.fail(&rules::REG_DTYPE, message)
            .related(dst.loc, "declared here")
            .help(format!("use a register of {from}, or convert on chip first"));
    }
}

/// A constant or position against the register's range.
fn value(cx: &Cx, dst: &RegData, a: &Affine) {
    let Some((lo, hi)) = super::bounds::extremes(cx.kernel, a) else { return };
    let (min, max) = range(dst.dtype);
    if !dst.dtype.is_int() || lo < min || hi > max {
        let bad = if lo < min { lo } else { hi };
        let message = format!("%{} ({}) is set to {bad}", dst.name, dst.dtype);
        cx.fail(&rules::REG_VALUE, message)
            .related(dst.loc, "declared here")
            .help("use a register whose dtype holds the value");
    }
}

/// Dtypes of all registers, and what only the kernel as a whole shows: registers are read where they have been written, and
/// control flow is where it may be.
pub fn check_kernel(kernel: &Kernel, flat: &Flat, out: &RefCell<Diagnostics>) {
    for reg in kernel.regs.values().filter(|r| !is_register(r.dtype)) {
        let message = format!("register %{} is {}", reg.name, reg.dtype);
        report(kernel, &rules::REG_DTYPE, reg.loc, message, out).help("use i32 or u32");
    }
    Defined { kernel, out, set: vec![false; kernel.regs.len()], reported: vec![false; kernel.regs.len()] }
        .run(flat);
    orders(kernel, flat, out);
}

fn report<'a>(
    kernel: &'a Kernel,
    rule: &'static rules::Rule,
    loc: Loc,
    message: String,
    out: &'a RefCell<Diagnostics>,
) -> Report<'a> {
    Report::new(violation(rule, message).at(&kernel.locs, loc), kernel, out)
}

/// Which registers hold something on every path. A register that was written stays so: the first turn of a loop is the
/// one that knows least, and one pass suffices.
struct Defined<'a> {
    kernel: &'a Kernel,
    out: &'a RefCell<Diagnostics>,
    set: Vec<bool>,
    reported: Vec<bool>,
}

impl Defined<'_> {
    fn run(&mut self, flat: &Flat) {
        // Open loops and branches: state at the entry, and after the first branch.
        let mut open: Vec<(Loop, Vec<bool>, Option<Vec<bool>>)> = Vec::new();
        for step in &flat.steps {
            match *step {
                Step::Alloc(_) => {}
                Step::Inst(inst) => {
                    let data = &self.kernel.insts[inst];
                    structure::registers(data).for_each(|r| self.read(r, data.loc));
                    structure::registers(data).for_each(|r| self.integer(data, r));
                    for (operand, spec) in data.operands.iter().zip(data.op.row().operands) {
                        if let (Operand::Reg(r), Effect::Write) = (operand, spec.effect) {
                            self.set[r.index()] = true;
                        }
                    }
                }
                Step::Enter(l, region) => match &self.kernel.loops[l] {
                    LoopData::If { otherwise, .. } if *otherwise == region => {}
                    data => {
                        self.header(data);
                        open.push((l, self.set.clone(), None));
                    }
                },
                Step::Leave(l, region) => {
                    let Some((_, entry, then)) = open.pop() else { continue };
                    match &self.kernel.loops[l] {
                        LoopData::If { then: first, .. } if *first == region => {
                            let after = std::mem::replace(&mut self.set, entry.clone());
                            open.push((l, entry, Some(after)));
                        }
                        LoopData::If { .. } => {
                            let then = then.unwrap_or(entry);
                            self.set.iter_mut().zip(then).for_each(|(a, b)| *a &= b);
                        }
                        LoopData::NoReorder { .. } => {}
                        data if data.trip_count().is_some_and(|n| n > 0) => {}
                        _ => self.set = entry,
                    }
                }
            }
        }
    }

    fn header(&mut self, data: &LoopData) {
        let loc = data.loc();
        match data {
            LoopData::For { lo, hi, .. } => {
                for bound in [lo, hi] {
                    if let Bound::Reg { reg, .. } = bound {
                        self.read(*reg, loc);
                        self.decides(*reg, loc, "a loop bound");
                    }
                }
            }
            LoopData::While { cond, .. } | LoopData::If { cond, .. } => {
                self.read(*cond, loc);
                self.decides(*cond, loc, "a condition");
            }
            LoopData::NoReorder { .. } => {}
        }
    }

    /// A register that an instruction adds to an address or counts from.
    fn integer(&mut self, data: &crate::kernel::InstData, r: Reg) {
        if !matches!(data.op, Op::RegisterMove | Op::RegisterStore) {
            self.decides(r, data.loc, "an index");
        }
    }

    fn decides(&self, r: Reg, loc: Loc, what: &str) {
        let reg = &self.kernel.regs[r];
        if reg.dtype == DType::F32 {
            let message = format!("register %{} is {} and used as {what}", reg.name, reg.dtype);
            report(self.kernel, &rules::REG_USE, loc, message, self.out)
                .related(reg.loc, "declared here")
                .help("convert the value to i32 on chip, and load that");
        }
    }

    fn read(&mut self, r: Reg, loc: Loc) {
        if self.set[r.index()] || std::mem::replace(&mut self.reported[r.index()], true) {
            return;
        }
        let reg = &self.kernel.regs[r];
        let written = self.kernel.insts.values().any(|data| {
            let pairs = data.operands.iter().zip(data.op.row().operands);
            pairs.into_iter().any(|(o, s)| *o == Operand::Reg(r) && s.effect == Effect::Write)
        });
        let (why, help) = match written {
            false => ("but nothing writes it", "use a constant, or load the register first"),
            true => (
                "but is not written on every path to here",
                "write it before the loop or branch, for instance with `register_move`",
            ),
        };
        let message = format!("register %{} is read, {why}", reg.name);
        report(self.kernel, &rules::REGISTER, loc, message, self.out)
            .related(reg.loc, "declared here")
            .help(help);
    }
}

/// 11.3/5: no loop or branch on registers in a block that keeps its order.
fn orders(kernel: &Kernel, flat: &Flat, out: &RefCell<Diagnostics>) {
    let mut keeps: Vec<Loop> = Vec::new();
    for step in &flat.steps {
        match *step {
            Step::Enter(l, region) => match &kernel.loops[l] {
                LoopData::NoReorder { .. } => keeps.push(l),
                data if data.is_dynamic() && data.regions().first() == Some(&region) => {
                    if let Some(outer) = keeps.last() {
                        let message = "a loop or branch on registers in a block that keeps its order".into();
                        report(kernel, &rules::DYNAMIC_ORDER, data.loc(), message, out)
                            .related(kernel.loops[*outer].loc(), "the block")
                            .help("put the block inside the loop or branch");
                    }
                }
                _ => {}
            },
            Step::Leave(l, _) if keeps.last() == Some(&l) => {
                keeps.pop();
            }
            _ => {}
        }
    }
}
