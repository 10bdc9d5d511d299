//! Conversions against a model that knows nothing but the value of each code: `down` is the nearest value.

use super::super::cast::{
    NAN_BITS, down, down_row, down_stochastic, from_int, is_castable, poison, up, up_row,
};
use crate::DType::{self, *};
use proptest::prelude::*;

/// Exponent bits, mantissa bits and bias of the narrow floats, from the table of isa.md 2.1; largest finite value.
fn shape(dtype: DType) -> (u32, u32, i32, f64) {
    match dtype {
        F16 => (5, 10, 15, 65504.0),
        BF16 => (8, 7, 127, 3.3895e38),
        TF32 => (8, 10, 127, 3.4011621e38),
        F8E4M3 => (4, 3, 7, 240.0),
        F8E5M2 => (5, 2, 15, 57344.0),
        F8E4M3FN => (4, 3, 7, 448.0),
        other => panic!("{other} is no narrow float"),
    }
}

const NARROW: [DType; 6] = [F16, BF16, TF32, F8E4M3, F8E5M2, F8E4M3FN];

/// Magnitude of a code by the textbook formula; codes are without tfloat32's padding. Codes beyond the largest finite value
/// go on as if the exponent field had one more value, which is what rounding thresholds need.
fn magnitude(dtype: DType, code: u32) -> f64 {
    let (_, m, bias, _) = shape(dtype);
    let (e, f) = ((code >> m) as i32, f64::from(code & ((1 << m) - 1)) / f64::from(1 << m));
    if e == 0 { f * 2f64.powi(1 - bias) } else { (1.0 + f) * 2f64.powi(e - bias) }
}

/// Code of the largest finite value.
fn last_finite(dtype: DType) -> u32 {
    let (e, m, _, largest) = shape(dtype);
    // The table gives its largest values to at least five digits.
    let is_largest = |c: &u32| (magnitude(dtype, *c) / largest - 1.0).abs() < 2e-5;
    (0..1 << (e + m)).rev().find(is_largest).expect("the table's largest value is a code")
}

fn padding(dtype: DType) -> u32 {
    if dtype == TF32 { 13 } else { 0 }
}

fn sign_bit(dtype: DType) -> u32 {
    1 << (8 * dtype.bytes() as u32 - 1)
}

/// What overflow gives: infinity, or NaN for e4m3fn.
fn beyond(dtype: DType) -> u32 {
    if dtype == F8E4M3FN { 0x7f } else { (last_finite(dtype) + 1) << padding(dtype) }
}

fn nan(dtype: DType) -> u32 {
    match dtype {
        F16 => 0x7e00,
        BF16 => 0x7fc0,
        TF32 | F32 => NAN_BITS,
        F8E4M3 => 0x7c,
        F8E5M2 => 0x7e,
        F8E4M3FN => 0x7f,
        F8E8M0 => 0xff,
        _ => 0,
    }
}

#[test]
fn up_has_the_value_of_every_code() {
    for dtype in NARROW {
        for code in 0..=last_finite(dtype) {
            let bits = code << padding(dtype);
            let want = magnitude(dtype, code) as f32;
            assert_eq!(f64::from(want), magnitude(dtype, code), "exact");
            assert_eq!(up(dtype, bits).to_bits(), want.to_bits(), "{dtype} {bits:#x}");
            assert_eq!(up(dtype, bits | sign_bit(dtype)).to_bits(), (-want).to_bits(), "{dtype} -{bits:#x}");
        }
        let rest = last_finite(dtype) + 1..1 << (shape(dtype).0 + shape(dtype).1);
        for code in rest.clone() {
            let x = up(dtype, code << padding(dtype));
            if code == rest.start && dtype != F8E4M3FN {
                assert_eq!(x, f32::INFINITY);
            } else {
                assert!(x.is_nan(), "{dtype} {code:#x} is {x}");
            }
        }
    }
    for byte in 0..255 {
        assert_eq!(f64::from(up(F8E8M0, byte)), 2f64.powi(byte as i32 - 127));
    }
    assert!(up(F8E8M0, 255).is_nan());
}

#[test]
fn up_of_integers() {
    for bits in 0..=0xffffu32 {
        assert_eq!(up(U16, bits), bits as f32);
        assert_eq!(f64::from(up(I16, bits)), f64::from(bits) - if bits >= 0x8000 { 65536.0 } else { 0.0 });
        if bits < 256 {
            assert_eq!(up(U8, bits), bits as f32);
            assert_eq!(f64::from(up(I8, bits)), f64::from(bits) - if bits >= 128 { 256.0 } else { 0.0 });
            assert_eq!(up(Bool, bits), if bits == 0 { 0.0 } else { 1.0 });
        }
    }
    // Beyond 2^24 the nearest float32, ties to even.
    assert_eq!(up(U32, 0xffff_ffff), 4294967296.0);
    assert_eq!(up(I32, 0x0100_0001), 16777216.0);
    assert_eq!(up(I32, 0x0100_0003), 16777220.0);
    assert_eq!(up(I32, 0x8000_0000), -2147483648.0);
}

#[test]
fn tfloat32_ignores_the_low_bits_of_its_storage() {
    assert_eq!(up(TF32, 0x3f80_1fff), 1.0);
    assert!(up(TF32, 0x7f80_0001).is_nan());
}

/// Everything that lies between two neighbouring codes, at its interesting points.
#[test]
fn down_rounds_to_the_nearest_code() {
    for dtype in NARROW {
        let last = last_finite(dtype);
        for code in 0..=last {
            let (lo, hi) = (magnitude(dtype, code), magnitude(dtype, code + 1));
            let middle = ((lo + hi) / 2.0) as f32;
            assert_eq!(f64::from(middle), (lo + hi) / 2.0, "midpoints are float32 values");
            let (below, above) = (f32::from_bits(middle.to_bits() - 1), f32::from_bits(middle.to_bits() + 1));
            let upper = if code == last { beyond(dtype) } else { (code + 1) << padding(dtype) };
            let lower = code << padding(dtype);
            let even = if code % 2 == 0 { lower } else { upper };
            for (x, want) in [(lo as f32, lower), (below, lower), (middle, even), (above, upper)] {
                check_signs(dtype, x, want);
            }
        }
        for x in [f32::MAX, f32::INFINITY] {
            check_signs(dtype, x, beyond(dtype));
        }
        for bits in [0x7f80_0001, 0xffc0_0000, NAN_BITS] {
            assert_eq!(down(dtype, f32::from_bits(bits)), nan(dtype));
        }
        // The smallest float32: nearest is zero, or itself where float32's subnormals exist.
        check_signs(dtype, f32::from_bits(1), 0);
    }
}

fn check_signs(dtype: DType, x: f32, want: u32) {
    assert_eq!(down(dtype, x), want, "{dtype} {x:e}");
    assert_eq!(down(dtype, -x), want | sign_bit(dtype), "{dtype} {:e}", -x);
}

#[test]
fn e8m0_rounds_to_the_nearest_power_of_two() {
    for byte in 0..255u32 {
        let lo = 2f64.powi(byte as i32 - 127);
        let middle = (1.5 * lo) as f32;
        let upper = (byte + 1).min(254);
        assert_eq!(down(F8E8M0, lo as f32), byte);
        assert_eq!(down(F8E8M0, f32::from_bits(middle.to_bits() - 1)), byte);
        assert_eq!(down(F8E8M0, middle), if byte % 2 == 0 { byte } else { upper });
        assert_eq!(down(F8E8M0, f32::from_bits(middle.to_bits() + 1)), upper);
    }
    for (x, want) in
        [(0.0, 0), (-0.0, 0), (-4.0, 0), (1e-45, 0), (f32::INFINITY, 254), (f32::NEG_INFINITY, 0)]
    {
        assert_eq!(down(F8E8M0, x), want, "{x}");
    }
    assert_eq!(down(F8E8M0, f32::NAN), 255);
}

/// Range of an integer dtype.
fn range(dtype: DType) -> (f64, f64) {
    match dtype {
        U8 => (0.0, 255.0),
        I8 => (-128.0, 127.0),
        U16 => (0.0, 65535.0),
        I16 => (-32768.0, 32767.0),
        U32 => (0.0, 4294967295.0),
        I32 => (-2147483648.0, 2147483647.0),
        other => panic!("{other} is no integer"),
    }
}

/// The bits of an integral value in range.
fn integer_bits(dtype: DType, x: f64) -> u32 {
    let wrapped = if x < 0.0 { x + 2f64.powi(8 * dtype.bytes() as i32) } else { x };
    wrapped as u64 as u32
}

#[test]
fn down_to_integers_rounds_then_saturates() {
    for dtype in [U8, I8, U16, I16] {
        for half in -140_000..140_000 {
            for nudge in [-1e-3, 0.0, 1e-3] {
                let x = (f64::from(half) / 2.0 + nudge) as f32;
                let exact = f64::from(x);
                let floor = exact.floor();
                let up = exact - floor > 0.5 || exact - floor == 0.5 && floor.rem_euclid(2.0) == 1.0;
                let rounded = floor + if up { 1.0 } else { 0.0 };
                let want = integer_bits(dtype, rounded.clamp(range(dtype).0, range(dtype).1));
                assert_eq!(down(dtype, x), want, "{dtype} {x}");
            }
        }
    }
    for dtype in [U8, I8, U16, I16, U32, I32] {
        let (lo, hi) = range(dtype);
        assert_eq!(down(dtype, f32::NAN), 0);
        assert_eq!(down(dtype, f32::INFINITY), integer_bits(dtype, hi));
        assert_eq!(down(dtype, f32::MAX), integer_bits(dtype, hi));
        assert_eq!(down(dtype, f32::NEG_INFINITY), integer_bits(dtype, lo));
    }
    assert_eq!(down(I32, 2147483520.0), 2147483520);
    assert_eq!(down(U32, 4294967040.0), 4294967040);
    assert_eq!(down(I32, 8388609.0), 8388609);
    assert_eq!(down(I32, -8388607.5), -8388608i32 as u32);
    for (x, want) in [(0.0, 0), (-0.0, 0), (0.25, 1), (-3.0, 1), (f32::NAN, 1)] {
        assert_eq!(down(Bool, x), want);
    }
}

/// The code that `x` rounds to by the table of values alone.
fn nearest_code(dtype: DType, x: f64) -> u32 {
    let code = bracket(dtype, x.abs());
    let (lo, hi) = (magnitude(dtype, code), magnitude(dtype, code + 1));
    let up = x.abs() - lo > hi - x.abs() || x.abs() - lo == hi - x.abs() && code % 2 == 1;
    finish(dtype, code + u32::from(up), x < 0.0)
}

/// The last finite code whose magnitude is at most `x`.
fn bracket(dtype: DType, x: f64) -> u32 {
    let (mut lo, mut hi) = (0, last_finite(dtype) + 1);
    while hi - lo > 1 {
        let middle = (lo + hi) / 2;
        if magnitude(dtype, middle) <= x { lo = middle } else { hi = middle }
    }
    lo
}

fn finish(dtype: DType, code: u32, negative: bool) -> u32 {
    let bits = if code > last_finite(dtype) { beyond(dtype) } else { code << padding(dtype) };
    if negative { bits | sign_bit(dtype) } else { bits }
}

proptest! {
    #[test]
    fn down_of_any_float(bits: u32) {
        let x = f32::from_bits(bits);
        prop_assume!(x.is_finite());
        for dtype in NARROW {
            // Magnitudes far beyond the last code have no bracket.
            if f64::from(x.abs()) < magnitude(dtype, last_finite(dtype) + 1) {
                let sign = if x.is_sign_negative() { sign_bit(dtype) } else { 0 };
                let want = nearest_code(dtype, x.abs().into()) | sign;
                prop_assert_eq!(down(dtype, x), want, "{} {:e}", dtype, x);
            } else {
                prop_assert_eq!(down(dtype, x), finish(dtype, u32::MAX, x < 0.0));
            }
        }
    }

    /// Rounds away exactly when the discarded fraction, scaled to 2^32, exceeds the random number (isa.md 2.3).
    #[test]
    fn stochastic_rounding_follows_the_fraction(bits in 0u32..0x7f80_0000, random: u32, near in 0u32..4) {
        let x = f32::from_bits(bits);
        for dtype in NARROW {
            if f64::from(x) >= magnitude(dtype, last_finite(dtype) + 1) {
                continue;
            }
            let code = bracket(dtype, x.into());
            let (lo, hi) = (magnitude(dtype, code), magnitude(dtype, code + 1));
            let scaled = (f64::from(x) - lo) / (hi - lo) * 2f64.powi(32);
            let near = (scaled as u64).saturating_add(u64::from(near)).saturating_sub(2).min(u32::MAX.into()) as u32;
            for r in [random, near, 0, u32::MAX] {
                let want = finish(dtype, code + u32::from(scaled > f64::from(r)), false);
                prop_assert_eq!(down_stochastic(dtype, x, r), want, "{} {:e} {}", dtype, x, r);
            }
        }
    }

    #[test]
    fn integers_convert_with_one_rounding(x: i32, shift in 0u32..31) {
        for x in [x, x >> shift, (1i32 << shift).wrapping_add(x & 3).wrapping_sub(1)] {
            for dtype in NARROW {
                let limit = magnitude(dtype, last_finite(dtype) + 1);
                let want = if f64::from(x).abs() < limit {
                    nearest_code(dtype, x.into())
                } else {
                    finish(dtype, u32::MAX, x < 0)
                };
                prop_assert_eq!(from_int(dtype, x), want, "{} {}", dtype, x);
            }
            for dtype in [U8, I8, U16, I16, I32] {
                let (lo, hi) = range(dtype);
                prop_assert_eq!(from_int(dtype, x), integer_bits(dtype, f64::from(x).clamp(lo, hi)));
            }
            prop_assert_eq!(from_int(U32, x), x as u32);
            prop_assert_eq!(from_int(Bool, x), u32::from(x != 0));
            prop_assert_eq!(from_int(F32, x), (f64::from(x) as f32).to_bits());
        }
    }

    /// Rows, contiguous and strided both ways, hold what the scalar functions give.
    #[test]
    fn rows_equal_scalars(bits in prop::collection::vec(any::<u32>(), 1..40), gap in 1i64..4, backwards: bool) {
        for dtype in DType::all().filter(|d| is_castable(*d)) {
            let width = dtype.bytes();
            for stride in [width as i64, gap * width as i64 * if backwards { -1 } else { 1 }] {
                let n = bits.len();
                let mut bytes = vec![0u8; (n - 1) * stride.unsigned_abs() as usize + width];
                let at = |i: usize| {
                    let first = if stride < 0 { bytes.len() - width } else { 0 } as i64;
                    (first + stride * i as i64) as usize
                };
                let places: Vec<usize> = (0..n).map(at).collect();
                for (place, b) in places.iter().zip(&bits) {
                    bytes[*place..place + width].copy_from_slice(&b.to_le_bytes()[..width]);
                }
                let mask = u32::MAX >> (32 - 8 * width);
                let mut row = vec![0.0; n];
                up_row(dtype, &bytes, stride, &mut row);
                for (x, b) in row.iter().zip(&bits) {
                    let want = up(dtype, b & mask);
                    prop_assert!(x.to_bits() == want.to_bits() || x.is_nan() && want.is_nan(), "{} {:#x}", dtype, b);
                }
                let values: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
                down_row(dtype, &values, &mut bytes, stride);
                for (place, x) in places.iter().zip(&values) {
                    prop_assert_eq!(&bytes[*place..place + width], &down(dtype, *x).to_le_bytes()[..width]);
                }
            }
        }
    }
}

/// Integers of more than 24 bits next to the midpoints of narrow formats: float32 cannot tell them from the midpoint.
#[test]
fn integers_next_to_midpoints() {
    for dtype in [BF16, TF32] {
        let mantissa = shape(dtype).1;
        for top in 25..31 {
            for step in 0..8 {
                let middle = (1i64 << top) + (2 * step + 1) * (1 << (top - mantissa - 1));
                for x in [middle - 1, middle, middle + 1, -middle - 1, -middle, -middle + 1] {
                    let want = nearest_code(dtype, x as f64);
                    assert_eq!(from_int(dtype, x as i32), want, "{dtype} {x}");
                }
            }
        }
    }
}

/// All float32 exponents with dense mantissas around the rounding points, in rows and one by one.
#[test]
fn rows_equal_scalars_everywhere() {
    for dtype in [F16, BF16, TF32, F8E4M3, F8E5M2, F8E4M3FN, U8, I8, U16, I16, I32, U32, F32] {
        for high in 0..=0xffffu32 {
            let values: Vec<f32> = [
                0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x7fff, 0x8000, 0x8001, 0xefff, 0xf000, 0xf001,
                0xffff,
            ]
            .map(|low| f32::from_bits(high << 16 | low))
            .to_vec();
            let width = dtype.bytes();
            let mut bytes = vec![0; values.len() * width];
            down_row(dtype, &values, &mut bytes, width as i64);
            for (b, x) in bytes.chunks_exact(width).zip(&values) {
                assert_eq!(*b, down(dtype, *x).to_le_bytes()[..width], "{dtype} {x:e}");
            }
            let mut wide = [0.0];
            let code = &(high << if width == 4 { 16 } else { 0 }).to_le_bytes()[..width];
            up_row(dtype, code, width as i64, &mut wide);
            let want = up(dtype, code.iter().rev().fold(0, |x, b| x << 8 | u32::from(*b)));
            assert!(
                wide[0].to_bits() == want.to_bits() || wide[0].is_nan() && want.is_nan(),
                "{dtype} {high:#x}"
            );
        }
    }
}

#[test]
fn unwritten_storage_reads_as_nan_or_four() {
    for dtype in DType::all().filter(|d| is_castable(*d)) {
        let mut bytes = vec![0; 3 * dtype.bytes()];
        poison(dtype, &mut bytes);
        let mut row = [0.0; 3];
        up_row(dtype, &bytes, dtype.bytes() as i64, &mut row);
        match dtype {
            Bool => assert_eq!(row, [1.0; 3]),
            d if d.is_int() => assert_eq!(row, [4.0; 3]),
            _ => assert!(row.iter().all(|x| x.is_nan()), "{dtype}"),
        }
    }
}
