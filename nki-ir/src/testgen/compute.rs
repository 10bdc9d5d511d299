//! Statements of the vector, scalar and GpSimd engines.

use super::state::{CLAMP, Gen, LARGE, LARGE_FP8, Tile, attr, range_of, set};
use super::views::Sel;
use crate::dtype::DType;
use crate::kernel::{Attr, InstData, Operand, Space};
use crate::op::{ActFn, AluOp, Engine, Op, ReduceCmd};

/// Operators whose result is bounded by their arguments' bounds.
const BOUNDED: &[AluOp] = &[
    AluOp::Add,
    AluOp::Add,
    AluOp::Subtract,
    AluOp::Multiply,
    AluOp::Multiply,
    AluOp::Maximum,
    AluOp::Minimum,
];
const LOGIC: &[AluOp] = &[
    AluOp::Equal,
    AluOp::NotEqual,
    AluOp::Less,
    AluOp::LessEqual,
    AluOp::Greater,
    AluOp::GreaterEqual,
    AluOp::LogicalAnd,
    AluOp::LogicalOr,
    AluOp::LogicalXor,
];
const BITS: &[AluOp] =
    &[AluOp::BitwiseAnd, AluOp::BitwiseOr, AluOp::BitwiseXor, AluOp::LeftShift, AluOp::RightShift];
pub const EXACT_FUNCTIONS: &[ActFn] = &[ActFn::Copy, ActFn::Square, ActFn::Abs, ActFn::Sign, ActFn::Relu];

/// Bound of `op(a, b)`.
pub fn bound(op: AluOp, a: f64, b: f64) -> f64 {
    match op {
        AluOp::Add | AluOp::Subtract => a + b,
        AluOp::Multiply => a * b,
        AluOp::Maximum | AluOp::Minimum => a.max(b),
        AluOp::Bypass | AluOp::Abs => a,
        _ => 1.0,
    }
}

impl Gen<'_> {
    /// One instruction on tiles in scope, or on a new one.
    pub fn compute(&mut self) {
        if !self.room() {
            return;
        }
        let main = self.main();
        if self.o.everything && self.rng.percent(25) {
            return self.any_special_statement(main);
        }
        match self.rng.below(28) {
            0..4 => self.activation(main),
            4..7 => self.tensor_tensor(main),
            7..10 => self.tensor_scalar(main),
            10 | 11 => self.scalar_tensor_tensor(main),
            12 | 13 => self.tensor_scalar_reduce(main),
            14 | 15 => self.tensor_reduce(main),
            16 => self.reciprocal(main),
            17 => self.affine_select(main),
            18 if !self.o.exact && self.rng.percent(50) => self.power(main),
            18 => self.bits(main),
            19 => self.copy(main),
            _ => self.any_row_statement(main),
        }
    }

    /// A statement with `op`; any other if `op` has none of its own here.
    pub fn focused(&mut self, op: Op) {
        if !self.room() {
            return;
        }
        let main = self.main();
        match op {
            Op::Activation => self.activation(main),
            Op::TensorReduce => self.tensor_reduce(main),
            Op::TensorTensor => self.tensor_tensor(main),
            Op::ScalarTensorTensor => self.scalar_tensor_tensor(main),
            Op::TensorScalar if self.rng.percent(30) => self.bits(main),
            Op::TensorScalar => self.tensor_scalar(main),
            Op::TensorScalarReduce => self.tensor_scalar_reduce(main),
            Op::TensorCopy => self.copy(main),
            Op::Reciprocal => self.reciprocal(main),
            Op::AffineSelect => self.affine_select(main),
            Op::Memset => self.memset(),
            Op::Iota => self.iota(),
            Op::NcMatmul if self.o.indirect && self.rng.percent(50) => self.gathered_product(),
            Op::NcMatmul => self.matmul(),
            Op::NcTranspose => self.transpose(),
            Op::DmaCopy if self.o.indirect && self.rng.percent(50) => self.by_index(),
            Op::DmaCopy => {
                self.load();
            }
            _ if self.row_statement(op, main.clone()) => {}
            _ if self.special_statement(op, main.clone()) => {}
            _ => self.copy(main),
        }
    }

    /// A view of a tile in scope, mostly of a recent one.
    fn main(&mut self) -> Sel {
        let tiles = self.tiles_where(|_| true);
        let recent = tiles.len().saturating_sub(4);
        let pool = if self.rng.percent(60) { &tiles[recent..] } else { &tiles[..] };
        let t = match self.rng.choose(pool) {
            Some(t) => t,
            None => self.load(),
        };
        self.select(t, false)
    }

    /// An SBUF view as large as `sel`, which may be in PSUM.
    pub fn in_sbuf(&mut self, sel: Sel) -> Sel {
        if self.tiles[sel.tile].space == Space::Sbuf {
            return sel;
        }
        let t = self.evict(sel.tile);
        self.full(t)
    }

    /// The destination of an element-wise instruction on `main`: now and then `main` itself.
    pub fn result(&mut self, main: &Sel, others: &[&Sel], psum: bool) -> Sel {
        let sources: Vec<usize> = others.iter().map(|s| s.tile).chain([main.tile]).collect();
        let elsewhere = others.iter().all(|s| s.tile != main.tile);
        let float = self.tiles[main.tile].dtype.is_float();
        if self.rng.percent(12) && main.distinct && elsewhere && float {
            return main.clone();
        }
        let dtype = self.float_dtype();
        self.destination(main.parts, &main.free, dtype, psum, &sources)
    }

    /// Emits an instruction that writes `dst` with magnitudes up to `hi`.
    pub fn emit(&mut self, mut data: InstData, dst: Sel, hi: f64) {
        set(&mut data, "dst", Operand::View(dst.view));
        self.b.inst(data);
        self.wrote(dst.tile, hi);
        self.tame(dst.tile);
    }

    /// Clamps a tile whose magnitudes may be large. What a loop changes in place is always clamped: its bound would grow
    /// from turn to turn.
    pub fn tame(&mut self, t: usize) {
        let Tile { hi, dtype, .. } = self.tiles[t];
        let carried = self.carried_in(t);
        let large = if dtype.is_float8() { LARGE_FP8 } else { LARGE };
        if (hi <= large && !carried) || (dtype.is_int() && dtype.bytes() == 1) {
            return;
        }
        let mut data = self.new_inst(Op::TensorScalar);
        let view = self.full(t).view;
        set(&mut data, "dst", Operand::View(view.clone()));
        set(&mut data, "data", Operand::View(view));
        set(&mut data, "operand0", Operand::Imm(CLAMP as f32));
        set(&mut data, "operand1", Operand::Imm(-CLAMP as f32));
        attr(&mut data, "op0", Attr::Alu(AluOp::Minimum));
        attr(&mut data, "op1", Attr::Alu(AluOp::Maximum));
        self.b.inst(data);
        let tile = &mut self.tiles[t];
        tile.used = false;
        // A loop without turns does not clamp either.
        if !carried {
            tile.hi = CLAMP;
        }
    }

    /// `t / 2 + 1` in a new tile.
    pub fn scaled(&mut self, t: usize) -> usize {
        let (dtype, shape) = (self.tiles[t].dtype, self.tiles[t].shape.clone());
        let hi = self.read(t);
        let out = self.alloc(Space::Sbuf, dtype, &shape);
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "data", Operand::View(self.full(t).view));
        set(&mut data, "operand0", Operand::Imm(0.5));
        set(&mut data, "operand1", Operand::Imm(1.0));
        attr(&mut data, "op0", Attr::Alu(AluOp::Multiply));
        attr(&mut data, "op1", Attr::Alu(AluOp::Add));
        let dst = self.full(out);
        self.emit(data, dst, hi / 2.0 + 1.0);
        out
    }

    /// Updates a tile from outside the innermost loop: `t = t op x`.
    pub fn carried(&mut self) {
        let level = self.scopes.len();
        let outer = self.tiles_where(|t| t.level < level && t.space == Space::Sbuf && t.dtype.is_float());
        let Some(t) = self.rng.choose(&outer) else { return };
        let whole = self.full(t);
        let x = self.matching(whole.parts, whole.n(), |x| x.buf.0 != u32::MAX);
        let x = if x.tile == t { self.fresh(&whole) } else { x };
        let op = self.rng.pick(&[AluOp::Add, AluOp::Maximum, AluOp::Subtract, AluOp::Multiply]);
        let hi = bound(op, self.read(t), self.read(x.tile));
        let mut data = self.new_inst(Op::TensorTensor);
        set(&mut data, "data1", Operand::View(whole.view.clone()));
        set(&mut data, "data2", Operand::View(x.view));
        attr(&mut data, "op", Attr::Alu(op));
        self.emit(data, whole, hi);
    }

    /// A new tile as large as `sel`.
    fn fresh(&mut self, sel: &Sel) -> Sel {
        let dtype = self.float_dtype();
        let t = self.load_as(dtype, &[sel.parts, sel.n()]);
        self.full(t)
    }

    /// A scalar or per-partition operand, and its bound.
    pub fn scalar(&mut self, parts: u32) -> (Operand, f64, Option<Sel>) {
        match self.rng.below(10) {
            0..6 => {
                let x = self.imm();
                (Operand::Imm(x), f64::from(x.abs()), None)
            }
            6 => (Operand::Int(3), 3.0, None),
            _ => {
                let v = self.vector(parts);
                let hi = self.read(v.tile);
                (Operand::View(v.view.clone()), hi, Some(v))
            }
        }
    }

    fn activation(&mut self, main: Sel) {
        let op = if self.o.exact || self.rng.percent(40) {
            self.rng.pick(EXACT_FUNCTIONS)
        } else {
            let all: Vec<ActFn> = ActFn::ALL.iter().copied().filter(|f| *f != ActFn::Prelu).collect();
            self.rng.pick(&all)
        };
        let positive = matches!(op, ActFn::Log | ActFn::Sqrt | ActFn::Rsqrt | ActFn::Reciprocal);
        let main = if positive { self.positive(main) } else { self.gathered(main) };
        let hi = self.read(main.tile);
        let mut data = self.new_inst(Op::Activation);
        attr(&mut data, "op", Attr::Act(op));
        set(&mut data, "data", Operand::View(main.view.clone()));
        let mut others: Vec<Sel> = Vec::new();
        // Into the range where functions differ from their limits: a power of two.
        let exact = EXACT_FUNCTIONS.contains(&op);
        let mut reach = hi;
        if !exact && !positive && hi > 2.0 {
            let scale = 2f64.powi(-(hi / 2.0).log2().ceil() as i32);
            set(&mut data, "scale", Operand::Imm(scale as f32));
            reach = hi * scale;
        } else if exact && self.rng.percent(40) {
            let (scale, by, v) = self.scalar(main.parts);
            set(&mut data, "scale", scale);
            others.extend(v);
            reach = hi * by;
        }
        if !positive && self.rng.percent(40) {
            reach += self.bias(&mut data, main.parts, exact, &mut others);
        }
        let top = match op {
            ActFn::Square => reach * reach,
            ActFn::Exp => reach.exp(),
            ActFn::Sqrt | ActFn::Rsqrt | ActFn::Log | ActFn::Reciprocal => reach.max(16.0),
            _ => reach + 2.0,
        };
        let refs: Vec<&Sel> = others.iter().collect();
        let dst = self.result_or_columns(&main, &refs, true);
        if self.rng.percent(25) {
            return self.summed(data, main, dst, others, top);
        }
        self.emit(data, dst, top);
    }

    /// Adds a bias; returns its bound.
    fn bias(&mut self, data: &mut InstData, parts: u32, exact: bool, others: &mut Vec<Sel>) -> f64 {
        if exact && self.rng.percent(50) {
            let v = self.vector(parts);
            let hi = self.read(v.tile);
            set(data, "bias", Operand::View(v.view.clone()));
            others.push(v);
            return hi;
        }
        if !self.gen3() {
            return 0.0;
        }
        let x = self.rng.pick(&[0.5f32, -0.25, 1.0]);
        set(data, "bias", Operand::Imm(x));
        f64::from(x.abs())
    }

    /// `main` raised to at least 1/16 in a new tile.
    fn positive(&mut self, main: Sel) -> Sel {
        let hi = self.read(main.tile);
        let t = self.alloc(Space::Sbuf, DType::F32, &[vec![main.parts], main.free.clone()].concat());
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "data", Operand::View(main.view));
        set(&mut data, "operand0", Operand::Imm(0.0625));
        attr(&mut data, "op0", Attr::Alu(AluOp::Maximum));
        let dst = self.full(t);
        self.emit(data, dst, hi);
        self.full(t)
    }

    /// The activation with a running sum: in one instruction, or over two.
    fn summed(&mut self, mut data: InstData, main: Sel, dst: Sel, others: Vec<Sel>, top: f64) {
        let sources: Vec<usize> = others.iter().map(|s| s.tile).chain([main.tile, dst.tile]).collect();
        let sum = self.destination(main.parts, &[1], DType::F32, true, &sources);
        attr(&mut data, "reduce_op", Attr::Alu(AluOp::Add));
        attr(&mut data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce));
        let mut total = top * f64::from(main.n());
        let twice = dst.tile != main.tile && self.rng.percent(40);
        if twice {
            let mut first = data.clone();
            first.name = None;
            set(&mut first, "dst", Operand::View(dst.view.clone()));
            self.b.inst(first);
            attr(&mut data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::Reduce));
            total *= 2.0;
        }
        set(&mut data, "reduce_res", Operand::View(sum.view));
        set(&mut data, "dst", Operand::View(dst.view));
        self.b.inst(data);
        self.wrote(dst.tile, top);
        self.wrote(sum.tile, total);
        self.tame(dst.tile);
        self.tame(sum.tile);
    }

    fn tensor_tensor(&mut self, main: Sel) {
        let main = self.gathered(main);
        let main_in_psum = self.tiles[main.tile].space == Space::Psum;
        let other = self.matching(main.parts, main.n(), |t| !main_in_psum || t.space == Space::Sbuf);
        let (a, b) = (self.read(main.tile), self.read(other.tile));
        let op = match self.rng.percent(80) {
            true => self.rng.pick(BOUNDED),
            false => self.rng.pick(LOGIC),
        };
        let mut data = self.new_inst(Op::TensorTensor);
        attr(&mut data, "op", Attr::Alu(op));
        let swap = main.view.dynamic.is_none() && self.rng.percent(50);
        let (x, y) = if swap { (&other, &main) } else { (&main, &other) };
        set(&mut data, "data1", Operand::View(x.view.clone()));
        set(&mut data, "data2", Operand::View(y.view.clone()));
        let logical = matches!(op, AluOp::LogicalAnd | AluOp::LogicalOr | AluOp::LogicalXor);
        let sbuf = !main_in_psum && self.tiles[other.tile].space == Space::Sbuf;
        let gpsimd = sbuf && !logical && self.rng.percent(25);
        if gpsimd {
            data.engine = Engine::GpSimd;
        } else {
            self.ask(&mut data, &[Engine::Vector]);
        }
        let dst = self.result_or_columns(x, &[y], !gpsimd);
        if gpsimd && self.tiles[dst.tile].space == Space::Psum {
            data.engine = Engine::Unknown;
        }
        self.emit(data, dst, bound(op, a, b));
    }

    fn tensor_scalar(&mut self, main: Sel) {
        let main = self.gathered(main);
        let hi = self.read(main.tile);
        let ops = |g: &mut Self| if g.rng.percent(75) { g.rng.pick(BOUNDED) } else { g.rng.pick(LOGIC) };
        let (mut op0, mut op1) = (ops(self), if self.rng.percent(50) { AluOp::Bypass } else { ops(self) });
        let mut data = self.new_inst(Op::TensorScalar);
        let unary = self.rng.percent(10);
        if unary {
            op0 = AluOp::Abs;
        }
        if self.gen3() && self.rng.percent(15) && !unary {
            // What ScalarE takes.
            (op0, op1) = self.rng.pick(&[
                (AluOp::Multiply, AluOp::Add),
                (AluOp::Multiply, AluOp::Bypass),
                (AluOp::Add, AluOp::Bypass),
            ]);
            data.engine = Engine::Scalar;
        } else {
            self.ask(&mut data, &[Engine::Vector]);
        }
        set(&mut data, "data", Operand::View(main.view.clone()));
        attr(&mut data, "op0", Attr::Alu(op0));
        attr(&mut data, "op1", Attr::Alu(op1));
        let mut top = hi;
        let mut others = Vec::new();
        let stages = [("operand0", "reverse0", op0, unary), ("operand1", "reverse1", op1, false)];
        for (operand, reverse, op, unary) in stages {
            if op == AluOp::Bypass || unary {
                continue;
            }
            let (value, by, v) = self.scalar(main.parts);
            set(&mut data, operand, value);
            others.extend(v);
            top = bound(op, top, by);
            let flip = self.rng.percent(20);
            attr(&mut data, reverse, Attr::Bool(flip));
        }
        let others: Vec<&Sel> = others.iter().collect();
        let dst = self.result_or_columns(&main, &others, true);
        self.emit(data, dst, top);
    }

    fn scalar_tensor_tensor(&mut self, main: Sel) {
        let (scalar, by, v) = self.scalar(main.parts);
        let main_in_psum = self.tiles[main.tile].space == Space::Psum;
        let other = self.matching(main.parts, main.n(), |t| !main_in_psum || t.space == Space::Sbuf);
        let (a, b) = (self.read(main.tile), self.read(other.tile));
        let (op0, op1) = (self.rng.pick(BOUNDED), self.rng.pick(BOUNDED));
        let mut data = self.new_inst(Op::ScalarTensorTensor);
        set(&mut data, "data", Operand::View(main.view.clone()));
        set(&mut data, "operand0", scalar);
        set(&mut data, "operand1", Operand::View(other.view.clone()));
        attr(&mut data, "op0", Attr::Alu(op0));
        attr(&mut data, "op1", Attr::Alu(op1));
        for flag in ["reverse0", "reverse1"] {
            let reverse = self.rng.percent(20);
            attr(&mut data, flag, Attr::Bool(reverse));
        }
        let others: Vec<&Sel> = v.iter().chain([&other]).collect();
        let dst = self.result(&main, &others, true);
        self.emit(data, dst, bound(op1, bound(op0, a, by), b));
    }

    fn tensor_scalar_reduce(&mut self, main: Sel) {
        let main = self.gathered(main);
        let (scalar, by, v) = self.scalar(main.parts);
        let hi = self.read(main.tile);
        let op0 = self.rng.pick(BOUNDED);
        let top = bound(op0, hi, by);
        let op = self.rng.pick(&[AluOp::Add, AluOp::Maximum, AluOp::Minimum]);
        let mut data = self.new_inst(Op::TensorScalarReduce);
        set(&mut data, "data", Operand::View(main.view.clone()));
        set(&mut data, "operand0", scalar);
        attr(&mut data, "op0", Attr::Alu(op0));
        attr(&mut data, "reduce_op", Attr::Alu(op));
        let mut others: Vec<&Sel> = v.iter().collect();
        let init = if self.rng.percent(30) { Some(self.scalar(main.parts)) } else { None };
        let mut total = if op == AluOp::Add { top * f64::from(main.n()) } else { top };
        if let Some((operand, by, v)) = &init {
            attr(&mut data, "reduce_cmd", Attr::ReduceCmd(ReduceCmd::LoadReduce));
            set(&mut data, "reduce_init", operand.clone());
            others.extend(v);
            total += by;
        }
        let negate = self.rng.percent(25);
        attr(&mut data, "reduce_res_negate", Attr::Bool(negate));
        let dst = self.result_or_columns(&main, &others, true);
        let sources: Vec<usize> = others.iter().map(|s| s.tile).chain([main.tile, dst.tile]).collect();
        let sum = self.destination(main.parts, &[1], DType::F32, true, &sources);
        set(&mut data, "reduce_res", Operand::View(sum.view));
        set(&mut data, "dst", Operand::View(dst.view));
        self.b.inst(data);
        self.wrote(dst.tile, top);
        self.wrote(sum.tile, total);
        self.tame(dst.tile);
        self.tame(sum.tile);
    }

    fn tensor_reduce(&mut self, main: Sel) {
        let main = self.gathered(main);
        let rank = main.free.len() as u32;
        let kept = self.rng.below(rank) as usize;
        let axes: Vec<i64> = (kept as i64 + 1..=i64::from(rank)).collect();
        let reduced: u32 = main.free[kept..].iter().product();
        let hi = self.read(main.tile);
        let arithmetic = [AluOp::Add, AluOp::Add, AluOp::Maximum, AluOp::Minimum, AluOp::Subtract];
        let logical = [AluOp::LogicalAnd, AluOp::LogicalOr, AluOp::LogicalXor];
        let op = if self.rng.percent(85) { self.rng.pick(&arithmetic) } else { self.rng.pick(&logical) };
        let total =
            if matches!(op, AluOp::Add | AluOp::Subtract) { hi * f64::from(reduced) } else { hi.max(1.0) };
        let mut data = self.new_inst(Op::TensorReduce);
        attr(&mut data, "op", Attr::Alu(op));
        attr(&mut data, "axis", Attr::Ints(axes));
        let (negate, keep) = (self.rng.percent(25), self.rng.percent(30));
        attr(&mut data, "negate", Attr::Bool(negate));
        attr(&mut data, "keepdims", Attr::Bool(keep));
        set(&mut data, "data", Operand::View(main.view.clone()));
        let mut free: Vec<u32> = main.free[..kept].to_vec();
        if free.is_empty() {
            free.push(1);
        }
        let dtype = self.float_dtype();
        let dst = self.destination(main.parts, &free, dtype, true, &[main.tile]);
        self.emit(data, dst, total);
    }

    fn reciprocal(&mut self, main: Sel) {
        let main = self.positive(main);
        self.read(main.tile);
        let mut data = self.new_inst(Op::Reciprocal);
        set(&mut data, "data", Operand::View(main.view.clone()));
        let dst = self.result(&main, &[], true);
        self.emit(data, dst, 16.0);
    }

    /// What only GpSimd has: powers and reciprocal roots.
    fn power(&mut self, main: Sel) {
        let base = self.positive(main);
        self.read(base.tile);
        let dst = self.destination(base.parts, &base.free, DType::F32, false, &[base.tile]);
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "data", Operand::View(base.view));
        if self.rng.percent(50) {
            attr(&mut data, "op0", Attr::Alu(AluOp::Rsqrt));
        } else {
            attr(&mut data, "op0", Attr::Alu(AluOp::Power));
            set(&mut data, "operand0", Operand::Imm(self.rng.pick(&[0.5, -0.5, 2.0, -1.0, 1.5])));
        }
        self.ask(&mut data, &[Engine::GpSimd]);
        // The base is between 1/16 and its bound.
        let hi = self.tiles[base.tile].hi.max(16.0);
        self.emit(data, dst, hi * hi);
    }

    fn affine_select(&mut self, main: Sel) {
        let main = self.in_sbuf(main);
        let (parts, dtype) = (main.parts, self.tiles[main.tile].dtype);
        let hi = self.read(main.tile);
        let (pattern, offset, multiplier, _) = self.affine_pattern(&main.free, parts);
        let other = self.rng.pick(&[0.0, -1.0, 0.5, -32.0]);
        let mut data = self.new_inst(Op::AffineSelect);
        set(&mut data, "on_true_tile", Operand::View(main.view.clone()));
        attr(&mut data, "pattern", Attr::Pairs(pattern));
        set(&mut data, "offset", Operand::Int(offset));
        attr(&mut data, "channel_multiplier", Attr::Int(multiplier));
        attr(&mut data, "on_false_value", Attr::F32(other));
        let cmp = self.rng.pick(&LOGIC[..6]);
        attr(&mut data, "cmp_op", Attr::Alu(cmp));
        let dst = self.destination(parts, &main.free, dtype, false, &[main.tile]);
        self.emit(data, dst, hi.max(32.0));
    }

    /// Bitwise operators on an integer tile, or exact 32-bit arithmetic.
    fn bits(&mut self, main: Sel) {
        let dtype = self.tiles[main.tile].dtype;
        let main = if dtype.is_int() {
            main
        } else {
            let d = self.int_dtype();
            let t = self.load_as(d, &[main.parts, main.n()]);
            self.full(t)
        };
        let dtype = self.tiles[main.tile].dtype;
        self.read(main.tile);
        let same = |t: &Tile| t.dtype == dtype && t.space == Space::Sbuf;
        let others = self.tiles_where(|t| same(t) && t.parts() >= main.parts);
        let op = self.rng.pick(BITS);
        let other = self.rng.choose(&others).filter(|t| *t != main.tile);
        let other = other.and_then(|t| self.view_of(t, main.parts, main.n(), false));
        let mut data = match other {
            Some(other) => {
                self.read(other.tile);
                let mut data = self.new_inst(Op::TensorTensor);
                set(&mut data, "data1", Operand::View(main.view.clone()));
                set(&mut data, "data2", Operand::View(other.view));
                attr(&mut data, "op", Attr::Alu(op));
                data
            }
            None => self.bits_scalar(&main, dtype, op),
        };
        self.ask(&mut data, &[Engine::Vector]);
        let t = self.alloc(Space::Sbuf, dtype, &[vec![main.parts], main.free.clone()].concat());
        let dst = self.full(t);
        self.emit(data, dst, range_of(dtype));
    }

    fn bits_scalar(&mut self, main: &Sel, dtype: DType, op: AluOp) -> InstData {
        let mut data = self.new_inst(Op::TensorScalar);
        set(&mut data, "data", Operand::View(main.view.clone()));
        if matches!(dtype, DType::I32 | DType::U32) && self.rng.percent(50) {
            let op = self.rng.pick(&[AluOp::Add, AluOp::Subtract, AluOp::Multiply]);
            attr(&mut data, "op0", Attr::Alu(op));
            set(&mut data, "operand0", Operand::Int(self.rng.pick(&[1, -1, 7, 123_456_789])));
        } else if self.rng.percent(20) {
            attr(&mut data, "op0", Attr::Alu(AluOp::Invert));
        } else {
            attr(&mut data, "op0", Attr::Alu(op));
            set(&mut data, "operand0", Operand::Int(self.rng.pick(&[0, 1, 3, 5, 7])));
        }
        data
    }

    fn copy(&mut self, main: Sel) {
        let main = self.gathered(main);
        let hi = self.read(main.tile);
        let from = self.tiles[main.tile].dtype;
        let dtype = if self.rng.percent(25) { from } else { self.dtype() };
        let psum = self.tiles[main.tile].space == Space::Psum;
        let mut data = self.new_inst(Op::TensorCopy);
        set(&mut data, "src", Operand::View(main.view.clone()));
        let gpsimd = !psum && main.view.dynamic.is_none() && self.rng.percent(20);
        let columns = if gpsimd { None } else { self.scattered(&main, main.n(), dtype) };
        let dst = match columns {
            Some(dst) => dst,
            None => self.destination(main.parts, &main.free, dtype, !gpsimd, &[main.tile]),
        };
        if gpsimd {
            data.engine = Engine::GpSimd;
        } else {
            let engines: &[Engine] =
                if self.gen3() { &[Engine::Vector, Engine::Scalar] } else { &[Engine::Vector] };
            self.ask(&mut data, engines);
        }
        self.emit(data, dst, hi);
    }
}
