//! Statements of the tensor engine: products with the contraction in one piece, unrolled or in a loop, and transposes.

use super::INPUT_RANGE;
use super::state::{Gen, Tile, attr, set};
use super::views::Sel;
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::{Accumulate, Attr, Operand, Space};
use crate::op::{AluOp, Engine, Op};
use crate::target::Gen as Generation;
use crate::view::{AxisSlice, View};
use smallvec::SmallVec;

/// Sizes of a product `(k, m)ᵀ · (k, n)`.
#[derive(Clone, Copy)]
struct Sizes {
    k: u32,
    m: u32,
    n: u32,
}

impl Gen<'_> {
    pub fn matmul(&mut self) {
        let dtype = self.rng.pick(&[DType::F32, DType::BF16, DType::BF16, DType::F16, DType::F8E4M3]);
        let sizes = Sizes { k: self.parts(), m: self.parts(), n: self.free() };
        if !self.psum_room(sizes.n, DType::F32) || !self.room() {
            return self.compute();
        }
        match self.rng.below(10) {
            0..3 => self.product_of_tiles(dtype, sizes),
            3..6 => self.unrolled(dtype, sizes),
            6 if self.o.max_partitions == 128 => self.array_tile(dtype, sizes),
            _ => self.looped(dtype, sizes),
        }
    }

    pub fn multiply(&mut self, dst: View, stationary: View, moving: View, accumulate: Accumulate) {
        let mut data = self.new_inst(Op::NcMatmul);
        set(&mut data, "dst", Operand::View(dst));
        set(&mut data, "stationary", Operand::View(stationary));
        set(&mut data, "moving", Operand::View(moving));
        attr(&mut data, "accumulate", Attr::Accumulate(accumulate));
        self.b.inst(data);
    }

    /// A readable view of `k` partitions from partition 0 and `n` columns, in SBUF and of a dtype that multiplies with `d`.
    fn factor_tile(&mut self, k: u32, n: u32, d: DType) -> Sel {
        let wide = |d: DType| matches!(d, DType::F32 | DType::TF32);
        let ok = |t: &Tile| {
            t.space == Space::Sbuf
                && t.parts() == k
                && t.row() >= n
                && t.dtype.is_float()
                && t.dtype != DType::F8E4M3FN
                && wide(t.dtype) == wide(d)
        };
        let fitting = self.tiles_where(ok);
        if let (Some(t), true) = (self.rng.choose(&fitting), self.rng.percent(70))
            && let Some(sel) = self.view_of(t, k, n, false)
            && starts_at_zero(&sel.view)
        {
            return sel;
        }
        let t = self.load_as(d, &[k, n]);
        self.full(t)
    }

    /// One product; sometimes in two halves of the columns.
    fn product_of_tiles(&mut self, dtype: DType, Sizes { k, m, n }: Sizes) {
        let s = self.factor_tile(k, m, dtype);
        let v = self.factor_tile(k, n, dtype);
        let hi = self.read(s.tile) * self.read(v.tile) * f64::from(k);
        let acc = {
            let d = self.acc_dtype();
            self.alloc(Space::Psum, d, &[m, n])
        };
        let dst = self.full(acc);
        if n > 1 && v.free.len() == 1 && self.rng.percent(25) {
            let cut = self.rng.range(1, n - 1);
            for (from, count) in [(0, cut), (cut, n - cut)] {
                let (to, part) = (columns(&dst.view, from, count), self.columns_of(&v, from, count));
                self.multiply(to, s.view.clone(), part, Accumulate::Overwrite);
            }
        } else {
            self.multiply(dst.view, s.view, v.view, Accumulate::Overwrite);
        }
        self.wrote(acc, hi);
        self.finish(acc);
    }

    /// A product on a quarter of the array, into part of a tile that was filled before.
    fn array_tile(&mut self, dtype: DType, Sizes { k, m, n }: Sizes) {
        let (k, m) = (k.min(64), m.min(64));
        let (row, col) = (self.rng.pick(&[0, 64]), self.rng.pick(&[0, 64]));
        let acc = self.alloc(Space::Psum, DType::F32, &[128, n]);
        self.fill(acc);
        let rows = |g: &mut Self, columns: u32| {
            let t = g.load_as(dtype, &[128, columns]);
            g.read(t);
            part(&g.full(t).view, row, k)
        };
        let (stationary, moving) = (rows(self, m), rows(self, n));
        let mut data = self.new_inst(Op::NcMatmul);
        set(&mut data, "dst", Operand::View(part(&self.full(acc).view, col, m)));
        set(&mut data, "stationary", Operand::View(stationary));
        set(&mut data, "moving", Operand::View(moving));
        attr(&mut data, "accumulate", Attr::Accumulate(Accumulate::Overwrite));
        attr(&mut data, "tile_position", Attr::Ints(vec![row.into(), col.into()]));
        attr(&mut data, "tile_size", Attr::Ints(vec![64, 64]));
        self.b.inst(data);
        self.wrote(acc, f64::from(k) * INPUT_RANGE * INPUT_RANGE);
        self.finish(acc);
    }

    /// Columns of a view whose free axis is one dimension.
    fn columns_of(&self, v: &Sel, from: u32, count: u32) -> View {
        match &v.view.index {
            crate::view::Index::Slice(_) => columns(&v.view, from, count),
            crate::view::Index::Pattern(p) => {
                let mut p = p.clone();
                let shift = i64::from(from) * p.dims[0].stride;
                p.offset = p.offset.add_constant(shift).expect("indices of generated tiles are small");
                p.dims[0].count = count;
                View { index: crate::view::Index::Pattern(p), ..v.view.clone() }
            }
        }
    }

    /// Two or three pieces of the contraction, added up.
    fn unrolled(&mut self, dtype: DType, Sizes { k, m, n }: Sizes) {
        let acc = {
            let d = self.acc_dtype();
            self.alloc(Space::Psum, d, &[m, n])
        };
        let mut hi = 0.0;
        for i in 0..self.rng.range(2, 3) {
            // The last piece may be shorter.
            let k = if i > 0 { self.rng.range(1, k) } else { k };
            let s = self.factor_tile(k, m, dtype);
            let v = self.factor_tile(k, n, dtype);
            hi += self.read(s.tile) * self.read(v.tile) * f64::from(k);
            let accumulate = if i == 0 { Accumulate::Overwrite } else { Accumulate::Add };
            let dst = self.full(acc).view;
            self.multiply(dst, s.view, v.view, accumulate);
        }
        self.wrote(acc, hi);
        self.finish(acc);
    }

    /// A loop over the contraction with a ragged tail, reading both factors from HBM.
    fn looped(&mut self, dtype: DType, Sizes { k, m, n }: Sizes) {
        let turns = self.rng.range(1, 4);
        let tail = if self.rng.percent(50) { self.rng.below(k) } else { 0 };
        let depth = turns * k + tail;
        let two = self.rng.percent(30);
        let lhs = self.input(dtype, &[depth, m]);
        let rhs = self.input(dtype, &[depth, n]);
        let acc = {
            let d = self.acc_dtype();
            self.alloc(Space::Psum, d, &[m, n])
        };
        let step = i64::from(k);
        // One loop over the rows, or two that split the turns.
        let outer = if two { Some(self.open_loop(0, i64::from(turns) * step, step)) } else { None };
        let inner = match outer {
            Some(_) => self.open_loop(3, 4, 1),
            None => self.open_loop(0, i64::from(turns) * step, step),
        };
        let row = outer.unwrap_or(inner);
        let vars = outer.iter().map(|l| l.var).chain([inner.var]).collect::<SmallVec<[_; 2]>>();
        self.piece(acc, (lhs, rhs), Affine::var(row.var), Sizes { k, m, n }, Accumulate::UnlessFirst(vars));
        self.close_loop();
        if outer.is_some() {
            self.close_loop();
        }
        if tail > 0 {
            let start = Affine::constant((turns * k).into());
            self.piece(acc, (lhs, rhs), start, Sizes { k: tail, m, n }, Accumulate::Add);
        }
        self.wrote(acc, f64::from(depth) * INPUT_RANGE * INPUT_RANGE);
        self.finish(acc);
    }

    /// Loads rows `start ..` of both factors and multiplies them.
    fn piece(&mut self, acc: usize, (lhs, rhs): (Buf, Buf), start: Affine, s: Sizes, accumulate: Accumulate) {
        let load = |g: &mut Self, buf: Buf, n: u32| {
            let dtype = g.b.kernel().bufs[buf].dtype;
            let t = g.alloc(Space::Sbuf, dtype, &[s.k, n]);
            let rows = AxisSlice::range(start.clone(), s.k);
            let (to, from) = (g.full(t).view, g.hbm(buf, [rows, AxisSlice::range(Affine::constant(0), n)]));
            g.dma(to, from);
            g.wrote(t, INPUT_RANGE);
            g.read(t);
            g.full(t).view
        };
        let (stationary, moving) = (load(self, lhs, s.m), load(self, rhs, s.n));
        let dst = self.full(acc).view;
        self.multiply(dst, stationary, moving, accumulate);
    }

    /// Copies a product out of PSUM, unless a later statement is to read it there.
    pub fn finish(&mut self, acc: usize) {
        if self.rng.percent(70) {
            let t = self.evict(acc);
            self.tame(t);
        }
    }

    /// `nc_transpose` of a tile on either engine, or a matmul with an identity.
    pub fn transpose(&mut self) {
        let n = self.free().min(128);
        let small = self.rng.percent(40);
        let (parts, n) = if small { (self.parts().min(32), n.min(32)) } else { (self.parts(), n) };
        let dtype = self.float_dtype();
        let fitting = self.tiles_where(|t| t.space == Space::Sbuf && t.dtype == dtype && t.parts() >= parts);
        let src = match self.rng.choose(&fitting) {
            Some(t) => self.view_of(t, parts, n, true),
            None => None,
        };
        let src = match src.filter(|s| starts_at_zero(&s.view)) {
            Some(src) => src,
            None => {
                let t = self.load_as(dtype, &[parts, n]);
                self.full(t)
            }
        };
        let on_tensor = !small || self.rng.percent(50);
        if on_tensor && !self.psum_room(parts, DType::F32) {
            return;
        }
        let hi = self.read(src.tile);
        let space = if on_tensor { Space::Psum } else { Space::Sbuf };
        if on_tensor && self.gen3() && self.rng.percent(30) {
            return self.transpose_by_identity(src, hi);
        }
        let dst = self.alloc(space, dtype, &[n, parts]);
        let mut data = self.new_inst(Op::NcTranspose);
        self.ask(&mut data, &[if on_tensor { Engine::Tensor } else { Engine::Vector }]);
        set(&mut data, "dst", Operand::View(self.full(dst).view));
        set(&mut data, "data", Operand::View(src.view));
        self.b.inst(data);
        self.wrote(dst, hi);
    }

    fn transpose_by_identity(&mut self, src: Sel, hi: f64) {
        let dtype = src.view.dtype;
        let k = src.parts;
        let ones = self.alloc(Space::Sbuf, dtype, &[k, k]);
        let mut data = self.new_inst(Op::Memset);
        set(&mut data, "dst", Operand::View(self.full(ones).view));
        set(&mut data, "value", Operand::Imm(1.0));
        self.b.inst(data);
        self.wrote(ones, 1.0);
        self.read(ones);
        let identity = self.alloc(Space::Sbuf, dtype, &[k, k]);
        let mut data = self.new_inst(Op::AffineSelect);
        set(&mut data, "dst", Operand::View(self.full(identity).view));
        set(&mut data, "on_true_tile", Operand::View(self.full(ones).view));
        attr(&mut data, "pattern", Attr::Pairs(vec![[-1, k.into()]]));
        attr(&mut data, "channel_multiplier", Attr::Int(1));
        attr(&mut data, "on_false_value", Attr::F32(0.0));
        attr(&mut data, "cmp_op", Attr::Alu(AluOp::Equal));
        self.b.inst(data);
        self.wrote(identity, 1.0);
        self.read(identity);
        let dst = self.alloc(Space::Psum, dtype, &[src.n(), k]);
        let mut data = self.new_inst(Op::NcMatmul);
        set(&mut data, "dst", Operand::View(self.full(dst).view));
        set(&mut data, "stationary", Operand::View(src.view));
        set(&mut data, "moving", Operand::View(self.full(identity).view));
        attr(&mut data, "accumulate", Attr::Accumulate(Accumulate::Overwrite));
        attr(&mut data, "is_transpose", Attr::Bool(true));
        self.b.inst(data);
        self.wrote(dst, hi);
    }

    /// float32, or on NeuronCore-v4 also bfloat16.
    fn acc_dtype(&mut self) -> DType {
        let gen4 = self.o.target.generation() >= Generation::Gen4;
        if gen4 && self.rng.percent(25) { DType::BF16 } else { DType::F32 }
    }
}

pub fn starts_at_zero(view: &View) -> bool {
    match &view.index {
        crate::view::Index::Slice(axes) => axes[0].start.as_constant() == Some(0),
        crate::view::Index::Pattern(p) => p.part.as_constant() == Some(0),
    }
}

/// Partitions `from .. from + count` of a slice.
fn part(view: &View, from: u32, count: u32) -> View {
    let mut view = view.clone();
    if let crate::view::Index::Slice(axes) = &mut view.index {
        axes[0] = AxisSlice::range(Affine::constant(from.into()), count);
    }
    view
}

/// Columns `from .. from + count` of a slice of rank 2 with unit step, or of the steps it takes.
fn columns(view: &View, from: u32, count: u32) -> View {
    let mut view = view.clone();
    if let crate::view::Index::Slice(axes) = &mut view.index
        && let Some(axis) = axes.last_mut()
    {
        let shift = i64::from(from) * i64::from(axis.step);
        axis.start = axis.start.add_constant(shift).expect("indices of generated tiles are small");
        axis.count = count;
    }
    view
}
