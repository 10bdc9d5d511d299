//! Conversions against models written from the definition of each format, on every tier.

use nki_rt::{Format, Tier, bf16, convert, f16, narrow, widen};
use proptest::prelude::*;

/// A float format by its fields, decoded in f64.
struct Model {
    format: Format,
    exponent_bits: u32,
    mantissa_bits: u32,
    has_infinity: bool,
}

const MODELS: [Model; 5] = [
    Model { format: Format::E4m3, exponent_bits: 4, mantissa_bits: 3, has_infinity: true },
    Model { format: Format::E5m2, exponent_bits: 5, mantissa_bits: 2, has_infinity: true },
    Model { format: Format::E4m3fn, exponent_bits: 4, mantissa_bits: 3, has_infinity: false },
    Model { format: Format::F16, exponent_bits: 5, mantissa_bits: 10, has_infinity: true },
    Model { format: Format::Bf16, exponent_bits: 8, mantissa_bits: 7, has_infinity: true },
];

impl Model {
    fn bits(&self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    fn value(&self, code: u32) -> f64 {
        let mantissa = code & ((1 << self.mantissa_bits) - 1);
        let exponent = (code >> self.mantissa_bits) & ((1 << self.exponent_bits) - 1);
        let sign = if code >> (self.bits() - 1) == 1 { -1.0 } else { 1.0 };
        let top = (1 << self.exponent_bits) - 1;
        let bias = (1 << (self.exponent_bits - 1)) - 1;
        let all_ones = mantissa == (1 << self.mantissa_bits) - 1;
        if exponent == top && self.has_infinity {
            return if mantissa == 0 { sign * f64::INFINITY } else { f64::NAN };
        }
        if exponent == top && all_ones {
            return f64::NAN;
        }
        let fraction = f64::from(mantissa) / f64::from(1u32 << self.mantissa_bits);
        let (lead, power) = if exponent == 0 { (0.0, 1 - bias) } else { (1.0, exponent as i32 - bias) };
        sign * (lead + fraction) * 2f64.powi(power)
    }

    /// Canonical NaN: positive, only the top mantissa bit; all ones where that is the only NaN.
    fn nan(&self) -> u32 {
        let exponent = ((1 << self.exponent_bits) - 1) << self.mantissa_bits;
        let mantissa =
            if self.has_infinity { 1 << (self.mantissa_bits - 1) } else { (1 << self.mantissa_bits) - 1 };
        exponent | mantissa
    }

    /// Non-negative finite codes are `0..=max`, in the order of their values.
    fn max(&self) -> u32 {
        let top = ((1 << self.exponent_bits) - 1) << self.mantissa_bits;
        if self.has_infinity { top - 1 } else { self.nan() - 1 }
    }

    /// Nearest code, ties to the even one; beyond the last by half a step is infinity (or NaN).
    fn nearest(&self, x: f32) -> u32 {
        if x.is_nan() {
            return self.nan();
        }
        let sign = if x.is_sign_negative() { 1 << (self.bits() - 1) } else { 0 };
        let size = f64::from(x.abs());
        // Codes of values <= size; the next one up may be nearer. One step past the last finite code is where
        // the rounding of an unbounded exponent would land.
        let (mut low, mut high) = (0, self.max());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.value(middle) <= size { low = middle } else { high = middle - 1 }
        }
        let step = self.value(self.max()) - self.value(self.max() - 1);
        let next = if low == self.max() { self.value(low) + step } else { self.value(low + 1) };
        let below = size - self.value(low);
        let above = next - size;
        let code = if below < above || (below == above && low % 2 == 0) { low } else { low + 1 };
        let overflow = if self.has_infinity { self.max() + 1 } else { self.nan() };
        sign | if code > self.max() { overflow } else { code }
    }

    fn bytes(&self, code: u32) -> Vec<u8> {
        code.to_le_bytes()[..self.format.bytes()].to_vec()
    }
}

fn narrow_to(tier: Tier, format: Format, from: &[f32]) -> Vec<u8> {
    let mut to = vec![0u8; from.len() * format.bytes()];
    narrow(tier, format, from, &mut to);
    to
}

fn widen_from(tier: Tier, format: Format, from: &[u8]) -> Vec<f32> {
    let mut to = vec![0.0f32; from.len() / format.bytes()];
    widen(tier, format, from, &mut to);
    to
}

/// Checks narrowing of each number; `model` gives the expected bytes.
fn check_narrow(format: Format, numbers: &[f32], model: impl Fn(f32) -> Vec<u8>) {
    for tier in Tier::available() {
        let got = narrow_to(tier, format, numbers);
        for (x, got) in numbers.iter().zip(got.chunks(format.bytes())) {
            assert_eq!(got, model(*x), "{tier} {format:?}: {x:e} ({:#x})", x.to_bits());
        }
    }
}

/// Deterministic bit patterns all over f32.
fn patterns(count: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from_bits((i as u32).wrapping_mul(0x9E37_79B1).rotate_left(7))).collect()
}

#[test]
fn every_small_float_code_widens_to_its_value() {
    for model in MODELS {
        let codes = 0..1u32 << model.bits();
        let bytes: Vec<u8> = codes.clone().flat_map(|code| model.bytes(code)).collect();
        for tier in Tier::available() {
            for (code, got) in codes.clone().zip(widen_from(tier, model.format, &bytes)) {
                let want = model.value(code);
                let same =
                    if want.is_nan() { got.is_nan() } else { f64::from(got).to_bits() == want.to_bits() };
                assert!(same, "{tier} {:?} code {code:#x}: {got:e}, by definition {want:e}", model.format);
            }
        }
    }
}

#[test]
fn small_floats_narrow_to_the_nearest_code() {
    for model in MODELS {
        // Every value, every midpoint to the next, and the f32 neighbours of both.
        let mut numbers = patterns(20_000);
        for code in 0..=model.max() {
            let value = model.value(code);
            let next = if code == model.max() { value * 2.0 } else { model.value(code + 1) };
            for x in [value, (value + next) / 2.0] {
                let bits = (x as f32).to_bits();
                for bits in [bits.saturating_sub(1), bits, bits + 1] {
                    numbers.push(f32::from_bits(bits));
                    numbers.push(-f32::from_bits(bits));
                }
            }
        }
        numbers.extend([
            f32::NAN,
            -f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::MAX,
            f32::MIN,
        ]);
        check_narrow(model.format, &numbers, |x| model.bytes(model.nearest(x)));
    }
}

#[test]
fn the_overflow_thresholds_are_where_the_types_say() {
    let one = |format, x: f32| narrow_to(Tier::best(), format, &[x])[0];
    assert_eq!(one(Format::E4m3, 240.0), 0x77);
    assert_eq!(one(Format::E4m3, 247.99), 0x77);
    assert_eq!(one(Format::E4m3, 248.0), 0x78);
    assert_eq!(one(Format::E4m3fn, 464.0), 0x7E, "a tie goes to the even code");
    assert_eq!(one(Format::E4m3fn, 464.1), 0x7F, "overflow is NaN without infinity");
    assert_eq!(one(Format::E4m3fn, f32::NEG_INFINITY), 0xFF);
    assert_eq!(one(Format::E5m2, 61439.0), 0x7B);
    assert_eq!(one(Format::E5m2, 61440.0), 0x7C);
}

#[test]
fn half_agrees_on_many_more_patterns() {
    let numbers = patterns(1 << 20);
    let canonical = |code: u16, x: f32, nan: u16| if x.is_nan() { nan } else { code }.to_le_bytes().to_vec();
    check_narrow(Format::F16, &numbers, |x| canonical(f16::from_f32(x).to_bits(), x, 0x7E00));
    check_narrow(Format::Bf16, &numbers, |x| canonical(bf16::from_f32(x).to_bits(), x, 0x7FC0));
}

#[test]
fn tfloat32_rounds_on_the_way_in_and_truncates_on_the_way_out() {
    let model = |x: f32| {
        let bits = u64::from(x.to_bits());
        let (kept, rest) = (bits >> 13, bits & 0x1FFF);
        let up = rest > 0x1000 || (rest == 0x1000 && kept % 2 == 1);
        let code = if x.is_nan() { 0x7FC0_0000 } else { ((kept + u64::from(up)) << 13) as u32 };
        code.to_le_bytes().to_vec()
    };
    let mut numbers = patterns(50_000);
    numbers.extend([1.0, f32::MAX, f32::from_bits(0x3F80_1000), f32::from_bits(0x3F80_3000), f32::INFINITY]);
    check_narrow(Format::Tf32, &numbers, model);
    for tier in Tier::available() {
        let words: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        for (x, got) in numbers.iter().zip(widen_from(tier, Format::Tf32, &words)) {
            let want = x.to_bits() & !0x1FFF;
            assert!(got.to_bits() == want || (x.is_nan() && got.is_nan()), "{tier} {x:e}");
        }
    }
}

macro_rules! integers { ($($name:ident $format:ident $t:ty;)*) => { $(
    #[test]
    fn $name() {
        let mut numbers = patterns(50_000);
        for edge in [<$t>::MIN as f32, <$t>::MAX as f32, 0.0] {
            for step in -6..=6 {
                numbers.push(edge + 0.5 * step as f32);
                numbers.push(f32::from_bits(edge.to_bits().wrapping_add_signed(step)));
            }
        }
        numbers.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, -1e-40, 16777216.0, 3e9, 4.3e9]);
        check_narrow(Format::$format, &numbers, |x| (x.round_ties_even() as $t).to_le_bytes().to_vec());

        let step = (<$t>::MAX as u64 / 70_000).max(1) as usize;
        let mut values: Vec<$t> = (<$t>::MIN..=<$t>::MAX).step_by(step).collect();
        values.extend([<$t>::MAX, <$t>::MAX - 1, <$t>::MAX / 2, <$t>::MAX / 2 + 1]);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        for tier in Tier::available() {
            for (value, got) in values.iter().zip(widen_from(tier, Format::$format, &bytes)) {
                assert_eq!(got, *value as f32, "{tier} {value}");
            }
        }
    }
)* } }
integers! {
    u8_rounds_and_saturates U8 u8;
    i8_rounds_and_saturates I8 i8;
    u16_rounds_and_saturates U16 u16;
    i16_rounds_and_saturates I16 i16;
    u32_rounds_and_saturates U32 u32;
    i32_rounds_and_saturates I32 i32;
}

#[test]
#[should_panic(expected = "7 bytes are not 4 elements of Bf16")]
fn a_ragged_row_is_refused() {
    widen(Tier::best(), Format::Bf16, &[0; 7], &mut [0.0; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rows of any length and alignment, any pair of formats: the same as through two steps on the portable tier,
    /// and nothing written outside.
    #[test]
    fn rows_of_any_length_agree_across_tiers(
        from in 0..13usize, to in 0..13usize, len in 0usize..70, skew in 0usize..3, seed: u32,
    ) {
        let (from, to) = (Format::ALL[from], Format::ALL[to]);
        let source: Vec<u8> = (0..len * from.bytes() + skew)
            .map(|i| (seed.wrapping_add(i as u32).wrapping_mul(0x9E37_79B1) >> 21) as u8)
            .collect();
        let source = &source[skew..];
        let expected = narrow_to(Tier::PORTABLE, to, &widen_from(Tier::PORTABLE, from, source));
        for tier in Tier::available() {
            let mut out = vec![0xEEu8; skew + len * to.bytes() + 8];
            convert(tier, from, source, to, &mut out[skew..skew + len * to.bytes()]);
            prop_assert_eq!(&out[skew..skew + len * to.bytes()], &expected[..], "{} {:?} to {:?}", tier, from, to);
            prop_assert!(out[..skew].iter().chain(&out[skew + len * to.bytes()..]).all(|b| *b == 0xEE));
        }
    }
}
