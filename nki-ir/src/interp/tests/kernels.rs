use super::super::{InterpOptions, run_kernel};
use crate::kernel::{Accumulate, Attr, Bound, BufData, BufKind, InstData, Operand, Space};
use crate::loc::{Frame, Loc};
use crate::view::{AxisSlice, Index, View};
use crate::{Affine, Buf, Builder, Code, DType, Kernel, Op, Target, Tensor};

/// Records kernels with few words; every node gets its own line number.
struct Recorder {
    b: Builder,
    line: u32,
}

impl Recorder {
    fn new() -> Recorder {
        let mut b = Builder::new("k");
        b.kernel_mut().locs.frame("k", None);
        Recorder { b, line: 0 }
    }
    fn loc(&mut self) -> Loc {
        self.line += 1;
        self.b.kernel_mut().locs.loc("k.rs", self.line, 1, Frame(0))
    }
    fn param(&mut self, name: &str, kind: BufKind, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.param(BufData::new(name, Space::Hbm, dtype, shape, kind, loc))
    }
    fn tile(&mut self, name: &str, space: Space, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.alloc(BufData::new(name, space, dtype, shape, BufKind::Private, loc))
    }
    fn full(&self, buf: Buf) -> Operand {
        Operand::View(View::full(buf, &self.b.kernel().bufs[buf]))
    }
    fn inst(&mut self, op: Op, operands: &[Operand], attrs: &[(&str, Attr)]) -> InstData {
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
    fn copy(&mut self, dst: Operand, src: Operand) {
        self.inst(Op::DmaCopy, &[dst, src], &[]);
    }
}

/// `[start .. start + count]` on every axis.
fn slice(buf: Buf, dtype: DType, axes: &[(Affine, u32)]) -> Operand {
    let axes = axes.iter().map(|(start, count)| AxisSlice::range(start.clone(), *count)).collect();
    Operand::View(View { buf, dtype, index: Index::Slice(axes), dynamic: None })
}

fn at(var: crate::Var, step: i64) -> Affine {
    Affine::var(var).scale(step).expect("small")
}

fn ramp(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
    Tensor::from_f32(shape, &data).expect("sizes agree")
}

fn floats(t: &Tensor) -> Vec<f32> {
    t.data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn run(r: Recorder, inputs: &[Tensor]) -> Result<Vec<Tensor>, Code> {
    run_with(&r.b.finish(), inputs, &InterpOptions::default()).map(|o| o.outputs)
}

fn run_with(k: &Kernel, inputs: &[Tensor], options: &InterpOptions) -> Result<super::super::Outcome, Code> {
    run_kernel(k, Target::Trn2, inputs, options).map_err(|d| d.first_code().expect("an error"))
}

const K: usize = 96;
const M: usize = 64;
const N: usize = 48;

/// Tiled product with three loops; the accumulating matmul overwrites in the first turn of the contraction loop.
fn matmul() -> Recorder {
    let mut r = Recorder::new();
    let a = r.param("a", BufKind::Input, DType::F32, &[K as u32, M as u32]);
    let b = r.param("b", BufKind::Input, DType::F32, &[K as u32, N as u32]);
    let c = r.param("c", BufKind::Output, DType::F32, &[M as u32, N as u32]);
    let loc = r.loc();
    let (_, mi) = r.b.begin_for("mi", Bound::Const(0), Bound::Const(2), 1, loc);
    let acc = r.tile("acc", Space::Psum, DType::F32, &[32, N as u32]);
    let (_, ki) = r.b.begin_for("ki", Bound::Const(0), Bound::Const(K as i64), 32, loc);
    let at_tile = r.tile("at", Space::Sbuf, DType::F32, &[32, 32]);
    let bt = r.tile("bt", Space::Sbuf, DType::F32, &[32, N as u32]);
    let (to, from) = (r.full(at_tile), slice(a, DType::F32, &[(at(ki, 1), 32), (at(mi, 32), 32)]));
    r.copy(to, from);
    let (to, from) = (r.full(bt), slice(b, DType::F32, &[(at(ki, 1), 32), (Affine::constant(0), N as u32)]));
    r.copy(to, from);
    let operands = [r.full(acc), r.full(at_tile), r.full(bt)];
    let mode = Accumulate::UnlessFirst([ki].into_iter().collect());
    r.inst(Op::NcMatmul, &operands, &[("accumulate", Attr::Accumulate(mode))]);
    r.b.end();
    let out = r.tile("out", Space::Sbuf, DType::F32, &[32, N as u32]);
    let operands = [r.full(out), r.full(acc)];
    r.inst(Op::TensorCopy, &operands, &[]);
    let (to, from) =
        (slice(c, DType::F32, &[(at(mi, 32), 32), (Affine::constant(0), N as u32)]), r.full(out));
    r.copy(to, from);
    r.b.end();
    r
}

#[test]
fn a_tiled_matmul_multiplies() {
    let (a, b) = (ramp(&[K, M]), ramp(&[K, N]));
    let c = run(matmul(), &[a.clone(), b.clone()]).expect("runs");
    let (a, b) = (floats(&a), floats(&b));
    // Small integers: every order of summation is exact.
    let want: Vec<f32> =
        (0..M * N).map(|i| (0..K).map(|k| a[k * M + i / N] * b[k * N + i % N]).sum::<f32>()).collect();
    assert_eq!(floats(&c[0]), want);
}
