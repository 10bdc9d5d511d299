//! Lanes: the operations that every instruction set provides, each defined to the last bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod twin;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;
pub(crate) use twin::Twin;

/// Most lanes that any instruction set has.
pub(crate) const MAX_LANES: usize = 16;

/// An instruction set, as a token: holding one proves that the processor has it.
///
/// Implementations and callers are `#[inline(always)]`, see [`crate::tier::Kernel`]. Arithmetic is IEEE 754 binary32
/// with round to nearest even, subnormals kept; NaN payloads are not defined.
pub(crate) trait Simd: Copy + 'static {
    /// Number of 32-bit lanes.
    const LANES: usize;
    /// Lanes of f32.
    type F: Copy;
    /// Lanes of i32.
    type I: Copy;
    /// Lanes of f64.
    type D: Copy;
    /// One truth value per lane.
    type M: Copy;

    // -- f32
    fn splat(self, x: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a * b + c`, one rounding.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a` if `a < b`, else `b` (so `b` when either is NaN).
    fn lesser(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a` if `a > b`, else `b` (so `b` when either is NaN).
    fn greater(self, a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// Ordered `a < b`.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// Ordered `a == b`.
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// Whether either is NaN.
    fn unordered(self, a: Self::F, b: Self::F) -> Self::M;
    /// Per lane, `a` where `mask` holds, else `b`.
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    // -- i32
    fn splat_i(self, x: i32) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl<const N: i32>(self, a: Self::I) -> Self::I;
    /// Zero-filling right shift.
    fn shr<const N: i32>(self, a: Self::I) -> Self::I;
    /// Sign-filling right shift.
    fn sar<const N: i32>(self, a: Self::I) -> Self::I;
    /// Signed `a > b`.
    fn gt_i(self, a: Self::I, b: Self::I) -> Self::M;
    fn select_i(self, mask: Self::M, a: Self::I, b: Self::I) -> Self::I;

    // -- masks
    fn and_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn or_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn any(self, a: Self::M) -> bool;
    fn all(self, a: Self::M) -> bool;

    // -- between
    fn to_bits(self, a: Self::F) -> Self::I;
    fn of_bits(self, a: Self::I) -> Self::F;
    /// Nearest even; exact up to 2^24.
    fn to_float(self, a: Self::I) -> Self::F;
    /// Nearest even; `i32::MIN` where the result does not fit or is NaN.
    fn to_int(self, a: Self::F) -> Self::I;
    /// `a * 2^n` for an integral `n` of magnitude at most 252 and `a` within a factor 2^64 of 1: one rounding, into
    /// subnormals and infinity too.
    #[inline(always)]
    fn scale(self, a: Self::F, n: Self::F) -> Self::F {
        let n = self.to_int(n);
        let half = self.sar::<1>(n);
        let rest = self.sub_i(n, half);
        let bias = self.splat_i(127);
        let half = self.of_bits(self.shl::<23>(self.add_i(half, bias)));
        let rest = self.of_bits(self.shl::<23>(self.add_i(rest, bias)));
        self.mul(self.mul(a, half), rest)
    }
    /// binary16 in the low halves to f32, exact.
    fn half_to_float(self, a: Self::I) -> Self::F;
    /// f32 to binary16 in the low halves (high halves zero), nearest even; any NaN of the argument's sign.
    fn float_to_half(self, a: Self::F) -> Self::I;

    /// Per lane, the entry of a table that the low 3 bits of `i` choose.
    fn lookup(self, table: &[f32; 8], i: Self::I) -> Self::F;
    /// Per lane, the entry of a table that the low 2 bits of `i` choose; faster where lanes lie in groups of four.
    fn lookup_4(self, table: &[f32; 4], i: Self::I) -> Self::F;

    // -- f64, for functions whose f32 arithmetic would lose digits
    fn widen(self, a: Self::F) -> Self::D;
    /// Nearest even.
    fn narrow(self, a: Self::D) -> Self::F;
    fn splat_d(self, x: f64) -> Self::D;
    fn add_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn div_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sqrt_d(self, a: Self::D) -> Self::D;
    /// `a * b + c`, one rounding.
    fn fma_d(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// `a * 2^n`, where `n` is the integer in the low bits of the mantissa of `magic`; `a` and the result are normal.
    fn scale_d(self, a: Self::D, magic: Self::D) -> Self::D;

    /// The transpose of the square in the first `LANES` vectors.
    #[inline(always)]
    fn transpose(self, x: [Self::F; MAX_LANES]) -> [Self::F; MAX_LANES] {
        let mut lanes = [[0.0f32; MAX_LANES]; MAX_LANES];
        let mut turned = [[0.0f32; MAX_LANES]; MAX_LANES];
        for (lanes, x) in lanes.iter_mut().zip(&x).take(Self::LANES) {
            // SAFETY: the array has at least LANES elements.
            unsafe { self.store(lanes.as_mut_ptr(), *x) };
        }
        for (i, row) in turned.iter_mut().enumerate().take(Self::LANES) {
            for (j, lane) in row.iter_mut().enumerate().take(Self::LANES) {
                *lane = lanes[j][i];
            }
        }
        let mut y = x;
        for (y, lanes) in y.iter_mut().zip(&turned).take(Self::LANES) {
            // SAFETY: as above.
            *y = unsafe { self.load(lanes.as_ptr()) };
        }
        y
    }
    /// `acc + a.low * b.low + a.high * b.high` of the bf16 halves of each lane. Here exact, low half first; an
    /// instruction set may round otherwise and flush subnormals to zero.
    ///
    /// # Safety
    /// [`crate::Tier::has_pair_dot`] must hold.
    #[inline(always)]
    unsafe fn pair_dot(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F {
        let high = self.splat_i(0xFFFF_0000_u32 as i32);
        let (a_low, b_low) = (self.of_bits(self.shl::<16>(a)), self.of_bits(self.shl::<16>(b)));
        let (a_high, b_high) = (self.of_bits(self.and_i(a, high)), self.of_bits(self.and_i(b, high)));
        self.fma(a_high, b_high, self.fma(a_low, b_low, acc))
    }

    // -- memory. `n` lanes are read or written, the rest is zero; `n <= LANES`.
    /// # Safety
    /// `p` must be valid for reading `n` elements.
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::F;
    /// # Safety
    /// `p` must be valid for writing `n` elements.
    unsafe fn store_part(self, p: *mut f32, a: Self::F, n: usize);
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut f32, a: Self::F);
    /// [`Simd::store`] past the caches.
    /// # Safety
    /// `p` must be valid for writing `LANES` elements, and a multiple of their size.
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, a: Self::F) {
        // SAFETY: the caller's promise.
        unsafe { self.store(p, a) }
    }
    /// Asks for the line of an address, which need not be valid, in the second cache.
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches no memory that can be seen.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load_i(self, p: *const i32) -> Self::I;
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store_i(self, p: *mut i32, a: Self::I);
    /// Zero-extending load.
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load_u16(self, p: *const u16) -> Self::I;
    /// Stores the low halves.
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store_u16(self, p: *mut u16, a: Self::I);
    /// Zero-extending load.
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load_u8(self, p: *const u8) -> Self::I;
    /// Stores the low bytes.
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store_u8(self, p: *mut u8, a: Self::I);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tier;
    use crate::tier::Kernel;

    struct Transpose;

    impl Kernel for Transpose {
        type Output = ();
        const TILED: bool = true;

        fn run<S: Simd>(self, s: S) {
            let numbers: [[f32; MAX_LANES]; MAX_LANES] =
                std::array::from_fn(|i| std::array::from_fn(|j| (100 * i + j) as f32));
            // SAFETY: every row has at least LANES elements.
            let turned = s.transpose(numbers.map(|row| unsafe { s.load(row.as_ptr()) }));
            for (i, x) in turned.iter().enumerate().take(S::LANES) {
                let mut row = [0.0f32; MAX_LANES];
                // SAFETY: as above.
                unsafe { s.store(row.as_mut_ptr(), *x) };
                for (j, x) in row.iter().enumerate().take(S::LANES) {
                    assert_eq!(*x, (100 * j + i) as f32, "row {i}, lane {j}");
                }
            }
        }
    }

    #[test]
    fn a_square_is_transposed() {
        for tier in Tier::available() {
            tier.run(Transpose);
        }
    }
}
