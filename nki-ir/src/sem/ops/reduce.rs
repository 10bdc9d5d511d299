//! Reductions along the free axis: tensor_reduce (isa.md 9.3.1) and the reduce registers (section 6).

use super::super::exec::{Exec, Scalars};
use super::super::scratch::scratch;
use super::super::{Fault, Span, alu, fault, identity};
use crate::diag::Code;
use crate::op::{AluOp, Engine, ReduceCmd};

/// isa.md 9.3.1: `data` is `(P, A, R)` with `A` the elements of `dst`; folds the R values in ascending order, starting from
/// the first.
pub(super) fn tensor_reduce(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data) = (e.tile("dst")?, e.tile("data")?);
    let (kept, n) = (dst.row_elements(), data.row_elements());
    if dst.parts != data.parts || kept == 0 || n == 0 || n % kept != 0 {
        let got = format!("({}, {kept}) from ({}, {n})", dst.parts, data.parts);
        return fault(Code::Shape, format!("cannot reduce to {got}"));
    }
    let (op, negate) = (e.alu("op")?, e.flag("negate")?);
    if !op.is_reduction() {
        return fault(Code::Operator, format!("{op} is not a reduction"));
    }
    if op.is_bitvec() {
        return reduce_bits(e, op, dst, data);
    }
    e.castable(&[dst, data])?;
    let (at_once, length) = (rows_at_once(n), n / kept);
    let (mut rows, mut rest, mut out) =
        (scratch(at_once * n), scratch(at_once * (n - kept)), scratch(at_once * kept));
    for first in (0..dst.parts).step_by(at_once) {
        let count = at_once.min((dst.parts - first) as usize);
        // The first value of each group is the total to begin with.
        let (rest, out) = (&mut rest[..count * (n - kept)], &mut out[..count * kept]);
        for (p, row) in (first..).zip(rows.chunks_exact_mut(n).take(count)) {
            e.load(data, p, row);
        }
        let groups = rows[..count * n].chunks_exact(length);
        for (o, group) in out.iter_mut().zip(groups.clone()) {
            *o = group[0];
        }
        for (r, group) in rest.chunks_exact_mut((length - 1).max(1)).zip(groups) {
            r.copy_from_slice(&group[1..]);
        }
        alu::fold_rows(op, out, rest, length - 1);
        if negate {
            out.iter_mut().for_each(|o| *o = -*o);
        }
        for (p, out) in (first..).zip(out.chunks_exact(kept)) {
            e.store(dst, p, out);
        }
    }
    Ok(())
}

fn reduce_bits(e: &mut Exec, op: AluOp, dst: &Span, data: &Span) -> Result<(), Fault> {
    same_width(&[dst, data])?;
    let width = dst.dtype.bytes();
    let (kept, n) = (dst.row_elements(), data.row_elements());
    let (mut row, mut out) = (vec![0; n], vec![0; kept]);
    for p in 0..dst.parts {
        e.load_bits(data, p, &mut row);
        for (o, group) in out.iter_mut().zip(row.chunks_exact(n / kept)) {
            *o = group[1..].iter().fold(group[0], |a, &v| alu::apply_bits(op, a, v, width));
        }
        e.store_bits(dst, p, &out);
    }
    Ok(())
}

/// Bitvec operators need integers of one width (isa.md section 4 rule 7).
pub(super) fn same_width(spans: &[&Span]) -> Result<(), Fault> {
    if let Some(s) = spans.iter().find(|s| !s.dtype.is_int()) {
        return fault(Code::Dtype, format!("a bitvec operator on {}", s.dtype));
    }
    if spans.iter().any(|s| s.dtype.bytes() != spans[0].dtype.bytes()) {
        return fault(Code::Dtype, "a bitvec operator on integers of different widths");
    }
    Ok(())
}

/// Rows that are reduced side by side: as many as hide each other's latency, if they fit the second cache.
fn rows_at_once(n: usize) -> usize {
    const BYTES: usize = 256 << 10;
    if n <= BYTES / 4 / 8 { 8 } else { 1 }
}

/// What an instruction does to its engine's reduce registers, lane by lane: `acc_step` of isa.md section 6.
pub(super) struct Accumulator {
    cmd: ReduceCmd,
    op: AluOp,
}

impl Accumulator {
    pub fn begin(cmd: ReduceCmd, op: AluOp) -> Accumulator {
        Accumulator { cmd, op }
    }
    /// Loads rows of `data`, changes each by `f`, takes the results, and rounds them into `dst`.
    pub fn rows(
        &mut self,
        e: &mut Exec,
        [dst, data]: [&Span; 2],
        init: Scalars,
        mut f: impl FnMut(&Exec, u32, &mut [f32]),
    ) -> Result<(), Fault> {
        let n = dst.row_elements();
        let at_once = if self.cmd == ReduceCmd::Idle { 1 } else { rows_at_once(n) };
        let mut rows = scratch(at_once * n);
        for first in (0..dst.parts).step_by(at_once) {
            let count = at_once.min((dst.parts - first) as usize);
            let rows = &mut rows[..count * n];
            for (p, row) in (first..).zip(rows.chunks_exact_mut(n.max(1))) {
                e.load(data, p, row);
                f(e, p, row);
            }
            self.block(e, first, count, init, rows, n)?;
            for (p, row) in (first..).zip(rows.chunks_exact(n.max(1))) {
                e.store(dst, p, row);
            }
        }
        Ok(())
    }
    /// Takes the float32 results of `count` partitions from `first` on.
    fn block(
        &mut self,
        e: &mut Exec,
        first: u32,
        count: usize,
        init: Scalars,
        rows: &[f32],
        n: usize,
    ) -> Result<(), Fault> {
        let mut totals = [0.0; 8];
        let totals = &mut totals[..count];
        let mut folds = true;
        for (p, total) in (first..).zip(totals.iter_mut()) {
            let init = e.scalar(init, p, 0.0);
            match self.start(e, p, init)? {
                Some(start) => *total = start,
                None => folds = false,
            }
        }
        if !folds {
            return Ok(());
        }
        if self.cmd != ReduceCmd::Reset {
            alu::fold_rows(self.op, totals, rows, n);
        }
        (first..).zip(totals.iter()).try_for_each(|(p, total)| self.keep(e, p, *total))
    }
    /// Takes the float32 results of partition `p`. `init` is read by load_reduce.
    pub fn row(&mut self, e: &mut Exec, p: u32, init: f32, values: &[f32]) -> Result<(), Fault> {
        let Some(start) = self.start(e, p, init)? else { return Ok(()) };
        let values = if self.cmd == ReduceCmd::Reset { &[] } else { values };
        self.keep(e, p, alu::fold(self.op, start, values))
    }
    /// What a reduction of partition `p` begins with; `None` if the command leaves the register alone.
    pub fn start(&self, e: &mut Exec, p: u32, init: f32) -> Result<Option<f32>, Fault> {
        let (engine, lane) = (e.call.engine, p as usize);
        let Some(registers) = e.state.registers(engine) else { return no_registers(engine) };
        Ok(Some(match self.cmd {
            ReduceCmd::Idle => {
                // An idle VectorE instruction may disturb the register; ScalarE keeps it.
                if engine == Engine::Vector {
                    registers.defined[lane] = false;
                }
                return Ok(None);
            }
            ReduceCmd::Reset | ReduceCmd::ResetReduce => identity(self.op),
            ReduceCmd::LoadReduce => init,
            ReduceCmd::Reduce if registers.defined[lane] => registers.values[lane],
            ReduceCmd::Reduce => return undefined(engine, p),
        }))
    }
    /// Leaves `value` in the register of partition `p`.
    pub fn keep(&self, e: &mut Exec, p: u32, value: f32) -> Result<(), Fault> {
        let engine = e.call.engine;
        let Some(registers) = e.state.registers(engine) else { return no_registers(engine) };
        registers.values[p as usize] = value;
        registers.defined[p as usize] = true;
        Ok(())
    }
}

fn no_registers<T>(engine: Engine) -> Result<T, Fault> {
    fault(Code::Engine, format!("{engine} has no reduce registers"))
}

/// Writes the registers to `reduce_res`, after all of dst: the two may be the same storage.
pub(super) fn readout(e: &mut Exec, reduce_res: Option<&Span>, negate: bool) -> Result<(), Fault> {
    let Some(span) = reduce_res else { return Ok(()) };
    e.castable(&[span])?;
    for p in 0..span.parts {
        let engine = e.call.engine;
        let (value, defined) = match e.state.registers(engine) {
            Some(r) => (r.values[p as usize], r.defined[p as usize]),
            None => (0.0, false),
        };
        if !defined {
            return undefined(engine, p);
        }
        e.store(span, p, &[if negate { -value } else { value }]);
    }
    Ok(())
}

fn undefined<T>(engine: Engine, lane: u32) -> Result<T, Fault> {
    fault(Code::ReduceCmd, format!("the reduce register of lane {lane} of the {engine} engine is undefined"))
}
