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
    let cfg = RmsNormConfig { eps: 0.0, ..RmsNormConfig::default() };
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

#[test]
fn the_columns_that_count_are_some_of_the_columns() {
    for (actual, code) in [(0, Some(Code::Ensure)), (1, None), (50, None), (51, Some(Code::Ensure))] {
        let cfg = RmsNormConfig { actual: Some(actual), ..RmsNormConfig::default() };
        let e = rmsnorm::specialize::<f32>([3, 50], [50], cfg).trace();
        assert_eq!(e.map_or_else(|e| e.first_code(), |_| None), code, "{actual}");
    }
}

#[test]
fn decode_layouts_need_whole_blocks_and_few_tokens() {
    use super::{HiddenConfig, norm_decode};
    let none = None::<[usize; 1]>;
    let code = |x: [usize; 2]| {
        let s = norm_decode::specialize::<f32>(x, none, none, Default::default(), HiddenConfig::default());
        s.trace().map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(code([128, 256]), None);
    assert_eq!(code([129, 256]), Some(Code::Ensure));
    assert_eq!(code([0, 256]), Some(Code::Ensure));
    assert_eq!(code([5, 200]), Some(Code::Ensure));
}
