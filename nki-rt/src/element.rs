//! Rust's number types that a matrix may hold.

use crate::codec::{Bf16, Codec, F16, F32};
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

    /// # Safety
    /// The contract of [`crate::matmul_raw`].
    unsafe fn tile_product(tier: Tier, product: TileProduct<Self>);
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

    unsafe fn tile_product(tier: Tier, product: TileProduct<f32>) {
        tier.run(product)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Products for bf16 {
    type Codec = Bf16;

    unsafe fn tile_product(tier: Tier, product: TileProduct<bf16>) {
        tier.run(product)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32_const()
    }
}

impl Products for f16 {
    type Codec = F16;

    unsafe fn tile_product(tier: Tier, product: TileProduct<f16>) {
        tier.run(product)
    }
}
