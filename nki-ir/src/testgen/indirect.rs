//! Indices that are data: rows and positions that transfers take from tiles, within the tensor and beyond it, and columns of
//! a tile by an index tile (trn3).

use super::INPUT_RANGE;
use super::matmul::starts_at_zero;
use super::state::{Gen, attr, range_of, set};
use super::views::Sel;
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::{Accumulate, Attr, BufData, BufKind, Operand, Space};
use crate::op::{AluOp, DgeMode, OobMode, Op};
use crate::target::Gen as Generation;
use crate::view::{AxisSlice, Dim, Dynamic, Index, Pattern, View};

fn whole(n: u32) -> AxisSlice {
    AxisSlice::range(Affine::constant(0), n)
}

impl Gen<'_> {
    /// A statement of this file.
    pub fn by_index(&mut self) {
        match self.rng.below(10) {
            0..4 => self.gathered_rows(),
            4..7 => self.scattered_rows(),
            7 | 8 if self.chooses_columns() => self.gathered_product(),
            _ => self.load_beyond(),
        }
    }

    fn chooses_columns(&self) -> bool {
        self.o.indirect && self.o.target.generation() == Generation::Gen4
    }

    /// What lists of indices may reach: the tensor, or beyond it where the kernel may fail.
    fn reach(&mut self, limit: u32) -> u32 {
        if self.o.faults && self.rng.percent(12) { limit + self.rng.range(1, 3) } else { limit }
    }

    // ---- columns by an index tile

    /// Now and then columns of a tile by an index tile, instead of `main`.
    pub fn gathered(&mut self, main: Sel) -> Sel {
        self.gathered_of(main, |_| true)
    }

    /// The same, of tiles with such dtypes.
    pub fn gathered_of(&mut self, main: Sel, ok: impl Fn(DType) -> bool) -> Sel {
        if !self.chooses_columns() || !self.rng.percent(30) {
            return main;
        }
        let fitting = self.tiles_where(|t| t.parts().is_multiple_of(16) && ok(t.dtype));
        let t = match self.rng.choose(&fitting) {
            Some(t) if self.rng.percent(80) => t,
            _ => {
                let (dtype, n) = (self.float_dtype(), self.free());
                let groups = self.rng.range(1, (self.o.max_partitions / 16).clamp(1, 8));
                self.load_as(dtype, &[16 * groups, n])
            }
        };
        let (parts, mut row, mut view) = (self.tiles[t].parts(), self.tiles[t].row(), self.full(t).view);
        if let Index::Slice(axes) = &mut view.index
            && axes.len() == 2
            && self.rng.percent(40)
        {
            let count = self.rng.range(1, row);
            axes[1] = AxisSlice::range(Affine::constant(self.rng.below(row - count + 1).into()), count);
            row = count;
        }
        let n = self.rng.range(1, self.o.max_free.clamp(1, 40));
        view.dynamic = Some(self.columns_by(16, parts, n, row));
        Sel { tile: t, view, parts, free: vec![n], distinct: false }
    }

    /// `n` offsets below `row` for each group of partitions.
    pub fn columns_by(&mut self, group: u32, parts: u32, n: u32, row: u32) -> Dynamic {
        let dtype = self.rng.pick(&[DType::U16, DType::I32, DType::U32]);
        let shape = [parts, n.div_ceil(group) + self.rng.below(2)];
        let limit = self.reach(row);
        Dynamic::Indirect { index: Box::new(self.list(dtype, shape, limit)), elements: n }
    }

    /// Now and then a place for a result of `n` columns that an index tile spreads over a tile, which was filled before.
    pub fn scattered(&mut self, main: &Sel, n: u32, dtype: DType) -> Option<Sel> {
        let fits = self.chooses_columns() && main.parts.is_multiple_of(16) && starts_at_zero(&main.view);
        if !fits || !self.rng.percent(25) {
            return None;
        }
        // Fewer columns than are written: the last of several stays.
        let row = self.rng.range(1, n + 5);
        let t = self.alloc(Space::Sbuf, dtype, &[main.parts, row]);
        self.fill(t);
        let mut view = self.full(t).view;
        view.dynamic = Some(self.columns_by(16, main.parts, n, row));
        Some(Sel { tile: t, view, parts: main.parts, free: vec![n], distinct: false })
    }

    /// [`Gen::result`], or columns of a tile.
    pub fn result_or_columns(&mut self, main: &Sel, others: &[&Sel], psum: bool) -> Sel {
        if self.chooses_columns() {
            let dtype = self.float_dtype();
            if let Some(dst) = self.scattered(main, main.n(), dtype) {
                return dst;
            }
        }
        self.result(main, others, psum)
    }

    /// All of a tile with its columns in another order; of several groups of partitions.
    pub fn reordered(&mut self, sel: Sel) -> Sel {
        let whole = self.full(sel.tile);
        if !self.chooses_columns() || !whole.parts.is_multiple_of(16) {
            return sel;
        }
        if (whole.parts, whole.n()) != (sel.parts, sel.n()) || self.rng.percent(50) {
            return sel;
        }
        let (parts, n) = (whole.parts, whole.n());
        let mut view = whole.view;
        view.dynamic = Some(self.columns_by(16, parts, n, n));
        Sel { view, free: vec![n], distinct: false, ..sel }
    }

    /// A product of gathered columns; its result may be spread over the accumulator, twice.
    pub fn gathered_product(&mut self) {
        if !self.chooses_columns() || self.o.max_partitions < 32 {
            return self.matmul();
        }
        let dtype = self.rng.pick(&[DType::BF16, DType::BF16, DType::F16, DType::F8E4M3]);
        let blocks = self.o.max_partitions / 32;
        let (k, spread) = (32 * self.rng.range(1, blocks.min(4)), self.rng.percent(50));
        let (m, n) = (if spread { 32 * self.rng.range(1, blocks.min(4)) } else { self.parts() }, self.free());
        if !self.psum_room(n + 4, DType::F32) {
            return self.compute();
        }
        let (s, v) = (self.gathered_factor(dtype, k, m), self.gathered_factor(dtype, k, n));
        let row = if spread { self.rng.range(1, n + 4) } else { n };
        let acc = self.alloc(Space::Psum, DType::F32, &[m, row]);
        let mut dst = self.full(acc).view;
        let mut turns = 1;
        if spread {
            self.fill(acc);
            dst.dynamic = Some(self.columns_by(32, m, n, row));
            turns = self.rng.range(1, 2);
        }
        for turn in 0..turns {
            let how = if turn == 0 { Accumulate::Overwrite } else { Accumulate::Add };
            self.multiply(dst.clone(), s.clone(), v.clone(), how);
        }
        self.wrote(acc, f64::from(turns * k) * INPUT_RANGE * INPUT_RANGE);
        self.finish(acc);
    }

    /// `columns` columns of `k` partitions, mostly gathered.
    fn gathered_factor(&mut self, dtype: DType, k: u32, columns: u32) -> View {
        let gathers = self.rng.percent(70);
        let width = if gathers { self.rng.range(1, columns.min(60) + 3) } else { columns };
        let t = self.load_as(dtype, &[k, width]);
        self.read(t);
        let mut view = self.full(t).view;
        if gathers {
            view.dynamic = Some(self.columns_by(32, k, columns, width));
        }
        view
    }

    /// An index tile with values in `0..limit`: any of them, or evenly spaced ones.
    fn list(&mut self, dtype: DType, shape: [u32; 2], limit: u32) -> View {
        if limit > 1 && self.rng.percent(50) {
            let view = self.unseen_load(dtype, &shape);
            let mut data = self.new_inst(Op::TensorScalar);
            set(&mut data, "dst", Operand::View(view.clone()));
            set(&mut data, "data", Operand::View(view.clone()));
            set(&mut data, "operand0", Operand::Int(i64::from(1u32 << limit.ilog2()) - 1));
            attr(&mut data, "op0", Attr::Alu(AluOp::BitwiseAnd));
            self.b.inst(data);
            return view;
        }
        let mut left = limit.saturating_sub(1);
        let mut step = |g: &mut Self, count: u32| {
            let step = left.checked_div(count - 1).map_or(0, |most| g.rng.below(most.min(2) + 1));
            left -= step * (count - 1);
            step
        };
        let (along, across) = (step(self, shape[1]), step(self, shape[0]));
        let start = self.rng.below(left.min(4) + 1);
        self.indices(dtype, shape, [start, across, along])
    }

    // ---- rows by an index tile

    /// An index tile for `parts` rows of a tensor with `rows`, and whether what lies outside is to be skipped.
    fn row_list(&mut self, parts: u32, rows: u32) -> (View, bool) {
        let skip = self.rng.percent(70);
        let beyond = if skip { self.rng.percent(70) } else { self.o.faults && self.rng.percent(20) };
        if !beyond {
            let dtype = self.rng.pick(&[DType::I32, DType::U32]);
            return (self.list(dtype, [parts, 1], rows), skip);
        }
        let view = self.unseen(DType::I32, &[parts, 1]);
        let mut data = self.new_inst(Op::Iota);
        let start = i64::from(self.rng.below(rows + 5)) - 2;
        set(&mut data, "dst", Operand::View(view.clone()));
        set(&mut data, "offset", Operand::Int(start));
        attr(&mut data, "pattern", Attr::Pairs(vec![[0, 1]]));
        attr(&mut data, "channel_multiplier", Attr::Int(i64::from(self.rng.below(4)) - 1));
        self.b.inst(data);
        (view, skip)
    }

    /// `parts` rows of a tensor `[rows, n]` where `index` says.
    fn rows_of(&self, buf: Buf, [parts, rows, n]: [u32; 3], index: View) -> View {
        let mut view = self.hbm(buf, [whole(parts.min(rows)), whole(n)]);
        if parts > rows {
            let zero = Affine::constant(0);
            let dims = [Dim { stride: n.into(), count: parts }, Dim { stride: 1, count: n }];
            let dims = dims.into_iter().collect();
            view.index = Index::Pattern(Pattern { part: zero.clone(), parts: 1, offset: zero, dims });
        }
        view.dynamic = Some(Dynamic::Vector { index: Box::new(index) });
        view
    }

    fn dynamic_copy(&mut self, dst: View, src: View, skip: bool) {
        let mut data = self.new_inst(Op::DmaCopy);
        if skip {
            attr(&mut data, "oob_mode", Attr::Oob(OobMode::Skip));
        }
        if self.rng.percent(30) {
            attr(&mut data, "dge_mode", Attr::Dge(DgeMode::Swdge));
        }
        set(&mut data, "dst", Operand::View(dst));
        set(&mut data, "src", Operand::View(src));
        self.b.inst(data);
    }

    /// Rows into a tile that was filled before: what is skipped stays.
    fn gathered_rows(&mut self) {
        let (parts, n) = (self.parts(), self.free());
        let rows = self.rng.range(1, parts + 3);
        let (from, to) = (self.float_dtype(), self.float_dtype());
        let (index, skip) = self.row_list(parts, rows);
        let buf = self.input(from, &[rows, n]);
        let src = self.rows_of(buf, [parts, rows, n], index);
        let t = self.alloc(Space::Sbuf, to, &[parts, n]);
        self.fill(t);
        let dst = self.full(t).view;
        self.dynamic_copy(dst, src, skip);
        self.wrote(t, 100.0);
    }

    /// A tile over rows of a table; of several for one row the last stays.
    fn scattered_rows(&mut self) {
        let (parts, n) = (self.parts(), self.free());
        let rows = self.rng.range(1, parts + 3);
        let (from, to) = (self.float_dtype(), self.float_dtype());
        let (index, skip) = self.row_list(parts, rows);
        let tile = self.unseen_load(from, &[parts, n]);
        let (loc, name) = (self.loc(), self.name("table"));
        let table = self.b.alloc(BufData::new(&name, Space::Hbm, to, &[rows, n], BufKind::Private, loc));
        let (all, start) = (self.all_of(table), self.input(to, &[rows, n]));
        let start = self.all_of(start);
        self.dma(all.clone(), start);
        let dst = self.rows_of(table, [parts, rows, n], index);
        self.dynamic_copy(dst, tile, skip);
        let (buf, starts) = self.output(to, &[rows, n]);
        let axes = starts.into_iter().map(AxisSlice::index).chain([whole(rows), whole(n)]);
        let dst = self.hbm(buf, axes);
        self.dma(dst, all);
    }

    /// A load from where a register or a tile says, which may be too far; then nothing is loaded.
    fn load_beyond(&mut self) {
        let (parts, row, extra) = (self.parts(), self.free(), self.rng.range(0, 3));
        let (axis, dtype) = (self.rng.below(2), self.float_dtype());
        let skip = self.rng.percent(80);
        let beyond = if skip || self.o.faults { self.rng.below(3) } else { 0 };
        let index = self.position((extra + beyond).into(), axis);
        let shape = if axis == 0 { [parts + extra, row] } else { [parts, row + extra] };
        let buf = self.input(dtype, &shape);
        let mut src = self.hbm(buf, [whole(parts), whole(row)]);
        src.dynamic = Some(index);
        let t = self.alloc(Space::Sbuf, dtype, &[parts, row]);
        self.fill(t);
        let dst = self.full(t).view;
        self.dynamic_copy(dst, src, skip);
        self.wrote(t, 100f64.max(INPUT_RANGE).min(range_of(dtype)));
    }
}
