//! Executes the streams without time: each runs until it has to wait. Semaphores only count up, so that every order of
//! execution gets equally far; a stream that cannot go on in one can in none.

use crate::code::{CodeOp, Flat, Regs};
use crate::deadlock::{self, Blocked};
use crate::program::{MKind, SEMAPHORE_MAX, Sem};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};

/// What happens to the instructions.
pub(crate) trait Visitor {
    /// An instruction whose waits are satisfied, with the registers of its stream. Everything it signals happens at once.
    fn instruction(&mut self, stream: usize, inst: u32, regs: &mut Regs) -> Result<(), Stop>;
    /// The waits of a structured node are satisfied.
    fn enter(&mut self, stream: usize, inst: u32, regs: &Regs) -> Result<(), Stop>;
    /// A structured node signals.
    fn leave(&mut self, stream: usize, inst: u32) -> Result<(), Stop>;
    /// Whether a register's value is not known, which control flow then cannot follow.
    fn unknown(&self, stream: usize, register: u32) -> bool;
}

/// Why execution ends early.
pub(crate) enum Stop {
    Error(Diagnostics),
    /// Not decidable here, for this reason.
    GiveUp(String),
}

impl<T: Into<Diagnostics>> From<T> for Stop {
    fn from(d: T) -> Stop {
        Stop::Error(d.into())
    }
}

pub(crate) struct Executor<'a> {
    flat: &'a Flat,
    pcs: [usize; 5],
    regs: [Regs; 5],
    semaphores: Vec<u64>,
    /// Streams to wake per semaphore.
    waiters: Vec<u8>,
    pub executed: u64,
    budget: u64,
}

/// The error for a semaphore that counts too far.
pub(crate) fn overflow(flat: &Flat, inst: u32, sem: Sem) -> Diagnostic {
    Diagnostic::error(Code::Semaphore, format!("s{} counts beyond {SEMAPHORE_MAX}", sem.0))
        .at(&flat.header.locs, flat.loc(inst))
}

/// The error for a loop whose bound breaks its promise.
pub(crate) fn bound_error(flat: &Flat, inst: u32, what: String) -> Diagnostic {
    Diagnostic::error(Code::RuntimeIndex, what).at(&flat.header.locs, flat.loc(inst))
}

impl<'a> Executor<'a> {
    pub fn new(flat: &'a Flat, budget: u64) -> Executor<'a> {
        Executor {
            flat,
            pcs: [0; 5],
            regs: std::array::from_fn(|s| Regs::new(flat.header.registers[s])),
            semaphores: vec![0; flat.header.semaphores as usize],
            waiters: vec![0; flat.header.semaphores as usize],
            executed: 0,
            budget,
        }
    }

    /// Runs to the end.
    pub fn run(&mut self, visitor: &mut dyn Visitor) -> Result<(), Stop> {
        let mut ready: u8 = 0b11111;
        while ready != 0 {
            let stream = ready.trailing_zeros() as usize;
            ready &= !(1 << stream);
            ready |= self.stream(stream, visitor)?;
        }
        let open = |s: usize| self.pcs[s] < self.flat.streams[s].len();
        if !(0..5).any(open) {
            return Ok(());
        }
        let blocked: Vec<_> = (0..5).map(|s| self.blocked(s)).collect();
        Err(deadlock::report(self.flat, &self.pcs, &blocked).into())
    }

    /// Runs a stream until it waits; returns the streams that it has woken.
    fn stream(&mut self, s: usize, visitor: &mut dyn Visitor) -> Result<u8, Stop> {
        let flat = self.flat;
        let mut woken = 0;
        while let Some(code) = flat.streams[s].get(self.pcs[s]) {
            let inst = code.inst;
            if matches!(code.op, CodeOp::Inst | CodeOp::Enter) {
                self.known_waits(s, inst, visitor)?;
                if let Some(b) = self.blocked(s) {
                    self.waiters[b.sem.0 as usize] |= 1 << s;
                    return Ok(woken);
                }
            }
            self.executed += 1;
            if self.executed > self.budget {
                return Err(Stop::GiveUp(format!("it executes more than {} instructions", self.budget)));
            }
            match code.op {
                CodeOp::Inst => {
                    visitor.instruction(s, inst, &mut self.regs[s])?;
                    woken |= self.signal(inst)?;
                    self.pcs[s] += 1;
                }
                CodeOp::Enter => {
                    visitor.enter(s, inst, &self.regs[s])?;
                    self.pcs[s] += 1;
                }
                CodeOp::Leave => {
                    if !flat.insts[inst as usize].signals.is_empty() {
                        visitor.leave(s, inst)?;
                        woken |= self.signal(inst)?;
                    }
                    self.pcs[s] += 1;
                }
                op => self.control(s, op, inst, visitor)?,
            }
        }
        Ok(woken)
    }

    fn known_waits(&self, s: usize, inst: u32, visitor: &dyn Visitor) -> Result<(), Stop> {
        let waits = &self.flat.insts[inst as usize].waits;
        match waits.iter().flat_map(|w| &w.at_least.terms).find(|t| visitor.unknown(s, t.0.0)) {
            Some(_) => Err(Stop::GiveUp("a wait depends on data".into())),
            None => Ok(()),
        }
    }

    fn blocked(&self, s: usize) -> Option<Blocked> {
        let code = self.flat.streams[s].get(self.pcs[s])?;
        let inst = code.inst;
        if !matches!(code.op, CodeOp::Inst | CodeOp::Enter) {
            return None;
        }
        self.flat.insts[inst as usize].waits.iter().find_map(|w| {
            let (at_least, value) = (w.at_least.eval(&self.regs[s]), self.semaphores[w.sem.0 as usize]);
            let open = u64::try_from(at_least).is_ok_and(|want| want > value);
            open.then_some(Blocked { inst, sem: w.sem, at_least, value })
        })
    }

    fn signal(&mut self, inst: u32) -> Result<u8, Stop> {
        let mut woken = 0;
        for s in &self.flat.insts[inst as usize].signals {
            let value = &mut self.semaphores[s.sem.0 as usize];
            *value += u64::from(s.add);
            if *value > SEMAPHORE_MAX {
                return Err(overflow(self.flat, inst, s.sem).into());
            }
            woken |= std::mem::take(&mut self.waiters[s.sem.0 as usize]);
        }
        Ok(woken)
    }

    fn control(&mut self, s: usize, op: CodeOp, inst: u32, visitor: &dyn Visitor) -> Result<(), Stop> {
        use crate::program::MBound;
        let (regs, pc) = (&mut self.regs[s], &mut self.pcs[s]);
        let known = |b: &MBound| match b {
            MBound::Reg(r) if visitor.unknown(s, r.0) => {
                Err(Stop::GiveUp("its control flow depends on data".into()))
            }
            _ => Ok(()),
        };
        match (op, &self.flat.insts[inst as usize].kind) {
            (CodeOp::ForEnter { exit }, MKind::For { reg, lo, hi, max, .. }) => {
                known(lo)?;
                known(hi)?;
                let (lo, hi) =
                    regs.bounds(*lo, *hi, *max).map_err(|what| bound_error(self.flat, inst, what))?;
                regs.set(*reg, lo);
                *pc = if lo < hi { *pc + 1 } else { exit as usize };
            }
            (CodeOp::ForNext { body }, MKind::For { reg, hi, step, .. }) => {
                known(hi)?;
                let next = regs.get(*reg).saturating_add(*step);
                regs.set(*reg, next);
                *pc = if next < regs.bound(*hi) { body as usize } else { *pc + 1 };
            }
            (CodeOp::WhileTest { exit }, MKind::While { cond, .. }) => {
                known(&MBound::Reg(*cond))?;
                *pc = if regs.get(*cond) != 0 { *pc + 1 } else { exit as usize };
            }
            (CodeOp::If { otherwise }, MKind::If { cond, .. }) => {
                known(&MBound::Reg(*cond))?;
                *pc = if regs.get(*cond) != 0 { *pc + 1 } else { otherwise as usize };
            }
            (CodeOp::WhileNext { test: to } | CodeOp::Else { leave: to }, _) => *pc = to as usize,
            _ => *pc += 1,
        }
        Ok(())
    }
}
