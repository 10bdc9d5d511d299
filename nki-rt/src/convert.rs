//! Rows of numbers between storage formats and f32.

use crate::codec::{Bf16, CanonicalF32, Codec, E4m3, E4m3fn, E5m2, F16, I8, I16, I32, Tf32, U8, U16, U32};
use crate::simd::Simd;
use crate::tier::{Kernel, Tier};

/// A storage format of single numbers (isa.md 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Format {
    /// unsigned 8-bit integer
    U8,
    /// signed 8-bit integer
    I8,
    /// unsigned 16-bit integer
    U16,
    /// signed 16-bit integer
    I16,
    /// unsigned 32-bit integer
    U32,
    /// signed 32-bit integer
    I32,
    /// float32
    F32,
    /// tfloat32: a float32 word with 10 mantissa bits that count
    Tf32,
    /// bfloat16
    Bf16,
    /// float16
    F16,
    /// float8_e4m3: largest finite 240, with infinities
    E4m3,
    /// float8_e5m2: largest finite 57344, with infinities
    E5m2,
    /// float8_e4m3fn: largest finite 448, no infinities
    E4m3fn,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 13] = [
        Format::U8,
        Format::I8,
        Format::U16,
        Format::I16,
        Format::U32,
        Format::I32,
        Format::F32,
        Format::Tf32,
        Format::Bf16,
        Format::F16,
        Format::E4m3,
        Format::E5m2,
        Format::E4m3fn,
    ];

    /// Size of an element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Format::U8 | Format::I8 | Format::E4m3 | Format::E5m2 | Format::E4m3fn => 1,
            Format::U16 | Format::I16 | Format::Bf16 | Format::F16 => 2,
            Format::U32 | Format::I32 | Format::F32 | Format::Tf32 => 4,
        }
    }
}

/// Calls `$go::<codec>(...)` with the codec of a format.
macro_rules! by_format {
    ($format:expr, $go:ident ( $($arg:expr),* )) => {
        match $format {
            Format::U8 => $go::<U8>($($arg),*),
            Format::I8 => $go::<I8>($($arg),*),
            Format::U16 => $go::<U16>($($arg),*),
            Format::I16 => $go::<I16>($($arg),*),
            Format::U32 => $go::<U32>($($arg),*),
            Format::I32 => $go::<I32>($($arg),*),
            Format::F32 => $go::<CanonicalF32>($($arg),*),
            Format::Tf32 => $go::<Tf32>($($arg),*),
            Format::Bf16 => $go::<Bf16>($($arg),*),
            Format::F16 => $go::<F16>($($arg),*),
            Format::E4m3 => $go::<E4m3>($($arg),*),
            Format::E5m2 => $go::<E5m2>($($arg),*),
            Format::E4m3fn => $go::<E4m3fn>($($arg),*),
        }
    };
}

/// Widens a row to f32: exact, but that 32-bit integers round to nearest even and tfloat32 drops its 13 low bits.
///
/// ```
/// use nki_rt::{Format, Tier, widen};
/// let mut x = [0.0f32; 2];
/// widen(Tier::best(), Format::Bf16, &[0x80, 0x3F, 0x00, 0xC0], &mut x);
/// assert_eq!(x, [1.0, -2.0]);
/// ```
///
/// # Panics
/// When `from` does not hold exactly as many elements as `to`.
#[track_caller]
pub fn widen(tier: Tier, format: Format, from: &[u8], to: &mut [f32]) {
    check(format, from.len(), to.len());
    // SAFETY: both hold `to.len()` elements, and cannot overlap.
    unsafe { widen_raw(tier, format, from.as_ptr(), to.as_mut_ptr(), to.len()) }
}

/// Narrows a row of f32: rounds to nearest even; integers saturate and take NaN to 0; floats overflow to infinity
/// (e4m3fn: NaN) and have one NaN, the canonical quiet one (isa.md 2.2).
///
/// ```
/// use nki_rt::{Format, Tier, narrow};
/// let mut bytes = [0u8; 3];
/// narrow(Tier::best(), Format::I8, &[2.5, -200.0, f32::NAN], &mut bytes);
/// assert_eq!(bytes, [2, 0x80, 0]);
/// ```
///
/// # Panics
/// When `to` does not hold exactly as many elements as `from`.
#[track_caller]
pub fn narrow(tier: Tier, format: Format, from: &[f32], to: &mut [u8]) {
    check(format, to.len(), from.len());
    // SAFETY: both hold `from.len()` elements, and cannot overlap.
    unsafe { narrow_raw(tier, format, from.as_ptr(), to.as_mut_ptr(), from.len()) }
}

/// Converts a row from one format to another, through f32.
///
/// # Panics
/// When the rows do not hold equally many elements.
#[track_caller]
pub fn convert(tier: Tier, from_format: Format, from: &[u8], to_format: Format, to: &mut [u8]) {
    let len = from.len() / from_format.bytes();
    check(from_format, from.len(), len);
    check(to_format, to.len(), len);
    const BLOCK: usize = 256;
    let mut wide = [0.0f32; BLOCK];
    let from = from.chunks(BLOCK * from_format.bytes());
    for (from, to) in from.zip(to.chunks_mut(BLOCK * to_format.bytes())) {
        let wide = &mut wide[..from.len() / from_format.bytes()];
        widen(tier, from_format, from, wide);
        narrow(tier, to_format, wide, to);
    }
}

#[track_caller]
fn check(format: Format, bytes: usize, len: usize) {
    assert!(bytes == len * format.bytes(), "{bytes} bytes are not {len} elements of {format:?}");
}

/// [`widen`] on addresses, at any alignment.
///
/// # Safety
/// `len` elements must be readable at `from` and writable at `to`; the two must not overlap.
pub unsafe fn widen_raw(tier: Tier, format: Format, from: *const u8, to: *mut f32, len: usize) {
    by_format!(format, widen_as(tier, from, to, len))
}

/// [`narrow`] on addresses, at any alignment.
///
/// # Safety
/// `len` elements must be readable at `from` and writable at `to`; the two must not overlap.
pub unsafe fn narrow_raw(tier: Tier, format: Format, from: *const f32, to: *mut u8, len: usize) {
    by_format!(format, narrow_as(tier, from, to, len))
}

fn widen_as<C: Codec>(tier: Tier, from: *const u8, to: *mut f32, len: usize) {
    tier.run(Recode::<C, CanonicalF32> { from, to: to.cast(), len, codecs: std::marker::PhantomData })
}

fn narrow_as<C: Codec>(tier: Tier, from: *const f32, to: *mut u8, len: usize) {
    tier.run(Recode::<CanonicalF32, C> { from: from.cast(), to, len, codecs: std::marker::PhantomData })
}

/// Reads a row in one format and writes it in another. `len` elements are readable and writable.
struct Recode<A, B> {
    from: *const u8,
    to: *mut u8,
    len: usize,
    codecs: std::marker::PhantomData<(A, B)>,
}

impl<A: Codec, B: Codec> Kernel for Recode<A, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut i = 0;
        // SAFETY: elements i..i + LANES, then i..len, exist in both rows.
        unsafe {
            while i + S::LANES <= self.len {
                let x = A::load(s, self.from.add(i * A::BYTES));
                B::store(s, self.to.add(i * B::BYTES), x);
                i += S::LANES;
            }
            if i < self.len {
                let x = A::load_part(s, self.from.add(i * A::BYTES), self.len - i);
                B::store_part(s, self.to.add(i * B::BYTES), x, self.len - i);
            }
        }
    }
}
