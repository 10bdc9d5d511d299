//! Rows of conversions: what [`up`] and [`down`] do, for contiguous or strided elements. The SIMD rows of `nki-rt` give the
//! same bits (tests), but that a NaN may lose its payload on the way up, which no result can show.

use super::{down, up};
use crate::dtype::DType;
use nki_rt::{Format, Tier};

/// The SIMD format of a dtype, if there is one.
pub fn row_format(dtype: DType) -> Option<Format> {
    Some(match dtype {
        DType::U8 => Format::U8,
        DType::I8 => Format::I8,
        DType::U16 => Format::U16,
        DType::I16 => Format::I16,
        DType::U32 => Format::U32,
        DType::I32 => Format::I32,
        DType::F16 => Format::F16,
        DType::BF16 => Format::Bf16,
        DType::F32 => Format::F32,
        DType::TF32 => Format::Tf32,
        DType::F8E4M3 => Format::E4m3,
        DType::F8E5M2 => Format::E5m2,
        DType::F8E4M3FN => Format::E4m3fn,
        DType::Bool | DType::F8E8M0 | DType::F8E5M2X4 | DType::F8E4M3FNX4 | DType::F4E2M1FNX4 => return None,
    })
}

/// Bytes of strided elements that are packed at a time.
const PACK: usize = 512;

/// Widens `out.len()` elements that start at `bytes[0]` and lie `stride` bytes apart (`bytes` ends behind the last one;
/// for a negative stride it starts at the last one).
pub(crate) fn up_row(dtype: DType, bytes: &[u8], stride: i64, out: &mut [f32]) {
    let width = dtype.bytes();
    if stride == width as i64 {
        return up_packed(dtype, bytes, out);
    }
    if let [x] = out {
        *x = up(dtype, element(bytes));
        return;
    }
    let mut pack = [0; PACK];
    let mut at = first(bytes.len(), width, stride);
    for out in out.chunks_mut(PACK / width) {
        let pack = &mut pack[..out.len() * width];
        match width {
            1 => gather::<1>(bytes, &mut at, stride, pack),
            2 => gather::<2>(bytes, &mut at, stride, pack),
            _ => gather::<4>(bytes, &mut at, stride, pack),
        }
        up_packed(dtype, pack, out);
    }
}

/// Rounds `values` to nearest even into elements that lie `stride` bytes apart, laid out as for [`up_row`].
pub(crate) fn down_row(dtype: DType, values: &[f32], bytes: &mut [u8], stride: i64) {
    let width = dtype.bytes();
    if stride == width as i64 {
        return down_packed(dtype, values, bytes);
    }
    let mut pack = [0; PACK];
    let mut at = first(bytes.len(), width, stride);
    for values in values.chunks(PACK / width) {
        let pack = &mut pack[..values.len() * width];
        down_packed(dtype, values, pack);
        for element in pack.chunks_exact(width) {
            bytes[at as usize..at as usize + width].copy_from_slice(element);
            at += stride;
        }
    }
}

fn up_packed(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match (dtype, row_format(dtype)) {
        (DType::F32, _) => {
            for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *o = f32::from_le_bytes(*b);
            }
        }
        (_, Some(format)) => nki_rt::widen(Tier::best(), format, bytes, out),
        (_, None) => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(dtype.bytes())) {
                *o = up(dtype, element(b));
            }
        }
    }
}

fn down_packed(dtype: DType, values: &[f32], bytes: &mut [u8]) {
    match row_format(dtype) {
        Some(format) => nki_rt::narrow(Tier::best(), format, values, bytes),
        None => {
            let width = dtype.bytes();
            for (b, x) in bytes.chunks_exact_mut(width).zip(values) {
                b.copy_from_slice(&down(dtype, *x).to_le_bytes()[..width]);
            }
        }
    }
}

/// Little-endian bits of up to four bytes.
fn element(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |x, b| x << 8 | u32::from(*b))
}

fn gather<const W: usize>(bytes: &[u8], at: &mut i64, stride: i64, pack: &mut [u8]) {
    for element in pack.as_chunks_mut::<W>().0 {
        element.copy_from_slice(&bytes[*at as usize..*at as usize + W]);
        *at += stride;
    }
}

/// Offset of the first element in a run's bytes.
fn first(len: usize, width: usize, stride: i64) -> i64 {
    if stride < 0 { len as i64 - width as i64 } else { 0 }
}
