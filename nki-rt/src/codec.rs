//! How each storage format becomes lanes of f32 and back (isa.md 2.1, 2.2).
//!
//! Widening is exact (32-bit integers round to nearest even). Narrowing rounds to nearest even; integers saturate
//! and take NaN to 0; floats keep subnormals, overflow to infinity (NaN for e4m3fn, which has none) and give
//! the canonical NaN: positive, quiet, otherwise empty.

use crate::simd::{MAX_LANES, Simd};

/// A storage format.
pub(crate) trait Codec {
    /// Size of an element in bytes.
    const BYTES: usize;

    /// Loads and widens `LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for reading `LANES` elements, at any alignment.
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F;

    /// Narrows and stores `LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for writing `LANES` elements, at any alignment.
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F);

    /// Loads and widens `n <= LANES` elements, zero in the rest.
    ///
    /// # Safety
    /// `p` must be valid for reading `n` elements.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const u8, n: usize) -> S::F {
        let mut lanes = [0u8; 4 * MAX_LANES];
        // SAFETY: an element has at most 4 bytes, so `n <= MAX_LANES` of them fit the array, and LANES too.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(MAX_LANES) * Self::BYTES);
            Self::load(s, lanes.as_ptr())
        }
    }

    /// Narrows and stores the first `n <= LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for writing `n` elements.
    #[inline(always)]
    unsafe fn store_part<S: Simd>(s: S, p: *mut u8, x: S::F, n: usize) {
        let mut lanes = [0u8; 4 * MAX_LANES];
        // SAFETY: as `load_part`.
        unsafe {
            Self::store(s, lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(MAX_LANES) * Self::BYTES);
        }
    }
}

/// Bits of the canonical f32 NaN.
const NAN: i32 = 0x7FC0_0000;

/// `x`, or the canonical NaN.
#[inline(always)]
pub(crate) fn canonical<S: Simd>(s: S, x: S::F) -> S::F {
    s.select(s.unordered(x, x), s.of_bits(s.splat_i(NAN)), x)
}

/// `code`, or `nan` in the lanes where `x` is NaN.
#[inline(always)]
fn or_nan<S: Simd>(s: S, x: S::F, code: S::I, nan: i32) -> S::I {
    s.select_i(s.unordered(x, x), s.splat_i(nan), code)
}

/// The upper bits of an f32 after rounding away the low `DROP` to nearest even. Carries run into the exponent and
/// to infinity, as they should; NaN must be handled by the caller.
#[inline(always)]
fn round_off<S: Simd, const DROP: i32>(s: S, bits: S::I) -> S::I {
    let odd = s.and_i(s.shr::<DROP>(bits), s.splat_i(1));
    let bias = s.add_i(odd, s.splat_i((1 << (DROP - 1)) - 1));
    s.shr::<DROP>(s.add_i(bits, bias))
}

/// Binary32 as it is.
pub(crate) struct F32;

impl Codec for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise; lane loads need no alignment.
        unsafe { s.load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        // SAFETY: the caller's promise.
        unsafe { s.store(p.cast(), x) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const u8, n: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_part(p.cast(), n) }
    }
    #[inline(always)]
    unsafe fn store_part<S: Simd>(s: S, p: *mut u8, x: S::F, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { s.store_part(p.cast(), x, n) }
    }
}

/// tfloat32: a binary32 word whose low 13 bits do not count. Reading truncates them (NaN stays NaN), writing
/// rounds (isa.md 2.1 note 5).
pub(crate) struct Tf32;

impl Codec for Tf32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        let x = unsafe { s.load(p.cast()) };
        let cut = s.of_bits(s.and_i(s.to_bits(x), s.splat_i(!0x1FFF)));
        s.select(s.unordered(x, x), s.of_bits(s.splat_i(NAN)), cut)
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        let rounded = s.shl::<13>(round_off::<S, 13>(s, s.to_bits(x)));
        // SAFETY: the caller's promise.
        unsafe { s.store_i(p.cast(), or_nan(s, x, rounded, NAN)) }
    }
}

/// bfloat16: the upper half of binary32.
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        s.of_bits(s.shl::<16>(unsafe { s.load_u16(p.cast()) }))
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        let code = or_nan(s, x, round_off::<S, 16>(s, s.to_bits(x)), 0x7FC0);
        // SAFETY: the caller's promise.
        unsafe { s.store_u16(p.cast(), code) }
    }
}

/// Binary16.
pub(crate) struct F16;

impl Codec for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        s.half_to_float(unsafe { s.load_u16(p.cast()) })
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        let code = or_nan(s, x, s.float_to_half(x), 0x7E00);
        // SAFETY: the caller's promise.
        unsafe { s.store_u16(p.cast(), code) }
    }
}

/// An 8-bit float of 1 sign, `7 - M` exponent and `M` mantissa bits, exponent bias `BIAS`. `INF` is the magnitude
/// code of infinity, or of NaN where there is no infinity; `NAN_CODE` is the canonical NaN.
pub(crate) struct Float8<const M: i32, const BIAS: i32, const INF: i32, const NAN_CODE: i32>;

/// float8_e4m3: largest finite 240.
pub(crate) type E4m3 = Float8<3, 7, 0x78, 0x7C>;
/// float8_e5m2: largest finite 57344.
pub(crate) type E5m2 = Float8<2, 15, 0x7C, 0x7E>;
/// float8_e4m3fn: largest finite 448, no infinity.
pub(crate) type E4m3fn = Float8<3, 7, 0x7F, 0x7F>;

impl<const M: i32, const BIAS: i32, const INF: i32, const NAN_CODE: i32> Float8<M, BIAS, INF, NAN_CODE> {
    /// 2^(127 - BIAS): moves the exponent between the two biases, subnormals included.
    const REBIAS: f32 = f32::from_bits(((254 - BIAS) as u32) << 23);
    /// 2^(1 - BIAS), the smallest normal number.
    const MIN_NORMAL: f32 = f32::from_bits(((128 - BIAS) as u32) << 23);
    /// 2^(24 - BIAS - M): a number whose unit in the last place is the smallest subnormal.
    const SUBNORMAL_UNIT: f32 = f32::from_bits(((151 - BIAS - M) as u32) << 23);

    /// Code of a magnitude at or above the smallest normal, before the range check.
    #[inline(always)]
    fn normal_code<S: Simd>(s: S, magnitude: S::I) -> S::I {
        // Rounding in place carries into the exponent; the bias is then a subtraction in units of the code.
        let rounded =
            if M == 3 { round_off::<S, 20>(s, magnitude) } else { round_off::<S, 21>(s, magnitude) };
        s.sub_i(rounded, s.splat_i((127 - BIAS) << M))
    }
}

impl<const M: i32, const BIAS: i32, const INF: i32, const NAN_CODE: i32> Codec
    for Float8<M, BIAS, INF, NAN_CODE>
{
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        let code = unsafe { s.load_u8(p) };
        let magnitude = s.and_i(code, s.splat_i(0x7F));
        let sign = s.shl::<24>(s.and_i(code, s.splat_i(0x80)));
        let field = if M == 3 { s.shl::<20>(magnitude) } else { s.shl::<21>(magnitude) };
        let finite = s.to_bits(s.mul(s.of_bits(field), s.splat(Self::REBIAS)));
        let infinite = s.splat_i(if INF == NAN_CODE { NAN } else { f32::INFINITY.to_bits() as i32 });
        let bits = s.select_i(s.gt_i(s.splat_i(INF), magnitude), finite, infinite);
        let bits = s.select_i(s.gt_i(magnitude, s.splat_i(INF)), s.splat_i(NAN), bits);
        s.of_bits(s.or_i(bits, sign))
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        let bits = s.to_bits(x);
        let magnitude = s.and_i(bits, s.splat_i(0x7FFF_FFFF));
        let sign = s.shr::<24>(s.and_i(bits, s.splat_i(i32::MIN)));
        let size = s.of_bits(magnitude);
        let unit = s.splat(Self::SUBNORMAL_UNIT);
        let subnormal = s.sub_i(s.to_bits(s.add(size, unit)), s.to_bits(unit));
        let small = s.lt(size, s.splat(Self::MIN_NORMAL));
        let code = s.select_i(small, subnormal, Self::normal_code(s, magnitude));
        // Codes order as magnitudes do, also those that no longer fit the byte.
        let over = s.gt_i(code, s.splat_i(INF));
        let code = s.or_i(s.select_i(over, s.splat_i(INF), code), sign);
        // SAFETY: the caller's promise.
        unsafe { s.store_u8(p, or_nan(s, x, code, NAN_CODE)) }
    }
}

/// `x` rounded and saturated to `low..=high`, both exact in f32 and within i32; NaN gives 0.
#[inline(always)]
fn saturate<S: Simd>(s: S, x: S::F, low: f32, high: f32) -> S::I {
    let inside = s.greater(s.splat(low), s.lesser(s.splat(high), x));
    or_nan(s, x, s.to_int(inside), 0)
}

macro_rules! small_integer { ($($name:ident $t:ty, $load:ident $store:ident, $extend:expr;)*) => { $(
    #[doc = concat!("`", stringify!($t), "`.")]
    pub(crate) struct $name;

    impl Codec for $name {
        const BYTES: usize = size_of::<$t>();
        #[inline(always)]
        unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
            // SAFETY: the caller's promise.
            let bits = unsafe { s.$load(p.cast()) };
            s.to_float($extend(s, bits))
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
            // SAFETY: the caller's promise.
            unsafe { s.$store(p.cast(), saturate(s, x, <$t>::MIN as f32, <$t>::MAX as f32)) }
        }
    }
)* } }

#[inline(always)]
fn unsigned<S: Simd>(_: S, x: S::I) -> S::I {
    x
}
#[inline(always)]
fn signed_byte<S: Simd>(s: S, x: S::I) -> S::I {
    s.sar::<24>(s.shl::<24>(x))
}
#[inline(always)]
fn signed_half<S: Simd>(s: S, x: S::I) -> S::I {
    s.sar::<16>(s.shl::<16>(x))
}

small_integer! {
    U8 u8, load_u8 store_u8, unsigned;
    I8 i8, load_u8 store_u8, signed_byte;
    U16 u16, load_u16 store_u16, unsigned;
    I16 i16, load_u16 store_u16, signed_half;
}

/// `i32`.
pub(crate) struct I32;

impl Codec for I32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        s.to_float(unsafe { s.load_i(p.cast()) })
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        // Out of range gives MIN by itself; only the upper end needs help.
        let fits = s.lt(x, s.splat(2_147_483_648.0));
        let value = s.select_i(fits, s.to_int(x), s.splat_i(i32::MAX));
        // SAFETY: the caller's promise.
        unsafe { s.store_i(p.cast(), or_nan(s, x, value, 0)) }
    }
}

/// `u32`.
pub(crate) struct U32;

impl Codec for U32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        let bits = unsafe { s.load_i(p.cast()) };
        let high = s.to_float(s.shr::<16>(bits));
        let low = s.to_float(s.and_i(bits, s.splat_i(0xFFFF)));
        s.fma(high, s.splat(65536.0), low)
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        let half = s.splat(2_147_483_648.0);
        let x0 = s.greater(s.splat(0.0), x);
        let low = s.to_int(x0);
        let high = s.xor_i(s.to_int(s.sub(x0, half)), s.splat_i(i32::MIN));
        let value = s.select_i(s.lt(x0, half), low, high);
        let value = s.select_i(s.lt(x0, s.splat(4_294_967_296.0)), value, s.splat_i(-1));
        // SAFETY: the caller's promise.
        unsafe { s.store_i(p.cast(), or_nan(s, x, value, 0)) }
    }
}

/// `x` with the canonical NaN: what a copy through f32 arithmetic leaves of a binary32 number.
pub(crate) struct CanonicalF32;

impl Codec for CanonicalF32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u8, x: S::F) {
        // SAFETY: the caller's promise.
        unsafe { s.store(p.cast(), canonical(s, x)) }
    }
}
