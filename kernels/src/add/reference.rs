//! The sum of two tensors, in `f64`.

/// `a + b`, element by element.
pub fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
