use super::{RmsNormBackwardConfig, rmsnorm_backward};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

#[test]
fn without_eps_the_gradient_is_across_the_row() {
    let (x, gamma) = (tensor("normal:f32[130,100]@1"), tensor("normal:f32[100]@2"));
    let dy = tensor("normal:f32[130,100]@3");
    let s = rmsnorm_backward::specialize::<f32>(&x, &gamma, &dy, RmsNormBackwardConfig { eps: 0.0 });
    let dx = to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0]);
    for (x, dx) in to_f64(&x).chunks(100).zip(dx.chunks(100)) {
        let dot: f64 = x.iter().zip(dx).map(|(a, b)| a * b).sum();
        assert!(dot.abs() < 1e-4, "{dot}");
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    for (gamma, dy) in [([49], [3, 50]), ([50], [4, 50]), ([50], [3, 51])] {
        let s = rmsnorm_backward::specialize::<f32>([3, 50], gamma, dy, RmsNormBackwardConfig::default());
        assert_eq!(s.trace().unwrap_err().first_code(), Some(Code::Ensure));
    }
}
