//! Choosing between values: by a tile of 0 and 1, or by position.

use super::record::{Recorder, Value, record};
use crate::elem::Elem;
use crate::idx::Idx;
use crate::nc::Nc;
use crate::space::{OnChip, Sbuf};
use crate::tensor::{Tensor, Tile};
use crate::trace::{Place, Session, TraceId, error, same};
use nki_ir::kernel::Attr;
use nki_ir::{Affine, AluOp, Code, DType, Op, Operand};
use std::panic::Location;

/// A position known while tracing, or one in a device loop.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a position", label = "expected a usize or an Idx")]
pub trait Position: Copy {
    #[doc(hidden)]
    fn __trace(self) -> Option<TraceId>;
    #[doc(hidden)]
    fn __affine(self, s: &Session) -> Affine;
}
impl Position for usize {
    fn __trace(self) -> Option<TraceId> {
        None
    }
    fn __affine(self, _: &Session) -> Affine {
        Affine::constant(i64::try_from(self).unwrap_or(i64::MAX))
    }
}
impl Position for Idx {
    fn __trace(self) -> Option<TraceId> {
        Some(self.trace)
    }
    fn __affine(self, s: &Session) -> Affine {
        self.affine(s)
    }
}

impl Nc {
    /// `x` where `condition` is not 0, else `y`, bit for bit. All three have the same shape; `condition` holds numbers.
    #[track_caller]
    pub fn select<C, T, MC, MX, MY>(
        self,
        condition: Tensor<C, MC>,
        x: Tensor<T, MX>,
        y: Tensor<T, MY>,
    ) -> Tile<T>
    where
        C: Elem,
        T: Elem,
        MC: OnChip,
        MX: OnChip,
        MY: OnChip,
    {
        let place = Location::caller();
        for trace in [condition.trace, x.trace, y.trace] {
            same(self.trace, trace, place);
        }
        let v = record(self.trace, place, |r| r.select(condition.value(), x.value(), y.value()));
        Tensor::new(self.trace, v.view)
    }

    /// `scores` where the key may be seen, else `fill`: queries on partitions from position `query`, keys on the free axis from
    /// position `key`, and key ≤ query. The distance `query - key` must not change from turn to turn.
    #[track_caller]
    pub fn causal_mask<T: Elem>(
        self,
        scores: Tensor<T, Sbuf>,
        query: impl Position,
        key: impl Position,
        fill: f32,
    ) -> Tile<T> {
        let place = Location::caller();
        for trace in [Some(scores.trace), query.__trace(), key.__trace()].into_iter().flatten() {
            same(self.trace, trace, place);
        }
        let v = record(self.trace, place, |r| {
            let (q, k) = (query.__affine(r.s), key.__affine(r.s));
            let distance = k.scale(-1).and_then(|k| q.add(&k)).and_then(|d| d.as_constant());
            let offset = distance.unwrap_or_else(|| moving(r, place));
            let x = scores.value();
            let (shape, n) = (r.shape(x), r.row(x));
            let out = r.tile("masked", T::DTYPE, &shape);
            r.inst(Op::AffineSelect, &[out, x])
                .attr("pattern", Attr::Pairs(vec![[-1, n as i64]]))
                .operand("offset", Operand::Int(offset))
                .attr("channel_multiplier", Attr::Int(1))
                .attr("on_false_value", Attr::F32(fill))
                .attr("cmp_op", Attr::Alu(AluOp::GreaterEqual));
            out
        });
        Tensor::new(self.trace, v.view)
    }
}

fn moving(r: &mut Recorder, place: Place) -> i64 {
    let d = error(Code::DynamicIndex, "the distance between queries and keys changes from turn to turn")
        .note("the mask of this operation is made for one distance")
        .help("unroll one of the loops with a plain `for i in 0..n`");
    r.s.report(place, d);
    0
}

impl Recorder<'_> {
    /// A copy of `y`, overwritten bit for bit with `x` where the condition is not 0 (isa.md section 10).
    pub(crate) fn select(&mut self, condition: Value, x: Value, y: Value) -> Value {
        let (sc, sx, sy) = (self.shape(condition), self.shape(x), self.shape(y));
        if sc != sx || sx != sy {
            let message = format!("`select` of shapes {sc:?}, {sx:?} and {sy:?}");
            self.report(Code::Shape, message, "give all three the same shape");
            return self.in_sbuf(x);
        }
        let mask = self.tensor_scalar(AluOp::NotEqual, condition, Operand::Imm(0.0), false, DType::U8, None);
        let out = self.copy("select", y, x.dtype);
        self.inst(Op::TensorCopyPredicated, &[out, x, mask]);
        out
    }
}
