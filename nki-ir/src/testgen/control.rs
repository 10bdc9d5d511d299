//! Statements on registers: loops and branches that data decides, positions that data gives.

use super::state::{Gen, OpenLoop, attr, set};
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Reg;
use crate::kernel::{Attr, Bound, Operand, Space};
use crate::op::{AluOp, OobMode, Op};
use crate::view::{AxisSlice, Dynamic};

fn whole(n: u32) -> AxisSlice {
    AxisSlice::range(Affine::constant(0), n)
}

impl Gen<'_> {
    /// A statement on a register; `depth` loops are open.
    pub fn on_register(&mut self, depth: u32) {
        match self.rng.below(10) {
            0..3 if depth < self.o.max_depth => self.dynamic_loop(depth),
            3 if depth < self.o.max_depth => self.while_loop(depth),
            4 if depth < self.o.max_depth => self.branch(depth),
            6 => self.stored_register(),
            7 => self.column_at_register(),
            8 => self.scatter_to_register(),
            5 => self.assertion(),
            _ => self.load_at_register(),
        }
    }

    /// A register with a value in `0..=max` that the compiler does not know.
    fn register(&mut self, max: i64) -> Reg {
        let (loc, name) = (self.loc(), self.name("r"));
        let reg = self.b.reg(&name, DType::I32, loc);
        match self.rng.below(8) {
            0 => {
                let value = i64::from(self.rng.below(max as u32 + 1));
                self.register_move(reg, Operand::Int(value));
            }
            1 if self.loops.last().is_some_and(|l| l.last >= 0 && l.last <= max) => {
                let var = self.loops[self.loops.len() - 1].var;
                self.register_move(reg, Operand::Index(Affine::var(var)));
            }
            2 => {
                // Through another register.
                let other = self.register(max);
                self.register_move(reg, Operand::Reg(other));
            }
            3 => {
                // A byte straight from HBM, which is as small as the arguments make it.
                let buf = self.input(DType::U8, &[3]);
                let raw = self.b.reg(&format!("{name}_raw"), DType::I32, loc);
                let src = self.hbm(buf, [AxisSlice::range(Affine::constant(1), 1)]);
                self.register_load(raw, Operand::View(src));
                let t = self.clamped(Some(raw), max);
                self.register_load(reg, t);
            }
            _ => {
                let t = self.clamped(None, max);
                self.register_load(reg, t);
            }
        }
        reg
    }

    /// One element with a value in `0..=max`: what a register or an argument holds, cut to that range.
    fn clamped(&mut self, from: Option<Reg>, max: i64) -> Operand {
        let t = match from {
            None => self.load_as(DType::I32, &[1, 1]),
            Some(reg) => {
                let t = self.alloc(Space::Sbuf, DType::I32, &[1, 1]);
                self.register_store(t, reg);
                t
            }
        };
        self.read(t);
        let cut = self.alloc(Space::Sbuf, DType::I32, &[1, 1]);
        self.two_scalars(cut, t, [(AluOp::Minimum, max as f32), (AluOp::Maximum, 0.0)]);
        self.wrote(cut, max as f64);
        self.read(cut);
        Operand::View(self.full(cut).view)
    }

    fn two_scalars(&mut self, dst: usize, src: usize, [a, b]: [(AluOp, f32); 2]) {
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "dst", Operand::View(self.full(dst).view));
        set(&mut data, "data", Operand::View(self.full(src).view));
        set(&mut data, "operand0", Operand::Imm(a.1));
        set(&mut data, "operand1", Operand::Imm(b.1));
        attr(&mut data, "op0", Attr::Alu(a.0));
        attr(&mut data, "op1", Attr::Alu(b.0));
        self.b.inst(data);
    }

    fn register_move(&mut self, dst: Reg, src: Operand) {
        let mut data = self.new_inst(Op::RegisterMove);
        set(&mut data, "dst", Operand::Reg(dst));
        set(&mut data, "src", src);
        self.b.inst(data);
    }

    fn register_load(&mut self, dst: Reg, src: Operand) {
        let mut data = self.new_inst(Op::RegisterLoad);
        set(&mut data, "dst", Operand::Reg(dst));
        set(&mut data, "src", src);
        self.b.inst(data);
    }

    fn register_store(&mut self, dst: usize, src: Reg) {
        let mut data = self.new_inst(Op::RegisterStore);
        set(&mut data, "dst", Operand::View(self.full(dst).view));
        set(&mut data, "src", Operand::Reg(src));
        self.b.inst(data);
        self.wrote(dst, 256.0);
    }

    /// A register's value in a tile of some integer dtype.
    fn stored_register(&mut self) {
        let reg = self.register(100);
        let dtype = self.rng.pick(&[DType::I32, DType::U32, DType::I16, DType::U8]);
        let t = self.alloc(Space::Sbuf, dtype, &[1, 1]);
        self.register_store(t, reg);
    }

    /// An assertion that holds.
    fn assertion(&mut self) {
        let t = self.load_as(DType::I32, &[3, 2]);
        self.read(t);
        let positive = self.alloc(Space::Sbuf, DType::I32, &[3, 2]);
        self.two_scalars(positive, t, [(AluOp::Minimum, 5.0), (AluOp::Maximum, 1.0)]);
        self.wrote(positive, 5.0);
        let mut data = self.new_inst(Op::DeviceAssert);
        set(&mut data, "condition", Operand::View(self.full(positive).view));
        attr(&mut data, "text", Attr::Text("positive".into()));
        self.b.inst(data);
    }

    fn body(&mut self, depth: u32) {
        for _ in 0..self.rng.range(1, 3) {
            self.statement(depth + 1);
        }
        if self.rng.percent(40) {
            self.carried();
        }
    }

    fn dynamic_loop(&mut self, depth: u32) {
        let max = i64::from(self.rng.range(1, 4));
        let step = i64::from(self.rng.pick(&[1, 1, 1, 2]));
        let (lo, first) = match self.rng.below(4) {
            0 => (Bound::Reg { reg: self.register(2), max: 2 }, 0),
            1 => (Bound::Const(1), 1),
            _ => (Bound::Const(0), 0),
        };
        let hi = match lo {
            Bound::Reg { .. } if self.rng.percent(30) => Bound::Const(max),
            _ => Bound::Reg { reg: self.register(max), max },
        };
        let loc = self.loc();
        let (_, var) = self.b.begin_for("d", lo, hi, step, loc);
        // Never known to run, whatever it is: outputs keep what they had.
        self.conditional += 1;
        self.loops.push(OpenLoop { var, lo: first, hi: max.max(first + 1), step, last: max - 1 });
        self.open_scope();
        self.body(depth);
        self.close_loop();
        self.conditional -= 1;
    }

    /// Counts a tile down to 0.
    fn while_loop(&mut self, depth: u32) {
        let start = self.clamped(None, 3);
        let (loc, name) = (self.loc(), self.name("go_on"));
        let cond = self.b.reg(&name, DType::I32, loc);
        self.register_load(cond, start);
        let count = self.alloc(Space::Sbuf, DType::I32, &[1, 1]);
        self.register_store(count, cond);
        // Nothing else changes it.
        let hidden = self.scopes.last_mut().and_then(Vec::pop);
        let loc = self.loc();
        self.b.begin_while(cond, loc);
        self.conditional += 1;
        self.open_scope();
        self.body(depth);
        self.close_scope();
        self.two_scalars(count, count, [(AluOp::Subtract, 1.0), (AluOp::Maximum, 0.0)]);
        let left = Operand::View(self.full(count).view);
        self.register_load(cond, left);
        self.conditional -= 1;
        self.b.end();
        if let (Some(t), Some(scope)) = (hidden, self.scopes.last_mut()) {
            scope.push(t);
        }
    }

    fn branch(&mut self, depth: u32) {
        let cond = self.register(1);
        let loc = self.loc();
        let l = self.b.begin_if(cond, loc);
        self.conditional += 1;
        self.open_scope();
        self.body(depth);
        self.close_scope();
        if self.rng.percent(50) {
            self.b.begin_otherwise(l);
            self.open_scope();
            self.body(depth);
            self.close_scope();
        }
        self.conditional -= 1;
        self.b.end();
    }

    /// A load of rows or columns from where a register says.
    fn load_at_register(&mut self) {
        let (parts, row, extra) = (self.parts(), self.free(), self.rng.range(0, 4));
        let axis = self.rng.below(2);
        let (dtype, index) = (self.float_dtype(), self.position(extra.into(), axis));
        let shape = if axis == 0 { [parts + extra, row] } else { [parts, row + extra] };
        let buf = self.input(dtype, &shape);
        let mut src = self.hbm(buf, [whole(parts), whole(row)]);
        src.dynamic = Some(index);
        let t = self.alloc(Space::Sbuf, dtype, &[parts, row]);
        let dst = self.full(t).view;
        self.dma(dst, src);
        self.wrote(t, super::INPUT_RANGE);
    }

    /// A position of at most `max` along an axis: in a register, or in a tile.
    pub fn position(&mut self, max: i64, axis: u32) -> Dynamic {
        if self.rng.percent(60) {
            return Dynamic::Register { reg: self.register(max), axis };
        }
        match self.clamped(None, max) {
            Operand::View(view) => Dynamic::Scalar { index: Box::new(view), axis },
            _ => unreachable!("a clamped value is in a tile"),
        }
    }

    /// Columns of a tile from where a register says.
    fn column_at_register(&mut self) {
        let wide = self.tiles_where(|t| t.space == Space::Sbuf && t.shape.len() == 2 && t.shape[1] > 1);
        let Some(t) = self.rng.choose(&wide) else { return self.load_at_register() };
        let (parts, row, dtype) = (self.tiles[t].parts(), self.tiles[t].row(), self.tiles[t].dtype);
        let n = self.rng.range(1, row - 1);
        let index = self.position((row - n).into(), 1);
        let hi = self.read(t);
        let out = self.alloc(Space::Sbuf, dtype, &[parts, n]);
        let mut src = self.full(t).view;
        if let crate::view::Index::Slice(axes) = &mut src.index {
            axes[1] = whole(n);
        }
        src.dynamic = Some(index);
        let mut data = self.new_inst(Op::TensorCopy);
        set(&mut data, "dst", Operand::View(self.full(out).view));
        set(&mut data, "src", Operand::View(src));
        self.b.inst(data);
        self.wrote(out, hi);
    }

    /// A row of a tensor that the caller passes is replaced, where a register says; beyond its end nothing is.
    fn scatter_to_register(&mut self) {
        let t = self.load();
        let (parts, row, dtype) = (self.tiles[t].parts(), self.tiles[t].row(), self.tiles[t].dtype);
        self.read(t);
        let extra = self.rng.range(0, 2);
        // Behind outer axes a position too far is another block.
        let beyond = if self.loops.is_empty() { self.rng.below(3) } else { 0 };
        let max = i64::from(extra + beyond);
        let reg = self.register(max);
        self.conditional += 1;
        let (buf, starts) = self.output(dtype, &[parts + extra, row]);
        self.conditional -= 1;
        let axis = starts.len() as u32;
        let axes = starts.into_iter().map(AxisSlice::index).chain([whole(parts), whole(row)]);
        let mut dst = self.hbm(buf, axes);
        dst.dynamic = Some(Dynamic::Register { reg, axis });
        let src = self.full(t).view;
        let mut data = self.new_inst(Op::DmaCopy);
        if beyond > 0 {
            attr(&mut data, "oob_mode", Attr::Oob(OobMode::Skip));
        }
        set(&mut data, "dst", Operand::View(dst));
        set(&mut data, "src", Operand::View(src));
        self.b.inst(data);
    }
}
