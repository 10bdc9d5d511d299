//! The MX formats: 32 packed elements share a power-of-two scale (isa.md 9.1.2 and 9.3.13). trn3 only.

use super::{Inst, kinds};
use crate::elem::{Elem, Float, Packed, Scale};
use crate::nc::Nc;
use crate::space::{MatmulDst, MatmulSrc};
use crate::tensor::Tensor;
use nki_ir::Op;
use nki_ir::kernel::{Accumulate, Attr};
use std::panic::Location;

kinds! {
    /// [`Nc::nc_matmul_mx`].
    NcMatmulMx;
    /// [`Nc::quantize_mx`].
    QuantizeMx;
}

impl Nc {
    /// `dst[m, n] (+)= Σ_k Σ_lane stationary[k, m] · moving[k, n]`, each lane times the scale of its group (isa.md 9.1.2).
    /// `stationary` is `[K, M]` and `moving` `[K, N]` in packed elements, K a multiple of 32; the scales have the columns of
    /// their data and use four rows in each 32.
    #[track_caller]
    #[allow(clippy::too_many_arguments)]
    pub fn nc_matmul_mx<D, A, B, SA, SB, MD, M>(
        self,
        dst: Tensor<D, MD>,
        stationary: Tensor<A, M>,
        moving: Tensor<B, M>,
        stationary_scale: Tensor<SA, M>,
        moving_scale: Tensor<SB, M>,
    ) -> Inst<NcMatmulMx>
    where
        D: Elem,
        A: Packed,
        B: Packed,
        SA: Scale,
        SB: Scale,
        MD: MatmulDst,
        M: MatmulSrc,
    {
        let place = Location::caller();
        Inst::start(self, Op::NcMatmulMx, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("stationary", stationary.operand(self.trace, place))
            .operand("moving", moving.operand(self.trace, place))
            .operand("stationary_scale", stationary_scale.operand(self.trace, place))
            .operand("moving_scale", moving_scale.operand(self.trace, place))
    }

    /// Packs four consecutive elements of `src` (bfloat16 or float16, `[P, N]`) into one of `dst` `[P, N/4]`, and writes one
    /// scale for 8 partitions by 4 elements to `dst_scale`, four rows in each 32 (isa.md 9.3.13).
    #[track_caller]
    pub fn quantize_mx<D, T, S, M>(
        self,
        dst: Tensor<D, M>,
        src: Tensor<T, M>,
        dst_scale: Tensor<S, M>,
    ) -> Inst<QuantizeMx>
    where
        D: Packed,
        T: Float,
        S: Scale,
        M: MatmulSrc,
    {
        let place = Location::caller();
        Inst::start(self, Op::QuantizeMx, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .operand("dst_scale", dst_scale.operand(self.trace, place))
    }
}

impl Inst<NcMatmulMx> {
    /// Adds to `dst` (`true`) or overwrites it (`false`) whatever was there.
    pub fn accumulate(self, accumulate: bool) -> Self {
        let how = if accumulate { Accumulate::Add } else { Accumulate::Overwrite };
        self.attr("accumulate", Attr::Accumulate(how))
    }
    /// Uses only the `rows` rows of the array from `row` on.
    pub fn row_tile(self, row: usize, rows: usize) -> Self {
        self.attr("tile_position", Attr::Ints(vec![row as i64, 0]))
            .attr("tile_size", Attr::Ints(vec![rows as i64, 128]))
    }
}
