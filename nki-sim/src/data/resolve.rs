//! Operands of one execution: registers and dynamic indices become numbers, accesses become spans.

use super::{Data, PSUM, Resolved, SBUF, TENSORS};
use crate::access::Place;
use crate::code::Regs;
use crate::program::{Access, DynamicAccess, MOperand};
use crate::verify::tensor_bytes;
use nki_ir::DType;
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::{Attr, Space};
use nki_ir::op::{OobMode, Op};
use nki_ir::sem::{Arg, Columns, Rows, Span};
use nki_ir::target::{PARTITIONS, PSUM_BYTES_PER_PARTITION};

/// The integer that up to four little-endian bytes hold; floats give their raw bits.
pub(super) fn integer(bytes: &[u8], dtype: DType) -> i64 {
    let mut raw = [0u8; 8];
    raw[..bytes.len()].copy_from_slice(bytes);
    let value = i64::from_le_bytes(raw);
    let shift = 64 - 8 * bytes.len() as u32;
    if matches!(dtype, DType::I8 | DType::I16 | DType::I32) { value << shift >> shift } else { value }
}

impl Data<'_> {
    /// All operands of an instruction; `None`: an out-of-bounds index skips it.
    pub(super) fn resolve(
        &mut self,
        inst: u32,
        op: Op,
        operands: &[MOperand],
        attrs: &[Attr],
        regs: &Regs,
    ) -> Result<Option<Resolved>, Box<Diagnostic>> {
        let skip = op.row().attr("oob_mode").and_then(|i| attrs.get(i)) == Some(&Attr::Oob(OobMode::Skip));
        let mut args = smallvec::SmallVec::new();
        for (spec, o) in op.row().operands.iter().zip(operands) {
            match self.arg(inst, op, spec.name, o, regs, skip)? {
                Some(arg) => args.push(arg),
                None => return Ok(None),
            }
        }
        Ok(Some(Resolved { args }))
    }

    pub(super) fn arg(
        &mut self,
        inst: u32,
        op: Op,
        name: &str,
        o: &MOperand,
        regs: &Regs,
        skip: bool,
    ) -> Result<Option<Arg>, Box<Diagnostic>> {
        let a = match o {
            MOperand::None => return Ok(Some(Arg::None)),
            MOperand::Imm(x) => return Ok(Some(Arg::Imm(*x))),
            MOperand::Int(x) => return Ok(Some(Arg::Int(*x))),
            MOperand::Reg(r) => return Ok(Some(Arg::Int(regs.get(*r)))),
            MOperand::Access(a) => a,
        };
        let mut place = Place::new(a, regs);
        let (index, scale) = match a.dynamic.as_deref() {
            None => (0, 0),
            Some(DynamicAccess::Register { reg, scale }) => (regs.get(*reg), *scale),
            Some(DynamicAccess::Scalar { index, scale }) => {
                let values = self.indices(inst, name, index, regs)?;
                (values.first().copied().unwrap_or(0), *scale)
            }
            Some(DynamicAccess::Vector { index, scale }) => {
                let values = self.indices(inst, name, index, regs)?;
                return self.rows(inst, name, a, place, &values, *scale, skip).map(Some);
            }
            Some(DynamicAccess::Indirect { index, elements }) => {
                let values = self.rows_of(inst, name, index, regs)?;
                let base = self.span(a, &place).map_err(|what| self.out_of_bounds(inst, name, &what))?;
                let columns = Columns::new(op, base, index.partitions, &values, *elements);
                return columns.map(|c| Some(Arg::Columns(c))).map_err(|f| {
                    let d = Diagnostic::error(f.code, format!("`{name}`: {}", f.message));
                    self.at(d, inst)
                });
            }
        };
        place.base = place.base.saturating_add(index.saturating_mul(scale));
        // A negative index is outside, even where its address is not (isa.md 3.5.2).
        let span = self.span(a, &place);
        let span = if index < 0 && span.is_ok() { Err(format!("index {index}")) } else { span };
        match span {
            Ok(span) => Ok(Some(Arg::Span(span))),
            Err(_) if skip && a.dynamic.is_some() => Ok(None),
            Err(what) => Err(self.out_of_bounds(inst, name, &what)),
        }
    }

    fn out_of_bounds(&self, inst: u32, name: &str, what: &str) -> Box<Diagnostic> {
        let d = Diagnostic::error(Code::RuntimeIndex, format!("`{name}` covers {what}"));
        self.at(d.help("keep the index in range, or pass `oob_mode = skip` to a transfer"), inst)
    }

    /// The span of a place that stays inside its memory, or what it covers instead.
    fn span(&self, a: &Access, place: &Place) -> Result<Span, String> {
        let (lo, hi) = place.hull();
        if a.space == Space::Hbm {
            let object = a.object.unwrap_or(0);
            let t = self.flat.header.tensors.get(object as usize).ok_or("no tensor")?;
            let (base, end) =
                (i128::from(t.address), i128::from(t.address) + i128::from(tensor_bytes(t).unwrap_or(0)));
            if lo < base || hi > end {
                return Err(format!(
                    "bytes {}..{} of `{}`, which has {}",
                    lo - base,
                    hi - base,
                    t.name,
                    end - base
                ));
            }
            return Ok(place.span(TENSORS + object, 0, t.address));
        }
        let (mem, row) = match a.space {
            Space::Psum => (PSUM, u64::from(PSUM_BYTES_PER_PARTITION)),
            _ => (SBUF, self.sbuf_row),
        };
        let last = place.part.saturating_add(place.parts.into());
        if place.part < 0 || last > i64::from(PARTITIONS) {
            return Err(format!("partitions {}..{last} of {PARTITIONS}", place.part));
        }
        if lo < 0 || hi > i128::from(row) {
            return Err(format!("bytes {lo}..{hi} of a partition, which has {row}"));
        }
        // An index that is data stays in its own tile.
        if let (Some(_), Some(p)) =
            (&a.dynamic, a.object.and_then(|o| self.flat.header.placements.get(o as usize)))
            && (lo < p.offset.into() || hi > i128::from(p.offset) + i128::from(p.bytes))
        {
            let (lo, hi) = (lo - i128::from(p.offset), hi - i128::from(p.offset));
            return Err(format!("bytes {lo}..{hi} of a partition of `{}`, which has {}", p.name, p.bytes));
        }
        Ok(place.span(mem, row, 0))
    }

    /// The values of an index tile, down its columns (isa.md 9.6.2).
    fn indices(
        &mut self,
        inst: u32,
        name: &str,
        index: &Access,
        regs: &Regs,
    ) -> Result<Vec<i64>, Box<Diagnostic>> {
        let out = self.rows_of(inst, name, index, regs)?;
        let columns = (index.row_elements() as usize).max(1);
        Ok((0..columns).flat_map(|c| out.iter().skip(c).step_by(columns).copied()).collect())
    }

    /// The values of an index tile, row by row.
    fn rows_of(
        &mut self,
        inst: u32,
        name: &str,
        index: &Access,
        regs: &Regs,
    ) -> Result<Vec<i64>, Box<Diagnostic>> {
        let place = Place::new(index, regs);
        let span = self.span(index, &place).map_err(|what| self.out_of_bounds(inst, name, &what))?;
        self.check_written(inst, "index", &Arg::Span(span.clone()))?;
        if span.mem == super::PSUM {
            self.settle();
        }
        let bytes = &self.stores[span.mem as usize].bytes;
        let mut out = Vec::with_capacity(span.elements());
        let width = span.dtype.bytes();
        span.for_each_range(|start, len| {
            out.extend(bytes[start..start + len].chunks_exact(width).map(|b| integer(b, span.dtype)));
        });
        Ok(out)
    }

    /// Rows at the positions of an index tile. The access's outermost dimension counts the rows; its stride is not used.
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &mut self,
        inst: u32,
        name: &str,
        a: &Access,
        place: Place,
        values: &[i64],
        scale: i64,
        skip: bool,
    ) -> Result<Arg, Box<Diagnostic>> {
        let inner = Access { dims: a.dims.iter().skip(1).copied().collect(), dynamic: None, ..a.clone() };
        let mut row = Place { dims: crate::access::strides(&inner), ..place };
        let base = row.base;
        let count = a.dims.first().map_or(1, |d| d.count) as usize;
        // That of a transpose may be longer than its rows.
        let values = values.get(..count).unwrap_or(values);
        if values.len() != count {
            let d = Diagnostic::error(
                Code::DynamicIndex,
                format!("`{name}` has {count} rows, its index {} values", values.len()),
            );
            return Err(self.at(d, inst));
        }
        let mut starts = Vec::with_capacity(count);
        let mut some = None;
        for v in values {
            row.base = base.saturating_add(v.saturating_mul(scale));
            let span = self.span(a, &row);
            let span = if *v < 0 && span.is_ok() { Err(format!("row {v}")) } else { span };
            match span {
                Ok(span) => {
                    starts.push(Some(span.base));
                    some = Some(span);
                }
                Err(_) if skip => starts.push(None),
                Err(what) => return Err(self.out_of_bounds(inst, name, &what)),
            }
        }
        let row = some.unwrap_or(Span {
            mem: TENSORS + a.object.unwrap_or(0),
            base: 0,
            part_stride: 0,
            parts: 1,
            dims: row.dims,
            dtype: row.dtype,
        });
        Ok(Arg::Rows(Rows { row, starts }))
    }
}
