//! Rows of conversions: what [`up`] and [`down`] do, for contiguous or strided elements, one type dispatch a row.

use super::{canonical, down, nearest, up};
use crate::dtype::DType;

/// Widens `out.len()` elements that start at `bytes[0]` and lie `stride` bytes apart (`bytes` ends behind the last one;
/// for a negative stride it starts at the last one).
pub(crate) fn up_row(dtype: DType, bytes: &[u8], stride: i64, out: &mut [f32]) {
    match dtype {
        DType::F32 => up_each::<4>(bytes, stride, out, f32::from_le_bytes),
        DType::BF16 => {
            up_each::<2>(bytes, stride, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))
        }
        DType::F16 => up_each::<2>(bytes, stride, out, |b| f16_to_f32(u16::from_le_bytes(b))),
        DType::U8 => up_each::<1>(bytes, stride, out, |b| f32::from(b[0])),
        DType::I8 => up_each::<1>(bytes, stride, out, |b| f32::from(b[0] as i8)),
        DType::U16 => up_each::<2>(bytes, stride, out, |b| f32::from(u16::from_le_bytes(b))),
        DType::I16 => up_each::<2>(bytes, stride, out, |b| f32::from(i16::from_le_bytes(b))),
        DType::U32 => up_each::<4>(bytes, stride, out, |b| u32::from_le_bytes(b) as f32),
        DType::I32 => up_each::<4>(bytes, stride, out, |b| i32::from_le_bytes(b) as f32),
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FN | DType::F8E8M0 | DType::Bool => {
            let table = byte_table(dtype);
            up_each::<1>(bytes, stride, out, |b| table[usize::from(b[0])])
        }
        DType::TF32 => up_each::<4>(bytes, stride, out, |b| up(DType::TF32, u32::from_le_bytes(b))),
        DType::F8E5M2X4 | DType::F8E4M3FNX4 | DType::F4E2M1FNX4 => out.fill(up(dtype, 0)),
    }
}

/// Rounds `values` to nearest even into elements that lie `stride` bytes apart, laid out as for [`up_row`].
pub(crate) fn down_row(dtype: DType, values: &[f32], bytes: &mut [u8], stride: i64) {
    match dtype {
        DType::F32 => down_each::<4>(values, bytes, stride, |x| canonical(x).to_le_bytes()),
        DType::BF16 => down_each::<2>(values, bytes, stride, |x| f32_to_bf16(x).to_le_bytes()),
        DType::F16 => down_each::<2>(values, bytes, stride, |x| f32_to_f16(x).to_le_bytes()),
        DType::U8 => down_each::<1>(values, bytes, stride, |x| [nearest(x) as u8]),
        DType::I8 => down_each::<1>(values, bytes, stride, |x| [nearest(x) as i8 as u8]),
        DType::U16 => down_each::<2>(values, bytes, stride, |x| (nearest(x) as u16).to_le_bytes()),
        DType::I16 => down_each::<2>(values, bytes, stride, |x| (nearest(x) as i16).to_le_bytes()),
        DType::U32 => down_each::<4>(values, bytes, stride, |x| (nearest(x) as u32).to_le_bytes()),
        DType::I32 => down_each::<4>(values, bytes, stride, |x| (nearest(x) as i32).to_le_bytes()),
        _ => match dtype.bytes() {
            1 => down_each::<1>(values, bytes, stride, |x| [down(dtype, x) as u8]),
            2 => down_each::<2>(values, bytes, stride, |x| (down(dtype, x) as u16).to_le_bytes()),
            _ => down_each::<4>(values, bytes, stride, |x| down(dtype, x).to_le_bytes()),
        },
    }
}

#[inline(always)]
fn up_each<const W: usize>(bytes: &[u8], stride: i64, out: &mut [f32], f: impl Fn([u8; W]) -> f32) {
    if stride == W as i64 {
        for (o, b) in out.iter_mut().zip(bytes.as_chunks::<W>().0) {
            *o = f(*b);
        }
        return;
    }
    let mut at = first::<W>(bytes.len(), stride);
    for o in out {
        let mut b = [0; W];
        b.copy_from_slice(&bytes[at as usize..at as usize + W]);
        *o = f(b);
        at += stride;
    }
}

#[inline(always)]
fn down_each<const W: usize>(values: &[f32], bytes: &mut [u8], stride: i64, f: impl Fn(f32) -> [u8; W]) {
    if stride == W as i64 {
        for (b, x) in bytes.as_chunks_mut::<W>().0.iter_mut().zip(values) {
            *b = f(*x);
        }
        return;
    }
    let mut at = first::<W>(bytes.len(), stride);
    for x in values {
        bytes[at as usize..at as usize + W].copy_from_slice(&f(*x));
        at += stride;
    }
}

/// Offset of the first element in a run's bytes.
#[inline(always)]
fn first<const W: usize>(len: usize, stride: i64) -> i64 {
    if stride < 0 { len as i64 - W as i64 } else { 0 }
}

/// All 256 values of a one-byte dtype.
fn byte_table(dtype: DType) -> &'static [f32; 256] {
    use std::sync::LazyLock;
    type Table = LazyLock<[f32; 256]>;
    fn of(dtype: DType) -> [f32; 256] {
        std::array::from_fn(|i| up(dtype, i as u32))
    }
    static E4M3: Table = Table::new(|| of(DType::F8E4M3));
    static E5M2: Table = Table::new(|| of(DType::F8E5M2));
    static E4M3FN: Table = Table::new(|| of(DType::F8E4M3FN));
    static E8M0: Table = Table::new(|| of(DType::F8E8M0));
    static BOOL: Table = Table::new(|| of(DType::Bool));
    match dtype {
        DType::F8E4M3 => &E4M3,
        DType::F8E5M2 => &E5M2,
        DType::F8E4M3FN => &E4M3FN,
        DType::F8E8M0 => &E8M0,
        _ => &BOOL,
    }
}

#[inline(always)]
fn f32_to_bf16(x: f32) -> u16 {
    let b = x.to_bits();
    let rounded = (b.wrapping_add(0x7fff + (b >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { 0x7fc0 } else { rounded }
}

/// Branch-free, so that a row of them becomes vector code: subnormals are rounded by adding a power of two whose last
/// place is the smallest subnormal.
#[inline(always)]
fn f32_to_f16(x: f32) -> u16 {
    const MIN_NORMAL: u32 = (127 - 14) << 23;
    const OVERFLOW: u32 = (127 + 16) << 23;
    const HALF: f32 = 0.5;
    let b = x.to_bits();
    let (sign, a) = (b >> 16 & 0x8000, b & 0x7fff_ffff);
    let subnormal = (f32::from_bits(a) + HALF).to_bits().wrapping_sub(HALF.to_bits());
    let normal = a.wrapping_add(0xfff + (a >> 13 & 1)).wrapping_sub(112 << 23) >> 13;
    let finite = if a < MIN_NORMAL { subnormal } else { normal };
    let magnitude = if a >= OVERFLOW { 0x7c00 } else { finite };
    if a > 0x7f80_0000 { 0x7e00 } else { (sign | magnitude) as u16 }
}

#[inline(always)]
fn f16_to_f32(h: u16) -> f32 {
    let (sign, a) = ((u32::from(h) & 0x8000) << 16, u32::from(h) & 0x7fff);
    // Exponents of infinity and NaN are moved beyond 2^128 by the second scaling step.
    let finite = f32::from_bits(a << 13) * f32::from_bits((127 + 112) << 23);
    let special = f32::from_bits(a << 13 | 0x7f80_0000);
    let magnitude = if a >= 0x7c00 { special } else { finite };
    f32::from_bits(sign | magnitude.to_bits())
}
