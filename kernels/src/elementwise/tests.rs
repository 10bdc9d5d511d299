use super::{Binary, cast, clamp, dynamic_add, elementwise, fused};
use super::{CastConfig, ClampConfig, DynamicAddConfig, ElementwiseConfig, FusedConfig};
use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Target, Tensor};
use nki::prelude::*;
use nki::{f8e4m3, f8e5m2};

const SHAPE: [usize; 2] = [3, 5];
const NONE: Option<[usize; 2]> = None;
const VECTOR: Option<[usize; 1]> = None;

fn code(s: nki::Specialization) -> Option<Code> {
    s.trace().map_or_else(|e| e.first_code(), |_| None)
}

#[test]
fn at_most_one_other_tensor() {
    let default = ElementwiseConfig::default;
    assert_eq!(code(elementwise::specialize::<f32>(SHAPE, NONE, VECTOR, VECTOR, default())), None);
    let two = elementwise::specialize::<f32>(SHAPE, Some(SHAPE), Some([5]), VECTOR, default());
    assert_eq!(code(two), Some(Code::Ensure));
    assert_eq!(
        code(elementwise::specialize::<f32>(SHAPE, NONE, Some([3]), VECTOR, default())),
        Some(Code::Ensure)
    );
    assert_eq!(
        code(elementwise::specialize::<f32>(SHAPE, NONE, VECTOR, Some([5]), default())),
        Some(Code::Ensure)
    );
}

#[test]
fn what_has_no_meaning_is_refused() {
    let divide = FusedConfig { op1: Binary::Div, ..FusedConfig::default() };
    assert_eq!(code(fused::specialize::<f32>(SHAPE, NONE, divide)), Some(Code::Ensure));
    let crossed = ClampConfig { low: Some(1.0), high: Some(0.0), ..ClampConfig::default() };
    assert_eq!(code(clamp::specialize::<f32>(SHAPE, crossed)), Some(Code::Ensure));
    let ragged =
        dynamic_add::specialize::<f32>([130, 5], [130, 5], [1, 1], [130, 5], DynamicAddConfig::default());
    assert_eq!(code(ragged), Some(Code::Ensure));
    assert_eq!(code(cast::specialize::<f32, bf16>(SHAPE, [5, 3], CastConfig::default())), Some(Code::Ensure));
}

/// More tiles than there are rows end the run; they do not write past the tensor.
#[test]
fn more_tiles_than_rows_end_the_run() {
    let x = Tensor::zeros(DType::F32, &[128, 4]);
    let tiles = from_f64(DType::I32, &[1, 1], &[2.0]).unwrap();
    for mode in [Mode::Interp, Mode::Sim, Mode::Host] {
        let add = dynamic_add::specialize::<f32>(&x, &x, &tiles, &x, DynamicAddConfig::default());
        let e = add.run(mode, Target::Trn2).unwrap_err();
        assert_eq!(e.first_code(), Some(Code::RuntimeIndex), "{mode}");
    }
}

fn casts<T: Elem, D: Elem>(from: &[f64], to: &[f64]) {
    let x = from_f64(T::DTYPE, &[1, from.len()], from).unwrap();
    let out = Tensor::zeros(D::DTYPE, &[1, to.len()]);
    for mode in Mode::ALL {
        let y = cast::specialize::<T, D>(&x, &out, CastConfig::default()).run(mode, Target::Trn2).unwrap();
        let got = to_f64(&y[0]);
        let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
        assert!(got.iter().zip(to).all(same), "{} to {} {mode}: {got:?}, not {to:?}", T::DTYPE, D::DTYPE);
    }
}

#[test]
fn numbers_round_to_even_and_saturate() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    casts::<f32, i8>(
        &[0.5, 1.5, -2.5, 127.5, 1e9, -1e9, inf, nan],
        &[0.0, 2.0, -2.0, 127.0, 127.0, -128.0, 127.0, 0.0],
    );
    casts::<f32, u8>(&[-1.0, 255.5, 254.5], &[0.0, 255.0, 254.0]);
    casts::<i32, u16>(&[-5.0, 70000.0, 65535.0], &[0.0, 65535.0, 65535.0]);
    // Half way between 256 and 258, and between 258 and 260: to the even mantissa.
    casts::<f32, bf16>(&[257.0, 259.0, nan, -inf], &[256.0, 260.0, nan, -inf]);
    casts::<f32, f16>(&[65519.0, 65520.0, 2f64.powi(-24)], &[65504.0, inf, 2f64.powi(-24)]);
    casts::<bf16, f8e4m3>(&[240.0, 248.0, 1.0625, 1.1875, -0.001], &[240.0, inf, 1.0, 1.25, -2f64.powi(-9)]);
    casts::<f8e5m2, f32>(&[57344.0, 1.25, -0.5], &[57344.0, 1.25, -0.5]);
    // Equal dtypes keep every bit, through f32 only 24 are left.
    casts::<i32, i32>(&[16777217.0], &[16777217.0]);
    casts::<i32, u32>(&[16777217.0], &[16777216.0]);
}
