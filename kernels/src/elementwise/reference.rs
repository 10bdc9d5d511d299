//! Operations on elements, in `f64` (kernels.md 2.1).

use super::Binary;
use nki::ir::DType;

/// Every value rounded to nearest even in `dtype`; integers saturate.
pub fn cast(x: &[f64], dtype: DType) -> Vec<f64> {
    let rounded =
        nki::args::from_f64(dtype, &[x.len()], x).expect("no packed dtype is an element of a kernel");
    nki::args::to_f64(&rounded)
}

impl Binary {
    /// `a op b`. The smaller and the larger of a number and NaN are NaN.
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Min | Binary::Max if a.is_nan() || b.is_nan() => f64::NAN,
            Binary::Min => a.min(b),
            Binary::Max => a.max(b),
        }
    }
    /// `a op b`, or `b op a`.
    pub fn either_way(self, a: f64, b: f64, reverse: bool) -> f64 {
        if reverse { self.apply(b, a) } else { self.apply(a, b) }
    }
}

/// What every element of a matrix is combined with.
#[derive(Clone, Copy)]
pub enum Other<'a> {
    Matrix(&'a [f64]),
    Row(&'a [f64]),
    Column(&'a [f64]),
    Number(f64),
}

impl Other<'_> {
    /// The value that meets element `i` of a matrix with rows of `columns` elements.
    pub fn at(&self, i: usize, columns: usize) -> f64 {
        match self {
            Other::Matrix(m) => m[i],
            Other::Row(v) => v[i % columns],
            Other::Column(v) => v[i / columns],
            Other::Number(n) => *n,
        }
    }
}

/// `x op other`, or `other op x`, over rows of `columns` elements.
pub fn elementwise(x: &[f64], columns: usize, op: Binary, other: Other, reverse: bool) -> Vec<f64> {
    x.iter().enumerate().map(|(i, &x)| op.either_way(x, other.at(i, columns), reverse)).collect()
}

/// `x` where the condition is not 0, else `y`.
pub fn select(condition: &[f64], x: &[f64], y: &[f64]) -> Vec<f64> {
    condition.iter().zip(x.iter().zip(y)).map(|(c, (x, y))| if *c != 0.0 { *x } else { *y }).collect()
}

/// `x` between two limits.
pub fn clamp(x: &[f64], low: f64, high: f64) -> Vec<f64> {
    x.iter().map(|&x| Binary::Min.apply(Binary::Max.apply(x, low), high)).collect()
}

/// `a + b` in the first `rows` rows, `before` in the others.
pub fn add_rows(a: &[f64], b: &[f64], before: &[f64], columns: usize, rows: usize) -> Vec<f64> {
    (0..a.len()).map(|i| if i < rows * columns { a[i] + b[i] } else { before[i] }).collect()
}

#[test]
fn operands_are_broadcast_along_their_axis() {
    let x = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(
        elementwise(&x, 2, Binary::Mul, Other::Row(&[10.0, 100.0]), false),
        [10.0, 200.0, 30.0, 400.0]
    );
    assert_eq!(elementwise(&x, 2, Binary::Sub, Other::Column(&[1.0, 3.0]), true), [0.0, -1.0, 0.0, -1.0]);
    assert_eq!(elementwise(&x, 2, Binary::Div, Other::Number(2.0), false), [0.5, 1.0, 1.5, 2.0]);
    assert_eq!(
        elementwise(&x, 2, Binary::Max, Other::Matrix(&[9.0, 0.0, 0.0, 9.0]), false),
        [9.0, 2.0, 3.0, 9.0]
    );
    assert!(Binary::Min.apply(f64::NAN, 1.0).is_nan() && Binary::Max.apply(1.0, f64::NAN).is_nan());
}

#[test]
fn selections_and_limits() {
    assert_eq!(select(&[0.0, 2.0], &[1.0, 1.0], &[5.0, 6.0]), [5.0, 1.0]);
    assert_eq!(clamp(&[-3.0, 0.5, 7.0], -1.0, 1.0), [-1.0, 0.5, 1.0]);
    assert_eq!(add_rows(&[1.0; 4], &[2.0; 4], &[9.0; 4], 2, 1), [3.0, 3.0, 9.0, 9.0]);
}
