//! Lanes as arrays, for any processor.

use super::Simd;
use half::f16;

/// `N` lanes of plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const N: usize>;

#[inline(always)]
fn map<A: Copy, B, const N: usize>(a: [A; N], f: impl Fn(A) -> B) -> [B; N] {
    std::array::from_fn(
        #[inline(always)]
        |i| f(a[i]),
    )
}

#[inline(always)]
fn zip<A: Copy, B: Copy, C, const N: usize>(a: [A; N], b: [B; N], f: impl Fn(A, B) -> C) -> [C; N] {
    std::array::from_fn(
        #[inline(always)]
        |i| f(a[i], b[i]),
    )
}

impl<const N: usize> Simd for Portable<N> {
    const LANES: usize = N;
    type F = [f32; N];
    type I = [i32; N];
    type D = [f64; N];
    type M = [bool; N];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; N]
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(
            #[inline(always)]
            |i| a[i].mul_add(b[i], c[i]),
        )
    }
    #[inline(always)]
    fn lesser(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn greater(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        map(a, f32::round_ties_even)
    }
    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        zip(a, b, |a, b| a < b)
    }
    #[inline(always)]
    fn eq(self, a: Self::F, b: Self::F) -> Self::M {
        zip(a, b, |a, b| a == b)
    }
    #[inline(always)]
    fn unordered(self, a: Self::F, b: Self::F) -> Self::M {
        zip(a, b, |a, b| a.is_nan() | b.is_nan())
    }
    #[inline(always)]
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(
            #[inline(always)]
            |i| if mask[i] { a[i] } else { b[i] },
        )
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> Self::I {
        [x; N]
    }
    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shl<const K: i32>(self, a: Self::I) -> Self::I {
        map(a, |a| a << K)
    }
    #[inline(always)]
    fn shr<const K: i32>(self, a: Self::I) -> Self::I {
        map(a, |a| (a as u32 >> K) as i32)
    }
    #[inline(always)]
    fn sar<const K: i32>(self, a: Self::I) -> Self::I {
        map(a, |a| a >> K)
    }
    #[inline(always)]
    fn gt_i(self, a: Self::I, b: Self::I) -> Self::M {
        zip(a, b, |a, b| a > b)
    }
    #[inline(always)]
    fn select_i(self, mask: Self::M, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(
            #[inline(always)]
            |i| if mask[i] { a[i] } else { b[i] },
        )
    }

    #[inline(always)]
    fn and_m(self, a: Self::M, b: Self::M) -> Self::M {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or_m(self, a: Self::M, b: Self::M) -> Self::M {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn any(self, a: Self::M) -> bool {
        a.contains(&true)
    }
    #[inline(always)]
    fn all(self, a: Self::M) -> bool {
        !a.contains(&false)
    }

    #[inline(always)]
    fn to_bits(self, a: Self::F) -> Self::I {
        map(a, |a| a.to_bits() as i32)
    }
    #[inline(always)]
    fn of_bits(self, a: Self::I) -> Self::F {
        map(a, |a| f32::from_bits(a as u32))
    }
    #[inline(always)]
    fn to_float(self, a: Self::I) -> Self::F {
        map(a, |a| a as f32)
    }
    #[inline(always)]
    fn to_int(self, a: Self::F) -> Self::I {
        // 2^31 does not fit; -2^31 does, and is the answer for everything that does not.
        map(a, |a| if a < 2_147_483_648.0 { a.round_ties_even() as i32 } else { i32::MIN })
    }
    #[inline(always)]
    fn half_to_float(self, a: Self::I) -> Self::F {
        map(a, |a| f16::from_bits(a as u16).to_f32_const())
    }
    #[inline(always)]
    fn float_to_half(self, a: Self::F) -> Self::I {
        map(a, |a| i32::from(f16::from_f32_const(a).to_bits()))
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 8], i: Self::I) -> Self::F {
        map(i, |i| table[i as usize & 7])
    }
    #[inline(always)]
    fn lookup_4(self, table: &[f32; 4], i: Self::I) -> Self::F {
        map(i, |i| table[i as usize & 3])
    }
    #[inline(always)]
    fn widen(self, a: Self::F) -> Self::D {
        map(a, f64::from)
    }
    #[inline(always)]
    fn narrow(self, a: Self::D) -> Self::F {
        map(a, |a| a as f32)
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> Self::D {
        [x; N]
    }
    #[inline(always)]
    fn add_d(self, a: Self::D, b: Self::D) -> Self::D {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub_d(self, a: Self::D, b: Self::D) -> Self::D {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul_d(self, a: Self::D, b: Self::D) -> Self::D {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div_d(self, a: Self::D, b: Self::D) -> Self::D {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt_d(self, a: Self::D) -> Self::D {
        map(a, f64::sqrt)
    }
    #[inline(always)]
    fn fma_d(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        std::array::from_fn(
            #[inline(always)]
            |i| a[i].mul_add(b[i], c[i]),
        )
    }
    #[inline(always)]
    fn scale_d(self, a: Self::D, magic: Self::D) -> Self::D {
        zip(a, magic, |a, m| f64::from_bits(a.to_bits().wrapping_add(m.to_bits() << 52)))
    }

    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::F {
        // SAFETY: lanes below `n` are readable by the caller's promise; no other is read.
        std::array::from_fn(
            #[inline(always)]
            |i| if i < n { unsafe { p.add(i).read() } } else { 0.0 },
        )
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, a: Self::F, n: usize) {
        // SAFETY: `n` elements are writable by the caller's promise, and `a` has at least `n`.
        unsafe { std::ptr::copy_nonoverlapping(a.as_ptr(), p, n.min(N)) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::F {
        // SAFETY: `LANES` elements are readable by the caller's promise.
        unsafe { p.cast::<Self::F>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, a: Self::F) {
        // SAFETY: `LANES` elements are writable by the caller's promise.
        unsafe { p.cast::<Self::F>().write(a) }
    }
    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> Self::I {
        // SAFETY: `LANES` elements are readable by the caller's promise.
        unsafe { p.cast::<Self::I>().read() }
    }
    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, a: Self::I) {
        // SAFETY: `LANES` elements are writable by the caller's promise.
        unsafe { p.cast::<Self::I>().write(a) }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> Self::I {
        // SAFETY: `LANES` elements are readable by the caller's promise.
        map(unsafe { p.cast::<[u16; N]>().read() }, i32::from)
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, a: Self::I) {
        // SAFETY: `LANES` elements are writable by the caller's promise.
        unsafe { p.cast::<[u16; N]>().write(map(a, |a| a as u16)) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> Self::I {
        // SAFETY: `LANES` elements are readable by the caller's promise.
        map(unsafe { p.cast::<[u8; N]>().read() }, i32::from)
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, a: Self::I) {
        // SAFETY: `LANES` elements are writable by the caller's promise.
        unsafe { p.cast::<[u8; N]>().write(map(a, |a| a as u8)) }
    }
}
