//! 8 lanes: AVX2 with FMA and F16C.

use super::{MAX_LANES, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has avx2, fma and f16c.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor must have avx2, fma and f16c.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Avx2(())
    }
}

/// Register-only methods: the intrinsics need the processor features, and the token proves them.
macro_rules! lanes {
    ($( fn $name:ident $(<const $k:ident: i32>)? (self $(, $arg:ident: $t:ty)*) -> $r:ty = $body:expr; )*) => { $(
        #[inline(always)]
        fn $name $(<const $k: i32>)? (self $(, $arg: $t)*) -> $r {
            #[allow(unused_unsafe, reason = "operations on bit masks are plain integer code")]
            // SAFETY: the token proves that the processor has avx2, fma and f16c.
            unsafe { $body }
        }
    )* };
}

/// Lanes 0..4 and 4..8 as f64.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256d, __m256d);

/// `a * 2^n` for the integer in the low bits of `magic`.
#[inline(always)]
fn shift_exponent(a: __m256d, magic: __m256d) -> __m256d {
    // SAFETY: only called by methods of a token, which proves avx2.
    unsafe {
        let steps = _mm256_slli_epi64::<52>(_mm256_castpd_si256(magic));
        _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), steps))
    }
}

/// All ones in the first `n` of 8 lanes.
#[inline(always)]
fn first(n: usize) -> __m256i {
    const ROW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `8 - min(n, 8)` is at most 8, so the 8 elements from there lie inside ROW; callers hold a token.
    unsafe { _mm256_loadu_si256(ROW.as_ptr().add(8 - n.min(8)).cast()) }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type D = Pair;
    type M = __m256;

    lanes! {
        fn splat(self, x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(self, a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(self, a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(self, a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(self, a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn sqrt(self, a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn lesser(self, a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn greater(self, a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn round(self, a: __m256) -> __m256 = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn lt(self, a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        fn eq(self, a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        fn unordered(self, a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b);
        fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, mask);

        fn splat_i(self, x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn add_i(self, a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn sub_i(self, a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        fn and_i(self, a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        fn or_i(self, a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        fn xor_i(self, a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn shl<const K: i32>(self, a: __m256i) -> __m256i = _mm256_slli_epi32::<K>(a);
        fn shr<const K: i32>(self, a: __m256i) -> __m256i = _mm256_srli_epi32::<K>(a);
        fn sar<const K: i32>(self, a: __m256i) -> __m256i = _mm256_srai_epi32::<K>(a);
        fn gt_i(self, a: __m256i, b: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
        fn select_i(self, mask: __m256, a: __m256i, b: __m256i) -> __m256i
            = _mm256_blendv_epi8(b, a, _mm256_castps_si256(mask));

        fn and_m(self, a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        fn or_m(self, a: __m256, b: __m256) -> __m256 = _mm256_or_ps(a, b);
        fn any(self, a: __m256) -> bool = _mm256_movemask_ps(a) != 0;
        fn all(self, a: __m256) -> bool = _mm256_movemask_ps(a) == 0xFF;

        fn to_bits(self, a: __m256) -> __m256i = _mm256_castps_si256(a);
        fn of_bits(self, a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
        fn to_float(self, a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        fn to_int(self, a: __m256) -> __m256i = _mm256_cvtps_epi32(a);
        fn half_to_float(self, a: __m256i) -> __m256 = _mm256_cvtph_ps(low_halves(a));
        fn float_to_half(self, a: __m256) -> __m256i
            = _mm256_cvtepu16_epi32(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));

        fn lookup(self, table: &[f32; 8], i: __m256i) -> __m256
            = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), i);
        fn lookup_4(self, table: &[f32; 4], i: __m256i) -> __m256 = {
            let four = _mm_loadu_ps(table.as_ptr());
            _mm256_permutevar_ps(_mm256_set_m128(four, four), i)
        };

        fn widen(self, a: __m256) -> Pair
            = Pair(_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(a)));
        fn narrow(self, a: Pair) -> __m256 = _mm256_set_m128(_mm256_cvtpd_ps(a.1), _mm256_cvtpd_ps(a.0));
        fn splat_d(self, x: f64) -> Pair = Pair(_mm256_set1_pd(x), _mm256_set1_pd(x));
        fn add_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm256_add_pd(a.0, b.0), _mm256_add_pd(a.1, b.1));
        fn sub_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm256_sub_pd(a.0, b.0), _mm256_sub_pd(a.1, b.1));
        fn mul_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm256_mul_pd(a.0, b.0), _mm256_mul_pd(a.1, b.1));
        fn div_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm256_div_pd(a.0, b.0), _mm256_div_pd(a.1, b.1));
        fn sqrt_d(self, a: Pair) -> Pair = Pair(_mm256_sqrt_pd(a.0), _mm256_sqrt_pd(a.1));
        fn fma_d(self, a: Pair, b: Pair, c: Pair) -> Pair
            = Pair(_mm256_fmadd_pd(a.0, b.0, c.0), _mm256_fmadd_pd(a.1, b.1, c.1));
        fn scale_d(self, a: Pair, magic: Pair) -> Pair = Pair(shift_exponent(a.0, magic.0), shift_exponent(a.1, magic.1));
    }

    #[inline(always)]
    fn transpose(self, mut x: [__m256; MAX_LANES]) -> [__m256; MAX_LANES] {
        // SAFETY: the token proves avx2.
        unsafe {
            // Pairs of lanes, then quads, then halves change places.
            let mut t = x;
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]);
            }
            for i in 0..2 {
                let (a, b) = (4 * i, 4 * i + 2);
                x[a] = _mm256_shuffle_ps::<0b01_00_01_00>(t[a], t[b]);
                x[a + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(t[a], t[b]);
                x[b] = _mm256_shuffle_ps::<0b01_00_01_00>(t[a + 1], t[b + 1]);
                x[b + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(t[a + 1], t[b + 1]);
            }
            for i in 0..4 {
                t[i] = _mm256_permute2f128_ps::<0x20>(x[i], x[i + 4]);
                t[i + 4] = _mm256_permute2f128_ps::<0x31>(x[i], x[i + 4]);
            }
            t
        }
    }

    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: a masked load touches the first `n` lanes only, readable by the caller's promise.
        unsafe { _mm256_maskload_ps(p, first(n)) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, a: __m256, n: usize) {
        // SAFETY: a masked store touches the first `n` lanes only, writable by the caller's promise.
        unsafe { _mm256_maskstore_ps(p, first(n), a) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: 8 elements are readable by the caller's promise.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, a: __m256) {
        // SAFETY: 8 elements are writable by the caller's promise.
        unsafe { _mm256_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> __m256i {
        // SAFETY: 8 elements are readable by the caller's promise.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, a: __m256) {
        // SAFETY: 8 elements are writable at a multiple of 32 by the caller's promise.
        unsafe { _mm256_stream_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, a: __m256i) {
        // SAFETY: 8 elements are writable by the caller's promise.
        unsafe { _mm256_storeu_si256(p.cast(), a) }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> __m256i {
        // SAFETY: 8 elements are readable by the caller's promise.
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, a: __m256i) {
        // SAFETY: 8 elements are writable by the caller's promise.
        unsafe { _mm_storeu_si128(p.cast(), low_halves(a)) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> __m256i {
        // SAFETY: 8 bytes are readable by the caller's promise.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, a: __m256i) {
        // SAFETY: 8 bytes are writable by the caller's promise.
        unsafe {
            let bytes = _mm256_and_si256(a, _mm256_set1_epi32(0xFF));
            let halves = low_halves(bytes);
            _mm_storel_epi64(p.cast(), _mm_packus_epi16(halves, halves));
        }
    }
}

/// The low 16 bits of each lane, in order.
#[inline(always)]
fn low_halves(a: __m256i) -> __m128i {
    // SAFETY: only called by methods of a token, which proves avx2.
    unsafe {
        let a = _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF));
        let packed = _mm256_packus_epi32(a, a); // per 128-bit lane
        _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed))
    }
}
