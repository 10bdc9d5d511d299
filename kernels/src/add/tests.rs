use super::{AddConfig, add};
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};
use nki::{Mode, f16};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

#[test]
fn half_precision_overflows_to_infinity() {
    let a = tensor("full(60000):f16[3,5]");
    let sum = add::specialize::<f16>(&a, &a, AddConfig::default()).run(Mode::Host, Target::Trn2).unwrap();
    assert!(to_f64(&sum[0]).iter().all(|&x| x == f64::INFINITY));
}

#[test]
fn shapes_must_agree() {
    let e = add::specialize::<f32>([3, 5], [3, 4], AddConfig::default()).trace().unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Ensure));
    let e = add::specialize::<f32>([3], [3], AddConfig::default()).trace().unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Shape));
}
