use super::{RmsNormConfig, rmsnorm};
use nki::Mode;
use nki::args::{Generator, from_f64, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn run(x: &Tensor, gamma: &Tensor, cfg: RmsNormConfig) -> Vec<f64> {
    let s = rmsnorm::specialize::<f32>(x, gamma, cfg);
    to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0])
}

#[test]
fn the_scale_of_a_row_does_not_matter_without_eps() {
    let x = tensor("normal:f32[130,100]@1");
    let doubled: Vec<f64> = to_f64(&x).iter().map(|v| v * 2.0).collect();
    let doubled = from_f64(DType::F32, &x.shape, &doubled).unwrap();
    let cfg = RmsNormConfig { eps: 0.0, columns: 8192 };
    let gamma = tensor("normal:f32[100]@2");
    assert_eq!(run(&x, &gamma, cfg.clone()), run(&doubled, &gamma, cfg));
}

#[test]
fn a_row_of_zeros_stays_zero() {
    let out = run(&tensor("zeros:f32[3,50]"), &tensor("ones:f32[50]"), RmsNormConfig::default());
    assert!(out.iter().all(|&x| x == 0.0));
}

#[test]
fn the_gain_has_one_value_per_column() {
    let e = rmsnorm::specialize::<f32>([3, 50], [49], RmsNormConfig::default()).trace().unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Ensure));
}
