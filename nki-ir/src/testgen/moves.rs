//! Statements that move or make data: loads, stores, fills, index patterns, scratch tensors, tiled passes.

use super::INPUT_RANGE;
use super::state::{Gen, attr, range_of, set};
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::{Attr, BufData, BufKind, Operand, Space};
use crate::op::{DgeMode, Engine, Op};
use crate::view::{AxisSlice, Dim, Dynamic, Index, Pattern, View};
use smallvec::SmallVec;

fn whole(n: u32) -> AxisSlice {
    AxisSlice::range(Affine::constant(0), n)
}

impl Gen<'_> {
    /// `dma_copy` with a random choice of what does not change its result.
    pub fn dma(&mut self, dst: View, src: View) {
        let mut data = self.new_inst(Op::DmaCopy);
        let equal = dst.dtype == src.dtype;
        let dynamic = src.dynamic.is_some();
        match self.rng.below(10) {
            0 if equal && !dynamic && self.gen3() => {
                attr(&mut data, "dge_mode", Attr::Dge(DgeMode::Hwdge));
                let engine = self.rng.pick(&[Engine::Unknown, Engine::Sync, Engine::Scalar]);
                attr(&mut data, "engine", Attr::Engine(engine));
            }
            1 if !dynamic => attr(&mut data, "dge_mode", Attr::Dge(DgeMode::None)),
            2 => attr(&mut data, "dge_mode", Attr::Dge(DgeMode::Swdge)),
            _ => {}
        }
        set(&mut data, "dst", Operand::View(dst));
        set(&mut data, "src", Operand::View(src));
        self.b.inst(data);
    }

    /// Loads a new tile of a random shape.
    pub fn load(&mut self) -> usize {
        let dtype = self.dtype();
        let (parts, n) = (self.parts(), self.free());
        let shape = [vec![parts], self.factor(n)].concat();
        self.load_as(dtype, &shape)
    }

    /// A new SBUF tile with data from an input.
    pub fn load_as(&mut self, dtype: DType, shape: &[u32]) -> usize {
        // Converted on the way, or not.
        let from = if self.rng.percent(10) { self.float_dtype() } else { dtype };
        let (src, rearranged) = self.source(from, shape);
        let t = self.alloc(Space::Sbuf, dtype, shape);
        let mut dst = self.full(t).view;
        if !rearranged && self.rng.percent(5) {
            // The same elements as one explicit pattern.
            let row = shape[1..].iter().product();
            let dims = SmallVec::from_slice(&[Dim { stride: 1, count: row }]);
            let zero = Affine::constant(0);
            dst.index = Index::Pattern(Pattern { part: zero.clone(), parts: shape[0], offset: zero, dims });
        }
        self.dma(dst, src);
        self.wrote(t, INPUT_RANGE.max(if from.is_int() { range_of(from) } else { 0.0 }));
        t
    }

    /// A view of an input with the elements of a tile of `shape`. `true`: not in the input's own order.
    fn source(&mut self, dtype: DType, shape: &[u32]) -> (View, bool) {
        let (parts, row) = (shape[0], shape[1..].iter().product::<u32>());
        let old = |i: &&(Buf, DType, Vec<u32>)| {
            i.1 == dtype && i.2.len() == 2 && i.2[0] >= parts && i.2[1] >= row && shape.len() == 2
        };
        let old: Vec<_> = self.inputs.iter().filter(old).cloned().collect();
        let pick = self.rng.below(old.len().max(1) as u32) as usize;
        if let (Some((buf, _, dims)), true) = (old.get(pick), self.rng.percent(50)) {
            let (r, c) = (self.affine_to(dims[0] - parts, 1), self.affine_to(dims[1] - row, 1));
            return (self.hbm(*buf, [AxisSlice::range(r, parts), AxisSlice::range(c, row)]), false);
        }
        match self.rng.below(12) {
            0 => {
                // Every second row, columns from the third on.
                let buf = self.input(dtype, &[2 * parts - 1, row + 3]);
                let rows = AxisSlice { start: Affine::constant(0), count: parts, step: 2, drop: false };
                (self.hbm(buf, [rows, AxisSlice::range(Affine::constant(3), row)]), false)
            }
            1 => {
                let buf = self.input(dtype, &[row, parts]);
                let dims = [Dim { stride: 1, count: parts }, Dim { stride: parts.into(), count: row }];
                (self.pattern(buf, &dims), true)
            }
            2 => {
                // One row for all partitions.
                let buf = self.input(dtype, &[row]);
                let dims = [Dim { stride: 0, count: parts }, Dim { stride: 1, count: row }];
                (self.pattern(buf, &dims), true)
            }
            3 | 4 => {
                // A block for each turn of a loop.
                let blocks = self.loops.last().map_or(3, |l| (l.hi.max(1)) as u32);
                let buf = self.input(dtype, &[&[blocks], shape].concat());
                let block = AxisSlice::index(self.affine_to(blocks - 1, 1));
                (self.hbm(buf, std::iter::once(block).chain(shape.iter().map(|&n| whole(n)))), false)
            }
            5 | 6 if !self.loops.is_empty() => {
                let extra = self.rng.range(0, 9);
                let buf = self.input(dtype, &[parts + extra, row]);
                let rows = AxisSlice::range(self.affine_to(extra, 1), parts);
                (self.hbm(buf, [rows, whole(row)]), false)
            }
            7 if self.o.dynamic && row > 1 => self.gather(dtype, parts, row),
            _ => {
                let buf = self.input(dtype, shape);
                (self.hbm(buf, shape.iter().map(|&n| whole(n))), false)
            }
        }
    }

    /// Rows chosen by an index tile that holds `(start + p·step) mod rows`, for a step of at most 3.
    fn gather(&mut self, dtype: DType, parts: u32, row: u32) -> (View, bool) {
        let step = self.rng.range(0, 3);
        let start = self.rng.range(0, 4);
        let rows = start + step * (parts - 1) + 1 + self.rng.below(3);
        let index = self.alloc(Space::Sbuf, self.index_dtype(), &[parts, 1]);
        let mut data = self.new_inst(Op::Iota);
        set(&mut data, "dst", Operand::View(self.full(index).view));
        set(&mut data, "offset", Operand::Int(start.into()));
        attr(&mut data, "pattern", Attr::Pairs(vec![[0, 1]]));
        attr(&mut data, "channel_multiplier", Attr::Int(step.into()));
        self.b.inst(data);
        self.wrote(index, rows.into());
        self.read(index);
        let buf = self.input(dtype, &[rows, row]);
        // The rows' number is the number of indices.
        let first = AxisSlice::range(Affine::constant(0), parts.min(rows));
        let mut view = self.hbm(buf, [first, whole(row)]);
        if parts > rows {
            let dims = [Dim { stride: row.into(), count: parts }, Dim { stride: 1, count: row }];
            view = self.pattern(buf, &dims);
        }
        view.dynamic = Some(Dynamic::Vector { index: Box::new(self.full(index).view) });
        (view, true)
    }

    fn index_dtype(&self) -> DType {
        if self.loops.len().is_multiple_of(2) { DType::I32 } else { DType::U32 }
    }

    fn pattern(&self, buf: Buf, dims: &[Dim]) -> View {
        let dtype = self.b.kernel().bufs[buf].dtype;
        let zero = Affine::constant(0);
        let index = Index::Pattern(Pattern {
            part: zero.clone(),
            parts: 1,
            offset: zero,
            dims: dims.iter().copied().collect(),
        });
        View { buf, dtype, index, dynamic: None }
    }

    /// Stores a tile to an output of its own, by way of SBUF if it is in PSUM.
    pub fn store(&mut self, t: usize) {
        let hi = self.read(t);
        if self.tiles[t].space == Space::Psum {
            let copy = self.evict(t);
            return self.store(copy);
        }
        let (dtype, shape) = (self.tiles[t].dtype, self.tiles[t].shape.clone());
        let to = if dtype.is_float() && self.rng.percent(10) { self.float_dtype_for(hi) } else { dtype };
        let src = self.full(t).view;
        if self.loops.is_empty() && self.rng.percent(10) {
            // Transposed on the way.
            let (parts, row) = (shape[0], shape[1..].iter().product::<u32>());
            let (buf, _) = self.output(to, &[row, parts]);
            let dims = [Dim { stride: 1, count: parts }, Dim { stride: parts.into(), count: row }];
            let dst = self.pattern(buf, &dims);
            return self.dma(dst, src);
        }
        let (buf, starts) = self.output(to, &shape);
        let axes = starts.into_iter().map(AxisSlice::index).chain(shape.iter().map(|&n| whole(n)));
        let dst = self.hbm(buf, axes);
        self.dma(dst, src);
    }

    /// Copies a PSUM tile to a new SBUF tile.
    pub fn evict(&mut self, t: usize) -> usize {
        let hi = self.read(t);
        let dtype = self.float_dtype_for(hi);
        let shape = self.tiles[t].shape.clone();
        let copy = self.alloc(Space::Sbuf, dtype, &shape);
        let mut data = self.new_inst(Op::TensorCopy);
        let engines: &[Engine] =
            if self.gen3() { &[Engine::Vector, Engine::Scalar] } else { &[Engine::Vector] };
        self.ask(&mut data, engines);
        set(&mut data, "dst", Operand::View(self.full(copy).view));
        set(&mut data, "src", Operand::View(self.full(t).view));
        self.b.inst(data);
        self.wrote(copy, hi);
        copy
    }

    /// A new tile with one value.
    pub fn memset(&mut self) {
        let dtype = self.dtype();
        let (parts, n) = (self.parts(), self.free());
        let shape = [vec![parts], self.factor(n)].concat();
        let space = if self.psum_room(n, dtype) && self.rng.percent(10) { Space::Psum } else { Space::Sbuf };
        let t = self.alloc(space, dtype, &shape);
        self.fill(t);
    }

    /// Fills all of a tile.
    pub fn fill(&mut self, t: usize) {
        let mut data = self.new_inst(Op::Memset);
        let on_gpsimd = self.tiles[t].space == Space::Sbuf;
        self.ask(&mut data, if on_gpsimd { &[Engine::Vector, Engine::GpSimd] } else { &[Engine::Vector] });
        let value = match self.tiles[t].dtype.is_int() {
            true => Operand::Int(self.rng.below(100).into()),
            false => Operand::Imm(self.imm()),
        };
        set(&mut data, "dst", Operand::View(self.full(t).view));
        set(&mut data, "value", value);
        self.b.inst(data);
        self.wrote(t, 100.0);
    }

    /// A new tile with an index pattern.
    pub fn iota(&mut self) {
        let dtype = self.rng.pick(&[DType::I32, DType::I32, DType::F32, DType::U32, DType::BF16, DType::I16]);
        let (parts, n) = (self.parts(), self.free());
        let free = self.factor(n);
        let t = self.alloc(Space::Sbuf, dtype, &[vec![parts], free.clone()].concat());
        let dst = self.full(t);
        let mut data = self.new_inst(Op::Iota);
        let (pattern, offset, multiplier, reach) = self.affine_pattern(&free, parts);
        if offset != 0 {
            set(&mut data, "offset", Operand::Int(offset));
        }
        attr(&mut data, "pattern", Attr::Pairs(pattern));
        attr(&mut data, "channel_multiplier", Attr::Int(multiplier));
        set(&mut data, "dst", Operand::View(dst.view));
        self.b.inst(data);
        // Below zero, unsigned elements wrap.
        self.wrote(t, if dtype == DType::U32 { range_of(dtype) } else { reach });
        self.tame(t);
    }

    /// `[step, num]` pairs over `free`, an offset, a multiplier of the partition, and the largest magnitude they reach.
    pub fn affine_pattern(&mut self, free: &[u32], parts: u32) -> (Vec<[i64; 2]>, i64, i64, f64) {
        let small = |g: &mut Self| i64::from(g.rng.below(7)) - 3;
        let pattern: Vec<[i64; 2]> = free.iter().map(|&n| [small(self), n.into()]).collect();
        let (offset, multiplier) = (small(self) * 5, small(self));
        let reach = pattern.iter().map(|p| (p[0] * (p[1] - 1)).abs()).sum::<i64>();
        let reach = reach + offset.abs() + (multiplier * i64::from(parts)).abs();
        (pattern, offset, multiplier, reach as f64)
    }

    /// Through a tensor in HBM and back, rearranged.
    pub fn scratch(&mut self) {
        let in_sbuf = self.tiles_where(|t| t.space == Space::Sbuf);
        let Some(t) = self.rng.choose(&in_sbuf) else {
            self.load();
            return;
        };
        let hi = self.read(t);
        let dtype = self.tiles[t].dtype;
        let sel = self.full(t);
        let (parts, n) = (sel.parts, sel.n());
        let loc = self.loc();
        let name = self.name("scratch");
        let buf = self.b.alloc(BufData::new(&name, Space::Hbm, dtype, &[parts, n], BufKind::Private, loc));
        let dst = self.hbm(buf, [whole(parts), whole(n)]);
        self.dma(dst, sel.view);
        let swap = n <= 128 && self.rng.percent(60);
        let shape = if swap { [n, parts] } else { [parts, n] };
        let back = self.alloc(Space::Sbuf, dtype, &shape);
        let src = match swap {
            true => {
                let dims = [Dim { stride: 1, count: n }, Dim { stride: n.into(), count: parts }];
                self.pattern(buf, &dims)
            }
            false => self.hbm(buf, [whole(parts), whole(n)]),
        };
        let dst = self.full(back).view;
        self.dma(dst, src);
        self.wrote(back, hi);
    }

    /// A pass over a tensor with more rows than a tile has partitions: a loop over whole tiles and the ragged rest.
    pub fn tiled_map(&mut self) {
        let rows = self.rng.pick(&[1, 31, 33, 65, 127, 128, 129, 191, 257]);
        let tile = self.rng.pick(&[32, 64, 128]).min(self.o.max_partitions.max(1));
        let n = self.free();
        let dtype = self.float_dtype();
        let (src, dst) = (self.input(dtype, &[rows, n]), self.output(dtype, &[rows, n]).0);
        let full = rows / tile;
        if full > 0 {
            let step = i64::from(tile);
            let l = self.open_loop(0, i64::from(full) * step, step);
            self.map_rows(src, dst, Affine::var(l.var), tile, n);
            self.close_loop();
        }
        let rest = rows % tile;
        if rest > 0 {
            self.open_scope();
            self.map_rows(src, dst, Affine::constant((full * tile).into()), rest, n);
            self.close_scope();
        }
    }

    fn map_rows(&mut self, src: Buf, dst: Buf, start: Affine, rows: u32, n: u32) {
        let dtype = self.b.kernel().bufs[src].dtype;
        let slice = |g: &Self, buf| g.hbm(buf, [AxisSlice::range(start.clone(), rows), whole(n)]);
        let t = self.alloc(Space::Sbuf, dtype, &[rows, n]);
        let (to, from) = (self.full(t).view, slice(self, src));
        self.dma(to, from);
        self.wrote(t, INPUT_RANGE);
        let result = self.scaled(t);
        self.read(result);
        let (to, from) = (slice(self, dst), self.full(result).view);
        self.dma(to, from);
    }
}
