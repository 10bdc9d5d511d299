//! Statements of the vector and scalar engines on whole rows: scans, selections, statistics, the eight largest, shuffles,
//! random numbers.

use super::compute::{EXACT_FUNCTIONS, bound};
use super::state::{Gen, Tile, attr, range_of, set};
use super::views::Sel;
use crate::dtype::DType;
use crate::kernel::{Attr, InstData, Operand, Space};
use crate::op::{ActFn, AluOp, Engine, Op, ReduceCmd};
use crate::target::Gen as Generation;

const COMPARISONS: &[AluOp] =
    &[AluOp::Equal, AluOp::Less, AluOp::LessEqual, AluOp::Greater, AluOp::GreaterEqual];

/// What [`Gen::row_statement`] makes.
const ROW_OPS: &[Op] = &[
    Op::ActivationReduce,
    Op::Activate2,
    Op::TensorTensorScan,
    Op::TensorScalarCumulative,
    Op::TensorCopyPredicated,
    Op::Exponential,
    Op::RangeSelect,
    Op::SelectReduce,
    Op::Dropout,
    Op::BnStats,
    Op::BnAggr,
    Op::Max8,
    Op::NcFindIndex8,
    Op::NcMatchReplace8,
    Op::NcStreamShuffle,
    Op::Rng,
    Op::Rand2,
    Op::RandSetState,
    Op::RandGetState,
    Op::SetRngSeed,
];

impl Gen<'_> {
    /// One of the instructions of this file.
    pub fn any_row_statement(&mut self, main: Sel) {
        let here = self.o.target.generation();
        let ops: Vec<Op> = ROW_OPS
            .iter()
            .copied()
            .filter(|o| o.row().engines_on(here).next().is_some() && !(self.o.exact && *o == Op::Exponential))
            .collect();
        let op = self.rng.pick(&ops);
        self.row_statement(op, main);
    }

    /// `op` on `main`. Says whether `op` is one of this file.
    pub fn row_statement(&mut self, op: Op, main: Sel) -> bool {
        match op {
            Op::ActivationReduce | Op::Activate2 => self.two_stages(op, main),
            Op::TensorTensorScan => self.scan(main),
            Op::TensorScalarCumulative => self.cumulative(main),
            Op::TensorCopyPredicated => self.predicated(main),
            Op::Exponential => self.exponential(main),
            Op::RangeSelect => self.range_select(main),
            Op::SelectReduce => self.select_reduce(main),
            Op::Dropout => self.dropout(main),
            Op::BnStats | Op::BnAggr => self.statistics(main),
            Op::Max8 | Op::NcFindIndex8 | Op::NcMatchReplace8 => self.eights(main),
            Op::NcStreamShuffle => self.shuffle(main),
            Op::Rng | Op::Rand2 => self.random(op),
            Op::RandSetState | Op::RandGetState | Op::SetRngSeed => self.random_state(op),
            _ => return false,
        }
        true
    }

    /// Emits an instruction with `dst` and a reduction of its rows.
    fn emit_reduced(
        &mut self,
        mut data: InstData,
        main: &Sel,
        dst: Sel,
        sources: &[usize],
        bounds: [f64; 2],
    ) {
        let sources: Vec<usize> = sources.iter().copied().chain([main.tile, dst.tile]).collect();
        let dtype = self.rng.pick(&[DType::F32, DType::F32, DType::BF16]);
        let sum = self.destination(main.parts, &[1], dtype, true, &sources);
        set(&mut data, "reduce_res", Operand::View(sum.view));
        set(&mut data, "dst", Operand::View(dst.view));
        self.b.inst(data);
        self.wrote(dst.tile, bounds[0]);
        self.wrote(sum.tile, bounds[1]);
        self.tame(dst.tile);
        self.tame(sum.tile);
    }

    fn two_stages(&mut self, op: Op, main: Sel) {
        let main = self.gathered(main);
        let hi = self.read(main.tile);
        let mut data = self.new_inst(op);
        set(&mut data, "data", Operand::View(main.view.clone()));
        let mut func = self.rng.pick(EXACT_FUNCTIONS);
        let mut others = Vec::new();
        let mut top = hi;
        if op == Op::ActivationReduce {
            attr(&mut data, "reduce_op", Attr::Alu(AluOp::Add));
            if self.rng.percent(50) {
                let v = self.vector(main.parts);
                top += self.read(v.tile);
                set(&mut data, "bias", Operand::View(v.view.clone()));
                others.push(v.tile);
            }
        } else {
            use AluOp::{Add, Bypass, Multiply, Subtract};
            let (op0, op1) = self.rng.pick(&[
                (Multiply, Add),
                (Multiply, Subtract),
                (Multiply, Bypass),
                (Add, Bypass),
                (Subtract, Bypass),
                (Bypass, Bypass),
            ]);
            for (op, name, imm, reverse) in
                [(op0, "op0", "imm0", "reverse0"), (op1, "op1", "imm1", "reverse1")]
            {
                attr(&mut data, name, Attr::Alu(op));
                if op == Bypass {
                    continue;
                }
                let (value, by, v) = self.scalar(main.parts);
                set(&mut data, imm, value);
                others.extend(v.map(|v| v.tile));
                top = bound(op, top, by);
                let flip = self.rng.percent(30);
                attr(&mut data, reverse, Attr::Bool(flip));
            }
            if self.rng.percent(20) {
                func = ActFn::Prelu;
                set(&mut data, "relu_param", Operand::Imm(0.25));
            }
            let reduce = self.rng.pick(&[Add, AluOp::Maximum, AluOp::Minimum, AluOp::AbsMax, AluOp::AbsMin]);
            attr(&mut data, "reduce_op", Attr::Alu(reduce));
            attr(&mut data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce));
        }
        attr(&mut data, "op", Attr::Act(func));
        let top = if func == ActFn::Square { top * top } else { top + 1.0 };
        let sources: Vec<usize> = others.iter().copied().chain([main.tile]).collect();
        let dst = match self.scattered(&main, main.n(), DType::F32) {
            Some(dst) => dst,
            None => self.destination(main.parts, &main.free, DType::F32, true, &sources),
        };
        self.emit_reduced(data, &main, dst, &others, [top, top * f64::from(main.n())]);
    }

    /// A recurrence that grows at most by the operands' magnitude per step.
    fn scan(&mut self, main: Sel) {
        let in_psum = self.tiles[main.tile].space == Space::Psum;
        let other = self.matching(main.parts, main.n(), |t| !in_psum || t.space == Space::Sbuf);
        let (initial, by, v) = self.scalar(main.parts);
        let (a, b) = (self.read(main.tile), self.read(other.tile));
        let pairs: &[(AluOp, AluOp)] = &[
            (AluOp::Add, AluOp::Maximum),
            (AluOp::Maximum, AluOp::Add),
            (AluOp::Minimum, AluOp::Subtract),
            (AluOp::Subtract, AluOp::Add),
            (AluOp::Multiply, AluOp::Less),
            (AluOp::GreaterEqual, AluOp::Multiply),
        ];
        let (op0, op1) = self.rng.pick(pairs);
        let mut data = self.new_inst(Op::TensorTensorScan);
        set(&mut data, "data0", Operand::View(main.view.clone()));
        set(&mut data, "data1", Operand::View(other.view.clone()));
        set(&mut data, "initial", initial);
        attr(&mut data, "op0", Attr::Alu(op0));
        attr(&mut data, "op1", Attr::Alu(op1));
        for flag in ["reverse0", "reverse1"] {
            let reverse = self.rng.percent(20);
            attr(&mut data, flag, Attr::Bool(reverse));
        }
        let others: Vec<&Sel> = v.iter().chain([&other]).collect();
        let dst = self.result(&main, &others, true);
        self.emit(data, dst, by + f64::from(main.n()) * (a + b + 1.0));
    }

    fn cumulative(&mut self, main: Sel) {
        let main = self.narrow(main);
        let main = self.gathered_of(main, |d| d.bytes() <= 2 || d == DType::F32);
        let (imm, by, v) = self.scalar(main.parts);
        let hi = self.read(main.tile);
        let op0 = self.rng.pick(&[AluOp::Add, AluOp::Multiply, AluOp::Maximum, AluOp::Less]);
        let op1 = self.rng.pick(&[AluOp::Add, AluOp::Subtract, AluOp::Maximum, AluOp::Minimum]);
        let mut top = bound(op0, hi, by) * f64::from(main.n());
        let mut data = self.new_inst(Op::TensorScalarCumulative);
        set(&mut data, "src", Operand::View(main.view.clone()));
        set(&mut data, "imm0", imm);
        attr(&mut data, "op0", Attr::Alu(op0));
        attr(&mut data, "op1", Attr::Alu(op1));
        let mut others: Vec<Sel> = v.into_iter().collect();
        let cmd = self.rng.pick(&[ReduceCmd::ResetReduce, ReduceCmd::LoadReduce]);
        attr(&mut data, "reduce_cmd", Attr::ReduceCmd(cmd));
        if cmd == ReduceCmd::LoadReduce {
            let (init, by, v) = self.scalar(main.parts);
            set(&mut data, "imm1", init);
            others.extend(v);
            top += by;
        }
        let refs: Vec<&Sel> = others.iter().collect();
        let dst = self.result_or_columns(&main, &refs, true);
        let again = dst.tile != main.tile && self.rng.percent(30);
        let mut next = data.clone();
        self.emit(data, dst, top);
        if again {
            next.name = None;
            set(&mut next, "imm1", Operand::None);
            attr(&mut next, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::Reduce));
            let sources: Vec<usize> = others.iter().map(|o| o.tile).chain([main.tile]).collect();
            let dst = self.destination(main.parts, &main.free, DType::F32, true, &sources);
            self.emit(next, dst, top * 2.0);
        }
    }

    /// `main`, or floats of its size if it has integers of 32 bits or a dtype with 4 bytes that are no float32.
    fn narrow(&mut self, main: Sel) -> Sel {
        match self.tiles[main.tile].dtype {
            DType::I32 | DType::U32 | DType::TF32 | DType::Bool => {
                let t = self.load_as(DType::BF16, &[vec![main.parts], main.free.clone()].concat());
                self.full(t)
            }
            _ => main,
        }
    }

    /// A mask of 0 and 1 of the size of `main`, which it compares.
    fn mask(&mut self, main: &Sel, dtype: DType) -> Sel {
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "data", Operand::View(main.view.clone()));
        set(&mut data, "operand0", Operand::Imm(self.rng.pick(&[0.0, 0.5, -1.0])));
        attr(&mut data, "op0", Attr::Alu(self.rng.pick(COMPARISONS)));
        self.read(main.tile);
        let t = self.alloc(Space::Sbuf, dtype, &[vec![main.parts], main.free.clone()].concat());
        let dst = self.full(t);
        self.emit(data, dst, 1.0);
        self.full(t)
    }

    /// A new tile with a copy of `main`.
    fn copied(&mut self, main: &Sel, dtype: DType) -> Sel {
        let hi = self.read(main.tile);
        let mut data = self.new_inst(Op::TensorCopy);
        set(&mut data, "src", Operand::View(main.view.clone()));
        let t = self.alloc(Space::Sbuf, dtype, &[vec![main.parts], main.free.clone()].concat());
        let dst = self.full(t);
        self.emit(data, dst, hi);
        self.full(t)
    }

    fn predicated(&mut self, main: Sel) {
        let wanted = self.rng.pick(&[DType::U8, DType::U16, DType::U32]);
        let mask = self.mask(&main, wanted);
        let dtype = self.tiles[main.tile].dtype;
        let other = self.matching(main.parts, main.n(), |_| true);
        let mask = self.reordered(mask);
        let dst = match self.scattered(&main, main.n(), dtype) {
            Some(dst) => dst,
            None => self.copied(&other, dtype),
        };
        let hi = self.read(main.tile).max(self.read(mask.tile)).max(self.tiles[dst.tile].hi);
        let mut data = self.new_inst(Op::TensorCopyPredicated);
        let src = match self.rng.percent(30) {
            true if dtype.is_int() => Operand::Int(3),
            true => Operand::Imm(self.imm()),
            false => Operand::View(main.view.clone()),
        };
        set(&mut data, "src", src);
        set(&mut data, "predicate", Operand::View(mask.view));
        let reverse = self.rng.percent(40);
        attr(&mut data, "reverse_pred", Attr::Bool(reverse));
        self.emit(data, dst, hi.max(3.0));
    }

    fn exponential(&mut self, main: Sel) {
        let main = match self.tiles[main.tile].dtype {
            DType::TF32 | DType::Bool | DType::F8E4M3FN => self.copied(&main, DType::F32),
            _ => main,
        };
        let main = self.gathered_of(main, |d| d.is_float16() || d == DType::F32);
        // No larger than 1.
        let hi = self.read(main.tile);
        let mut data = self.new_inst(Op::Exponential);
        set(&mut data, "src", Operand::View(main.view.clone()));
        set(&mut data, "max_value", Operand::Imm(hi as f32));
        let cmd = self.rng.pick(&[ReduceCmd::Idle, ReduceCmd::ResetReduce, ReduceCmd::LoadReduce]);
        attr(&mut data, "reduce_cmd", Attr::ReduceCmd(cmd));
        let mut sources = vec![main.tile];
        let mut total = f64::from(main.n());
        if cmd == ReduceCmd::LoadReduce {
            let (init, by, v) = self.scalar(main.parts);
            set(&mut data, "reduce_init", init);
            sources.extend(v.map(|v| v.tile));
            total += by;
        }
        let dtype = self.float_dtype();
        let dst = match self.scattered(&main, main.n(), dtype) {
            Some(dst) => dst,
            None => self.destination(main.parts, &main.free, dtype, true, &sources),
        };
        match cmd {
            ReduceCmd::Idle => self.emit(data, dst, 1.0),
            _ => self.emit_reduced(data, &main, dst, &sources, [1.0, total]),
        }
    }

    fn range_select(&mut self, main: Sel) {
        let main = if self.tiles[main.tile].dtype.is_float() { main } else { self.copied(&main, DType::F32) };
        self.read(main.tile);
        let bounds = [self.vector(main.parts), self.vector(main.parts)];
        let mut data = self.new_inst(Op::RangeSelect);
        set(&mut data, "on_true_tile", Operand::View(main.view.clone()));
        for (name, op, bound) in [("bound0", "comp_op0", &bounds[0]), ("bound1", "comp_op1", &bounds[1])] {
            self.read(bound.tile);
            set(&mut data, name, Operand::View(bound.view.clone()));
            let cmp = self.rng.pick(COMPARISONS);
            attr(&mut data, op, Attr::Alu(cmp));
        }
        let start = self.rng.pick(&[0, 0, -5, 3]);
        attr(&mut data, "range_start", Attr::Int(start));
        let hi = f64::from(f32::MAX);
        let dst = self.result(&main, &[&bounds[0], &bounds[1]], true);
        self.emit_reduced(data, &main, dst, &[bounds[0].tile, bounds[1].tile], [hi, hi]);
    }

    fn select_reduce(&mut self, main: Sel) {
        let main = self.narrow(main);
        let wanted = self.rng.pick(&[DType::U8, DType::I8, DType::U16, DType::I16]);
        let mask = self.mask(&main, wanted);
        let (other, by, v) = self.scalar(main.parts);
        let hi = self.read(main.tile).max(by);
        self.read(mask.tile);
        let mut data = self.new_inst(Op::SelectReduce);
        set(&mut data, "predicate", Operand::View(mask.view.clone()));
        set(&mut data, "on_true", Operand::View(main.view.clone()));
        set(&mut data, "on_false", other);
        let reverse = self.rng.percent(40);
        attr(&mut data, "reverse_pred", Attr::Bool(reverse));
        let others: Vec<&Sel> = v.iter().chain([&mask]).collect();
        let dst = self.result(&main, &others, true);
        if self.rng.percent(40) {
            return self.emit(data, dst, hi);
        }
        attr(&mut data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce));
        let sources: Vec<usize> = others.iter().map(|s| s.tile).collect();
        self.emit_reduced(data, &main, dst, &sources, [hi, hi]);
    }

    fn dropout(&mut self, main: Sel) {
        let hi = self.read(main.tile);
        let dtype = self.tiles[main.tile].dtype;
        let mut data = self.new_inst(Op::Dropout);
        set(&mut data, "data", Operand::View(main.view.clone()));
        let mut sources = vec![main.tile];
        let prob = match self.rng.percent(30) {
            true => {
                let v = self.vector(main.parts);
                self.read(v.tile);
                sources.push(v.tile);
                Operand::View(v.view)
            }
            false => Operand::Imm(self.rng.pick(&[0.0, 0.25, 0.5, 1.0])),
        };
        set(&mut data, "prob", prob);
        let dst = self.destination(main.parts, &main.free, dtype, true, &sources);
        self.emit(data, dst, hi);
    }

    fn statistics(&mut self, main: Sel) {
        let main = match main.n() > 512 {
            true => {
                let t = self.load_as(DType::F32, &[main.parts, 37]);
                self.full(t)
            }
            false => main,
        };
        let hi = self.read(main.tile);
        let n = f64::from(main.n());
        // Two lots, so that there is something to merge.
        let t = self.alloc(Space::Sbuf, DType::F32, &[main.parts, 12]);
        for at in [0, 6] {
            let mut data = self.new_inst(Op::BnStats);
            set(&mut data, "data", Operand::View(main.view.clone()));
            let mut view = self.full(t).view;
            if let crate::view::Index::Slice(axes) = &mut view.index {
                axes[1] = crate::view::AxisSlice::range(crate::affine::Affine::constant(at), 6);
            }
            set(&mut data, "dst", Operand::View(view));
            self.b.inst(data);
        }
        self.wrote(t, n.max(hi) + n * 4.0 * hi * hi);
        let stats = self.full(t);
        self.read(t);
        let mut data = self.new_inst(Op::BnAggr);
        set(&mut data, "data", Operand::View(stats.view));
        let dtype = self.float_dtype();
        let dst = self.destination(main.parts, &[2], dtype, true, &[t]);
        self.emit(data, dst, hi.max(4.0 * hi * hi));
    }

    /// The eight largest, where they are, and what is left without them.
    fn eights(&mut self, main: Sel) {
        let main = match (8..=16384).contains(&main.n()) {
            true => main,
            false => {
                let dtype = self.float_dtype();
                let n = self.rng.pick(&[8, 9, 13, 40]);
                let t = self.load_as(dtype, &[main.parts, n]);
                self.full(t)
            }
        };
        let hi = self.read(main.tile);
        // max8 takes three dimensions, partitions included.
        let whole = main.free.len() <= 2;
        let main = if whole { main } else { self.copied_flat(&main) };
        let mut data = self.new_inst(Op::Max8);
        set(&mut data, "src", Operand::View(main.view.clone()));
        let t = self.alloc(Space::Sbuf, DType::F32, &[main.parts, 8]);
        let top = self.full(t);
        self.emit(data, top, hi);
        let top = self.full(t);
        self.read(t);
        self.read(main.tile);
        let mut data = self.new_inst(Op::NcFindIndex8);
        set(&mut data, "data", Operand::View(main.view.clone()));
        set(&mut data, "vals", Operand::View(top.view.clone()));
        let dtype = self.rng.pick(&[DType::U16, DType::U32]);
        let t = self.alloc(Space::Sbuf, dtype, &[main.parts, 8]);
        let dst = self.full(t);
        self.emit(data, dst, range_of(dtype));
        let mut data = self.new_inst(Op::NcMatchReplace8);
        set(&mut data, "data", Operand::View(main.view.clone()));
        set(&mut data, "vals", Operand::View(top.view));
        attr(&mut data, "imm", Attr::F32(self.rng.pick(&[0.0, 1.0, 2.0])));
        if self.rng.percent(60) {
            let t = self.alloc(Space::Sbuf, dtype, &[main.parts, 8]);
            set(&mut data, "dst_idx", Operand::View(self.full(t).view));
            self.wrote(t, range_of(dtype));
        }
        let dtype = self.tiles[main.tile].dtype;
        let t = self.alloc(Space::Sbuf, dtype, &[vec![main.parts], main.free.clone()].concat());
        let dst = self.full(t);
        self.emit(data, dst, hi.max(2.0));
    }

    /// A copy with one free dimension.
    fn copied_flat(&mut self, main: &Sel) -> Sel {
        let dtype = self.tiles[main.tile].dtype;
        let flat = Sel { free: vec![main.n()], ..main.clone() };
        self.copied(&flat, dtype)
    }

    fn shuffle(&mut self, main: Sel) {
        let hi = self.read(main.tile);
        let Tile { dtype, .. } = self.tiles[main.tile];
        let t = self.alloc(Space::Sbuf, dtype, &[vec![main.parts], main.free.clone()].concat());
        let keep = self.rng.percent(40);
        if keep {
            self.fill(t);
        }
        // Partitions that exist in the last quadrant too.
        let last = (main.parts - 1) % 32 + 1;
        let mask = (0..32).map(|_| match keep && self.rng.percent(20) {
            true => crate::op::SHUFFLE_KEEP,
            false => self.rng.below(last).into(),
        });
        let mask: Vec<i64> = mask.collect();
        let mut data = self.new_inst(Op::NcStreamShuffle);
        // Both sides start at partition 0: a view of fewer quadrants may start where the whole may not.
        let src = match self.copied_to_start(&main) {
            Some(src) => src,
            None => main,
        };
        set(&mut data, "src", Operand::View(src.view));
        attr(&mut data, "shuffle_mask", Attr::Ints(mask));
        let dst = self.full(t);
        self.emit(data, dst, hi.max(100.0));
    }

    /// A copy of a view that does not begin at partition 0.
    fn copied_to_start(&mut self, main: &Sel) -> Option<Sel> {
        let whole = main.parts == self.tiles[main.tile].parts();
        (!whole).then(|| self.copied(main, self.tiles[main.tile].dtype))
    }

    fn random(&mut self, op: Op) {
        let (parts, n) = (self.parts(), self.free());
        let free = self.factor(n);
        let mut data = self.new_inst(op);
        if op == Op::Rng {
            let dtype = self.int_dtype();
            let engines: &[Engine] =
                if self.gen3() { &[Engine::Vector, Engine::GpSimd] } else { &[Engine::Vector] };
            self.ask(&mut data, engines);
            let dst = self.destination(parts, &free, dtype, data.engine != Engine::GpSimd, &[]);
            return self.emit(data, dst, range_of(dtype));
        }
        set(&mut data, "min", Operand::Imm(self.rng.pick(&[-2.0, 0.0, -0.5])));
        set(&mut data, "max", Operand::Imm(self.rng.pick(&[0.5, 1.0, 4.0])));
        let dtype = self.dtype();
        let dst = self.destination(parts, &free, dtype, true, &[]);
        // Below zero, unsigned elements are 0.
        self.emit(data, dst, 4.0);
    }

    /// A seed, or a state taken out and put back.
    fn random_state(&mut self, op: Op) {
        if op == Op::SetRngSeed || !self.gen3() {
            let t = self.alloc(Space::Sbuf, DType::U32, &[1, 1]);
            self.fill(t);
            self.read(t);
            let mut data = self.new_inst(Op::SetRngSeed);
            set(&mut data, "src_seeds", Operand::View(self.full(t).view));
            self.b.inst(data);
            return self.random(Op::Rng);
        }
        let vector = self.o.target.generation() >= Generation::Gen4 && self.rng.percent(50);
        let (engine, words) = if vector { (Engine::Vector, 24) } else { (Engine::GpSimd, 6) };
        let parts = self.parts();
        let t = self.alloc(Space::Sbuf, DType::U32, &[parts, words]);
        let mut data = self.new_inst(Op::RandGetState);
        data.engine = engine;
        set(&mut data, "dst", Operand::View(self.full(t).view));
        self.b.inst(data);
        self.random(Op::Rng);
        let mut data = self.new_inst(Op::RandSetState);
        data.engine = engine;
        set(&mut data, "src_seeds", Operand::View(self.full(t).view));
        self.b.inst(data);
        self.wrote(t, range_of(DType::U32));
        self.read(t);
        self.random(Op::Rng);
    }
}
