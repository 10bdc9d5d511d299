//! 16 lanes: AVX-512 with the bw, vl and dq extensions.

use super::{MAX_LANES, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has avx512f, avx512bw, avx512vl and avx512dq.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor must have avx512f, avx512bw, avx512vl and avx512dq.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Avx512(())
    }
}

/// Register-only methods: the intrinsics need the processor features, and the token proves them.
macro_rules! lanes {
    ($( fn $name:ident $(<const $k:ident: i32>)? (self $(, $arg:ident: $t:ty)*) -> $r:ty = $body:expr; )*) => { $(
        #[inline(always)]
        fn $name $(<const $k: i32>)? (self $(, $arg: $t)*) -> $r {
            #[allow(unused_unsafe, reason = "operations on bit masks are plain integer code")]
            // SAFETY: the token proves that the processor has the AVX-512 features.
            unsafe { $body }
        }
    )* };
}

/// Lanes 0..8 and 8..16 as f64.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m512d, __m512d);

/// `a * 2^n` for the integer in the low bits of `magic`.
#[inline(always)]
fn shift_exponent(a: __m512d, magic: __m512d) -> __m512d {
    // SAFETY: only called by methods of a token, which proves the AVX-512 features.
    unsafe {
        let steps = _mm512_slli_epi64::<52>(_mm512_castpd_si512(magic));
        _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), steps))
    }
}

/// The first `n` of 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type D = Pair;
    type M = __mmask16;

    lanes! {
        fn splat(self, x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(self, a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(self, a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(self, a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(self, a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn sqrt(self, a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn lesser(self, a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn greater(self, a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn round(self, a: __m512) -> __m512
            = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn lt(self, a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        fn eq(self, a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        fn unordered(self, a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b);
        fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_mov_ps(b, mask, a);

        fn splat_i(self, x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn add_i(self, a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn sub_i(self, a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn and_i(self, a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn or_i(self, a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn xor_i(self, a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn shl<const K: i32>(self, a: __m512i) -> __m512i = _mm512_sll_epi32(a, _mm_cvtsi32_si128(K));
        fn shr<const K: i32>(self, a: __m512i) -> __m512i = _mm512_srl_epi32(a, _mm_cvtsi32_si128(K));
        fn sar<const K: i32>(self, a: __m512i) -> __m512i = _mm512_sra_epi32(a, _mm_cvtsi32_si128(K));
        fn gt_i(self, a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpgt_epi32_mask(a, b);
        fn select_i(self, mask: __mmask16, a: __m512i, b: __m512i) -> __m512i = _mm512_mask_mov_epi32(b, mask, a);

        fn and_m(self, a: __mmask16, b: __mmask16) -> __mmask16 = a & b;
        fn or_m(self, a: __mmask16, b: __mmask16) -> __mmask16 = a | b;
        fn any(self, a: __mmask16) -> bool = a != 0;
        fn all(self, a: __mmask16) -> bool = a == 0xFFFF;

        fn to_bits(self, a: __m512) -> __m512i = _mm512_castps_si512(a);
        fn of_bits(self, a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
        fn to_float(self, a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        fn to_int(self, a: __m512) -> __m512i = _mm512_cvtps_epi32(a);
        fn scale(self, a: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(a, n);
        fn half_to_float(self, a: __m512i) -> __m512 = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
        fn float_to_half(self, a: __m512) -> __m512i
            = _mm512_cvtepu16_epi32(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));

        fn lookup(self, table: &[f32; 8], i: __m512i) -> __m512
            = _mm512_permutexvar_ps(i, _mm512_broadcast_f32x8(_mm256_loadu_ps(table.as_ptr())));
        fn lookup_4(self, table: &[f32; 4], i: __m512i) -> __m512
            = _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(table.as_ptr())), i);

        fn widen(self, a: __m512) -> Pair
            = Pair(_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(a)));
        fn narrow(self, a: Pair) -> __m512
            = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.0)), _mm512_cvtpd_ps(a.1));
        fn splat_d(self, x: f64) -> Pair = Pair(_mm512_set1_pd(x), _mm512_set1_pd(x));
        fn add_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm512_add_pd(a.0, b.0), _mm512_add_pd(a.1, b.1));
        fn sub_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm512_sub_pd(a.0, b.0), _mm512_sub_pd(a.1, b.1));
        fn mul_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm512_mul_pd(a.0, b.0), _mm512_mul_pd(a.1, b.1));
        fn div_d(self, a: Pair, b: Pair) -> Pair = Pair(_mm512_div_pd(a.0, b.0), _mm512_div_pd(a.1, b.1));
        fn sqrt_d(self, a: Pair) -> Pair = Pair(_mm512_sqrt_pd(a.0), _mm512_sqrt_pd(a.1));
        fn fma_d(self, a: Pair, b: Pair, c: Pair) -> Pair
            = Pair(_mm512_fmadd_pd(a.0, b.0, c.0), _mm512_fmadd_pd(a.1, b.1, c.1));
        fn scale_d(self, a: Pair, magic: Pair) -> Pair = Pair(shift_exponent(a.0, magic.0), shift_exponent(a.1, magic.1));
    }

    #[inline(always)]
    unsafe fn pair_dot(self, acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: the caller vouches for avx512bf16; the casts keep the bits.
        unsafe {
            _mm512_dpbf16_ps(
                acc,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    fn transpose(self, mut x: [__m512; MAX_LANES]) -> [__m512; MAX_LANES] {
        // SAFETY: the token proves the AVX-512 features.
        unsafe {
            // Pairs of lanes, then quads, then quarters of the vector change places.
            let mut t = x;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
            }
            for i in 0..4 {
                let (a, b) = (4 * i, 4 * i + 2);
                x[a] = _mm512_shuffle_ps::<0b01_00_01_00>(t[a], t[b]);
                x[a + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(t[a], t[b]);
                x[b] = _mm512_shuffle_ps::<0b01_00_01_00>(t[a + 1], t[b + 1]);
                x[b + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(t[a + 1], t[b + 1]);
            }
            // Vector 4 i + j now holds columns j, j + 4, j + 8, j + 12 of rows 4 i.., a quarter each.
            for j in 0..4 {
                t[j] = _mm512_shuffle_f32x4::<0x88>(x[j], x[j + 4]);
                t[j + 4] = _mm512_shuffle_f32x4::<0xDD>(x[j], x[j + 4]);
                t[j + 8] = _mm512_shuffle_f32x4::<0x88>(x[j + 8], x[j + 12]);
                t[j + 12] = _mm512_shuffle_f32x4::<0xDD>(x[j + 8], x[j + 12]);
            }
            for j in 0..4 {
                x[j] = _mm512_shuffle_f32x4::<0x88>(t[j], t[j + 8]);
                x[j + 4] = _mm512_shuffle_f32x4::<0x88>(t[j + 4], t[j + 12]);
                x[j + 8] = _mm512_shuffle_f32x4::<0xDD>(t[j], t[j + 8]);
                x[j + 12] = _mm512_shuffle_f32x4::<0xDD>(t[j + 4], t[j + 12]);
            }
            x
        }
    }

    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: a masked load touches the first `n` lanes only, readable by the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, a: __m512, n: usize) {
        // SAFETY: a masked store touches the first `n` lanes only, writable by the caller's promise.
        unsafe { _mm512_mask_storeu_ps(p, first(n), a) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: 16 elements are readable by the caller's promise.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, a: __m512) {
        // SAFETY: 16 elements are writable by the caller's promise.
        unsafe { _mm512_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> __m512i {
        // SAFETY: 16 elements are readable by the caller's promise.
        unsafe { _mm512_loadu_epi32(p) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, a: __m512) {
        // SAFETY: 16 elements are writable at a multiple of 64 by the caller's promise.
        unsafe { _mm512_stream_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, a: __m512i) {
        // SAFETY: 16 elements are writable by the caller's promise.
        unsafe { _mm512_storeu_epi32(p, a) }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> __m512i {
        // SAFETY: 16 elements are readable by the caller's promise.
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, a: __m512i) {
        // SAFETY: 16 elements are writable by the caller's promise.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(a)) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> __m512i {
        // SAFETY: 16 bytes are readable by the caller's promise.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, a: __m512i) {
        // SAFETY: 16 bytes are writable by the caller's promise.
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(a)) }
    }
}
