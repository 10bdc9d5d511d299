//! Data without time: the streams run in turn, transfers happen when they are triggered.

use crate::code::{Flat, Regs};
use crate::data::Data;
use crate::exec::{Executor, Stop, Visitor};
use crate::hazard::Tracker;
use crate::options::SimOptions;
use crate::program::{MKind, STREAM_ENGINES};
use crate::timing::{Stats, check_order};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};

struct Functional<'a> {
    flat: &'a Flat,
    data: Data<'a>,
    tracker: Option<Tracker<'a>>,
    stats: Stats,
}

/// Runs to the end; the statistics hold counts alone.
pub(crate) fn run<'a>(
    flat: &'a Flat,
    data: Data<'a>,
    tracker: Option<Tracker<'a>>,
    options: &SimOptions,
) -> Result<(Data<'a>, Stats, Option<Tracker<'a>>), Diagnostics> {
    let mut machine = Functional { flat, data, tracker, stats: Stats::new(flat.insts.len()) };
    let mut executor = Executor::new(flat, options.max_instructions);
    match executor.run(&mut machine) {
        Ok(()) => {}
        Err(Stop::Error(d)) => return Err(d),
        Err(Stop::GiveUp(why)) => {
            let d = Diagnostic::error(Code::Limit, format!("the run was given up: {why}"));
            return Err(d.help("raise `max_instructions` if the kernel is meant to run that long").into());
        }
    }
    machine.stats.total = executor.executed;
    Ok((machine.data, machine.stats, machine.tracker))
}

impl Visitor for Functional<'_> {
    fn instruction(&mut self, stream: usize, inst: u32, regs: &mut Regs) -> Result<(), Stop> {
        let resolved = self.data.prepare(inst, regs)?;
        if let Some(tracker) = &mut self.tracker {
            check_order(tracker, stream, inst, regs, resolved.as_ref())?;
        }
        match (&self.flat.insts[inst as usize].kind, &resolved) {
            (MKind::Compute { .. }, Some(r)) => self.data.compute(STREAM_ENGINES[stream], inst, r, regs)?,
            (MKind::Dma { .. }, Some(r)) => self.data.transfer(inst, r)?,
            (MKind::RegMove { reg, src }, _) => {
                let value = src.eval(regs);
                regs.set(*reg, value);
            }
            (MKind::RegLoad { .. } | MKind::RegStore { .. }, _) => self.data.register(stream, inst, regs)?,
            _ => {}
        }
        self.stats.insts[inst as usize].count += 1;
        Ok(())
    }
    fn enter(&mut self, stream: usize, inst: u32, regs: &Regs) -> Result<(), Stop> {
        if let Some(tracker) = &mut self.tracker {
            tracker.enter(stream, inst, regs);
        }
        Ok(())
    }
    fn leave(&mut self, stream: usize, inst: u32) -> Result<(), Stop> {
        if let Some(tracker) = &mut self.tracker {
            tracker.leave(stream, inst);
        }
        Ok(())
    }
    fn unknown(&self, _stream: usize, _register: u32) -> bool {
        false
    }
}
