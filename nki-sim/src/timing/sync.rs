//! Waits and signals of all instructions, close together: an instruction itself takes kilobytes, and a run that fetches it
//! for its waits spends its time on that.

use crate::code::{Flat, Regs};
use crate::program::{RegAffine, Sem, SeqReg, Signal};
use std::ops::Range;

/// What an instruction waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Await {
    pub sem: Sem,
    /// Value without the terms.
    constant: i64,
    terms: [u32; 2],
}

#[derive(Clone, Debug, Default)]
pub(super) struct SyncTable {
    /// Per instruction: where its waits and signals begin; those of the next one end them.
    starts: Vec<[u32; 2]>,
    waits: Vec<Await>,
    terms: Vec<(SeqReg, i64)>,
    signals: Vec<Signal>,
}

impl SyncTable {
    pub fn new(flat: &Flat) -> SyncTable {
        let mut table = SyncTable::default();
        for inst in &flat.insts {
            table.starts.push([table.waits.len() as u32, table.signals.len() as u32]);
            for w in &inst.waits {
                let RegAffine { constant, terms } = &w.at_least;
                let from = table.terms.len() as u32;
                table.terms.extend(terms.iter().copied());
                let terms = [from, table.terms.len() as u32];
                table.waits.push(Await { sem: w.sem, constant: *constant, terms });
            }
            table.signals.extend(inst.signals.iter().copied());
        }
        table.starts.push([table.waits.len() as u32, table.signals.len() as u32]);
        table
    }

    fn range(&self, inst: u32, which: usize) -> Range<usize> {
        let [from, to] = [inst as usize, inst as usize + 1].map(|i| self.starts[i][which] as usize);
        from..to
    }
    pub fn waits(&self, inst: u32) -> &[Await] {
        &self.waits[self.range(inst, 0)]
    }
    pub fn signals(&self, inst: u32) -> &[Signal] {
        &self.signals[self.range(inst, 1)]
    }
    /// The value that is waited for.
    pub fn at_least(&self, w: &Await, regs: &Regs) -> i64 {
        let terms = &self.terms[w.terms[0] as usize..w.terms[1] as usize];
        terms.iter().fold(w.constant, |s, t| s.saturating_add(t.1.saturating_mul(regs.get(t.0))))
    }
}
