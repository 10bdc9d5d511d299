//! Elements of a [`Tensor`] as `f64` and back.
//!
//! Written from the formats' definitions (isa.md 2.1) and not on top of `nki_ir::sem`, because the references and the
//! inputs that check `sem` come through here.

use half::{bf16, f16};
use nki_ir::{DType, Tensor};

/// A small binary float: one sign bit unless `signed` is false, then exponent and mantissa bits.
struct Mini {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    /// IEEE: the top exponent holds infinities and NaN. Otherwise only all ones is NaN, or nothing is (`e2m1`).
    ieee: bool,
    nan: bool,
}

impl Mini {
    fn of(dtype: DType) -> Option<Mini> {
        let (exponent_bits, mantissa_bits, bias, ieee, nan) = match dtype {
            DType::F8E4M3 => (4, 3, 7, true, true),
            DType::F8E5M2 | DType::F8E5M2X4 => (5, 2, 15, true, true),
            DType::F8E4M3FN | DType::F8E4M3FNX4 => (4, 3, 7, false, true),
            DType::F4E2M1FNX4 => (2, 1, 1, false, false),
            _ => return None,
        };
        Some(Mini { exponent_bits, mantissa_bits, bias, ieee, nan })
    }
    fn decode(&self, bits: u32) -> f64 {
        let mantissa = bits & ((1 << self.mantissa_bits) - 1);
        let exponent = bits >> self.mantissa_bits & ((1 << self.exponent_bits) - 1);
        let top = (1 << self.exponent_bits) - 1;
        let all_ones = mantissa == (1 << self.mantissa_bits) - 1;
        let scale = |e: i32| f64::from(e - self.mantissa_bits as i32).exp2();
        let magnitude = if exponent == top && self.ieee {
            if mantissa == 0 { f64::INFINITY } else { f64::NAN }
        } else if exponent == top && all_ones && self.nan {
            f64::NAN
        } else if exponent == 0 {
            f64::from(mantissa) * scale(1 - self.bias)
        } else {
            f64::from(mantissa | 1 << self.mantissa_bits) * scale(exponent as i32 - self.bias)
        };
        if bits >> (self.mantissa_bits + self.exponent_bits) & 1 == 1 { -magnitude } else { magnitude }
    }
    /// Nearest, ties to even; overflow gives the infinity, or the NaN where there is none.
    fn encode(&self, x: f64) -> u32 {
        let sign = u32::from(x.is_sign_negative()) << (self.exponent_bits + self.mantissa_bits);
        let count = 1u32 << (self.exponent_bits + self.mantissa_bits);
        let infinity = (count - 1) >> self.mantissa_bits << self.mantissa_bits;
        if x.is_nan() {
            return if self.ieee {
                sign | infinity | 1 << (self.mantissa_bits - 1)
            } else {
                sign | (count - 1)
            };
        }
        // Codes of positive values ascend, so the neighbours of |x| are found by bisection.
        let (x, mut low, mut high) =
            (x.abs(), 0, if self.ieee { infinity } else { count - u32::from(self.nan) });
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.decode(middle) <= x { low = middle } else { high = middle }
        }
        // One step past the last finite value, for the decision whether to overflow.
        let step = self.decode(low) - self.decode(low.saturating_sub(1));
        let next = self.decode(high);
        let above = if next.is_finite() && next > self.decode(low) { next } else { self.decode(low) + step };
        let (down, up) = (x - self.decode(low), above - x);
        sign | if down < up || (down == up && low & 1 == 0) { low } else { high.min(count - 1) }
    }
}

/// One element, exactly. Packed types have four values and are not elements in this sense.
fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    let word = |n: usize| bytes[..n].iter().rev().fold(0u32, |w, &b| w << 8 | u32::from(b));
    match dtype {
        DType::Bool => f64::from(u8::from(bytes[0] != 0)),
        DType::U8 => f64::from(bytes[0]),
        DType::I8 => f64::from(bytes[0] as i8),
        DType::U16 => f64::from(word(2) as u16),
        DType::I16 => f64::from(word(2) as u16 as i16),
        DType::U32 => f64::from(word(4)),
        DType::I32 => f64::from(word(4) as i32),
        DType::F16 => f16::from_bits(word(2) as u16).to_f64(),
        DType::BF16 => bf16::from_bits(word(2) as u16).to_f64(),
        DType::F32 | DType::TF32 => f64::from(f32::from_bits(word(4))),
        DType::F8E8M0 if bytes[0] == 255 => f64::NAN,
        DType::F8E8M0 => f64::from(i32::from(bytes[0]) - 127).exp2(),
        _ => Mini::of(dtype).map_or(f64::NAN, |m| m.decode(word(1))),
    }
}

/// Appends `x` rounded to nearest even; integers saturate, and NaN becomes the integer 0.
fn encode(dtype: DType, x: f64, out: &mut Vec<u8>) {
    let even = x.round_ties_even();
    match dtype {
        DType::Bool => out.push(u8::from(x != 0.0)),
        DType::U8 => out.push(even as u8),
        DType::I8 => out.push(even as i8 as u8),
        DType::U16 => out.extend((even as u16).to_le_bytes()),
        DType::I16 => out.extend((even as i16).to_le_bytes()),
        DType::U32 => out.extend((even as u32).to_le_bytes()),
        DType::I32 => out.extend((even as i32).to_le_bytes()),
        DType::F16 => out.extend(f16::from_f32(odd(x)).to_le_bytes()),
        DType::BF16 => out.extend(bf16::from_f32(odd(x)).to_le_bytes()),
        DType::F32 => out.extend((x as f32).to_le_bytes()),
        DType::TF32 => out.extend(tf32(x as f32).to_le_bytes()),
        DType::F8E8M0 if x.is_nan() => out.push(255),
        DType::F8E8M0 => out.push((x.abs().log2().round_ties_even().clamp(-127.0, 127.0) + 127.0) as u8),
        _ => out.push(Mini::of(dtype).map_or(0, |m| m.encode(x)) as u8),
    }
}

/// Rounds to f32 so that rounding once more, to fewer bits, is as rounding once: what is between two values becomes the one whose
/// last bit is 1. (`from_f64` of `half` 2 leaves out the low bits of an `f64`: what lies just past the middle falls back.)
fn odd(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    if back == x || x.is_nan() {
        return near;
    }
    // Towards zero; past the largest value, to it.
    let below = if back.abs() > x.abs() { near.to_bits() - 1 } else { near.to_bits() };
    f32::from_bits(below | 1)
}

/// Rounds to 10 mantissa bits (isa.md 2.1 note 5).
fn tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let bits = x.to_bits();
    f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & !0x1FFF)
}

/// Every element, exactly. A packed tensor gives its four values per element, first lane first.
pub fn to_f64(tensor: &Tensor) -> Vec<f64> {
    let (dtype, size) = (tensor.dtype, tensor.dtype.bytes());
    if !dtype.is_packed() {
        return tensor.data.chunks_exact(size).map(|b| decode(dtype, b)).collect();
    }
    let Some(mini) = Mini::of(dtype) else { return Vec::new() };
    let lanes = |&byte: &u8| match dtype {
        DType::F4E2M1FNX4 => [Some(byte & 15), Some(byte >> 4)],
        _ => [Some(byte), None],
    };
    tensor.data.iter().flat_map(lanes).flatten().map(|code| mini.decode(code.into())).collect()
}

/// A tensor of the given values, rounded to nearest even; integers saturate. `None` if the count differs from the shape's,
/// or for a packed dtype.
pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Option<Tensor> {
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(values.len()) || dtype.is_packed() {
        return None;
    }
    let mut data = Vec::with_capacity(values.len() * dtype.bytes());
    for &x in values {
        encode(dtype, x, &mut data);
    }
    Some(Tensor { dtype, shape: shape.to_vec(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(dtype: DType) -> Vec<f64> {
        (0..=255u32).map(|b| decode(dtype, &[b as u8])).collect()
    }

    #[test]
    fn what_lies_just_past_the_middle_is_rounded_up() {
        // Spacing 2^-7 above 1 in bf16 and 2^-10 in f16.
        for (dtype, step) in [(DType::BF16, 2f64.powi(-7)), (DType::F16, 2f64.powi(-10))] {
            for sign in [1.0, -1.0] {
                let round = |x: f64| to_f64(&from_f64(dtype, &[1], &[sign * x]).unwrap())[0] * sign;
                for past in [2f64.powi(-20), 2f64.powi(-26), 2f64.powi(-45)] {
                    assert_eq!(round(1.0 + step / 2.0 + past), 1.0 + step, "{dtype} {past}");
                    assert_eq!(round(1.0 + step / 2.0 - past), 1.0, "{dtype} {past}");
                }
                assert_eq!(round(1.0 + step / 2.0), 1.0);
                assert_eq!(round(1.0 + 1.5 * step), 1.0 + 2.0 * step);
                assert_eq!(round(1e300), f64::INFINITY);
                assert_eq!(round(1e-300), 0.0);
            }
        }
        assert_eq!(
            to_f64(&from_f64(DType::F16, &[2], &[65519.999, 65520.0]).unwrap()),
            [65504.0, f64::INFINITY]
        );
    }

    #[test]
    fn eight_bit_floats_have_the_limits_of_the_table() {
        let largest = |dtype| codes(dtype).into_iter().filter(|x| x.is_finite()).fold(0.0, f64::max);
        assert_eq!(largest(DType::F8E4M3), 240.0);
        assert_eq!(largest(DType::F8E5M2), 57344.0);
        assert_eq!(largest(DType::F8E4M3FN), 448.0);
        assert_eq!(largest(DType::F8E8M0), 127f64.exp2());
        let count = |dtype, f: fn(&f64) -> bool| codes(dtype).iter().filter(|x| f(x)).count();
        assert_eq!(count(DType::F8E4M3, |x| x.is_infinite()), 2);
        assert_eq!(count(DType::F8E4M3FN, |x| x.is_infinite()), 0);
        assert_eq!(count(DType::F8E4M3FN, |x| x.is_nan()), 2);
        assert_eq!(count(DType::F8E5M2, |x| x.is_nan()), 6);
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for dtype in DType::all().filter(|d| d.bytes() == 1) {
            for code in 0..=255u8 {
                let x = decode(dtype, &[code]);
                let mut out = Vec::new();
                encode(dtype, x, &mut out);
                let back = decode(dtype, &out);
                assert!(back == x || (back.is_nan() && x.is_nan()), "{dtype} {code:#x}: {x} became {back}");
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_even_and_overflow_follows_the_format() {
        let round = |dtype, x| {
            let mut out = Vec::new();
            encode(dtype, x, &mut out);
            decode(dtype, &out)
        };
        assert_eq!(round(DType::F8E4M3, 17.0), 16.0);
        assert_eq!(round(DType::F8E4M3, 19.0), 20.0);
        assert_eq!(round(DType::F8E4M3, 247.9), 240.0);
        assert_eq!(round(DType::F8E4M3, 248.0), f64::INFINITY);
        assert_eq!(round(DType::F8E4M3FN, 463.0), 448.0);
        assert!(round(DType::F8E4M3FN, 481.0).is_nan());
        assert_eq!(round(DType::F8E5M2, -1e9), f64::NEG_INFINITY);
        assert_eq!(round(DType::BF16, 1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(round(DType::I8, 300.0), 127.0);
        assert_eq!(round(DType::I8, -2.5), -2.0);
        assert_eq!(round(DType::U8, f64::NAN), 0.0);
        assert_eq!(round(DType::TF32, 1.0 + 2f64.powi(-11)), 1.0);
        assert_eq!(round(DType::TF32, 1.0 + 2f64.powi(-10)), 1.0 + 2f64.powi(-10));
    }

    #[test]
    fn packed_lanes_come_low_bits_first() {
        let t = Tensor { dtype: DType::F4E2M1FNX4, shape: vec![1], data: vec![0x21, 0xF3] };
        assert_eq!(to_f64(&t), [0.5, 1.0, 1.5, -6.0]);
    }
}
