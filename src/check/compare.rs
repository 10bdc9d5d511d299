//! Comparing a result with a reference, and two results with each other (kernels.md 1.7).

use crate::args::{from_f64, to_f64};
use nki_ir::{DType, Tensor};
use std::fmt;

/// How far a result may lie from its reference.
///
/// Both of two rules apply. The *range rule*: `|got - want| <= atol + rtol * max |want|`, over the whole tensor. Because an
/// error in small entries can hide behind it, the *element rule*: `|got - want| <= atol + rtol * rms + 4 rtol |want|`,
/// `rms` being the root mean square of the row (last axis) of `want` that the element lies in.
///
/// Infinities must match in place and sign, once the reference has been rounded to the result's dtype. NaN fails unless
/// [`nan_matches`](Tolerance::nan_matches) is set; then NaN must match in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
    pub nan_matches: bool,
}

/// What the element rule multiplies `rtol` by.
const ELEMENT_FACTOR: f64 = 4.0;

impl Tolerance {
    /// Nothing but equality: movement of data, masks, integers.
    pub const EXACT: Tolerance = Tolerance { rtol: 0.0, atol: 0.0, nan_matches: false };

    /// A relative and an absolute tolerance.
    pub const fn new(rtol: f64, atol: f64) -> Tolerance {
        Tolerance { rtol, atol, nan_matches: false }
    }
    /// What a kernel with results of this dtype usually keeps (kernels.md 1.7): `f32` 1e-5, `f16` 5e-3, `bf16` 2e-2,
    /// 8-bit floats 5e-2, integers nothing.
    pub fn of(dtype: DType) -> Tolerance {
        match dtype {
            DType::F32 => Tolerance::new(1e-5, 1e-6),
            DType::TF32 | DType::F16 => Tolerance::new(5e-3, 1e-5),
            DType::BF16 => Tolerance::new(2e-2, 1e-5),
            d if d.is_float() => Tolerance::new(5e-2, 1e-2),
            _ => Tolerance::EXACT,
        }
    }
    /// The same, for sums of terms that were rounded to `dtype` on the way (kernels.md 1.8), `norm` being the largest root of
    /// a sum of their squares. A sum that cancels is small, the error of its terms is not: relative to the result it has no
    /// bound. Each term is off by at most `u |term|`, evenly spread, so that the sum's error has the standard deviation
    /// `u norm / √3`; four of them are allowed.
    pub fn with_rounded_terms(self, dtype: DType, norm: f64) -> Tolerance {
        let unit_roundoff: f64 = match dtype {
            DType::F32 => (-24f64).exp2(),
            DType::TF32 | DType::F16 => (-11f64).exp2(),
            DType::BF16 => (-8f64).exp2(),
            _ => (-4f64).exp2(),
        };
        Tolerance { atol: self.atol + 4.0 / 3f64.sqrt() * unit_roundoff * norm, ..self }
    }
    /// The same, with NaN allowed where the reference has NaN.
    pub fn nan_matches(self) -> Tolerance {
        Tolerance { nan_matches: true, ..self }
    }
}

/// One element of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub index: Vec<usize>,
    pub got: f64,
    pub want: f64,
}

/// How a result compares with its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub tolerance: Tolerance,
    pub elements: usize,
    /// Largest finite `|want|`.
    pub scale: f64,
    /// Elements that break the range rule.
    pub outside_range: usize,
    /// Elements that break the element rule.
    pub outside_element: usize,
    /// Infinities and NaN that do not match.
    pub nonfinite: usize,
    /// Largest `|got - want|` where both are finite.
    pub max_abs: f64,
    /// Largest `|got - want| / |want|` over the elements of at least a hundredth of [`scale`](Comparison::scale): that of an
    /// element that cancels to almost nothing says nothing.
    pub max_rel: f64,
    /// The element furthest beyond its limit, or closest to it.
    pub worst: Option<Element>,
    /// Shape or dtype differ: nothing was compared.
    pub shape_mismatch: Option<String>,
}

impl Comparison {
    /// Whether every rule is kept.
    pub fn passed(&self) -> bool {
        self.shape_mismatch.is_none() && self.outside_range + self.outside_element + self.nonfinite == 0
    }
    /// `max_abs` in units of the largest reference value.
    pub fn max_of_scale(&self) -> f64 {
        if self.scale > 0.0 { self.max_abs / self.scale } else { self.max_abs }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.shape_mismatch {
            return f.write_str(text);
        }
        write!(
            f,
            "max abs {:.3e}, of range {:.3e}, max rel {:.3e}",
            self.max_abs,
            self.max_of_scale(),
            self.max_rel
        )?;
        let counts = [
            (self.outside_range, "beyond the range rule"),
            (self.outside_element, "beyond the element rule"),
            (self.nonfinite, "infinities or NaN that do not match"),
        ];
        for (n, what) in counts.iter().filter(|c| c.0 > 0) {
            write!(f, "; {n} of {} {what}", self.elements)?;
        }
        if let (false, Some(w)) = (self.passed(), &self.worst) {
            write!(f, "; worst at {:?}: got {}, want {}", w.index, w.got, w.want)?;
        }
        Ok(())
    }
}

/// Compares a result with `want`, the reference's values in row-major order.
pub fn compare(got: &Tensor, want: &[f64], tolerance: Tolerance) -> Comparison {
    let mut c = Comparison {
        tolerance,
        elements: want.len(),
        scale: want.iter().filter(|x| x.is_finite()).fold(0.0, |m, x| x.abs().max(m)),
        outside_range: 0,
        outside_element: 0,
        nonfinite: 0,
        max_abs: 0.0,
        max_rel: 0.0,
        worst: None,
        shape_mismatch: None,
    };
    let values = to_f64(got);
    if values.len() != want.len() {
        c.shape_mismatch =
            Some(format!("the result has {} elements, the reference {}", values.len(), want.len()));
        return c;
    }
    // A value that overflows the dtype is an infinity there, and rightly so.
    let rounded = from_f64(got.dtype, &got.shape, want).map_or_else(|| want.to_vec(), |t| to_f64(&t));
    let row = got.shape.last().copied().unwrap_or(1).max(1);
    let (mut worst, mut margin) = (None, f64::NEG_INFINITY);
    for start in (0..want.len()).step_by(row) {
        let end = start + row;
        let rms = root_mean_square(&want[start..end]);
        for i in start..end {
            let excess = c.element(values[i], want[i], rounded[i], rms);
            if excess > margin {
                (worst, margin) = (Some(i), excess);
            }
        }
    }
    c.worst = worst.map(|i| Element { index: unravel(i, &got.shape), got: values[i], want: want[i] });
    c
}

impl Comparison {
    /// Counts one element; how far it lies beyond its limit, in units of the limit.
    fn element(&mut self, got: f64, want: f64, rounded: f64, rms: f64) -> f64 {
        let t = self.tolerance;
        if !got.is_finite() || !rounded.is_finite() {
            let both_nan = got.is_nan() && rounded.is_nan();
            if got == rounded || (both_nan && t.nan_matches) {
                return f64::NEG_INFINITY;
            }
            self.nonfinite += 1;
            return f64::INFINITY;
        }
        let error = (got - want).abs();
        self.max_abs = self.max_abs.max(error);
        if want != 0.0 && want.abs() >= 0.01 * self.scale {
            self.max_rel = self.max_rel.max(error / want.abs());
        }
        let by_range = t.atol + t.rtol * self.scale;
        let by_element = t.atol + t.rtol * rms + ELEMENT_FACTOR * t.rtol * want.abs();
        self.outside_range += usize::from(error > by_range);
        self.outside_element += usize::from(error > by_element);
        let limit = by_range.min(by_element);
        if limit > 0.0 { error / limit } else { error }
    }
}

fn root_mean_square(row: &[f64]) -> f64 {
    let finite = row.iter().filter(|x| x.is_finite());
    let (n, sum) = finite.fold((0u64, 0.0), |(n, sum), x| (n + 1, sum + x * x));
    if n == 0 { 0.0 } else { (sum / n as f64).sqrt() }
}

fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&d| {
            let at = i % d.max(1);
            i /= d.max(1);
            at
        })
        .collect();
    index.reverse();
    index
}

/// How two results of the same kernel differ in bits. Any NaN equals any other.
#[derive(Clone, Debug, PartialEq)]
pub struct Bits {
    pub elements: usize,
    pub differing: usize,
    /// Largest distance in units in the last place, over float elements that are not NaN.
    pub max_ulps: u64,
    /// The first element that differs: its index, and both values.
    pub first: Option<(Vec<usize>, f64, f64)>,
    /// Shape or dtype differ: nothing was compared.
    pub shape_mismatch: Option<String>,
}

impl Bits {
    /// Whether all bits agree.
    pub fn equal(&self) -> bool {
        self.differing == 0 && self.shape_mismatch.is_none()
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shape_mismatch, &self.first) {
            (Some(text), _) => f.write_str(text),
            (None, None) => write!(f, "all {} elements agree in every bit", self.elements),
            (None, Some((index, a, b))) => {
                let (n, all, ulps) = (self.differing, self.elements, self.max_ulps);
                write!(
                    f,
                    "{n} of {all} elements differ, by up to {ulps} ulp; the first at {index:?}: {a} and {b}"
                )
            }
        }
    }
}

/// Compares two results bit by bit.
pub fn compare_bits(a: &Tensor, b: &Tensor) -> Bits {
    let mut bits =
        Bits { elements: a.elements(), differing: 0, max_ulps: 0, first: None, shape_mismatch: None };
    if (a.dtype, &a.shape) != (b.dtype, &b.shape) {
        bits.shape_mismatch = Some(format!("one result is {a:?}, the other {b:?}"));
        return bits;
    }
    let size = a.dtype.bytes();
    let value = |bytes: &[u8]| {
        let one = Tensor { dtype: a.dtype, shape: vec![1], data: bytes.to_vec() };
        to_f64(&one).first().copied().unwrap_or(f64::NAN)
    };
    for (i, (x, y)) in a.data.chunks_exact(size).zip(b.data.chunks_exact(size)).enumerate() {
        if x == y {
            continue;
        }
        let (vx, vy) = (value(x), value(y));
        if vx.is_nan() && vy.is_nan() && !a.dtype.is_packed() {
            continue;
        }
        bits.differing += 1;
        bits.first.get_or_insert_with(|| (unravel(i, &a.shape), vx, vy));
        if a.dtype.is_float() && !vx.is_nan() && !vy.is_nan() {
            bits.max_ulps = bits.max_ulps.max(ordered(x).abs_diff(ordered(y)));
        }
    }
    bits
}

/// A float's code as an integer that ascends with its value; both zeros are 0.
fn ordered(bytes: &[u8]) -> i64 {
    let word = bytes.iter().rev().fold(0i64, |w, &b| w << 8 | i64::from(b));
    let sign = 1i64 << (8 * bytes.len() - 1);
    if word & sign == 0 { word } else { sign - word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(shape: &[usize], xs: &[f32]) -> Tensor {
        Tensor::from_f32(shape, xs).unwrap()
    }

    #[test]
    fn the_range_rule_scales_with_the_largest_value() {
        let t = Tolerance::new(1e-2, 0.0);
        assert!(compare(&f32s(&[2], &[100.9, 100.0]), &[100.0, 100.0], t).passed());
        let c = compare(&f32s(&[2], &[101.1, 100.0]), &[100.0, 100.0], t);
        assert_eq!((c.outside_range, c.outside_element, c.passed()), (1, 0, false));
        assert_eq!(c.worst.unwrap().index, [0]);
        assert!((c.max_abs - 1.1).abs() < 1e-5 && (c.max_rel - 0.011).abs() < 1e-5);
    }

    #[test]
    fn the_element_rule_finds_what_hides_in_a_small_row() {
        // 0.5 is within 1 % of the tensor's range of 100 but wrong in a row of ones.
        let c = compare(
            &f32s(&[2, 2], &[100.0, 100.0, 1.5, 1.0]),
            &[100.0, 100.0, 1.0, 1.0],
            Tolerance::new(1e-2, 0.0),
        );
        assert_eq!((c.outside_range, c.outside_element), (0, 1));
        assert_eq!(c.worst.as_ref().unwrap().index, [1, 0]);
        assert!(
            c.to_string().contains("1 of 4 beyond the element rule; worst at [1, 0]: got 1.5, want 1"),
            "{c}"
        );
    }

    #[test]
    fn infinities_and_nan_match_in_place_and_sign() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let t = Tolerance::new(1.0, 1e9);
        let nonfinite = |got: f32, want: f64, t| compare(&f32s(&[1], &[got]), &[want], t).nonfinite;
        assert_eq!(nonfinite(inf, f64::INFINITY, t), 0);
        assert_eq!(nonfinite(-inf, f64::INFINITY, t), 1);
        assert_eq!(nonfinite(inf, 3.0, t), 1);
        assert_eq!(nonfinite(3.0, f64::INFINITY, t), 1);
        assert_eq!(nonfinite(nan, 3.0, t), 1);
        assert_eq!(nonfinite(nan, f64::NAN, t), 1);
        assert_eq!(nonfinite(nan, f64::NAN, t.nan_matches()), 0);
        assert_eq!(nonfinite(nan, f64::INFINITY, t.nan_matches()), 1);
        let half = from_f64(DType::F16, &[1], &[1e6]).unwrap();
        assert!(compare(&half, &[1e6], Tolerance::of(DType::F16)).passed(), "1e6 is infinite in f16");
    }

    #[test]
    fn odd_shapes_compare() {
        assert!(compare(&f32s(&[0, 3], &[]), &[], Tolerance::EXACT).passed());
        assert!(compare(&f32s(&[], &[2.0]), &[2.0], Tolerance::EXACT).passed());
        assert!(!compare(&f32s(&[2], &[1.0, 2.0]), &[1.0], Tolerance::of(DType::F32)).passed());
        assert!(!compare(&f32s(&[1], &[1.0]), &[1.0 + 1e-9], Tolerance::EXACT).passed());
    }

    #[test]
    fn bits_are_compared_in_units_in_the_last_place() {
        let a = f32s(&[2, 2], &[1.0, -0.0, f32::NAN, f32::MIN_POSITIVE]);
        assert!(compare_bits(&a, &a).equal());
        let mut b = a.clone();
        b.data[0] += 3;
        b.data[11] ^= 0x80; // the sign of the NaN
        let c = compare_bits(&a, &b);
        assert_eq!((c.differing, c.max_ulps, c.first.unwrap().0), (1, 3, vec![0, 0]));
        let zero = compare_bits(&f32s(&[1], &[0.0]), &f32s(&[1], &[-0.0]));
        assert_eq!((zero.differing, zero.max_ulps), (1, 0));
        let across = compare_bits(&f32s(&[1], &[f32::from_bits(1)]), &f32s(&[1], &[-f32::from_bits(1)]));
        assert_eq!(across.max_ulps, 2);
        assert!(!compare_bits(&a, &f32s(&[4], &[0.0; 4])).equal());
    }
}
