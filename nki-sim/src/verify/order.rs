//! The static proof: no deadlock, no race, in any legal timing.

use super::{Proof, VerifyOptions};
use crate::code::{Flat, Regs};
use crate::exec::{Executor, Stop, Visitor};
use crate::hazard::{Corrections, MAX_PASSES, Tracker};
use crate::program::{Access, DynamicAccess, MKind, MOperand};
use nki_ir::diag::Diagnostics;

/// Races reported at once.
const MAX_RACES: usize = 10;

struct Prover<'a> {
    flat: &'a Flat,
    tracker: Tracker<'a>,
    races: Diagnostics,
    /// Races reported.
    count: usize,
    vague: bool,
    /// Registers with values from memory, per stream.
    unknown: [Vec<bool>; 5],
}

/// Checks the order of all accesses.
///
/// # Errors
/// The races, or the deadlock.
pub(super) fn prove(flat: &Flat, options: &VerifyOptions) -> Result<Proof, Diagnostics> {
    let mut corrections = Corrections::new();
    for _ in 0..MAX_PASSES {
        let mut prover = Prover {
            flat,
            tracker: Tracker::new(flat, std::mem::take(&mut corrections)),
            races: Diagnostics::new(),
            count: 0,
            vague: false,
            unknown: std::array::from_fn(|s| vec![false; flat.header.registers[s] as usize]),
        };
        match Executor::new(flat, options.budget).run(&mut prover) {
            Ok(()) => {}
            Err(Stop::Error(d)) => return Err(d),
            Err(Stop::GiveUp(why)) => return Ok(Proof::Dynamic(why)),
        }
        if prover.tracker.overflowed() {
            return Ok(Proof::Dynamic("its accesses are too many to keep apart".into()));
        }
        if prover.tracker.clocks.settled() {
            return match (prover.races.has_errors(), prover.vague) {
                (true, _) => Err(prover.races),
                (false, true) => Ok(Proof::Dynamic("where it accesses memory depends on data".into())),
                (false, false) => Ok(Proof::Proven),
            };
        }
        corrections = std::mem::take(&mut prover.tracker.clocks.found);
    }
    Ok(Proof::Dynamic("what its waits prove does not settle".into()))
}

impl Prover<'_> {
    fn is_unknown(&self, stream: usize, register: u32) -> bool {
        self.unknown[stream].get(register as usize).copied().unwrap_or(false)
    }
    /// A place that moves with an unknown register can only be checked while running.
    fn known_places(&self, stream: usize, kind: &MKind) -> bool {
        let fixed = |a: &Access| {
            let dynamic = match a.dynamic.as_deref() {
                Some(DynamicAccess::Register { .. }) | None => None,
                Some(
                    DynamicAccess::Scalar { index, .. }
                    | DynamicAccess::Vector { index, .. }
                    | DynamicAccess::Indirect { index, .. },
                ) => Some(&**index),
            };
            let terms = |a: &Access| {
                a.partition.terms.iter().chain(&a.offset.terms).any(|t| self.is_unknown(stream, t.0.0))
            };
            !terms(a) && !dynamic.is_some_and(terms)
        };
        match kind {
            MKind::Compute { operands, .. } | MKind::Dma { operands, .. } => {
                operands.iter().all(|o| match o {
                    MOperand::Access(a) => fixed(a),
                    _ => true,
                })
            }
            MKind::RegLoad { src: a, .. } | MKind::RegStore { dst: a, .. } => fixed(a),
            _ => true,
        }
    }
}

impl Visitor for Prover<'_> {
    fn instruction(&mut self, stream: usize, inst: u32, regs: &mut Regs) -> Result<(), Stop> {
        let kind = &self.flat.insts[inst as usize].kind;
        if !self.known_places(stream, kind) {
            return Err(Stop::GiveUp("where it accesses memory depends on data".into()));
        }
        if let Some(race) = self.tracker.execute(stream, inst, regs, None) {
            if race.vague {
                self.vague = true;
            } else if self.count < MAX_RACES {
                // Turns of a loop repeat the same race.
                let places = (&race.diagnostic.at, &race.diagnostic.related);
                if !self.races.iter().any(|d| (&d.at, &d.related) == places) {
                    self.count += 1;
                    self.races.push(*race.diagnostic);
                }
            }
        }
        match kind {
            MKind::RegMove { reg, src } => {
                let from_unknown = src.terms.iter().any(|t| self.is_unknown(stream, t.0.0));
                let value = src.eval(regs);
                regs.set(*reg, value);
                if let Some(u) = self.unknown[stream].get_mut(reg.0 as usize) {
                    *u = from_unknown;
                }
            }
            MKind::RegLoad { reg, .. } => {
                if let Some(u) = self.unknown[stream].get_mut(reg.0 as usize) {
                    *u = true;
                }
            }
            _ => {}
        }
        Ok(())
    }
    fn enter(&mut self, stream: usize, inst: u32, regs: &Regs) -> Result<(), Stop> {
        self.tracker.enter(stream, inst, regs);
        Ok(())
    }
    fn leave(&mut self, stream: usize, inst: u32) -> Result<(), Stop> {
        self.tracker.leave(stream, inst);
        Ok(())
    }
    fn unknown(&self, stream: usize, register: u32) -> bool {
        self.is_unknown(stream, register)
    }
}
