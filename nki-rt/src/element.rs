//! Rust's number types that a matrix may hold.

use crate::codec::{Bf16, Codec, F16, F32};
use crate::gemm::{Columns, PackStrips};
use crate::matmul::TileProduct;
use crate::{Plain, Tier};
use half::{bf16, f16};

/// A matrix element: `f32`, `bf16` or `f16`, each widened exactly to f32 before arithmetic.
#[allow(private_bounds, reason = "sealed")]
pub trait Element: Plain + Products {
    /// The value as f32.
    fn widen(self) -> f32;
}

/// The kernels on one element type, compiled here whatever the calling crate is.
pub(crate) trait Products: Sized {
    /// How the type lies in memory.
    type Codec: Codec;
    /// Whether the type is f32 itself, so that memory can be used as it lies.
    const IS_F32: bool = false;

    /// Whether the type is bf16, of which some processors multiply pairs.
    const PAIRS: bool = false;

    /// # Safety
    /// The contract of [`crate::matmul_raw`].
    unsafe fn tile_product(tier: Tier, product: TileProduct<Self>);
    /// # Safety
    /// The addresses of the kernel must be valid.
    unsafe fn pack(tier: Tier, strips: PackStrips<Self>);
    /// # Safety
    /// The addresses of the kernel must be valid.
    unsafe fn columns(tier: Tier, columns: Columns<Self>);
}

/// The methods of [`Products`]: not generic, so that this crate compiles them.
macro_rules! kernels {
    () => {
        unsafe fn tile_product(tier: Tier, product: TileProduct<Self>) {
            tier.run(product)
        }
        unsafe fn pack(tier: Tier, strips: PackStrips<Self>) {
            tier.run(strips)
        }
        unsafe fn columns(tier: Tier, columns: Columns<Self>) {
            tier.run(columns)
        }
    };
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Products for f32 {
    type Codec = F32;
    const IS_F32: bool = true;
    kernels!();
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Products for bf16 {
    type Codec = Bf16;
    const PAIRS: bool = true;
    kernels!();
}

impl Element for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32_const()
    }
}

impl Products for f16 {
    type Codec = F16;
    kernels!();
}
