//! Operands whose position is known only at run time (isa.md 3.5): a register, a one-element tile, or a tile of row indices.
//! Every index is checked against its buffer before anything is touched.

use super::layout::Place;
use super::step::Tile;
use nki_ir::DType;
use nki_ir::diag::Code;
use nki_ir::op::Op;
use nki_ir::sem::{Arg, Columns, Rows, Span, register_value};

/// Where the index comes from.
#[derive(Clone, Debug)]
pub enum Index {
    /// Index of a virtual register.
    Register(usize),
    /// One value.
    Scalar(Tile),
    /// One row per value; the row replaces the leading dimension of the operand.
    Rows(Tile),
    /// Columns of the operand.
    Columns { tile: Tile, elements: u32 },
}

/// An operand at a run-time position.
#[derive(Clone, Debug)]
pub struct Dynamic {
    /// The operand at index 0 (for [`Index::Rows`]: one row of it), relative to the start of its buffer.
    pub tile: Tile,
    pub index: Index,
    /// Rows of the operand (for [`Index::Rows`]).
    pub rows: usize,
    /// Bytes per unit of the index.
    pub scale: i64,
    /// The buffer.
    pub name: String,
    pub axis: u32,
    pub size: u32,
    /// Bytes of one partition of the buffer that belong to it, and from one partition to the next (HBM: all, all).
    pub row_bytes: usize,
    pub row_stride: usize,
    /// `oob_mode` is `skip`.
    pub skip: bool,
}

/// A fault: its code and what to say.
pub type Failure = (Code, String);

impl Dynamic {
    /// Where the buffer is.
    pub fn place(&self) -> Place {
        self.tile.place
    }

    /// The operand for these index values, in memory `mem` that begins at the start of the buffer; `None`: nothing happens.
    pub fn resolve(
        &self,
        op: Op,
        mem: u32,
        offset: i64,
        values: &[Option<i64>],
    ) -> Result<Option<Arg>, Failure> {
        if let Index::Columns { tile, elements } = &self.index {
            let base = self.span(mem, offset, Some(0)).ok_or_else(|| self.outside(Some(0)))?;
            let values: Vec<i64> = values.iter().map(|v| v.unwrap_or(-1)).collect();
            let columns = Columns::new(op, base, tile.span.parts, &values, *elements);
            return columns
                .map(|c| Some(Arg::Columns(c)))
                .map_err(|f| (f.code, format!("`{}`: {}", self.name, f.message)));
        }
        if !matches!(self.index, Index::Rows(_)) {
            let value = values.first().copied().flatten();
            return match self.span(mem, offset, value) {
                Some(span) => Ok(Some(Arg::Span(span))),
                None if self.skip => Ok(None),
                None => Err(self.outside(value)),
            };
        }
        let mut starts = Vec::with_capacity(values.len());
        let mut row = None;
        for &value in values {
            match self.span(mem, offset, value) {
                Some(span) => {
                    starts.push(Some(span.base));
                    row = Some(span);
                }
                None if self.skip => starts.push(None),
                None => return Err(self.outside(value)),
            }
        }
        Ok(row.map(|row| Arg::Rows(Rows { row, starts })))
    }

    /// The span at index `value`, if all of it lies in the buffer.
    fn span(&self, mem: u32, offset: i64, value: Option<i64>) -> Option<Span> {
        let shift = value?.checked_mul(self.scale)?;
        // The static part of the address has passed the gate; the index moves it within a partition.
        let low = offset.rem_euclid(self.row_stride.max(1) as i64).checked_sub(self.tile.lead as i64)?;
        let low = low.checked_add(shift)?;
        let rows = (self.tile.span.parts.max(1) as usize - 1) * self.tile.span.part_stride as usize;
        let high = low.checked_add((self.tile.reach - rows) as i64)?;
        if low < 0 || high > self.row_bytes as i64 {
            return None;
        }
        let base = u64::try_from(offset.checked_add(shift)?).ok()?;
        Some(Span { mem, base, ..self.tile.span.clone() })
    }

    fn outside(&self, value: Option<i64>) -> Failure {
        let index = value.map_or("a negative index".to_string(), |i| format!("index {i}"));
        let message =
            format!("{index} is outside axis {} of `{}`, which has size {}", self.axis, self.name, self.size);
        (Code::RuntimeIndex, message)
    }
}

/// The values of an index tile's elements; `None` for a negative one (isa.md 3.5.2).
pub fn index_values(dtype: DType, bits: impl Iterator<Item = u32>) -> Vec<Option<i64>> {
    bits.map(|b| Some(register_value(dtype, b)).filter(|v| *v >= 0)).collect()
}
