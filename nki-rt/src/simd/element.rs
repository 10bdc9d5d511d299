//! Number types that widen to f32 exactly.

use super::{MAX_LANES, Simd};
use crate::Plain;
use half::{bf16, f16};

/// A matrix element: `f32`, `bf16` or `f16`, each widened exactly to f32 before arithmetic.
#[allow(private_bounds, reason = "sealed")]
pub trait Element: Plain + Lanes {
    /// The value as f32.
    fn widen(self) -> f32;
}

/// SIMD side of [`Element`].
pub(crate) trait Lanes: Sized {
    /// Whether the type is f32 itself, so that memory can be used as it lies.
    const IS_F32: bool = false;
    /// Loads and widens `LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::F;
    /// Loads and widens the first `n <= LANES` elements, zero in the rest.
    ///
    /// # Safety
    /// `p` must be valid for reading `n` elements.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const Self, n: usize) -> S::F
    where
        Self: Plain,
    {
        let mut lanes = std::mem::MaybeUninit::<[Self; MAX_LANES]>::zeroed();
        // SAFETY: `n <= MAX_LANES` elements are readable; zero bits are a value of every `Plain` type.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr().cast(), n.min(MAX_LANES));
            Self::load(s, lanes.as_ptr().cast())
        }
    }
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Lanes for f32 {
    const IS_F32: bool = true;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f32) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(p) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const f32, n: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_part(p, n) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Lanes for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const bf16) -> S::F {
        // SAFETY: the caller's promise; bf16 is a transparent u16.
        let bits = unsafe { s.load_u16(p.cast()) };
        s.of_bits(s.shl::<16>(bits))
    }
}

impl Element for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32_const()
    }
}

impl Lanes for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f16) -> S::F {
        // SAFETY: the caller's promise; f16 is a transparent u16.
        let bits = unsafe { s.load_u16(p.cast()) };
        s.half_to_float(bits)
    }
}
