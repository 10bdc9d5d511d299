//! Matrices as instructions see them: rows and columns of a tile or of a tensor.

use crate::host::layout::Layout;
use nki_ir::affine::Affine;
use nki_ir::{Buf, DType, Kernel, Var, View};

/// A two-dimensional view. Byte addresses: `part · row + free` within the buffer, plus `row` and `col` per step.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub buf: Buf,
    pub dtype: DType,
    /// First partition (0 in HBM).
    pub part: Affine,
    /// First byte, within a partition on chip.
    pub free: Affine,
    pub rows: u32,
    pub cols: u32,
    pub row: i64,
    pub col: i64,
}

impl Access {
    /// The view as a matrix, if it is one.
    pub fn of(kernel: &Kernel, layout: &Layout, view: &View) -> Option<Access> {
        let data = &kernel.bufs[view.buf];
        if view.dynamic.is_some() || view.dtype != data.dtype {
            return None;
        }
        let pattern = view.pattern(data)?;
        let size = view.dtype.bytes() as i64;
        let free = pattern.offset.scale(size)?;
        let base = Access {
            buf: view.buf,
            dtype: view.dtype,
            part: pattern.part.clone(),
            free,
            rows: pattern.parts,
            cols: 1,
            row: layout.row_stride(view.buf) as i64,
            col: size,
        };
        if !data.space.on_chip() {
            let [r, c] = pattern.dims.as_slice() else { return None };
            return Some(Access {
                rows: r.count,
                row: r.stride.checked_mul(size)?,
                cols: c.count,
                col: c.stride.checked_mul(size)?,
                ..base
            });
        }
        match pattern.merged().as_slice() {
            [] => Some(base),
            [c] => Some(Access { cols: c.count, col: c.stride.checked_mul(size)?, ..base }),
            _ => None,
        }
    }

    /// Whether this is the whole of its tile.
    pub fn is_whole(&self, kernel: &Kernel) -> bool {
        let data = &kernel.bufs[self.buf];
        self.part.as_constant() == Some(0)
            && self.free.as_constant() == Some(0)
            && data.space.on_chip()
            && self.rows == data.partitions()
            && u64::from(self.cols) == data.row_elements()
            && (self.col == self.dtype.bytes() as i64 || self.cols == 1)
    }

    /// Byte of element (0, 0) within the buffer.
    pub fn base(&self) -> Option<Affine> {
        self.part.scale(self.row)?.add(&self.free)
    }
}

/// A counted loop with constant bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turns {
    pub var: Var,
    pub lo: i64,
    pub step: i64,
    pub count: u64,
}

/// `a` with `value` in place of `var`.
pub fn substitute(a: &Affine, var: Var, value: &Affine) -> Option<Affine> {
    let c = a.coefficient(var);
    a.add(&Affine::var(var).scale(c.checked_neg()?)?)?.add(&value.scale(c)?)
}

/// A tile filled from a tensor: the whole of `to` at once, or, in the turns of a loop, a strip of it.
#[derive(Clone, Debug)]
pub struct Load {
    pub to: Access,
    pub from: Access,
    pub turns: Option<Turns>,
}

impl Load {
    /// Where what `read` finds in the tile comes from.
    pub fn forward(&self, kernel: &Kernel, read: &Access) -> Option<Access> {
        let (to, from) = (&self.to, &self.from);
        let first = u32::try_from(read.part.as_constant()?).ok()?;
        let rows_inside = first.checked_add(read.rows).is_some_and(|end| end <= to.rows);
        if to.part.as_constant() != Some(0) || !rows_inside || to.col <= 0 || read.col % to.col != 0 {
            return None;
        }
        let mut free = read.free.clone();
        let mut source = from.base()?;
        if let Some(turns) = self.turns {
            // The turn that wrote it: as many strips as fit before it.
            let width = to.free.coefficient(turns.var).checked_mul(turns.step)?;
            let to_first = substitute(&to.free, turns.var, &Affine::constant(turns.lo))?;
            let distance = free.add(&to_first.scale(-1)?)?;
            if width <= 0 {
                return None;
            }
            let mut turn = Affine::constant(distance.offset().div_euclid(width));
            for &(v, c) in distance.terms() {
                if c % width == 0 {
                    turn = turn.add(&Affine::var(v).scale(c / width)?)?;
                }
            }
            let (low, high) = bounds(kernel, &turn)?;
            if low < 0 || high >= i128::from(turns.count) {
                return None;
            }
            free = distance.add(&turn.scale(width)?.scale(-1)?)?;
            let value = turn.scale(turns.step)?.add_constant(turns.lo)?;
            source = substitute(&source, turns.var, &value)?;
        } else {
            free = free.add(&to.free.scale(-1)?)?;
        }
        // The column within the strip.
        let (low, high) = bounds(kernel, &free)?;
        let end = high + i128::from(read.col) * (i128::from(read.cols) - 1);
        if low < 0 || read.col < 0 || end > i128::from(to.col) * (i128::from(to.cols) - 1) {
            return None;
        }
        let columns = free.terms().iter().map(|t| t.1).chain([free.offset()]);
        if columns.into_iter().any(|c| c % to.col != 0) {
            return None;
        }
        let mut column = Affine::constant(free.offset() / to.col);
        for &(v, c) in free.terms() {
            column = column.add(&Affine::var(v).scale(c / to.col)?)?;
        }
        let rows = from.row.checked_mul(first.into())?;
        Some(Access {
            buf: from.buf,
            dtype: from.dtype,
            part: Affine::constant(0),
            free: source.add(&column.scale(from.col)?)?.add_constant(rows)?,
            rows: read.rows,
            cols: read.cols,
            row: from.row,
            col: from.col.checked_mul(read.col / to.col)?,
        })
    }
}

/// Smallest and largest value over all turns of all loops.
fn bounds(kernel: &Kernel, a: &Affine) -> Option<(i128, i128)> {
    let mut known = true;
    let range = a.bounds(|v| {
        kernel.var_range(v).unwrap_or_else(|| {
            known = false;
            (0, 0)
        })
    });
    known.then_some(range)
}
