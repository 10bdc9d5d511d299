//! Affine expressions in loop variables: `constant + Σ coefficient · variable`.

use crate::entity::Var;
use smallvec::SmallVec;

/// An affine expression; terms are sorted by variable, without zero coefficients, so that equal expressions are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    terms: SmallVec<[(Var, i64); 2]>,
    constant: i64,
}

impl Affine {
    /// A constant.
    pub fn constant(c: i64) -> Self {
        Affine { terms: SmallVec::new(), constant: c }
    }
    /// The value of a loop variable.
    pub fn var(v: Var) -> Self {
        Affine { terms: SmallVec::from_slice(&[(v, 1)]), constant: 0 }
    }
    /// The constant part.
    pub fn offset(&self) -> i64 {
        self.constant
    }
    /// The variable terms, ascending by variable.
    pub fn terms(&self) -> &[(Var, i64)] {
        &self.terms
    }
    /// The value, if no variable occurs.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }
    /// The coefficient of `v`.
    pub fn coefficient(&self, v: Var) -> i64 {
        self.terms.iter().find(|t| t.0 == v).map_or(0, |t| t.1)
    }
    /// `self + other`, or `None` on overflow.
    pub fn add(&self, other: &Affine) -> Option<Affine> {
        let mut out = Affine::constant(self.constant.checked_add(other.constant)?);
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let term = match (a.peek(), b.peek()) {
                (None, None) => return Some(out),
                (Some(x), None) => (x.0, a.next()?.1),
                (None, Some(y)) => (y.0, b.next()?.1),
                (Some(x), Some(y)) if x.0 < y.0 => (x.0, a.next()?.1),
                (Some(x), Some(y)) if x.0 > y.0 => (y.0, b.next()?.1),
                (Some(x), Some(_)) => (x.0, a.next()?.1.checked_add(b.next()?.1)?),
            };
            if term.1 != 0 {
                out.terms.push(term);
            }
        }
    }
    /// `self + c`, or `None` on overflow.
    pub fn add_constant(&self, c: i64) -> Option<Affine> {
        Some(Affine { terms: self.terms.clone(), constant: self.constant.checked_add(c)? })
    }
    /// `self · k`, or `None` on overflow.
    pub fn scale(&self, k: i64) -> Option<Affine> {
        if k == 0 {
            return Some(Affine::default());
        }
        let terms = self.terms.iter().map(|t| Some((t.0, t.1.checked_mul(k)?))).collect::<Option<_>>()?;
        Some(Affine { terms, constant: self.constant.checked_mul(k)? })
    }
    /// The value when every variable takes what `value` gives.
    pub fn eval(&self, mut value: impl FnMut(Var) -> i64) -> i64 {
        self.terms.iter().fold(self.constant, |s, t| s.wrapping_add(t.1.wrapping_mul(value(t.0))))
    }
    /// Smallest and largest value over the box where variable `v` runs over `range(v)` (both ends included).
    pub fn bounds(&self, mut range: impl FnMut(Var) -> (i64, i64)) -> (i128, i128) {
        let (mut lo, mut hi) = (self.constant as i128, self.constant as i128);
        for &(v, c) in &self.terms {
            let (a, b) = range(v);
            let (x, y) = (a as i128 * c as i128, b as i128 * c as i128);
            lo += x.min(y);
            hi += x.max(y);
        }
        (lo, hi)
    }
}

impl From<Var> for Affine {
    fn from(v: Var) -> Self {
        Affine::var(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_canonical() {
        let (i, j) = (Affine::var(Var(0)), Affine::var(Var(1)));
        let a = i.scale(128).unwrap().add(&j).unwrap().add_constant(3).unwrap();
        let b = j.add_constant(3).unwrap().add(&i.scale(128).unwrap()).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.add(&a.scale(-1).unwrap()).unwrap(), Affine::constant(0));
        assert_eq!(a.eval(|v| if v == Var(0) { 2 } else { 5 }), 264);
        assert_eq!(a.scale(-1).unwrap().bounds(|_| (0, 3)), (-390, -3));
        assert_eq!(Affine::constant(i64::MAX).add_constant(1), None);
    }
}
