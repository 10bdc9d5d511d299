//! Records kernels in few words.

use super::super::run::run_kernel;
use super::super::{InterpOptions, Outcome};
use crate::kernel::{Attr, BufData, BufKind, InstData, Operand, Space};
use crate::loc::{Frame, Loc};
use crate::view::{AxisSlice, Index, View};
use crate::{Affine, Buf, Builder, Code, DType, Kernel, Op, Target, Tensor, Var};

/// Records kernels with few words; every node gets its own line number.
pub struct Recorder {
    pub b: Builder,
    line: u32,
}

impl Recorder {
    pub fn new() -> Recorder {
        let mut b = Builder::new("k");
        b.kernel_mut().locs.frame("k", None);
        Recorder { b, line: 0 }
    }
    pub fn loc(&mut self) -> Loc {
        self.line += 1;
        self.b.kernel_mut().locs.loc("k.rs", self.line, 1, Frame(0))
    }
    pub fn param(&mut self, name: &str, kind: BufKind, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.param(BufData::new(name, Space::Hbm, dtype, shape, kind, loc))
    }
    pub fn tile(&mut self, name: &str, space: Space, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.alloc(BufData::new(name, space, dtype, shape, BufKind::Private, loc))
    }
    pub fn full(&self, buf: Buf) -> Operand {
        Operand::View(View::full(buf, &self.b.kernel().bufs[buf]))
    }
    pub fn inst(&mut self, op: Op, operands: &[Operand], attrs: &[(&str, Attr)]) -> InstData {
        let loc = self.loc();
        let mut data = Builder::template(op, loc);
        for (to, from) in data.operands.iter_mut().zip(operands) {
            *to = from.clone();
        }
        for (name, value) in attrs {
            data.attrs[op.row().attr(name).expect("an attribute of the row")] = value.clone();
        }
        self.b.inst(data.clone());
        data
    }
    pub fn copy(&mut self, dst: Operand, src: Operand) {
        self.inst(Op::DmaCopy, &[dst, src], &[]);
    }
}

/// `[start .. start + count]` on every axis.
pub fn slice(buf: Buf, dtype: DType, axes: &[(Affine, u32)]) -> Operand {
    let axes = axes.iter().map(|(start, count)| AxisSlice::range(start.clone(), *count)).collect();
    Operand::View(View { buf, dtype, index: Index::Slice(axes), dynamic: None })
}

pub fn at(var: Var, step: i64) -> Affine {
    Affine::var(var).scale(step).expect("small")
}

pub fn ramp(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
    Tensor::from_f32(shape, &data).expect("sizes agree")
}

pub fn floats(t: &Tensor) -> Vec<f32> {
    t.data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

pub fn run(r: Recorder, inputs: &[Tensor]) -> Result<Vec<Tensor>, Code> {
    run_with(&r.b.finish(), inputs, &InterpOptions::default()).map(|o| o.outputs)
}

/// All of an axis.
pub fn all(count: u32) -> (Affine, u32) {
    (Affine::constant(0), count)
}

pub fn run_with(k: &Kernel, inputs: &[Tensor], options: &InterpOptions) -> Result<Outcome, Code> {
    run_kernel(k, Target::Trn2, inputs, options).map_err(|d| d.first_code().expect("an error"))
}
