//! Builders of small machine programs for tests.
#![allow(dead_code)]

use nki_ir::kernel::{Attr, BufKind, Space};
use nki_ir::loc::{Loc, LocTable};
use nki_ir::op::{DgeMode, Engine, Op};
use nki_ir::view::Dim;
use nki_ir::{ActFn, AluOp, DType, Target};
use nki_sim::program::*;
use smallvec::SmallVec;

pub fn dims(d: &[(u32, i64)]) -> Dims {
    d.iter().map(|&(count, stride)| Dim { count, stride }).collect()
}

pub fn access(space: Space, dtype: DType, p: (i64, u32), offset: i64, d: &[(u32, i64)]) -> Access {
    Access {
        space,
        dtype,
        partition: p.0.into(),
        partitions: p.1,
        offset: offset.into(),
        dims: dims(d),
        object: None,
        dynamic: None,
    }
}

/// `parts` partitions of `n` contiguous elements.
pub fn sbuf(dtype: DType, parts: u32, offset: i64, n: u32) -> Access {
    access(Space::Sbuf, dtype, (0, parts), offset, &[(n, 1)])
}
pub fn psum(dtype: DType, parts: u32, offset: i64, n: u32) -> Access {
    access(Space::Psum, dtype, (0, parts), offset, &[(n, 1)])
}
/// A row-major matrix.
pub fn hbm(dtype: DType, address: u64, rows: u32, cols: u32, pitch: i64) -> Access {
    access(Space::Hbm, dtype, (0, 1), address as i64, &[(rows, pitch), (cols, 1)])
}
pub fn tile(a: Access) -> MOperand {
    MOperand::Access(a)
}

/// Attributes of `op` at their defaults (`Attr::None` where there is none), with some replaced.
pub fn attrs(op: Op, set: &[(&str, Attr)]) -> SmallVec<[Attr; 4]> {
    let row = op.row();
    let mut out: SmallVec<[Attr; 4]> =
        row.attrs.iter().map(|a| a.default.map_or(Attr::None, |d| d())).collect();
    for (name, value) in set {
        out[row.attr(name).expect("an attribute of the row")] = value.clone();
    }
    out
}

pub fn compute(op: Op, mut operands: Vec<MOperand>, set: &[(&str, Attr)]) -> MInst {
    operands.resize(op.row().operands.len(), MOperand::None);
    let kind = MKind::Compute {
        op,
        operands,
        attrs: attrs(op, set).as_slice().into(),
        accumulate: MAccumulate::Overwrite,
    };
    inst(kind)
}
pub fn matmul(dst: Access, stationary: Access, moving: Access, add: bool) -> MInst {
    let mut i = compute(Op::NcMatmul, vec![tile(dst), tile(stationary), tile(moving)], &[]);
    if let MKind::Compute { accumulate, .. } = &mut i.kind
        && add
    {
        *accumulate = MAccumulate::Add;
    }
    i
}
pub fn activation(dst: Access, data: Access, f: ActFn) -> MInst {
    compute(Op::Activation, vec![tile(dst), tile(data)], &[("op", Attr::Act(f))])
}
pub fn tensor_tensor(dst: Access, a: Access, b: Access, op: AluOp) -> MInst {
    compute(Op::TensorTensor, vec![tile(dst), tile(a), tile(b)], &[("op", Attr::Alu(op))])
}
pub fn copy(dst: Access, src: Access) -> MInst {
    compute(Op::TensorCopy, vec![tile(dst), tile(src)], &[])
}
pub fn memset(dst: Access, value: f32) -> MInst {
    compute(Op::Memset, vec![tile(dst), MOperand::Imm(value)], &[])
}
pub fn dma(dst: Access, src: Access, queue: u8, dge: DgeMode) -> MInst {
    inst(MKind::Dma {
        op: Op::DmaCopy,
        operands: vec![tile(dst), tile(src)],
        attrs: attrs(Op::DmaCopy, &[]).as_slice().into(),
        queue,
        dge,
    })
}
pub fn sync() -> MInst {
    inst(MKind::Sync)
}
pub fn inst(kind: MKind) -> MInst {
    MInst { kind, waits: SmallVec::new(), signals: SmallVec::new(), loc: Loc(0), source: None }
}
pub fn repeat(reg: u32, lo: i64, hi: i64, body: Vec<MInst>) -> MInst {
    inst(MKind::For {
        reg: SeqReg(reg),
        lo: MBound::Const(lo),
        hi: MBound::Const(hi),
        step: 1,
        max: None,
        body,
    })
}

pub trait InstExt: Sized {
    fn wait(self, sem: u32, at_least: i64) -> Self;
    fn wait_affine(self, sem: u32, at_least: RegAffine) -> Self;
    fn signal(self, sem: u32, add: u32) -> Self;
    fn at(self, line: u32) -> Self;
}
impl InstExt for MInst {
    fn wait(self, sem: u32, at_least: i64) -> Self {
        self.wait_affine(sem, at_least.into())
    }
    fn wait_affine(mut self, sem: u32, at_least: RegAffine) -> Self {
        self.waits.push(Wait { sem: Sem(sem), at_least });
        self
    }
    fn signal(mut self, sem: u32, add: u32) -> Self {
        self.signals.push(Signal { sem: Sem(sem), add });
        self
    }
    fn at(mut self, line: u32) -> Self {
        self.loc = Loc(line);
        self
    }
}

/// `constant + Σ coefficient · register`.
pub fn affine(constant: i64, terms: &[(u32, i64)]) -> RegAffine {
    RegAffine { constant, terms: terms.iter().map(|&(r, c)| (SeqReg(r), c)).collect() }
}

pub fn tensor(name: &str, kind: BufKind, dtype: DType, shape: &[u32], address: u64) -> HbmTensor {
    HbmTensor { name: name.into(), kind, dtype, shape: shape.into(), address }
}

/// A program whose location `n` is line `n` of `k.rs`.
pub fn program(target: Target) -> Program {
    let mut locs = LocTable::default();
    let frame = locs.frame("k", None);
    for line in 0..64 {
        locs.loc("k.rs", line, 5, frame);
    }
    Program {
        name: "k".into(),
        target,
        tensors: vec![],
        placements: vec![],
        streams: Default::default(),
        semaphores: 16,
        registers: [8; 5],
        locs,
    }
}

pub fn stream(p: &mut Program, e: Engine) -> &mut Vec<MInst> {
    let i = STREAM_ENGINES.iter().position(|x| *x == e).expect("an engine with a stream");
    &mut p.streams[i]
}
