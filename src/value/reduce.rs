//! Reductions along the free axis.

use super::record::{Recorder, Value, record};
use crate::elem::Elem;
use crate::space::OnChip;
use crate::tensor::{Tensor, Tile};
use crate::trace::Place;
use nki_ir::kernel::Attr;
use nki_ir::{AluOp, Code, DType, Op, Operand};
use std::panic::Location;

impl Recorder<'_> {
    /// Folds `op` over all free dimensions into a column.
    pub(crate) fn reduce(&mut self, stem: &str, op: AluOp, v: Value, dtype: DType, negate: bool) -> Value {
        let shape = self.shape(v);
        let out = self.tile(stem, dtype, &[shape[0], 1]);
        if op == AluOp::LogicalAnd && self.row(v) == 1 {
            // A reduction gives a single element as it is, which need not be 0 or 1 (isa.md 9.3.1).
            return self.tensor_scalar(AluOp::NotEqual, v, Operand::Imm(0.0), false, dtype, Some(out));
        }
        let axes = (1..shape.len() as i64).collect();
        self.inst(Op::TensorReduce, &[out, v])
            .attr("op", Attr::Alu(op))
            .attr("axis", Attr::Ints(axes))
            .attr("negate", Attr::Bool(negate));
        out
    }
}

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        /// Reductions over all free dimensions into a column `[P, 1]`. The result is float32 whatever the input: statistics
        /// keep their precision, and a float32 column is what other instructions take as an operand.
        impl<T: Elem, M: OnChip> Tensor<T, M> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> Tile<f32> {
                let v = record(self.trace, Location::caller(), |r| {
                    r.reduce(stringify!($name), AluOp::$op, self.value(), DType::F32, false)
                });
                Tensor::new(self.trace, v.view)
            }
        )*}
    };
}

reductions! {
    /// Sum.
    sum = Add;
    /// Product.
    prod = Multiply;
    /// Largest element; NaN if any is.
    max = Maximum;
    /// Smallest element; NaN if any is.
    min = Minimum;
    /// 1 if no element is 0, else 0.
    all = LogicalAnd;
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// Arithmetic mean over all free dimensions.
    #[track_caller]
    pub fn mean(self) -> Tile<f32> {
        let v = record(self.trace, Location::caller(), |r| {
            let n = r.row(self.value());
            let sum = r.reduce("sum", AluOp::Add, self.value(), DType::F32, false);
            r.tensor_scalar(AluOp::Multiply, sum, Operand::Imm(1.0 / n as f32), false, DType::F32, None)
        });
        Tensor::new(self.trace, v.view)
    }

    /// Population variance over all free dimensions: statistics of 512 columns at a time, merged.
    #[track_caller]
    pub fn var(self) -> Tile<f32> {
        let v = record(self.trace, Location::caller(), |r| {
            let x = r.flat_row(self.value());
            let (p, n) = (r.partitions(x), r.row(x) as u32);
            let parts = n.div_ceil(512).max(1);
            let stats = r.tile("statistics", DType::F32, &[p, 6 * parts]);
            for k in 0..parts {
                let from = r.columns(x, 512 * k, (n - 512 * k).min(512));
                let to = r.columns(stats, 6 * k, 6);
                r.inst(Op::BnStats, &[to, from]);
            }
            let both = r.tile("mean_var", DType::F32, &[p, 2]);
            r.inst(Op::BnAggr, &[both, stats]);
            r.columns(both, 1, 1)
        });
        Tensor::new(self.trace, v.view)
    }

    /// Folds `op` over the last `axes` dimensions into dtype `U`; the others stay.
    #[track_caller]
    pub fn reduce<U: Elem>(self, op: AluOp, axes: usize) -> Tile<U> {
        let place = Location::caller();
        let v = record(self.trace, place, |r| {
            let shape = r.shape(self.value());
            let free = shape.len() - 1;
            if axes == 0 || axes > free {
                let message = format!("a reduction over the last {axes} dimensions of {shape:?}");
                r.report(
                    Code::Parameter,
                    message,
                    "reduce 1 to rank - 1 dimensions: partitions are not reduced",
                );
            }
            let axes = axes.clamp(1, free);
            let mut kept = shape[..shape.len() - axes].to_vec();
            if kept.len() < 2 {
                kept.push(1);
            }
            let out = r.tile(op.name(), U::DTYPE, &kept);
            let axis = (shape.len() as i64 - axes as i64..shape.len() as i64).collect();
            r.inst(Op::TensorReduce, &[out, self.value()])
                .attr("op", Attr::Alu(op))
                .attr("axis", Attr::Ints(axis));
            out
        });
        Tensor::new(self.trace, v.view)
    }

    pub(crate) fn softmax_at(self, place: Place) -> Tile<T> {
        let v = record(self.trace, place, |r| {
            let x = self.value();
            let (p, shape) = (r.partitions(x), r.shape(x));
            let low = r.reduce("neg_max", AluOp::Maximum, x, DType::F32, true);
            let (e, sum) = (r.tile("exp", DType::F32, &shape), r.column("sum", p));
            let (bias, total) = (r.operand(low), r.operand(sum));
            r.inst(Op::Activation, &[e, x])
                .operand("bias", bias)
                .operand("reduce_res", total)
                .attr("op", Attr::Act(nki_ir::ActFn::Exp))
                .attr("reduce_op", Attr::Alu(AluOp::Add))
                .attr("reduce_cmd", Attr::ReduceCmd(nki_ir::op::ReduceCmd::ResetReduce));
            let inverse = r.reciprocal(sum, DType::F32);
            let operand = r.operand(inverse);
            r.tensor_scalar(AluOp::Multiply, e, operand, false, T::DTYPE, None)
        });
        Tensor::new(self.trace, v.view)
    }
}
