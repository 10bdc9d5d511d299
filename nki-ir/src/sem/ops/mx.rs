//! MX formats: packed elements of which 32 share a power-of-two scale (isa.md 9.1.2 and 9.3.13).

use super::super::exec::Exec;
use super::super::scratch::{Scratch, scratch};
use super::super::{Fault, Span, alu, cast, fault};
use super::gather::one_row;
use super::tensor::Product;
use crate::diag::Code;
use crate::dtype::DType;

/// Partitions that share a scale.
const GROUP: u32 = 8;
/// Scales lie in the first rows of each quadrant of this many partitions.
const QUADRANT: u32 = 32;
/// Scale byte for NaN.
const SCALE_NAN: u32 = 255;

/// The row of the scale of data partition `p`, counted from the first row of the scales' view: four rows in each quadrant.
fn scale_row(p: u32) -> u32 {
    QUADRANT * (p / QUADRANT) + p % QUADRANT / GROUP
}

/// The rows of a scale operand that hold scales: four in each quadrant of 32 partitions, from the first row of the view.
pub(in crate::sem) fn scale_rows(span: &Span) -> impl Iterator<Item = Span> {
    (0..span.parts)
        .step_by(QUADRANT as usize)
        .map(move |first| Span { parts: (span.parts - first).min(QUADRANT / GROUP), ..one_row(span, first) })
}

/// Element type of the lanes of a packed type.
fn lane_type(packed: DType) -> Option<DType> {
    match packed {
        DType::F8E5M2X4 => Some(DType::F8E5M2),
        DType::F8E4M3FNX4 => Some(DType::F8E4M3FN),
        _ => None,
    }
}

/// Lane `j` of a packed element: byte j of the 8-bit types, bits 4j to 4j + 3 of the 4-bit type (isa.md 2.1 item 1).
pub fn lane(packed: DType, bits: u32, j: u32) -> f32 {
    match lane_type(packed) {
        Some(t) => cast::up(t, bits >> (8 * j) & 0xff),
        None => e2m1(bits >> (4 * j) & 0xf),
    }
}

fn e2m1(code: u32) -> f32 {
    const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let x = MAGNITUDES[code as usize & 7];
    if code & 8 == 0 { x } else { -x }
}

/// isa.md 9.1.2: `dst[m, n] (+)= Σ value(stationary)[k, m, j] · value(moving)[k, n, j]` over ascending k, then lane j. Each
/// product is exact, each addition rounds to float32.
pub(super) fn nc_matmul_mx(e: &mut Exec) -> Result<(), Fault> {
    let (dst, stationary, moving) = (e.tile("dst")?, e.tile("stationary")?, e.tile("moving")?);
    let scales = [e.tile("stationary_scale")?, e.tile("moving_scale")?];
    let mut product = Product::new(dst, stationary, moving, 1)?;
    product.k *= 4;
    e.castable(&[dst])?;
    for (data, scale) in [stationary, moving].into_iter().zip(scales) {
        check_scale(data, scale)?;
        if !data.dtype.is_packed() {
            return fault(Code::Dtype, format!("{} is no packed type", data.dtype));
        }
    }
    let (a, b) = (Side::load(e, stationary, scales[0]), Side::load(e, moving, scales[1]));
    if let (Some(a), Some(b)) = (a.values(), b.values()) {
        product.run(e, &a, &b, e.call.accumulate);
        return Ok(());
    }
    // A scale takes some value out of float32's range, though the product may be back in it.
    let (m, n) = (product.m, product.n);
    let mut sums = scratch(m * n);
    sums.fill(0.0);
    for k in 0..product.k {
        for (i, row) in sums.chunks_exact_mut(n.max(1)).enumerate() {
            let x = a.exact(k, i);
            for (j, s) in row.iter_mut().enumerate() {
                *s = add_exact(x * b.exact(k, j), *s);
            }
        }
    }
    product.write(e, &mut sums, e.call.accumulate);
    Ok(())
}

/// A side of the product, row-major `[4 K, width]`.
struct Side {
    lanes: Scratch,
    /// Scale bytes, `[K, width]`.
    scales: Vec<u32>,
    width: usize,
}

impl Side {
    fn load(e: &Exec, data: &Span, scale: &Span) -> Side {
        let (parts, width) = (data.parts as usize, data.row_elements());
        let (mut lanes, mut scales) = (scratch(4 * parts * width), vec![0; parts * width]);
        let mut row = vec![0; width];
        for p in 0..parts {
            e.load_bits(data, p as u32, &mut row);
            for j in 0..4 {
                let out = &mut lanes[(4 * p + j) * width..][..width];
                out.iter_mut().zip(&row).for_each(|(o, b)| *o = lane(data.dtype, *b, j as u32));
            }
            e.load_bits(scale, scale_row(p as u32), &mut scales[p * width..][..width]);
        }
        Side { lanes, scales, width }
    }
    /// The value at row `k` (lanes counted), column `i`: float64 holds every lane times every scale.
    fn exact(&self, k: usize, i: usize) -> f64 {
        f64::from(self.lanes[k * self.width + i]) * scale(self.scales[k / 4 * self.width + i])
    }
    /// All values, if float32 holds them exactly.
    fn values(&self) -> Option<Scratch> {
        let mut out = scratch(self.lanes.len());
        for (k, row) in out.chunks_exact_mut(self.width.max(1)).enumerate() {
            for (i, o) in row.iter_mut().enumerate() {
                let x = self.exact(k, i);
                *o = x as f32;
                if f64::from(*o) != x && !x.is_nan() {
                    return None;
                }
            }
        }
        Some(out)
    }
}

/// `2^(byte - 127)`; NaN for 255.
fn scale(byte: u32) -> f64 {
    if byte == SCALE_NAN { f64::NAN } else { f64::from_bits(u64::from(byte + 1023 - 127) << 52) }
}

/// `p + s` rounded once to float32. The float64 sum is rounded to odd, after which rounding it again does no harm.
fn add_exact(p: f64, s: f32) -> f32 {
    let (s, sum) = (f64::from(s), p + f64::from(s));
    if !sum.is_finite() || sum == 0.0 {
        return sum as f32;
    }
    let t = sum - p;
    let error = (p - (sum - t)) + (s - t);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum as f32;
    }
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 }) as f32
}

/// A scale operand has the data's free size, and the rows that the layout needs.
fn check_scale(data: &Span, scale: &Span) -> Result<(), Fault> {
    let last = data.parts.checked_sub(1).map_or(0, scale_row);
    if scale.row_elements() != data.row_elements() || scale.parts <= last {
        let (rows, n) = (scale.parts, scale.row_elements());
        return fault(Code::Shape, format!("scales ({rows}, {n}) for ({}, {n})", data.parts));
    }
    if scale.dtype.bytes() != 1 {
        return fault(Code::Dtype, format!("scales are {}", scale.dtype));
    }
    Ok(())
}

/// isa.md 9.3.13: 8 partitions by 4 consecutive elements become one scale and 8 packed elements. The scale is
/// `2^(floor(log2(amax)) - (Emax - 1))`, so that no finite input overflows.
pub(super) fn quantize_mx(e: &mut Exec) -> Result<(), Fault> {
    let (dst, src, scales) = (e.tile("dst")?, e.tile("src")?, e.tile("dst_scale")?);
    let (columns, n) = (dst.row_elements(), src.row_elements());
    if n != 4 * columns || src.parts != dst.parts || !src.parts.is_multiple_of(GROUP) {
        return fault(Code::Shape, format!("({}, {n}) into ({}, {columns})", src.parts, dst.parts));
    }
    let (Some(t), true) = (lane_type(dst.dtype), src.dtype.is_float16()) else {
        return fault(Code::Dtype, format!("{} from {}", dst.dtype, src.dtype));
    };
    check_scale(dst, scales)?;
    let largest = if t == DType::F8E4M3FN { 8 } else { 15 };
    let mut rows = scratch(GROUP as usize * n);
    let mut packed = vec![vec![0u32; columns]; GROUP as usize];
    let mut bytes = vec![0; columns];
    for first in (0..src.parts).step_by(GROUP as usize) {
        for (p, row) in rows.chunks_exact_mut(n.max(1)).enumerate() {
            e.load(src, first + p as u32, row);
        }
        for c in 0..columns {
            let group = || (0..GROUP as usize).map(|p| p * n + 4 * c..p * n + 4 * c + 4);
            let amax = group().flat_map(|g| &rows[g]).fold(0.0, |a, x| alu::maximum(a, x.abs()));
            let exponent = group_exponent(amax, largest);
            bytes[c] = exponent.map_or(SCALE_NAN, |e| (e + 127) as u32);
            for (p, g) in group().enumerate() {
                packed[p][c] = pack(t, &rows[g], exponent);
            }
        }
        for (p, row) in packed.iter().enumerate() {
            e.store_bits(dst, first + p as u32, row);
        }
        e.store_bits(scales, scale_row(first), &bytes);
    }
    Ok(())
}

/// The exponent of a group's scale; `None` for a group with NaN or infinity.
fn group_exponent(amax: f32, largest: i32) -> Option<i32> {
    if !amax.is_finite() {
        return None;
    }
    // A subnormal counts with its true exponent: in float64 it is normal.
    let log2 = (f64::from(amax).to_bits() >> 52) as i32 - 1023;
    let exponent = if amax == 0.0 { -127 } else { log2 - (largest - 1) };
    Some(exponent.clamp(-127, 127))
}

fn pack(t: DType, values: &[f32], exponent: Option<i32>) -> u32 {
    // The product is exact, or so small that it rounds to zero.
    let factor = exponent.map_or(f32::NAN, |e| scale((127 - e) as u32) as f32);
    values.iter().rev().fold(0, |bits, x| bits << 8 | cast::down(t, x * factor))
}
