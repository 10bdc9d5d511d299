//! Operations of an optimiser, in `f64` (kernels.md 2.1, foreach set).

use super::{Foreach, Norm};

impl Foreach {
    /// The operation on one element of each operand; operands that it does not have do not matter.
    pub fn apply(self, x: f64, y: f64, z: f64, s: f64) -> f64 {
        match self {
            Foreach::AddScalar => x + s,
            Foreach::SubScalar => x - s,
            Foreach::MulScalar => x * s,
            Foreach::DivScalar => x / s,
            Foreach::Add => x + s * y,
            Foreach::Sub => x - s * y,
            Foreach::Mul => x * y,
            Foreach::Div => x / y,
            Foreach::Addcdiv => x + s * (y / z),
            Foreach::Addcmul => x + s * y * z,
            Foreach::Lerp => x + s * (y - x),
            Foreach::Sqrt => x.sqrt(),
        }
    }
}

/// The operation on all elements.
pub fn foreach(op: Foreach, x: &[f64], y: Option<&[f64]>, z: Option<&[f64]>, s: f64) -> Vec<f64> {
    let of = |t: Option<&[f64]>, i: usize| t.map_or(0.0, |t| t[i]);
    x.iter().enumerate().map(|(i, &x)| op.apply(x, of(y, i), of(z, i), s)).collect()
}

impl Norm {
    /// The norm of some numbers.
    pub fn of(self, x: &[f64]) -> f64 {
        match self {
            Norm::L1 => x.iter().map(|x| x.abs()).sum(),
            Norm::L2 => x.iter().map(|x| x * x).sum::<f64>().sqrt(),
            Norm::LInf => x.iter().fold(0.0, |m, x| x.abs().max(m)),
        }
    }
}

#[test]
fn operations_have_their_known_values() {
    for (op, want) in [
        (Foreach::AddScalar, 12.0),
        (Foreach::SubScalar, 8.0),
        (Foreach::MulScalar, 20.0),
        (Foreach::DivScalar, 5.0),
        (Foreach::Add, 18.0),
        (Foreach::Sub, 2.0),
        (Foreach::Mul, 40.0),
        (Foreach::Div, 2.5),
        (Foreach::Addcdiv, 11.0),
        (Foreach::Addcmul, 74.0),
        (Foreach::Lerp, -2.0),
    ] {
        assert_eq!(op.apply(10.0, 4.0, 8.0, 2.0), want, "{op:?}");
    }
    assert_eq!(foreach(Foreach::Sqrt, &[4.0, 9.0], None, None, 0.0), [2.0, 3.0]);
    assert_eq!([Norm::L1, Norm::L2, Norm::LInf].map(|n| n.of(&[3.0, -4.0])), [7.0, 5.0, 4.0]);
}
