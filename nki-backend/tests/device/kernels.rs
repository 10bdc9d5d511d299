//! Kernels recorded by hand through the builder, for the tests of the device compiler.

use nki_backend::device::{CompileOptions, Compiled};
use nki_ir::kernel::{Accumulate, Bound};
use nki_ir::op::{ActFn, ReduceCmd};
use nki_ir::{
    Affine, AluOp, Attr, AxisSlice, Buf, BufData, BufKind, Builder, DType, Diagnostics, Index, Inst, Kernel,
    Loc, Op, Operand, Space, Target, Var, View,
};

/// Through the gate and the compiler.
pub fn compile(kernel: &Kernel, target: Target, options: &CompileOptions) -> Result<Compiled, Diagnostics> {
    nki_backend::device::compile(&nki_ir::verify(kernel.clone(), target)?, options)
}

/// A position: a constant plus multiples of loop variables.
pub fn at(constant: i64, terms: &[(Var, i64)]) -> Affine {
    terms.iter().fold(Affine::constant(constant), |a, &(v, k)| {
        a.add(&Affine::var(v).scale(k).expect("small")).expect("small")
    })
}

/// Builder with short spellings.
pub struct Recorder {
    pub b: Builder,
    file_line: u32,
}

impl Recorder {
    pub fn new(name: &str) -> Self {
        let mut b = Builder::new(name);
        b.kernel_mut().locs.frame(name, None);
        Recorder { b, file_line: 0 }
    }

    /// A new source line for every operation.
    pub fn loc(&mut self) -> Loc {
        self.file_line += 1;
        let line = self.file_line;
        self.b.kernel_mut().locs.loc("kernel.rs", line, 1, nki_ir::loc::Frame(0))
    }

    pub fn input(&mut self, name: &str, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.param(BufData::new(name, Space::Hbm, dtype, shape, BufKind::Input, loc))
    }

    pub fn output(&mut self, name: &str, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.param(BufData::new(name, Space::Hbm, dtype, shape, BufKind::Output, loc))
    }

    pub fn tile(&mut self, name: &str, space: Space, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        self.b.alloc(BufData::new(name, space, dtype, shape, BufKind::Private, loc))
    }

    pub fn begin(&mut self, name: &str, lo: i64, hi: i64, step: i64) -> Var {
        let loc = self.loc();
        self.b.begin_for(name, Bound::Const(lo), Bound::Const(hi), step, loc).1
    }

    pub fn end(&mut self) {
        self.b.end();
    }

    pub fn full(&self, buf: Buf) -> View {
        View::full(buf, &self.b.kernel().bufs[buf])
    }

    /// A rectangle: start and count per axis.
    pub fn part(&self, buf: Buf, axes: &[(Affine, u32)]) -> View {
        let axes = axes.iter().map(|(a, n)| AxisSlice::range(a.clone(), *n)).collect();
        View { buf, dtype: self.b.kernel().bufs[buf].dtype, index: Index::Slice(axes), dynamic: None }
    }

    pub fn op(&mut self, op: Op, operands: &[(&str, Operand)], attrs: &[(&str, Attr)]) -> Inst {
        let loc = self.loc();
        let mut data = Builder::template(op, loc);
        for (name, o) in operands {
            data.operands[op.row().operand(name).expect("operand name")] = o.clone();
        }
        for (name, a) in attrs {
            data.attrs[op.row().attr(name).expect("attribute name")] = a.clone();
        }
        self.b.inst(data)
    }

    pub fn dma(&mut self, dst: View, src: View) {
        self.op(Op::DmaCopy, &[("dst", Operand::View(dst)), ("src", Operand::View(src))], &[]);
    }

    pub fn matmul(&mut self, dst: View, stationary: View, moving: View, accumulate: Accumulate) {
        let operands = [
            ("dst", Operand::View(dst)),
            ("stationary", Operand::View(stationary)),
            ("moving", Operand::View(moving)),
        ];
        self.op(Op::NcMatmul, &operands, &[("accumulate", Attr::Accumulate(accumulate))]);
    }

    pub fn copy(&mut self, dst: View, src: View) {
        self.op(Op::TensorCopy, &[("dst", Operand::View(dst)), ("src", Operand::View(src))], &[]);
    }

    pub fn finish(self) -> Kernel {
        self.b.finish()
    }
}

fn fixed(n: i64) -> Affine {
    Affine::constant(n)
}

/// `out = x`, through SBUF in row tiles of 128 and column tiles of `columns`, with ragged tails peeled.
pub fn copy(rows: u32, cols: u32, columns: u32, dtype: DType) -> Kernel {
    let mut r = Recorder::new("copy");
    let x = r.input("x", dtype, &[rows, cols]);
    let out = r.output("out", dtype, &[rows, cols]);
    tiles(&mut r, "ri", rows, 128, |r, ri, h| {
        tiles(r, "ci", cols, columns, |r, ci, w| {
            let t = r.tile(&format!("t{h}x{w}"), Space::Sbuf, dtype, &[h, w]);
            let (full, src) = (r.full(t), r.part(x, &[(ri.clone(), h), (ci.clone(), w)]));
            r.dma(full.clone(), src);
            let dst = r.part(out, &[(ri.clone(), h), (ci, w)]);
            r.dma(dst, full);
        });
    });
    r.finish()
}

/// Calls `body` in a loop over whole tiles and once for the ragged tail.
pub fn tiles(
    r: &mut Recorder,
    name: &str,
    n: u32,
    tile: u32,
    mut body: impl FnMut(&mut Recorder, Affine, u32),
) {
    let whole = n / tile;
    if whole > 0 {
        let v = r.begin(&format!("{name}{}", r.b.kernel().vars.len()), 0, whole.into(), 1);
        body(r, at(0, &[(v, tile.into())]), tile);
        r.end();
    }
    if !n.is_multiple_of(tile) {
        body(r, fixed((whole * tile).into()), n % tile);
    }
}

/// `out[m, n] = a[k, m]ᵀ · b[k, n]` with loads at the innermost level. All sizes are multiples of the tiles 128, 128, 512 or
/// smaller than one.
pub fn naive_matmul(m: u32, k: u32, n: u32, dtype: DType) -> Kernel {
    let mut r = Recorder::new("matmul");
    let a = r.input("a", dtype, &[k, m]);
    let b = r.input("b", dtype, &[k, n]);
    let out = r.output("out", dtype, &[m, n]);
    let (tm, tn, tk) = (m.min(128), n.min(512), k.min(128));
    let mi = r.begin("mi", 0, (m / tm).into(), 1);
    let ni = r.begin("ni", 0, (n / tn).into(), 1);
    let acc = r.tile("acc", Space::Psum, DType::F32, &[tm, tn]);
    let ki = r.begin("ki", 0, (k / tk).into(), 1);
    let (sa, sb) = (r.tile("sa", Space::Sbuf, dtype, &[tk, tm]), r.tile("sb", Space::Sbuf, dtype, &[tk, tn]));
    let (fa, fb, facc) = (r.full(sa), r.full(sb), r.full(acc));
    let (mk, nk, kk) = (at(0, &[(mi, tm.into())]), at(0, &[(ni, tn.into())]), at(0, &[(ki, tk.into())]));
    let (va, vb) =
        (r.part(a, &[(kk.clone(), tk), (mk.clone(), tm)]), r.part(b, &[(kk, tk), (nk.clone(), tn)]));
    r.dma(fa.clone(), va);
    r.dma(fb.clone(), vb);
    r.matmul(facc.clone(), fa, fb, Accumulate::UnlessFirst([ki].into_iter().collect()));
    r.end();
    let res = r.tile("res", Space::Sbuf, dtype, &[tm, tn]);
    let fres = r.full(res);
    r.copy(fres.clone(), facc);
    let vout = r.part(out, &[(mk, tm), (nk, tn)]);
    r.dma(vout, fres);
    r.end();
    r.end();
    r.finish()
}

/// Blocked: the stationary block `[k, bm]` and the moving block `[k, bn]` are loaded once per block pair, in rows of 128.
pub fn blocked_matmul(m: u32, k: u32, n: u32, bm: u32, bn: u32, dtype: DType) -> Kernel {
    let mut r = Recorder::new("blocked_matmul");
    let a = r.input("a", dtype, &[k, m]);
    let b = r.input("b", dtype, &[k, n]);
    let out = r.output("out", dtype, &[m, n]);
    let kt = k / 128;
    let bi = r.begin("bi", 0, (n / bn).into(), 1);
    let sb = r.tile("sb", Space::Sbuf, dtype, &[128, kt, bn]);
    let kb = r.begin("kb", 0, kt.into(), 1);
    let dst = r.part(sb, &[(fixed(0), 128), (at(0, &[(kb, 1)]), 1), (fixed(0), bn)]);
    let src = r.part(b, &[(at(0, &[(kb, 128)]), 128), (at(0, &[(bi, bn.into())]), bn)]);
    r.dma(dst, src);
    r.end();
    let ai = r.begin("ai", 0, (m / bm).into(), 1);
    let sa = r.tile("sa", Space::Sbuf, dtype, &[128, kt, bm]);
    let ka = r.begin("ka", 0, kt.into(), 1);
    let dst = r.part(sa, &[(fixed(0), 128), (at(0, &[(ka, 1)]), 1), (fixed(0), bm)]);
    let src = r.part(a, &[(at(0, &[(ka, 128)]), 128), (at(0, &[(ai, bm.into())]), bm)]);
    r.dma(dst, src);
    r.end();
    let mi = r.begin("mi", 0, (bm / 128).into(), 1);
    let res = r.tile("res", Space::Sbuf, dtype, &[128, bn]);
    let ni = r.begin("ni", 0, (bn / 512).into(), 1);
    let acc = r.tile("acc", Space::Psum, DType::F32, &[128, 512]);
    let ki = r.begin("ki", 0, kt.into(), 1);
    let va = r.part(sa, &[(fixed(0), 128), (at(0, &[(ki, 1)]), 1), (at(0, &[(mi, 128)]), 128)]);
    let vb = r.part(sb, &[(fixed(0), 128), (at(0, &[(ki, 1)]), 1), (at(0, &[(ni, 512)]), 512)]);
    let facc = r.full(acc);
    r.matmul(facc.clone(), va, vb, Accumulate::UnlessFirst([ki].into_iter().collect()));
    r.end();
    let dst = r.part(res, &[(fixed(0), 128), (at(0, &[(ni, 512)]), 512)]);
    r.copy(dst, facc);
    r.end();
    let fres = r.full(res);
    let dst = r.part(out, &[(at(0, &[(ai, bm.into()), (mi, 128)]), 128), (at(0, &[(bi, bn.into())]), bn)]);
    r.dma(dst, fres);
    r.end();
    r.end();
    r.end();
    r.finish()
}

/// Row softmax: max, exp with bias and running sum, reciprocal, scale.
pub fn softmax(rows: u32, cols: u32) -> Kernel {
    let mut r = Recorder::new("softmax");
    let x = r.input("x", DType::F32, &[rows, cols]);
    let out = r.output("out", DType::F32, &[rows, cols]);
    tiles(&mut r, "ri", rows, 128, |r, ri, h| {
        let t = r.tile(&format!("t{h}"), Space::Sbuf, DType::F32, &[h, cols]);
        let m = r.tile(&format!("max{h}"), Space::Sbuf, DType::F32, &[h, 1]);
        let e = r.tile(&format!("exp{h}"), Space::Sbuf, DType::F32, &[h, cols]);
        let s = r.tile(&format!("sum{h}"), Space::Sbuf, DType::F32, &[h, 1]);
        let src = r.part(x, &[(ri.clone(), h), (fixed(0), cols)]);
        let (ft, fm, fe, fs) = (r.full(t), r.full(m), r.full(e), r.full(s));
        r.dma(ft.clone(), src);
        let max =
            [("op", Attr::Alu(AluOp::Maximum)), ("axis", Attr::Ints(vec![1])), ("negate", Attr::Bool(true))];
        r.op(
            Op::TensorReduce,
            &[("dst", Operand::View(fm.clone())), ("data", Operand::View(ft.clone()))],
            &max,
        );
        let operands = [
            ("dst", Operand::View(fe.clone())),
            ("data", Operand::View(ft)),
            ("bias", Operand::View(fm)),
            ("reduce_res", Operand::View(fs.clone())),
        ];
        let attrs = [
            ("op", Attr::Act(ActFn::Exp)),
            ("reduce_op", Attr::Alu(AluOp::Add)),
            ("reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce)),
        ];
        r.op(Op::Activation, &operands, &attrs);
        r.op(Op::Reciprocal, &[("dst", Operand::View(fs.clone())), ("data", Operand::View(fs.clone()))], &[]);
        let operands = [
            ("dst", Operand::View(fe.clone())),
            ("data", Operand::View(fe.clone())),
            ("operand0", Operand::View(fs)),
        ];
        r.op(Op::TensorScalar, &operands, &[("op0", Attr::Alu(AluOp::Multiply))]);
        let dst = r.part(out, &[(ri, h), (fixed(0), cols)]);
        r.dma(dst, fe);
    });
    r.finish()
}

/// A tile that every iteration updates: `out = Σ x[i]`, `turns` tiles of `[rows, cols]`.
pub fn running_sum(turns: u32, rows: u32, cols: u32) -> Kernel {
    let mut r = Recorder::new("running_sum");
    let x = r.input("x", DType::F32, &[turns.max(1), rows, cols]);
    let out = r.output("out", DType::F32, &[rows, cols]);
    let acc = r.tile("acc", Space::Sbuf, DType::F32, &[rows, cols]);
    let facc = r.full(acc);
    r.op(Op::Memset, &[("dst", Operand::View(facc.clone())), ("value", Operand::Imm(0.0))], &[]);
    let i = r.begin("i", 0, turns.into(), 1);
    let t = r.tile("t", Space::Sbuf, DType::F32, &[rows, cols]);
    let ft = r.full(t);
    let mut src = r.part(x, &[(at(0, &[(i, 1)]), 1), (fixed(0), rows), (fixed(0), cols)]);
    if let Index::Slice(axes) = &mut src.index {
        axes[0].drop = true;
    }
    r.dma(ft.clone(), src);
    let operands = [
        ("dst", Operand::View(facc.clone())),
        ("data1", Operand::View(facc.clone())),
        ("data2", Operand::View(ft)),
    ];
    r.op(Op::TensorTensor, &operands, &[("op", Attr::Alu(AluOp::Add))]);
    r.end();
    let dst = r.full(out);
    r.dma(dst, facc);
    r.finish()
}
