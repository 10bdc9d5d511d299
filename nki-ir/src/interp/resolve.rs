//! From the operands of an instruction to resolved arguments: affine positions, registers, indices read at run time.

use super::machine::Machine;
use crate::dtype::DType;
use crate::kernel::{Attr, BufData, InstData, Kernel, Operand};
use crate::op::{Effect, OobMode, Op};
use crate::sem::{Arg, Columns, Rows, Span, register_value};
use crate::view::{Dim, Dynamic, Pattern, View};
use crate::{Affine, Code, Diagnostic};

/// The result of resolving an instruction.
pub(super) enum Resolved {
    Ready,
    /// A dynamic index is out of bounds and `oob_mode` is `skip`: nothing happens (isa.md 3.5.4).
    Skipped,
}

/// Why an operand cannot be resolved.
pub(super) enum Stop {
    Failed(Box<Diagnostic>),
    Skipped,
}

impl From<Diagnostic> for Stop {
    fn from(d: Diagnostic) -> Self {
        Stop::Failed(Box::new(d))
    }
}

impl Machine {
    /// Resolves the operands of `inst` into `args`.
    pub(super) fn resolve(
        &mut self,
        kernel: &Kernel,
        inst: &InstData,
        args: &mut Vec<Arg>,
    ) -> Result<Resolved, Box<Diagnostic>> {
        args.clear();
        let skips = oob_mode(inst) == OobMode::Skip;
        for (operand, spec) in inst.operands.iter().zip(inst.op.row().operands) {
            let arg = match operand {
                Operand::None => Ok(Arg::None),
                Operand::Reg(_) if spec.effect == Effect::Write => Ok(Arg::None),
                Operand::Index(a) => Ok(Arg::Int(self.value(a))),
                Operand::Imm(x) => Ok(Arg::Imm(*x)),
                Operand::Int(x) => Ok(Arg::Int(*x)),
                Operand::Reg(r) => self.register(kernel, *r).map(Arg::Int).map_err(Stop::from),
                Operand::View(v) => self.resolve_view(kernel, inst.op, v, skips),
            };
            match arg {
                Ok(arg) => args.push(arg),
                Err(Stop::Skipped) => return Ok(Resolved::Skipped),
                Err(Stop::Failed(d)) => return Err(Box::new(d.at(&kernel.locs, inst.loc))),
            }
        }
        Ok(Resolved::Ready)
    }

    fn resolve_view(&mut self, kernel: &Kernel, op: Op, view: &View, skips: bool) -> Result<Arg, Stop> {
        let buf = buffer(kernel, view)?;
        let mut pattern = pattern(view, buf)?;
        let (axis, index) = match &view.dynamic {
            None => return Ok(Arg::Span(self.span(view, buf, &pattern, 0)?)),
            Some(Dynamic::Register { reg, axis }) => {
                let index = self.register(kernel, *reg)?;
                (*axis, (index >= 0).then_some(index))
            }
            Some(Dynamic::Scalar { index, axis }) => {
                let values = self.indices(kernel, index)?;
                (*axis, values.first().copied().flatten())
            }
            Some(Dynamic::Vector { index }) => {
                let mut rows = self.indices(kernel, index)?;
                // The list of a transpose may be longer than the rows it takes (isa.md 9.6.2).
                rows.truncate(pattern.dims.first().map_or(rows.len(), |d| d.count as usize));
                return self.rows(view, buf, &mut pattern, &rows, skips);
            }
            Some(Dynamic::Indirect { index, elements }) => {
                let base = self.span(view, buf, &pattern, 0)?;
                return Ok(Arg::Columns(self.columns(kernel, op, base, buf, index, *elements)?));
            }
        };
        // The scaling uses the buffer's shape, not the view's (isa.md 3.5.1).
        let scale = row_size(buf, axis as usize).unwrap_or(i64::MAX);
        let shift = index.and_then(|i| i.checked_mul(scale));
        let span = shift.and_then(|shift| self.span(view, buf, &pattern, shift).ok());
        match span {
            Some(span) => Ok(Arg::Span(span)),
            None if skips => Err(Stop::Skipped),
            None => Err(out_of_bounds(buf, axis, index).into()),
        }
    }

    /// The elements of a view whose base is `shift` bytes further on, checked to lie in the buffer partition by partition.
    fn span(&self, view: &View, buf: &BufData, pattern: &Pattern, shift: i64) -> Result<Span, Diagnostic> {
        let Some(storage) = self.storage(view.buf) else {
            let message = format!("`{}` is used where it does not exist", buf.name);
            return Err(Diagnostic::error(Code::Escape, message));
        };
        let width = view.dtype.bytes() as i64;
        let (part, offset) = (self.value(&pattern.part), self.value(&pattern.offset));
        let outside = || {
            let at = format!("partition {part}, element {offset}");
            Diagnostic::error(
                Code::OutOfBounds,
                format!("a view of `{}` at {at} leaves the buffer", buf.name),
            )
        };
        if pattern.elements() > 0 && pattern.parts > 0 {
            let (lo, hi) = pattern.extent();
            let first = (offset as i128 + lo) * width as i128 + shift as i128;
            let end = (offset as i128 + hi + 1) * width as i128 + shift as i128;
            let parts_end = part as i128 + i128::from(pattern.parts);
            let parts = if buf.space.on_chip() { i128::from(buf.partitions()) } else { 1 };
            if first < 0 || end > storage.row_bytes as i128 || part < 0 || parts_end > parts {
                return Err(outside());
            }
        }
        let row = storage.row_bytes as u64;
        let mut span =
            Span::resolve(view.buf.0, 0, row, pattern, [part, 0], view.dtype).ok_or_else(outside)?;
        let base = span.base as i128 + offset as i128 * width as i128 + shift as i128;
        span.base = u64::try_from(base).unwrap_or(0);
        Ok(span)
    }

    /// Rows of an HBM tensor by an index tile: the leading dimension of the pattern is replaced (isa.md 3.5).
    fn rows(
        &mut self,
        view: &View,
        buf: &BufData,
        pattern: &mut Pattern,
        rows: &[Option<i64>],
        skips: bool,
    ) -> Result<Arg, Stop> {
        let leading = if pattern.dims.is_empty() { None } else { Some(pattern.dims.remove(0)) };
        if leading.map(|d| d.count as usize) != Some(rows.len()) {
            let message = format!("`{}` takes {} row indices", buf.name, rows.len());
            return Err(Diagnostic::error(Code::Shape, message).into());
        }
        let scale = row_size(buf, 0).unwrap_or(i64::MAX);
        let mut starts = Vec::with_capacity(rows.len());
        let mut shape = None;
        for (p, row) in rows.iter().enumerate() {
            let shift = row.and_then(|r| r.checked_mul(scale));
            match shift.and_then(|shift| self.span(view, buf, pattern, shift).ok()) {
                Some(span) => {
                    starts.push(Some(span.base));
                    shape = Some(span);
                }
                None if skips => starts.push(None),
                None => {
                    return Err(out_of_bounds(buf, 0, *row).note(format!("index of partition {p}")).into());
                }
            }
        }
        match shape {
            Some(row) => Ok(Arg::Rows(Rows { row, starts })),
            None => Err(Stop::Skipped),
        }
    }

    /// Columns of a tile by an index tile (isa.md 3.6).
    fn columns(
        &mut self,
        kernel: &Kernel,
        op: Op,
        base: Span,
        buf: &BufData,
        index: &View,
        elements: u32,
    ) -> Result<Columns, Diagnostic> {
        let tile = buffer(kernel, index)?;
        let span = self.span(index, tile, &pattern(index, tile)?, 0)?;
        self.check_written(kernel, &span, "index tile", None)?;
        let bytes = self.read_span(&span);
        let values: Vec<i64> = bytes
            .chunks_exact(index.dtype.bytes())
            .map(|b| {
                let mut bits = [0; 4];
                bits[..b.len()].copy_from_slice(b);
                register_value(index.dtype, u32::from_le_bytes(bits))
            })
            .collect();
        Columns::new(op, base, span.parts, &values, elements)
            .map_err(|f| Diagnostic::error(f.code, format!("`{}`: {}", buf.name, f.message)))
    }

    /// The values of an index tile, down its columns; `None` for a negative or unreadable one.
    fn indices(&mut self, kernel: &Kernel, view: &View) -> Result<Vec<Option<i64>>, Diagnostic> {
        let buf = buffer(kernel, view)?;
        if view.dynamic.is_some() || !matches!(view.dtype, DType::U32 | DType::I32) {
            let message = format!("index tile `{}` is not a plain uint32 or int32 tile", buf.name);
            return Err(Diagnostic::error(Code::DynamicIndex, message));
        }
        let span = self.span(view, buf, &pattern(view, buf)?, 0)?;
        self.check_written(kernel, &span, "index tile", None)?;
        let bytes = self.read_span(&span);
        let values = bytes.as_chunks::<4>().0;
        let columns = span.row_elements();
        let down = (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns));
        Ok(down.map(|b| index_value(view.dtype, u32::from_le_bytes(*b))).collect())
    }

    /// The value of an affine expression.
    pub(super) fn value(&self, a: &Affine) -> i64 {
        a.eval(|v| self.variable(v))
    }

    /// A static view, resolved.
    pub(super) fn static_span(&self, kernel: &Kernel, view: &View) -> Result<Span, Diagnostic> {
        let buf = buffer(kernel, view)?;
        self.span(view, buf, &pattern(view, buf)?, 0)
    }
}

/// A row index; a negative int32 is out of bounds (isa.md 3.5.2).
fn index_value(dtype: DType, bits: u32) -> Option<i64> {
    if dtype == DType::I32 { u32::try_from(bits as i32).ok().map(i64::from) } else { Some(bits.into()) }
}

/// Bytes from one index of `axis` to the next.
fn row_size(buf: &BufData, axis: usize) -> Option<i64> {
    let inner = buf.shape.get(axis + 1..).unwrap_or(&[]);
    inner.iter().try_fold(buf.dtype.bytes() as i64, |n, &d| n.checked_mul(d.into()))
}

fn buffer<'k>(kernel: &'k Kernel, view: &View) -> Result<&'k BufData, Diagnostic> {
    kernel.bufs.get(view.buf).ok_or_else(|| {
        Diagnostic::error(Code::Undefined, format!("buffer {} does not belong to this kernel", view.buf))
    })
}

fn pattern(view: &View, buf: &BufData) -> Result<Pattern, Diagnostic> {
    let mut pattern = view.pattern(buf).ok_or_else(|| {
        Diagnostic::error(Code::Form, format!("a view of `{}` does not match the buffer's rank", buf.name))
    })?;
    // An operand without free dimensions still has one element.
    if pattern.dims.is_empty() {
        pattern.dims.push(Dim { stride: 1, count: 1 });
    }
    Ok(pattern)
}

fn oob_mode(inst: &InstData) -> OobMode {
    let found = Op::row(inst.op).attr("oob_mode").and_then(|i| inst.attrs.get(i));
    if let Some(Attr::Oob(mode)) = found { *mode } else { OobMode::Error }
}

fn out_of_bounds(buf: &BufData, axis: u32, index: Option<i64>) -> Diagnostic {
    let size = buf.shape.get(axis as usize).copied().unwrap_or(0);
    let index = index.map_or("a negative index".to_string(), |i| format!("index {i}"));
    let message = format!("{index} is outside axis {axis} of `{}`, which has size {size}", buf.name);
    Diagnostic::error(Code::RuntimeIndex, message).help("keep the index in range, or pass `oob_mode = skip`")
}
