//! Instructions of the tensor engine (isa.md section 9.1).

use super::{Inst, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::{MatmulDst, MatmulSrc, OnChip};
use crate::tensor::Tensor;
use nki_ir::Op;
use nki_ir::kernel::{Accumulate, Attr};
use nki_ir::op::MatmulPerf;
use std::panic::Location;

kinds! {
    /// [`Nc::nc_matmul`].
    NcMatmul;
    /// [`Nc::nc_transpose`].
    NcTranspose;
}

impl Nc {
    /// `dst[m, n] (+)= Σ_k stationary[k, m] · moving[k, n]` (isa.md 9.1.1). `stationary` is `[K, M]`, `moving` `[K, N]`, both in
    /// SBUF with K ≤ 128 partitions and M ≤ 128; `dst` is `[M, N]` in PSUM. Products are exact, sums are float32.
    ///
    /// The first matmul into a region of PSUM overwrites it and later ones add; [`accumulate`](Inst::accumulate) decides it
    /// by hand.
    #[track_caller]
    pub fn nc_matmul<D, A, B, MD, MA, MB>(
        self,
        dst: Tensor<D, MD>,
        stationary: Tensor<A, MA>,
        moving: Tensor<B, MB>,
    ) -> Inst<NcMatmul>
    where
        D: Elem,
        A: Elem,
        B: Elem,
        MD: MatmulDst,
        MA: MatmulSrc,
        MB: MatmulSrc,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcMatmul, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("stationary", stationary.operand(self.trace, place))
            .operand("moving", moving.operand(self.trace, place))
    }

    /// `dst[f, p] = data[p, f]` with free dimensions flattened (isa.md 9.1.3): on the tensor engine from SBUF to PSUM up to 128
    /// by 128, on the vector engine up to 32 by 32.
    #[track_caller]
    pub fn nc_transpose<T, MD, MS>(self, dst: Tensor<T, MD>, data: Tensor<T, MS>) -> Inst<NcTranspose>
    where
        T: Elem,
        MD: OnChip,
        MS: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcTranspose, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
    }
}

impl Inst<NcMatmul> {
    /// Adds to `dst` (`true`) or overwrites it (`false`) whatever was there.
    pub fn accumulate(self, accumulate: bool) -> Self {
        let how = if accumulate { Accumulate::Add } else { Accumulate::Overwrite };
        self.attr("accumulate", Attr::Accumulate(how))
    }
    /// Moves bits instead of multiplying: `moving` is an identity matrix and `dst = stationary` transposed.
    pub fn is_transpose(self, on: bool) -> Self {
        self.flag("is_transpose", on)
    }
    /// Promises that `stationary` holds only 0 and 1.
    pub fn is_stationary_onezero(self, on: bool) -> Self {
        self.flag("is_stationary_onezero", on)
    }
    /// Promises that `moving` holds only 0 and 1.
    pub fn is_moving_onezero(self, on: bool) -> Self {
        self.flag("is_moving_onezero", on)
    }
    /// Uses only the part of the array that starts at `(row, column)` and has `(rows, columns)`.
    pub fn tile(self, position: (usize, usize), size: (usize, usize)) -> Self {
        let ints = |(a, b): (usize, usize)| Attr::Ints(vec![a as i64, b as i64]);
        self.attr("tile_position", ints(position)).attr("tile_size", ints(size))
    }
    /// Performance mode: pairs of 8-bit rows in one pass.
    pub fn perf_mode(self, mode: MatmulPerf) -> Self {
        self.attr("perf_mode", Attr::MatmulPerf(mode))
    }
}
