//! PSUM accumulation (isa.md section 13): when a matmul overwrites its destination and when it adds to it.
//!
//! Every PSUM tile is traced by itself: the instructions that touch it run in program order on flags instead of data, each
//! byte being fresh, written by a matmul, zeroed, or written by something else. [`resolve`] lets the flags decide what an
//! automatic matmul does in each turn of the loops around it, and writes the decision into the IR as overwrite, add, or
//! "overwrite in the first turn of these loops"; `check` holds explicit decisions against the flags.

mod flags;
#[cfg(test)]
mod tests;
mod trace;

use super::context::{Report, violation};
use super::flat::{Flat, Step};
use super::rules::{self, Rule};
use super::structure;
use crate::diag::{Diagnostics, Severity};
use crate::entity::{Buf, Entity, Inst, Var};
use crate::kernel::{Accumulate, Attr, InstData, Kernel, LoopData, Space};
use crate::target::{Gen, Target};
use flags::{Action, Flags};
use std::cell::RefCell;
use trace::{Program, Trace};

/// Turns every `Accumulate::Auto` into a decision. Returns errors for matmuls that no single decision fits (they stay
/// automatic, and `verify` refuses them) and warnings for sums that are probably not meant. A kernel with a broken structure
/// is left alone; `verify` says what is wrong with it.
pub fn resolve(kernel: &mut Kernel, target: Target) -> Diagnostics {
    let automatic: Vec<Inst> = kernel.insts.iter().filter(|(_, d)| is_auto(d)).map(|(i, _)| i).collect();
    let out = RefCell::new(Diagnostics::new());
    if automatic.is_empty() {
        return out.into_inner();
    }
    let Some(flat) = structure::check(kernel, &RefCell::new(Diagnostics::new())) else {
        return out.into_inner();
    };
    // Matmuls that never run, transpose, or have no PSUM tile as destination (an error of its own) overwrite.
    let mut decisions: Vec<Option<Accumulate>> = vec![Some(Accumulate::Overwrite); kernel.insts.len()];
    for program in programs(kernel, &flat) {
        let gen4 = target.generation() == Gen::Gen4;
        let mut auto = Automatic { kernel, gen4, seen: program.insts.iter().map(|_| Vec::new()).collect() };
        let done = trace::run(kernel, &program, &mut auto);
        for (inst, seen) in program.insts.iter().zip(&auto.seen).filter(|x| !x.1.is_empty()) {
            let fit = Fit { kernel, flat: &flat, buf: program.buf, inst: *inst, out: &out };
            decisions[inst.index()] = match done {
                Some(()) => fit.decide(seen),
                None => {
                    fit.fail(
                        &rules::ACC_LIMIT,
                        "the tile's accumulation takes too many turns to follow".into(),
                    )
                    .help("write accumulate explicitly");
                    None
                }
            };
        }
    }
    for inst in automatic {
        if let Some(decision) = decisions[inst.index()].take() {
            set(&mut kernel.insts[inst], decision);
        }
    }
    out.into_inner()
}

/// Checks explicit decisions (check 10 of isa.md 9.1.1).
pub(super) fn check(kernel: &Kernel, flat: &Flat, target: Target, out: &RefCell<Diagnostics>) {
    for program in programs(kernel, flat) {
        let gen4 = target.generation() == Gen::Gen4;
        let reported = vec![false; program.insts.len()];
        // A trace that takes too long is left to the executors, which track the flags themselves.
        let _ = trace::run(
            kernel,
            &program,
            &mut Explicit { kernel, flat, gen4, buf: program.buf, out, reported },
        );
    }
}

/// The programs of all PSUM tiles that a matmul writes.
fn programs(kernel: &Kernel, flat: &Flat) -> Vec<Program> {
    let mut touched: Vec<Vec<(usize, Inst)>> = vec![Vec::new(); kernel.bufs.len()];
    for (at, step) in flat.steps.iter().enumerate() {
        let Step::Inst(inst) = step else { continue };
        for (_, view) in structure::views(&kernel.insts[*inst]) {
            let list = &mut touched[view.buf.index()];
            if kernel.bufs[view.buf].space == Space::Psum && list.last() != Some(&(at, *inst)) {
                list.push((at, *inst));
            }
        }
    }
    let matmul = |(_, inst): &(usize, Inst)| accumulate(&kernel.insts[*inst]).is_some();
    let with_matmul = kernel.bufs.keys().filter(|b| touched[b.index()].iter().any(matmul));
    with_matmul.filter_map(|b| Program::new(kernel, flat, b, &touched[b.index()])).collect()
}

/// The decision of a matmul; `None` for other instructions and for transposing matmuls, which always overwrite.
fn accumulate(data: &InstData) -> Option<&Accumulate> {
    let row = data.op.row();
    let transpose = row.attr("is_transpose").and_then(|i| data.attrs.get(i)) == Some(&Attr::Bool(true));
    match data.attrs.get(row.attr("accumulate")?)? {
        Attr::Accumulate(a) if !transpose => Some(a),
        _ => None,
    }
}

/// Whether the result's columns go to places that an index tile gives.
fn scatters(data: &InstData) -> bool {
    data.operands.first().and_then(|o| o.view()).is_some_and(|v| v.dynamic.is_some())
}

/// Whether the decision is still open, transposing matmuls included.
fn is_auto(data: &InstData) -> bool {
    data.attrs.contains(&Attr::Accumulate(Accumulate::Auto))
}

fn set(data: &mut InstData, decision: Accumulate) {
    for attr in &mut data.attrs {
        if let Attr::Accumulate(a) = attr {
            *a = decision.clone();
        }
    }
}

/// One execution of an automatic matmul.
struct Seen {
    /// Counted loops around it inside the tile's scope, and whether each was in its first turn.
    open: Vec<(Var, bool)>,
    action: Action,
    /// Whether it added to something read since the last matmul.
    read: bool,
}

/// Collects what the flags decide.
struct Automatic<'a> {
    kernel: &'a Kernel,
    gen4: bool,
    /// By position in the program.
    seen: Vec<Vec<Seen>>,
}

impl Trace for Automatic<'_> {
    fn matmul(&mut self, i: usize, inst: Inst, flags: &[Flags], open: &[(Var, bool)]) {
        if is_auto(&self.kernel.insts[inst]) {
            let action = flags.iter().map(|f| f.automatic(self.gen4)).reduce(Action::join);
            let read = flags.iter().any(|f| f.was_read());
            self.seen[i].push(Seen {
                open: open.to_vec(),
                action: action.unwrap_or(Action::Overwrite),
                read,
            });
        }
    }
}

/// Finds the decision that fits all executions of one matmul.
struct Fit<'a> {
    kernel: &'a Kernel,
    flat: &'a Flat,
    buf: Buf,
    inst: Inst,
    out: &'a RefCell<Diagnostics>,
}

impl<'a> Fit<'a> {
    fn fail(&self, rule: &'static Rule, message: String) -> Report<'a> {
        let data = &self.kernel.insts[self.inst];
        let name = &self.kernel.bufs[self.buf].name;
        let d =
            violation(rule, format!("{}: dst `{name}`: {message}", data.op)).at(&self.kernel.locs, data.loc);
        Report::new(d, self.kernel, self.out).buffer(&self.kernel.bufs[self.buf])
    }

    /// 13/4: over the turns of a loop on registers nothing is decided automatically.
    fn carried(&self) -> bool {
        let place = self.flat.inst(self.inst).map_or(self.kernel.body, |p| p.0);
        let home = self.flat.alloc(self.buf).map_or(self.kernel.body, |a| a.0);
        let mut around = self.flat.enclosing(place).take_while(|(_, r)| !self.flat.contains(*r, home));
        around.any(|(l, _)| match &self.kernel.loops[l] {
            LoopData::If { .. } => false,
            data => data.is_dynamic(),
        })
    }

    fn decide(&self, seen: &[Seen]) -> Option<Accumulate> {
        if scatters(&self.kernel.insts[self.inst]) {
            self.fail(&rules::IND_ACCUMULATE, "it is scattered".into())
                .help("pass `accumulate` true or false");
            return None;
        }
        if self.carried() {
            self.fail(&rules::ACC_LOOP, "it accumulates over the turns of a loop on registers".into())
                .help("allocate the tile inside the loop, or write accumulate explicitly");
            return None;
        }
        if seen.iter().any(|s| s.action == Action::Illegal) {
            self.fail(&rules::MM_ACCUMULATE, "it would add to what another instruction wrote".into())
                .help("add with tensor_tensor after the matmul, or zero the tile with memset first");
            return None;
        }
        if seen.iter().any(|s| s.action == Action::Mixed) {
            self.fail(&rules::ACC_MIXED, "it would overwrite one part and add to another".into())
                .help("zero the whole tile with memset first, or split the matmul along the boundary");
            return None;
        }
        let adds = seen.iter().filter(|s| s.action == Action::Add).count();
        let decision = match adds {
            0 => Accumulate::Overwrite,
            n if n == seen.len() => Accumulate::Add,
            _ => self.unless_first(seen)?,
        };
        if seen.iter().any(|s| s.read && s.action == Action::Add) {
            self.warn_read();
        }
        Some(decision)
    }

    /// The loops in whose common first turn the matmul overwrites.
    fn unless_first(&self, seen: &[Seen]) -> Option<Accumulate> {
        let overwrites = || seen.iter().filter(|s| s.action == Action::Overwrite);
        let first = |s: &Seen, v: Var| s.open.contains(&(v, true));
        let vars: Vec<Var> = seen[0].open.iter().map(|o| o.0).collect();
        // Only loops with another turn, and always first when overwriting.
        let repeats = |v: Var| seen.iter().any(|s| !first(s, v));
        let vars: Vec<Var> =
            vars.into_iter().filter(|v| repeats(*v) && overwrites().all(|s| first(s, *v))).collect();
        let fits = seen.iter().all(|s| vars.iter().all(|v| first(s, *v)) == (s.action == Action::Overwrite));
        if fits && !vars.is_empty() {
            return Some(Accumulate::UnlessFirst(vars.into_iter().collect()));
        }
        self.fail(&rules::ACC_MIXED, "in some turns it would overwrite, in others add".into())
            .help("allocate the tile inside the loop that starts a new sum, or write accumulate explicitly");
        None
    }

    fn warn_read(&self) {
        let data = &self.kernel.insts[self.inst];
        let name = &self.kernel.bufs[self.buf].name;
        let message = format!("{}: dst `{name}` was read, and the sum goes on afterwards", data.op);
        let mut d = violation(&rules::ACC_READ, message).at(&self.kernel.locs, data.loc);
        d.severity = Severity::Warning;
        Report::new(d, self.kernel, self.out)
            .buffer(&self.kernel.bufs[self.buf])
            .help("allocate a fresh tile for each sum, or write accumulate explicitly");
    }
}

/// Holds explicit decisions against the flags.
struct Explicit<'a> {
    kernel: &'a Kernel,
    flat: &'a Flat,
    gen4: bool,
    buf: Buf,
    out: &'a RefCell<Diagnostics>,
    reported: Vec<bool>,
}

impl Trace for Explicit<'_> {
    fn matmul(&mut self, i: usize, inst: Inst, flags: &[Flags], open: &[(Var, bool)]) {
        let adds = match accumulate(&self.kernel.insts[inst]) {
            Some(Accumulate::Add) => true,
            // A loop outside the tile's scope has later turns, in which the tile is fresh again.
            Some(Accumulate::UnlessFirst(vars)) => {
                let single = |v: Var| self.kernel.var_range(v).is_some_and(|(lo, hi)| lo == hi);
                !vars
                    .iter()
                    .all(|v| open.contains(&(*v, true)) || !open.iter().any(|o| o.0 == *v) && single(*v))
            }
            _ => false,
        };
        // Which columns a scattered sum adds to shows when it runs.
        if !adds || self.reported[i] || scatters(&self.kernel.insts[inst]) {
            return;
        }
        let Some(bad) = flags.iter().find(|f| !f.may_add(self.gen4)) else { return };
        self.reported[i] = true;
        let fit = Fit { kernel: self.kernel, flat: self.flat, buf: self.buf, inst, out: self.out };
        let (what, help) = if bad.may_be_written() {
            (
                "it adds to what another instruction wrote",
                "add with tensor_tensor, or let the first matmul overwrite",
            )
        } else {
            ("it adds to storage that nothing has written", "let the first matmul of the sum overwrite")
        };
        fit.fail(&rules::MM_ACCUMULATE, what.into()).help(help);
    }
}
