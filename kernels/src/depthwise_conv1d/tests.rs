use super::{DepthwiseConv1dConfig, depthwise_conv1d};
use nki::Mode;
use nki::args::Generator;
use nki::ir::{Code, DType, Target, Tensor};

#[test]
fn a_filter_of_one_tap_moves_the_row() {
    let x = "normal:f32[2,3,50]@1".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    let w = Tensor::from_f32(&[3, 3], &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
    let cfg = DepthwiseConv1dConfig { left: 1, right: 1, silu: false };
    let y = depthwise_conv1d::specialize::<f32>(&x, &w, None::<&Tensor>, cfg)
        .run(Mode::Host, Target::Trn2)
        .unwrap();
    assert_eq!(y[0], x);
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |w: [usize; 2], bias: Option<[usize; 1]>| {
        let s = depthwise_conv1d::specialize::<f32>([1, 4, 8], w, bias, DepthwiseConv1dConfig::default());
        assert_eq!(s.trace().unwrap_err().first_code(), Some(Code::Ensure));
    };
    refused([5, 3], None);
    refused([4, 0], None);
    refused([4, 9], None);
    refused([4, 3], Some([3]));
}
