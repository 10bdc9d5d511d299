//! Statements of GpSimd's gathers and searches, of transfers that do more than copy, and of the MX formats. Tiles of dtypes
//! that other instructions do not take are loaded and stored here, and no other statement sees them.

use super::state::{Gen, attr, range_of, set};
use super::views::Sel;
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::{Accumulate, Attr, BufData, BufKind, Operand, Space};
use crate::op::{AluOp, DgeMode, Op};
use crate::sem::SOURCES;
use crate::view::{AxisSlice, Dynamic, View};

fn whole(n: u32) -> AxisSlice {
    AxisSlice::range(Affine::constant(0), n)
}

/// What [`Gen::special_statement`] makes.
const SPECIAL_OPS: &[Op] = &[
    Op::TensorPartitionReduce,
    Op::SequenceBounds,
    Op::LocalGather,
    Op::NcNGather,
    Op::NonzeroWithCount,
    Op::Topk,
    Op::DmaTranspose,
    Op::DmaCompute,
    Op::QuantizeMx,
    Op::NcMatmulMx,
];

impl Gen<'_> {
    /// One of the instructions of this file.
    pub fn any_special_statement(&mut self, main: Sel) {
        let here = self.o.target.generation();
        let exists = |o: &&Op| o.row().engines_on(here).next().is_some();
        let ops: Vec<Op> = SPECIAL_OPS.iter().filter(exists).copied().collect();
        let op = self.rng.pick(&ops);
        self.special_statement(op, main);
    }

    /// `op`, on `main` where it takes any tile. Says whether `op` is one of this file.
    pub fn special_statement(&mut self, op: Op, main: Sel) -> bool {
        match op {
            Op::TensorPartitionReduce => self.partition_reduce(main),
            Op::SequenceBounds => self.sequence_bounds(),
            Op::LocalGather => self.local_gather(),
            Op::NcNGather => self.n_gather(),
            Op::NonzeroWithCount => self.nonzero(),
            Op::Topk => self.topk(),
            Op::DmaTranspose => self.dma_transpose(),
            Op::DmaCompute => self.dma_compute(),
            Op::QuantizeMx => {
                let (k, n) = (32 * self.rng.range(1, 4), self.rng.range(1, 9));
                self.quantized(k, n);
            }
            Op::NcMatmulMx => self.matmul_mx(),
            _ => return false,
        }
        true
    }

    // ---- tiles that no other statement sees

    pub fn unseen(&mut self, dtype: DType, shape: &[u32]) -> View {
        let (loc, name) = (self.loc(), self.name("u"));
        let data = BufData::new(&name, Space::Sbuf, dtype, shape, BufKind::Private, loc);
        let buf = self.b.alloc(data);
        self.all_of(buf)
    }
    pub fn all_of(&self, buf: Buf) -> View {
        View::full(buf, &self.b.kernel().bufs[buf])
    }
    pub fn unseen_load(&mut self, dtype: DType, shape: &[u32]) -> View {
        let buf = self.input(dtype, shape);
        let (to, from) = (self.unseen(dtype, shape), self.all_of(buf));
        self.dma(to.clone(), from);
        to
    }
    /// Stores all of a tile to an output of its own.
    pub fn keep(&mut self, view: &View, shape: &[u32]) {
        let (buf, starts) = self.output(view.dtype, shape);
        let axes = starts.into_iter().map(AxisSlice::index).chain(shape.iter().map(|&n| whole(n)));
        let dst = self.hbm(buf, axes);
        self.dma(dst, view.clone());
    }
    pub fn fill_view(&mut self, view: &View, value: Operand) {
        let mut data = self.new_inst(Op::Memset);
        set(&mut data, "dst", Operand::View(view.clone()));
        set(&mut data, "value", value);
        self.b.inst(data);
    }
    /// An index tile: `start + p · across + f · along`.
    pub fn indices(&mut self, dtype: DType, shape: [u32; 2], [start, across, along]: [u32; 3]) -> View {
        let view = self.unseen(dtype, &shape);
        let mut data = self.new_inst(Op::Iota);
        set(&mut data, "dst", Operand::View(view.clone()));
        set(&mut data, "offset", Operand::Int(start.into()));
        attr(&mut data, "pattern", Attr::Pairs(vec![[along.into(), shape[1].into()]]));
        attr(&mut data, "channel_multiplier", Attr::Int(across.into()));
        self.b.inst(data);
        view
    }

    // ---- GpSimd

    fn partition_reduce(&mut self, main: Sel) {
        let bits = self.rng.percent(25);
        let main = if bits {
            let d = self.int_dtype();
            let t = self.load_as(d, &[main.parts, main.n()]);
            self.full(t)
        } else {
            self.in_sbuf(main)
        };
        let hi = self.read(main.tile) * f64::from(main.parts);
        let mut data = self.new_inst(Op::TensorPartitionReduce);
        let ops: &[AluOp] = match bits {
            true => &[AluOp::BitwiseAnd, AluOp::BitwiseOr],
            false => &[AluOp::Add, AluOp::Average, AluOp::Maximum],
        };
        attr(&mut data, "op", Attr::Alu(self.rng.pick(ops)));
        set(&mut data, "data", Operand::View(main.view.clone()));
        let dtype = if bits { self.tiles[main.tile].dtype } else { self.float_dtype_for(hi) };
        let dst = self.destination(1, &main.free, dtype, false, &[main.tile]);
        self.emit(data, dst, if bits { range_of(dtype) } else { hi });
    }

    fn sequence_bounds(&mut self) {
        let n = self.free();
        let [from, to] = [(), ()].map(|()| self.rng.pick(&[DType::F32, DType::I32]));
        let ids = self.unseen_load(from, &[1, n]);
        let t = self.alloc(Space::Sbuf, to, &[1, 2, n]);
        let mut data = self.new_inst(Op::SequenceBounds);
        set(&mut data, "segment_ids", Operand::View(ids));
        let dst = self.full(t);
        self.emit(data, dst, n.into());
    }

    fn local_gather(&mut self) {
        let parts = 16 * self.rng.range(1, (self.o.max_partitions / 16).clamp(1, 8));
        let (k, each) = (self.rng.range(1, 3), self.rng.pick(&[1, 2, 4, 8]));
        let steps = [self.rng.below(4), self.rng.below(2), self.rng.below(3)];
        let width = steps[0] + steps[1] * (parts - 1) + steps[2] * (k - 1) + each + self.rng.below(3);
        let dtype = self.dtype();
        let src = self.unseen_load(dtype, &[parts, width]);
        let index = self.indices(DType::U16, [parts, k], steps);
        let valid = if self.rng.percent(50) { 16 * k } else { self.rng.range(1, 16 * k) };
        let mut data = self.new_inst(Op::LocalGather);
        set(&mut data, "src_buffer", Operand::View(src));
        set(&mut data, "index", Operand::View(index));
        attr(&mut data, "num_elem_per_idx", Attr::Int(each.into()));
        if valid != 16 * k {
            attr(&mut data, "num_valid_indices", Attr::Int(valid.into()));
        }
        let dst = self.destination(parts, &[valid * each], dtype, false, &[]);
        self.emit(data, dst, range_of(dtype).min(super::INPUT_RANGE.max(256.0)));
    }

    fn n_gather(&mut self) {
        let (parts, k) = (self.parts(), self.free());
        let steps = [self.rng.below(4), self.rng.below(2), self.rng.below(3)];
        let width = steps[0] + steps[1] * (parts - 1) + steps[2] * (k - 1) + 1 + self.rng.below(3);
        let dtype = self.dtype();
        let src = self.unseen_load(dtype, &[parts, width]);
        let indices = self.indices(DType::U32, [parts, k], steps);
        let mut data = self.new_inst(Op::NcNGather);
        set(&mut data, "data", Operand::View(src));
        set(&mut data, "indices", Operand::View(indices));
        let dst = self.destination(parts, &[k], dtype, false, &[]);
        self.emit(data, dst, range_of(dtype).min(super::INPUT_RANGE.max(256.0)));
    }

    fn nonzero(&mut self) {
        let (parts, n) = (self.parts(), self.free());
        let dtype = self.rng.pick(&[DType::F32, DType::I32]);
        let src = self.unseen_load(dtype, &[parts, n]);
        let dst = self.unseen(DType::I32, &[parts, n + 1]);
        // Rows that take no part keep this.
        self.fill_view(&dst, Operand::Int(5));
        let mut data = self.new_inst(Op::NonzeroWithCount);
        set(&mut data, "dst", Operand::View(dst.clone()));
        set(&mut data, "src", Operand::View(src));
        attr(&mut data, "index_offset", Attr::Int(self.rng.pick(&[0, 0, 7, -3])));
        attr(&mut data, "padding_val", Attr::Int(self.rng.pick(&[-1, -1, 0, 99])));
        self.b.inst(data);
        self.keep(&dst, &[parts, n + 1]);
    }

    fn topk(&mut self) {
        let parts = 16 * self.rng.range(1, (self.o.max_partitions / 16).clamp(1, 8));
        let columns = self.rng.range(1, 6);
        let n = self.rng.range(8, 16 * columns);
        let k = self.rng.range(1, n);
        let src = self.unseen_load(DType::BF16, &[parts, columns]);
        let (values, places) = (self.unseen(DType::BF16, &[parts, k]), self.unseen(DType::U32, &[parts, k]));
        let mut data = self.new_inst(Op::Topk);
        set(&mut data, "val_dst", Operand::View(values.clone()));
        set(&mut data, "idx_dst", Operand::View(places.clone()));
        set(&mut data, "src", Operand::View(src));
        attr(&mut data, "n", Attr::Int(n.into()));
        self.b.inst(data);
        self.keep(&values, &[parts, k]);
        self.keep(&places, &[parts, k]);
    }

    // ---- transfers

    fn dma_transpose(&mut self) {
        if self.gen3() && self.rng.percent(30) {
            return self.indirect_transpose();
        }
        let dtype = self.rng.pick(&[DType::BF16, DType::F16, DType::F32, DType::I16, DType::I32, DType::U16]);
        let rank = self.rng.range(2, 4) as usize;
        let shape: Vec<u32> = (0..rank).map(|_| self.rng.pick(&[1, 2, 3, 4, 7, 16])).collect();
        let src = if self.rng.percent(30) {
            self.unseen_load(dtype, &shape)
        } else {
            let buf = self.input(dtype, &shape);
            self.all_of(buf)
        };
        let mut turned = shape.clone();
        turned.swap(0, rank - 1);
        let dst = self.unseen(dtype, &turned);
        let mut data = self.new_inst(Op::DmaTranspose);
        set(&mut data, "dst", Operand::View(dst.clone()));
        set(&mut data, "src", Operand::View(src));
        attr(&mut data, "rows", Attr::Int(shape[0].into()));
        if dtype.bytes() == 2 && self.rng.percent(30) {
            attr(&mut data, "dge_mode", Attr::Dge(DgeMode::Swdge));
        }
        self.b.inst(data);
        self.keep(&dst, &turned);
    }

    /// Rows listed down the columns of an index tile.
    fn indirect_transpose(&mut self) {
        let dtype = self.rng.pick(&[DType::BF16, DType::I16]);
        let (first, last) = (16 * self.rng.range(1, 9), self.rng.range(1, 9));
        let tall = first > 128 || self.rng.percent(20);
        let list = if tall { [128, first.div_ceil(128)] } else { [first, 1] };
        let across = self.rng.below(2);
        let rows = (127 * across + list[1] + 3).max(first);
        let start = self.rng.below(2);
        let index = self.indices(DType::U32, list, [start, across, 1]);
        let buf = self.input(dtype, &[rows, last]);
        let mut src = self.hbm(buf, [whole(first), whole(last)]);
        src.dynamic = Some(Dynamic::Vector { index: Box::new(index) });
        let dst = self.unseen(dtype, &[last, first]);
        let mut data = self.new_inst(Op::DmaTranspose);
        set(&mut data, "dst", Operand::View(dst.clone()));
        set(&mut data, "src", Operand::View(src));
        attr(&mut data, "rows", Attr::Int(first.into()));
        self.b.inst(data);
        self.keep(&dst, &[last, first]);
    }

    fn dma_compute(&mut self) {
        let (parts, n) = (self.parts(), self.free());
        let dtype = self.float_dtype();
        let tile = self.unseen_load(dtype, &[parts, n]);
        match self.rng.below(3) {
            0 => {
                let mut data = self.new_inst(Op::DmaCompute);
                let count = self.rng.range(1, 5);
                for (i, name) in SOURCES.iter().enumerate().take(count as usize) {
                    let source = match i {
                        0 => tile.clone(),
                        _ => {
                            let d = self.dtype();
                            let buf = self.input(d, &[parts, n]);
                            self.all_of(buf)
                        }
                    };
                    set(&mut data, name, Operand::View(source));
                }
                let d = self.float_dtype();
                let dst = self.unseen(d, &[parts, n]);
                set(&mut data, "dst", Operand::View(dst.clone()));
                self.b.inst(data);
                self.keep(&dst, &[parts, n]);
            }
            gathers => self.add_rows(tile, [parts, n], gathers == 1),
        }
    }

    /// Rows of a table, by distinct indices, added to a tile or the other way round.
    fn add_rows(&mut self, tile: View, [parts, n]: [u32; 2], gathers: bool) {
        let (start, step) = (self.rng.below(3), 1);
        let rows = start + step * (parts - 1) + 1;
        let index = self.indices(DType::I32, [parts, 1], [start, step, 0]);
        let dtype = self.float_dtype();
        let (loc, name) = (self.loc(), self.name("table"));
        let table = self.b.alloc(BufData::new(&name, Space::Hbm, dtype, &[rows, n], BufKind::Private, loc));
        let (all, from) = (self.all_of(table), self.input(dtype, &[rows, n]));
        let from = self.all_of(from);
        self.dma(all.clone(), from);
        let mut view = self.hbm(table, [whole(parts), whole(n)]);
        view.dynamic = Some(Dynamic::Vector { index: Box::new(index) });
        let (changed, other) = if gathers { (tile.clone(), view) } else { (view, tile.clone()) };
        let mut sources = [changed.clone(), other];
        if self.rng.percent(50) {
            sources.swap(0, 1);
        }
        let mut data = self.new_inst(Op::DmaCompute);
        set(&mut data, "dst", Operand::View(changed));
        for (name, source) in SOURCES.iter().zip(sources) {
            set(&mut data, name, Operand::View(source));
        }
        self.b.inst(data);
        if gathers {
            return self.keep(&tile, &[parts, n]);
        }
        let (buf, starts) = self.output(dtype, &[rows, n]);
        let axes = starts.into_iter().map(AxisSlice::index).chain([whole(rows), whole(n)]);
        let dst = self.hbm(buf, axes);
        self.dma(dst, all);
    }

    // ---- MX

    /// Data and scales of 16-bit floats `[k, 4 n]`, both also stored.
    fn quantized(&mut self, k: u32, n: u32) -> (View, View) {
        let from = self.rng.pick(&[DType::BF16, DType::F16]);
        let to = self.rng.pick(&[DType::F8E5M2X4, DType::F8E4M3FNX4]);
        let src = self.unseen_load(from, &[k, 4 * n]);
        let data_tile = self.unseen(to, &[k, n]);
        let (rows, kind) = (if k > 32 { k } else { 16 }, self.rng.pick(&[DType::U8, DType::F8E8M0]));
        let scales = self.unseen(kind, &[rows, n]);
        // Rows between the scales keep this.
        self.fill_view(&scales, if kind == DType::U8 { Operand::Int(3) } else { Operand::Imm(1.0) });
        let start = self.rng.pick(&[0, 0, 4, 8, 12]);
        let mut part = scales.clone();
        let used = if k > 32 { k - 28 } else { 4 };
        part.index = crate::view::Index::Slice(
            [AxisSlice::range(Affine::constant(start), used), whole(n)].into_iter().collect(),
        );
        let mut data = self.new_inst(Op::QuantizeMx);
        set(&mut data, "dst", Operand::View(data_tile.clone()));
        set(&mut data, "src", Operand::View(src));
        set(&mut data, "dst_scale", Operand::View(part.clone()));
        self.b.inst(data);
        self.keep(&data_tile, &[k, n]);
        self.keep(&scales, &[rows, n]);
        (data_tile, part)
    }

    fn matmul_mx(&mut self) {
        let (k, m, n) = (32 * self.rng.range(1, 4), 2 * self.rng.range(1, 8), self.rng.range(1, 20));
        if !self.psum_room(n, DType::F32) {
            return self.compute();
        }
        let side = |g: &mut Self, columns: u32| {
            let gathers = g.o.indirect && g.rng.percent(50);
            let wide = if gathers { g.rng.range(1, columns + 5) } else { columns };
            let (mut data, mut scale) = if g.rng.percent(60) {
                g.quantized(k, wide)
            } else {
                let data = g.unseen_load(DType::F4E2M1FNX4, &[k, wide]);
                // Scales around 2^0.
                (data, g.indices(DType::U8, [if k > 32 { k } else { 4 }, wide], [121, 0, 1]))
            };
            if gathers {
                let by = g.columns_by(32, k, columns, wide);
                (data.dynamic, scale.dynamic) = (Some(by.clone()), Some(by));
            }
            (data, scale)
        };
        let (s, v) = (side(self, m), side(self, n));
        let dtype = self.rng.pick(&[DType::F32, DType::F32, DType::BF16]);
        let acc = self.alloc(Space::Psum, dtype, &[m, n]);
        let turns = self.rng.range(1, 2);
        for turn in 0..turns {
            let mut data = self.new_inst(Op::NcMatmulMx);
            set(&mut data, "dst", Operand::View(self.full(acc).view));
            set(&mut data, "stationary", Operand::View(s.0.clone()));
            set(&mut data, "moving", Operand::View(v.0.clone()));
            set(&mut data, "stationary_scale", Operand::View(s.1.clone()));
            set(&mut data, "moving_scale", Operand::View(v.1.clone()));
            let how = if turn == 0 { Accumulate::Overwrite } else { Accumulate::Add };
            attr(&mut data, "accumulate", Attr::Accumulate(how));
            self.b.inst(data);
        }
        self.wrote(acc, f64::from(8 * k) * super::INPUT_RANGE * super::INPUT_RANGE);
        let copy = self.evict(acc);
        self.read(acc);
        self.tame(copy);
    }
}
