//! Operations of several instructions: softmax, normalisation, products, transposes.

use super::record::record;
use crate::elem::{Elem, Float};
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::{Acc, Tensor, Tile};
use crate::trace::same;
use nki_ir::kernel::Attr;
use nki_ir::op::ReduceCmd;
use nki_ir::{ActFn, AluOp, DType, Op, Operand, Space};
use std::panic::Location;

impl Nc {
    /// `exp(x - max) / Σ exp(x - max)` over the free axis, the exponentials in float32.
    #[track_caller]
    pub fn softmax<T: Float, M: OnChip>(self, x: Tensor<T, M>) -> Tile<T> {
        let place = Location::caller();
        same(self.trace, x.trace, place);
        x.softmax_at(place)
    }

    /// `x / √(mean(x²) + eps) · weight` over the free axis; `weight` is `[P, F]`, or `[1, F]` for all rows. Statistics are
    /// float32.
    #[track_caller]
    pub fn rms_norm<T: Float, W: Float, M: OnChip, MW: OnChip>(
        self,
        x: Tensor<T, M>,
        weight: Tensor<W, MW>,
        eps: f32,
    ) -> Tile<T> {
        let place = Location::caller();
        same(self.trace, x.trace, place);
        same(self.trace, weight.trace, place);
        let v = record(self.trace, place, |r| {
            let (x, w) = (x.value(), weight.value());
            let (p, shape) = (r.partitions(x), r.shape(x));
            let n = r.row(x);
            let (squares, sum) = (r.tile("squares", T::DTYPE, &shape), r.column("sum", p));
            let total = r.operand(sum);
            r.inst(Op::Activation, &[squares, x])
                .operand("reduce_res", total)
                .attr("op", Attr::Act(ActFn::Square))
                .attr("reduce_op", Attr::Alu(AluOp::Add))
                .attr("reduce_cmd", Attr::ReduceCmd(ReduceCmd::ResetReduce));
            let mean = r.two("mean", sum, (AluOp::Multiply, 1.0 / n as f32), (AluOp::Add, eps), DType::F32);
            let rstd = r.rsqrt(mean, DType::F32);
            let w = r.broadcast_partitions(w, p);
            let w = if w.space == Space::Psum && x.space == Space::Psum { r.in_sbuf(w) } else { w };
            let out = r.tile("rms_norm", T::DTYPE, &shape);
            let (scale, gain) = (r.operand(rstd), r.operand(w));
            r.inst(Op::ScalarTensorTensor, &[out, x])
                .operand("operand0", scale)
                .operand("operand1", gain)
                .attr("op0", Attr::Alu(AluOp::Multiply))
                .attr("op1", Attr::Alu(AluOp::Multiply));
            out
        });
        Tensor::new(self.trace, v.view)
    }

    /// `x · y` of tiles `[M, K]` and `[K, N]` with M, K ≤ 128 and N ≤ 512, in PSUM: `x` is transposed first, because the tensor
    /// engine contracts over partitions. Prefer [`matmul_t`](Nc::matmul_t) where the transposed operand can be had.
    #[track_caller]
    pub fn matmul<T: Float, MX: OnChip, MY: OnChip>(self, x: Tensor<T, MX>, y: Tensor<T, MY>) -> Acc {
        let place = Location::caller();
        same(self.trace, x.trace, place);
        let x_t: Tile<T> = record(self.trace, place, |r| {
            let x = r.in_sbuf(x.value());
            let (p, f) = (r.partitions(x), r.row(x) as u32);
            let bank = r.alloc("transposed_psum", Space::Psum, T::DTYPE, &[f, p]);
            r.inst(Op::NcTranspose, &[bank, x]);
            let out = r.copy("transposed", bank, T::DTYPE);
            Tensor::new(self.trace, out.view)
        });
        self.matmul_t(x_t, y)
    }

    /// `x_tᵀ · y` of tiles `[K, M]` and `[K, N]` with K, M ≤ 128 and N ≤ 512, in a fresh PSUM tile `[M, N]`.
    #[track_caller]
    pub fn matmul_t<T: Float, MX: OnChip, MY: OnChip>(self, x_t: Tensor<T, MX>, y: Tensor<T, MY>) -> Acc {
        let place = Location::caller();
        same(self.trace, x_t.trace, place);
        same(self.trace, y.trace, place);
        let v = record(self.trace, place, |r| {
            let (a, b) = (r.in_sbuf(x_t.value()), r.in_sbuf(y.value()));
            let shape = [r.row(a) as u32, r.row(b) as u32];
            let acc = r.alloc("matmul", Space::Psum, DType::F32, &shape);
            r.inst(Op::NcMatmul, &[acc, a, b]);
            acc
        });
        Tensor::new(self.trace, v.view)
    }

    /// `x` with partitions and free axis swapped, at most 128 by 128, in PSUM.
    #[track_caller]
    pub fn transpose<T: Elem, M: OnChip>(self, x: Tensor<T, M>) -> Acc<T> {
        let place = Location::caller();
        same(self.trace, x.trace, place);
        let v = record(self.trace, place, |r| {
            let x = r.in_sbuf(x.value());
            let shape = [r.row(x) as u32, r.partitions(x)];
            let out = r.alloc("transpose", Space::Psum, T::DTYPE, &shape);
            r.inst(Op::NcTranspose, &[out, x]);
            out
        });
        Tensor::new(self.trace, v.view)
    }

    /// `x`, of one partition, repeated over `partitions`, in SBUF: an exact product with ones.
    #[track_caller]
    pub fn broadcast_partitions<T: Elem, M: OnChip>(self, x: Tensor<T, M>, partitions: usize) -> Tile<T> {
        let place = Location::caller();
        same(self.trace, x.trace, place);
        let v = record(self.trace, place, |r| {
            let x = x.value();
            let held = r.partitions(x);
            if held != 1 && held as usize != partitions {
                let message = format!("`{}` has {held} partitions, and one can be repeated", r.name(x));
                r.report(nki_ir::Code::Shape, message, "slice one partition first: `x.at((0..1, ..))`");
                return r.in_sbuf(x);
            }
            let out = r.broadcast_partitions(x, u32::try_from(partitions).unwrap_or(u32::MAX));
            r.in_sbuf(out)
        });
        Tensor::new(self.trace, v.view)
    }

    /// The identity matrix `[n, n]`.
    #[track_caller]
    pub fn identity<T: Elem>(self, n: usize) -> Tile<T> {
        let place = Location::caller();
        let v = record(self.trace, place, |r| {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            let zero = r.tile("zero", T::DTYPE, &[n, n]);
            r.memset(zero, 0.0);
            let out = r.tile("identity", T::DTYPE, &[n, n]);
            r.inst(Op::AffineSelect, &[out, zero])
                .attr("pattern", Attr::Pairs(vec![[-1, n.into()]]))
                .attr("channel_multiplier", Attr::Int(1))
                .attr("on_false_value", Attr::F32(1.0))
                .attr("cmp_op", Attr::Alu(AluOp::NotEqual));
            out
        });
        Tensor::new(self.trace, v.view)
    }

    /// `0, 1, .. n - 1` along the free axis of one partition, `[1, n]`.
    #[track_caller]
    pub fn arange<T: Elem>(self, n: usize) -> Tile<T> {
        let place = Location::caller();
        let v = record(self.trace, place, |r| {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            let out = r.tile("arange", T::DTYPE, &[1, n]);
            r.inst(Op::Iota, &[out])
                .operand("offset", Operand::Int(0))
                .attr("pattern", Attr::Pairs(vec![[1, n.into()]]));
            out
        });
        Tensor::new(self.trace, v.view)
    }
}
