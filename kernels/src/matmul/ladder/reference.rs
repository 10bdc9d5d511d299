//! The product with what precedes and follows it, in `f64` (kernels.md 2.3).

use crate::activation::Function;
use crate::matmul::reference::matmul;

/// What follows a product.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// One value a column.
    pub bias: Option<&'a [f64]>,
    pub activation: Option<Function>,
    pub residual: Option<&'a [f64]>,
}

/// An operand with its contraction last, or the same with it first.
pub type Operand<'a> = (Option<&'a [f64]>, Option<&'a [f64]>);

/// `f(left · right + bias) + residual` for each of a batch.
pub fn general([left, right]: [Operand; 2], [batch, k, m, n]: [usize; 4], end: Epilogue) -> Vec<f64> {
    let mut out = Vec::with_capacity(batch * m * n);
    for b in 0..batch {
        let (l, r) = (first(left, b, k, m), first(right, b, k, n));
        out.extend(matmul(&l, &r, [k, m, n]));
    }
    for (i, y) in out.iter_mut().enumerate() {
        *y += end.bias.map_or(0.0, |b| b[i % n]);
        *y = end.activation.map_or(*y, |f| f.apply(*y));
        *y += end.residual.map_or(0.0, |r| r[i]);
    }
    out
}

/// The `b`-th matrix of an operand with its contraction first.
fn first((last, first): Operand, b: usize, k: usize, rows: usize) -> Vec<f64> {
    let part = |x: &[f64]| x[b * k * rows..(b + 1) * k * rows].to_vec();
    match (last.map(part), first.map(part)) {
        (Some(x), _) => (0..k * rows).map(|i| x[i % rows * k + i / rows]).collect(),
        (None, Some(x)) => x,
        (None, None) => Vec::new(),
    }
}

#[test]
fn operands_either_way_round() {
    let (x, x_t, y) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [1.0, 0.0, 0.0, 10.0]);
    let end = Epilogue { bias: None, activation: None, residual: None };
    let right = (None, Some(&y[..]));
    let want = [1.0, 20.0, 3.0, 40.0];
    assert_eq!(general([(Some(&x), None), right], [1, 2, 2, 2], end), want);
    assert_eq!(general([(None, Some(&x_t)), right], [1, 2, 2, 2], end), want);
    let end =
        Epilogue { bias: Some(&[-2.0, 0.0]), activation: Some(Function::Relu), residual: Some(&[1.0; 4]) };
    assert_eq!(general([(Some(&x), None), right], [1, 2, 2, 2], end), [1.0, 21.0, 2.0, 41.0]);
}
