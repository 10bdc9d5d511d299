//! What the value layer is written in: instructions on values whose dtype and memory are data, so that each lowering exists
//! once and not once per dtype.

use crate::elem::Elem;
use crate::space::Memory;
use crate::tensor::Tensor;
use crate::trace::{self, Place, Session, TraceId, error};
use nki_ir::kernel::Attr;
use nki_ir::{AxisSlice, Code, DType, Dim, Engine, Index, Op, Operand, Space, View};

/// A tensor without its type parameters.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub view: u32,
    pub dtype: DType,
    pub space: Space,
}

/// The operand of a value operation: a tensor or a number.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    Tensor(TraceId, Value),
    Float(f32),
    Int(i32),
}

impl<T: Elem, M: Memory> Tensor<T, M> {
    pub(crate) fn value(&self) -> Value {
        Value { view: self.view, dtype: T::DTYPE, space: M::SPACE }
    }
}

/// Records one value operation: every instruction of it has the same place.
pub(crate) struct Recorder<'s> {
    pub s: &'s mut Session,
    pub place: Place,
}

/// Runs `f` on the trace `id`.
pub(crate) fn record<R>(id: TraceId, place: Place, f: impl FnOnce(&mut Recorder) -> R) -> R {
    trace::with(id, place, |s| f(&mut Recorder { s, place }))
}

impl Recorder<'_> {
    pub fn shape(&self, v: Value) -> Vec<u32> {
        self.s.shape(v.view)
    }
    /// Partitions of a value on chip.
    pub fn partitions(&self, v: Value) -> u32 {
        self.shape(v).first().copied().unwrap_or(0)
    }
    /// Elements per partition.
    pub fn row(&self, v: Value) -> u64 {
        self.shape(v).iter().skip(1).map(|&d| u64::from(d)).product()
    }
    /// One element per partition.
    pub fn is_column(&self, v: Value) -> bool {
        self.row(v) == 1
    }
    pub fn name(&self, v: Value) -> String {
        self.s.name_of(v.view).to_string()
    }
    pub fn report(&mut self, code: Code, message: String, help: &str) {
        self.s.report(self.place, error(code, message).help(help));
    }

    pub fn alloc(&mut self, stem: &str, space: Space, dtype: DType, shape: &[u32]) -> Value {
        let view = self.s.alloc(stem, space, dtype, shape, self.place);
        Value { view, dtype, space }
    }
    /// A fresh SBUF tile.
    pub fn tile(&mut self, stem: &str, dtype: DType, shape: &[u32]) -> Value {
        self.alloc(stem, Space::Sbuf, dtype, shape)
    }
    /// A fresh float32 column in SBUF.
    pub fn column(&mut self, stem: &str, partitions: u32) -> Value {
        self.tile(stem, DType::F32, &[partitions, 1])
    }
    pub fn operand(&self, v: Value) -> Operand {
        Operand::View(self.s.view(v.view).clone())
    }

    /// Starts an instruction with its leading operands; absent optional ones are `None`.
    pub fn inst(&mut self, op: Op, operands: &[Value]) -> Instruction<'_> {
        let serial = self.s.start(op, self.place);
        let views: Vec<Operand> = operands.iter().map(|&v| self.operand(v)).collect();
        if let Some(inst) = self.s.pending(serial) {
            for (slot, view) in inst.operands.iter_mut().zip(views) {
                *slot = view;
            }
        }
        Instruction { s: self.s, serial }
    }

    /// `v` itself if it is in SBUF, else a copy there.
    pub fn in_sbuf(&mut self, v: Value) -> Value {
        if v.space == Space::Sbuf { v } else { self.copy("copy", v, v.dtype) }
    }
    /// A copy in SBUF with another dtype.
    pub fn copy(&mut self, stem: &str, v: Value, dtype: DType) -> Value {
        let shape = self.shape(v);
        let out = self.tile(stem, dtype, &shape);
        self.inst(Op::TensorCopy, &[out, v]);
        out
    }
    /// `v` itself if it is float32, else a float32 copy: what per-partition operands of arithmetic must be (G10).
    pub fn as_f32(&mut self, v: Value) -> Value {
        if v.dtype == DType::F32 { v } else { self.copy("copy", v, DType::F32) }
    }

    /// `v` with free dimensions of size 1 repeated (stride 0) to `shape`, which has the same rank.
    pub fn broadcast_free(&mut self, v: Value, shape: &[u32]) -> Value {
        let own = self.shape(v);
        if own[1..] == shape[1..] {
            return v;
        }
        let view = self.s.view(v.view).clone();
        let Some(mut pattern) = view.pattern(self.s.buf_of(v.view)) else { return v };
        pattern.dims = (own[1..].iter().zip(&pattern.dims).zip(&shape[1..]))
            .map(|((&n, d), &wanted)| if n == wanted { *d } else { Dim { stride: 0, count: wanted } })
            .collect();
        let view = self.s.push_view(View { index: Index::Pattern(pattern), ..view });
        Value { view, ..v }
    }

    /// The columns `start .. start + count` of a rank-2 slice.
    pub fn columns(&mut self, v: Value, start: u32, count: u32) -> Value {
        let view = self.s.view(v.view).clone();
        let buf = self.s.buf_of(v.view).clone();
        let index = match &view.index {
            Index::Slice(axes) if axes.len() == 2 => {
                let mut axes = axes.clone();
                let offset = i64::from(start) * i64::from(axes[1].step);
                let from = axes[1].start.add_constant(offset).unwrap_or_default();
                axes[1] = AxisSlice { start: from, count, step: axes[1].step, drop: false };
                Index::Slice(axes)
            }
            _ => {
                let Some(mut p) = view.pattern(&buf) else { return v };
                if let Some(d) = p.dims.first_mut() {
                    p.offset = p.offset.add_constant(d.stride * i64::from(start)).unwrap_or_default();
                    d.count = count;
                }
                Index::Pattern(p)
            }
        };
        let view = self.s.push_view(View { index, ..view });
        Value { view, ..v }
    }

    /// `v`, of one partition, repeated over `partitions` by a product with a row of ones, which is exact; `v` itself if it
    /// already has as many (isa.md section 10).
    pub fn broadcast_partitions(&mut self, v: Value, partitions: u32) -> Value {
        if self.partitions(v) == partitions {
            return v;
        }
        // The tensor engine multiplies floats of equal width; integers of 16 bits are exact in float32.
        let moving = match v.dtype {
            DType::F32 | DType::BF16 | DType::F16 => self.in_sbuf(v),
            _ => {
                let sbuf = self.in_sbuf(v);
                self.as_f32(sbuf)
            }
        };
        let flat = self.flat_row(moving);
        let width = self.row(flat) as u32;
        let ones = self.tile("ones", moving.dtype, &[1, partitions]);
        self.memset(ones, 1.0);
        let shape: Vec<u32> = [partitions].into_iter().chain(self.shape(v).into_iter().skip(1)).collect();
        let out = self.tile("broadcast", v.dtype, &shape);
        let flat_out = self.flat_row(out);
        for start in (0..width).step_by(512) {
            let count = (width - start).min(512);
            let bank = self.alloc("broadcast_psum", Space::Psum, DType::F32, &[partitions, count]);
            let part = self.columns(flat, start, count);
            self.inst(Op::NcMatmul, &[bank, ones, part]).flag("is_stationary_onezero");
            let into = self.columns(flat_out, start, count);
            self.inst(Op::TensorCopy, &[into, bank]);
        }
        out
    }

    /// A view of `v` with one free dimension; a copy if its free dimensions do not merge.
    pub fn flat_row(&mut self, v: Value) -> Value {
        let shape = self.shape(v);
        if shape.len() == 2 {
            return v;
        }
        let view = self.s.view(v.view).clone();
        let Some(mut pattern) = view.pattern(self.s.buf_of(v.view)) else { return v };
        let merged = pattern.merged();
        match merged.as_slice() {
            [] => pattern.dims = [Dim { stride: 1, count: 1 }].into_iter().collect(),
            [one] => pattern.dims = [*one].into_iter().collect(),
            _ => {
                let copy = self.copy("flat", v, v.dtype);
                return self.flat_row(copy);
            }
        }
        let view = self.s.push_view(View { index: Index::Pattern(pattern), ..view });
        Value { view, ..v }
    }

    pub fn memset(&mut self, dst: Value, value: f64) {
        let value = match dst.dtype.is_int() && value.fract() == 0.0 && value.abs() < 2f64.powi(63) {
            true => Operand::Int(value as i64),
            false => Operand::Imm(value as f32),
        };
        self.inst(Op::Memset, &[dst]).operand("value", value);
    }
}

/// An instruction being recorded; see [`crate::isa::Inst`] for the public one.
pub(crate) struct Instruction<'s> {
    s: &'s mut Session,
    serial: u32,
}

impl Instruction<'_> {
    pub fn operand(self, name: &'static str, operand: Operand) -> Self {
        if let Some(inst) = self.s.pending(self.serial) {
            let at = inst.op.row().operand(name).expect("lowerings name operands of the op table");
            inst.operands[at] = operand;
        }
        self
    }
    pub fn attr(self, name: &'static str, attr: Attr) -> Self {
        if let Some(inst) = self.s.pending(self.serial) {
            let at = inst.op.row().attr(name).expect("lowerings name attributes of the op table");
            inst.attrs[at] = attr;
        }
        self
    }
    pub fn flag(self, name: &'static str) -> Self {
        self.attr(name, Attr::Bool(true))
    }
    pub fn engine(self, engine: Engine) -> Self {
        if let Some(inst) = self.s.pending(self.serial) {
            inst.engine = engine;
        }
        self
    }
}
