//! Floating-point formats narrower than float32, and the one rounding function for all of them.

use crate::dtype::DType;

/// A binary floating-point format with a sign, or the unsigned power-of-two scale.
pub(super) struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    /// Largest finite magnitude, as a code.
    max_finite: u32,
    /// What a magnitude beyond that becomes.
    overflow: u32,
    nan: u32,
    /// Bits below the mantissa in storage (tfloat32: 13).
    padding: u32,
}

const fn ieee(exponent_bits: u32, mantissa_bits: u32, padding: u32) -> Format {
    let infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
    Format {
        exponent_bits,
        mantissa_bits,
        max_finite: infinity - 1,
        overflow: infinity,
        nan: infinity | 1 << (mantissa_bits - 1),
        padding,
    }
}

static F16: Format = ieee(5, 10, 0);
static BF16: Format = ieee(8, 7, 0);
static TF32: Format = ieee(8, 10, 13);
static F8E4M3: Format = ieee(4, 3, 0);
static F8E5M2: Format = ieee(5, 2, 0);
/// No infinity; the all-ones code alone is NaN.
static F8E4M3FN: Format = Format { max_finite: 0x7e, overflow: 0x7f, nan: 0x7f, ..ieee(4, 3, 0) };

impl Format {
    fn bias(&self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    /// The value of a code, exactly.
    fn widen(&self, bits: u32) -> f32 {
        let (e, m) = (self.exponent_bits, self.mantissa_bits);
        let magnitude = bits & ((1 << (e + m)) - 1);
        let sign = (bits >> (e + m) & 1) << 31;
        if magnitude > self.max_finite {
            // Infinity has no fraction; a NaN keeps its payload, as arithmetic makes it canonical anyway.
            return f32::from_bits(sign | 0x7f80_0000 | (magnitude & ((1 << m) - 1)) << (23 - m));
        }
        let fraction = magnitude & ((1 << m) - 1);
        let (exponent, significand) = match magnitude >> m {
            0 => (1 - self.bias(), fraction),
            x => (x as i32 - self.bias(), fraction | 1 << m),
        };
        // The significand is a small integer and the scale a normal power of two: the product is exact.
        let scale = f32::from_bits(((exponent - m as i32 + 127) as u32) << 23);
        f32::from_bits(sign | (significand as f32 * scale).to_bits())
    }

    /// Rounds once: to nearest even, or by `random` (isa.md 2.3).
    fn narrow(&self, x: f32, random: Option<u32>) -> u32 {
        let sign = (x.to_bits() >> 31) << (self.exponent_bits + self.mantissa_bits);
        let magnitude = x.to_bits() & 0x7fff_ffff;
        if magnitude > 0x7f80_0000 {
            return self.nan << self.padding;
        }
        let code = if magnitude == 0x7f80_0000 { self.overflow } else { self.round(magnitude, random) };
        (sign | code) << self.padding
    }

    /// Rounds a finite magnitude, given as float32 bits, to a code.
    fn round(&self, magnitude: u32, random: Option<u32>) -> u32 {
        // The value is `significand · 2^(exponent - 23)`.
        let (exponent, significand) = match magnitude >> 23 {
            0 => (-126, magnitude),
            e => (e as i32 - 127, magnitude & 0x7f_ffff | 0x80_0000),
        };
        let smallest = 1 - self.bias();
        let below = (smallest - exponent).max(0) as u32;
        let shift = 23 - self.mantissa_bits + below;
        let quotient = divide(significand, shift, random);
        // The leading one of a normal quotient sits at `mantissa_bits`, where it counts as one in the exponent field.
        let exponent_field = if below > 0 { 0 } else { (exponent + self.bias() - 1) as u32 };
        let code = (exponent_field << self.mantissa_bits) + quotient;
        if code > self.max_finite { self.overflow } else { code }
    }
}

/// `significand / 2^shift`, rounded to nearest even or by `random`.
fn divide(significand: u32, shift: u32, random: Option<u32>) -> u32 {
    // 24-bit significands: everything beyond this shift is a fraction too small to matter.
    let shift = shift.min(60);
    let wide = u64::from(significand);
    let (quotient, rest) = ((wide >> shift) as u32, wide & ((1 << shift) - 1));
    let away = match random {
        Some(r) => u128::from(rest) << 32 > u128::from(r) << shift,
        None => {
            let half = (1u64 << shift) >> 1;
            rest > half || rest == half && quotient & 1 == 1
        }
    };
    quotient + u32::from(away)
}

/// How a float dtype narrower than float32 is read and rounded.
pub(super) enum Narrow {
    Float(&'static Format),
    /// e8m0.
    Scale,
}

impl Narrow {
    /// `None` for dtypes that are not narrow floats.
    pub(super) fn of(dtype: DType) -> Option<Narrow> {
        Some(Narrow::Float(match dtype {
            DType::F16 => &F16,
            DType::BF16 => &BF16,
            DType::TF32 => &TF32,
            DType::F8E4M3 => &F8E4M3,
            DType::F8E5M2 => &F8E5M2,
            DType::F8E4M3FN => &F8E4M3FN,
            DType::F8E8M0 => return Some(Narrow::Scale),
            _ => return None,
        }))
    }
    pub(super) fn widen(&self, bits: u32) -> f32 {
        match self {
            Narrow::Float(f) => f.widen(bits),
            Narrow::Scale => super::up(DType::F8E8M0, bits),
        }
    }
    pub(super) fn narrow(&self, x: f32, random: Option<u32>) -> u32 {
        match self {
            Narrow::Float(f) => f.narrow(x, random),
            Narrow::Scale => scale(x, random),
        }
    }
}

/// Rounds to a power of two: the code is the float32 exponent field plus the rounded mantissa, clamped to the range.
fn scale(x: f32, random: Option<u32>) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return 0xff;
    }
    if bits >> 31 == 1 || bits == 0 {
        return 0;
    }
    if bits < 0x0080_0000 {
        // Below 2^-126 there is only 2^-127 = 0x400000, the code 0; the distance to code 1 is 0x400000.
        let rest = bits.saturating_sub(0x0040_0000);
        return divide(rest, 22, random);
    }
    // The significand 1.m lies between 2^e (m = 0) and 2^(e+1); a tie goes to the even code.
    let (e, m) = (bits >> 23, bits & 0x7f_ffff);
    divide(e << 23 | m, 23, random).min(0xfe)
}
