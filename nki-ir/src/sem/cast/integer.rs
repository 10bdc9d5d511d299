//! 32-bit integer results written straight to any dtype (isa.md 2.2.7).

use super::{Narrow, down};
use crate::dtype::DType;

/// Converts an int32 (iota, affine patterns) to the bits of `dtype` with one rounding, nearest even.
///
/// Integer destinations narrower than 32 bits saturate; uint32 takes the same bits; a bool is 1 for anything but 0.
pub fn from_int(dtype: DType, x: i32) -> u32 {
    match dtype {
        DType::I32 | DType::U32 => x as u32,
        DType::Bool => u32::from(x != 0),
        DType::U8 => x.clamp(0, 0xff) as u32,
        DType::I8 => u32::from(x.clamp(-0x80, 0x7f) as i8 as u8),
        DType::U16 => x.clamp(0, 0xffff) as u32,
        DType::I16 => u32::from(x.clamp(-0x8000, 0x7fff) as i16 as u16),
        DType::F32 => (x as f32).to_bits(),
        _ if Narrow::of(dtype).is_some() => down(dtype, round_to_odd(x)),
        _ => 0,
    }
}

/// [`from_int`] on a row.
pub(crate) fn from_int_row(dtype: DType, values: &[i32], bits: &mut [u32]) {
    let each = |bits: &mut [u32], f: fn(i32) -> u32| {
        bits.iter_mut().zip(values).for_each(|(b, x)| *b = f(*x));
    };
    match dtype {
        DType::I32 | DType::U32 => each(bits, |x| x as u32),
        DType::F32 => each(bits, |x| (x as f32).to_bits()),
        _ => bits.iter_mut().zip(values).for_each(|(b, x)| *b = from_int(dtype, *x)),
    }
}

/// The float32 next to `x` towards zero, its last bit set if anything was cut off: rounding that to a narrower format
/// gives what rounding `x` itself would.
fn round_to_odd(x: i32) -> f32 {
    let magnitude = x.unsigned_abs();
    let excess = (32 - magnitude.leading_zeros()).saturating_sub(24);
    let cut = magnitude & ((1 << excess) - 1) != 0;
    let kept = ((magnitude >> excess) | u32::from(cut)) << excess;
    // At most 24 significant bits are left: exact.
    (kept as f32).copysign(x as f32)
}
