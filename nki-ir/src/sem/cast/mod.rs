//! Conversions between dtypes and float32 (isa.md 2.2 and 2.3): `up` widens exactly, `down` rounds once.
//!
//! An element travels as its *bits*: the little-endian value of its bytes, zero-extended to 32 bits. The functions here are
//! the definition; `rows` has the same functions on whole rows.

mod format;
mod integer;
mod rows;

pub use integer::from_int;
pub(crate) use integer::from_int_row;
pub use rows::row_format;
pub(crate) use rows::{down_row, up_row};

use crate::dtype::{DKind, DType};
use format::Narrow;

/// The canonical quiet NaN of float32: the only NaN that arithmetic ever writes.
pub const NAN_BITS: u32 = 0x7fc0_0000;

/// Widens an element to float32: exact, but for 32-bit integers, which round to nearest even (isa.md 2.2.2).
///
/// A tfloat32 ignores the low 13 bits of its storage (isa.md 2.1.5); any nonzero bool is one; e8m0 is `2^(byte - 127)`.
/// Packed types have no single value and give NaN.
///
/// ```
/// use nki_ir::{DType, sem::cast};
/// assert_eq!(cast::up(DType::BF16, 0x3f80), 1.0);
/// assert_eq!(cast::up(DType::I8, 0xff), -1.0);
/// ```
pub fn up(dtype: DType, bits: u32) -> f32 {
    match dtype {
        DType::Bool => f32::from(u8::from(bits != 0)),
        DType::U8 => f32::from(bits as u8),
        DType::I8 => f32::from(bits as i8),
        DType::U16 => f32::from(bits as u16),
        DType::I16 => f32::from(bits as i16),
        DType::U32 => bits as f32,
        DType::I32 => bits as i32 as f32,
        DType::F32 => f32::from_bits(bits),
        DType::TF32 => f32::from_bits(truncate_tf32(bits)),
        DType::BF16 => f32::from_bits(bits << 16),
        DType::F16 | DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FN => {
            Narrow::of(dtype).map_or(f32::NAN, |f| f.widen(bits))
        }
        DType::F8E8M0 => match bits as u8 {
            0 => f32::from_bits(0x0040_0000),
            0xff => f32::from_bits(NAN_BITS),
            e => f32::from_bits(u32::from(e) << 23),
        },
        DType::F8E5M2X4 | DType::F8E4M3FNX4 | DType::F4E2M1FNX4 => f32::from_bits(NAN_BITS),
    }
}

/// Drops the 13 bits that a tfloat32 does not have; a NaN stays one.
fn truncate_tf32(bits: u32) -> u32 {
    let kept = bits & !0x1fff;
    if bits & 0x7fff_ffff > 0x7f80_0000 { kept | 0x0040_0000 } else { kept }
}

/// Converts float32 to the bits of `dtype`, nearest even (isa.md 2.2.3 and 2.2.4).
///
/// Integers saturate and take NaN to 0; a bool is 1 for anything but zero. Floats overflow to the signed infinity (e4m3fn: to
/// the signed NaN; e8m0 clamps, its smallest value standing for zero and negative numbers), keep subnormals, and every NaN
/// becomes the canonical one. Packed types give 0.
pub fn down(dtype: DType, x: f32) -> u32 {
    round(dtype, x, None)
}

/// [`down`] with stochastic rounding of float destinations: rounds away from zero when the discarded fraction, scaled to
/// 2^32, exceeds `random` (isa.md 2.3). Integer destinations round to nearest even.
pub fn down_stochastic(dtype: DType, x: f32, random: u32) -> u32 {
    round(dtype, x, Some(random))
}

fn round(dtype: DType, x: f32, random: Option<u32>) -> u32 {
    match dtype {
        DType::F32 => canonical(x).to_bits(),
        DType::Bool => u32::from(x != 0.0),
        DType::U8 => u32::from(nearest(x) as u8),
        DType::I8 => u32::from(nearest(x) as i8 as u8),
        DType::U16 => u32::from(nearest(x) as u16),
        DType::I16 => u32::from(nearest(x) as i16 as u16),
        DType::U32 => nearest(x) as u32,
        DType::I32 => nearest(x) as i32 as u32,
        DType::F8E5M2X4 | DType::F8E4M3FNX4 | DType::F4E2M1FNX4 => 0,
        _ => Narrow::of(dtype).map_or(0, |f| f.narrow(x, random)),
    }
}

/// Replaces any NaN by the canonical one.
fn canonical(x: f32) -> f32 {
    if x.is_nan() { f32::from_bits(NAN_BITS) } else { x }
}

/// Replaces every NaN by the canonical one.
pub fn canonicalize(row: &mut [f32]) {
    // Looking for one first is cheap, and there is hardly ever any.
    if row.iter().fold(false, |any, x| any | x.is_nan()) {
        row.iter_mut().for_each(|x| *x = canonical(*x));
    }
}

/// Nearest integer, ties to even.
pub(crate) fn nearest(x: f32) -> f32 {
    x.round_ties_even()
}

/// Whether `dtype` has a value that `up` and `down` convert; packed types do not.
pub fn is_castable(dtype: DType) -> bool {
    dtype.kind() != DKind::Packed
}

/// Whether stochastic rounding applies to a destination of `dtype`: to floats that are narrower than float32.
pub(crate) fn rounds_stochastically(dtype: DType) -> bool {
    Narrow::of(dtype).is_some()
}

/// Fills storage that was never written (isa.md 3.4.4): NaN in floats and scales, 4 in integers.
pub fn poison(dtype: DType, bytes: &mut [u8]) {
    let bits: u32 = match dtype {
        DType::Bool | DType::U8 | DType::I8 | DType::U16 | DType::I16 | DType::U32 | DType::I32 => 4,
        DType::F8E5M2X4 | DType::F8E4M3FNX4 => 0x7f7f_7f7f,
        DType::F4E2M1FNX4 => 0x4444,
        _ => down(dtype, f32::NAN),
    };
    let [a, b, c, d] = bits.to_le_bytes();
    match dtype.bytes() {
        1 => bytes.fill(a),
        2 => bytes.as_chunks_mut().0.fill([a, b]),
        _ => bytes.as_chunks_mut().0.fill([a, b, c, d]),
    }
}
