//! Choosing between values: by a tile of 0 and 1, or by position.

use super::record::{Recorder, Value, record};
use crate::elem::Elem;
use crate::idx::Idx;
use crate::nc::Nc;
use crate::space::{OnChip, Sbuf};
use crate::tensor::{Tensor, Tile};
use crate::trace::{Place, Session, TraceId, error, same};
use nki_ir::kernel::Attr;
use nki_ir::{Affine, AluOp, Code, DType, Index, Op, View};
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
                .attr("offset", Attr::Int(offset))
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
        .note("affine_select takes its offset while tracing (isa.md 9.4.3)")
        .help("unroll one of the loops with a plain `for i in 0..n`");
    r.s.report(place, d);
    0
}

impl Recorder<'_> {
    /// Bit-exact selection by masks: `(x & m) | (y & ~m)` on the bits of `x` and `y`, with `m` all ones where the condition
    /// holds. Exact for infinities and NaN, where arithmetic with 0 and 1 would not be.
    pub(crate) fn select(&mut self, condition: Value, x: Value, y: Value) -> Value {
        let (sc, sx, sy) = (self.shape(condition), self.shape(x), self.shape(y));
        if sc != sx || sx != sy {
            let message = format!("`select` of shapes {sc:?}, {sx:?} and {sy:?}");
            self.report(Code::Shape, message, "give all three the same shape");
            return self.in_sbuf(x);
        }
        let bits = match x.dtype.bytes() {
            1 => DType::I8,
            2 => DType::I16,
            _ => DType::I32,
        };
        // 1 where the condition holds, times -1: all ones.
        let mask = self.two("mask", condition, (AluOp::NotEqual, 0.0), (AluOp::Multiply, -1.0), bits);
        let inverse = self.two("inverse_mask", condition, (AluOp::Equal, 0.0), (AluOp::Multiply, -1.0), bits);
        let (x, y) = (self.in_sbuf(x), self.in_sbuf(y));
        let chosen = [(x, mask), (y, inverse)].map(|(v, mask)| {
            let raw = self.reinterpret(v, bits);
            let out = self.tile("chosen", bits, &sx);
            self.inst(Op::TensorTensor, &[out, raw, mask]).attr("op", Attr::Alu(AluOp::BitwiseAnd));
            out
        });
        let out = self.tile("select", x.dtype, &sx);
        let raw = self.reinterpret(out, bits);
        self.inst(Op::TensorTensor, &[raw, chosen[0], chosen[1]]).attr("op", Attr::Alu(AluOp::BitwiseOr));
        out
    }

    /// The same bytes as another dtype of the same width.
    fn reinterpret(&mut self, v: Value, dtype: DType) -> Value {
        let view = self.s.view(v.view).clone();
        let Some(pattern) = view.pattern(self.s.buf_of(v.view)) else { return v };
        let view = self.s.push_view(View { index: Index::Pattern(pattern), dtype, ..view });
        Value { view, dtype, ..v }
    }
}
