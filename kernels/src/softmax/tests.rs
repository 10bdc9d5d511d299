use super::{SoftmaxConfig, softmax};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn run(x: &Tensor, columns: usize) -> Vec<f64> {
    let s = softmax::specialize::<f32>(x, SoftmaxConfig { columns, ..SoftmaxConfig::default() });
    to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0])
}

#[test]
fn rows_sum_to_one_whole_and_in_chunks() {
    let x = tensor("normal(0,5):f32[131,777]@2");
    for columns in [8192, 256] {
        for row in run(&x, columns).chunks(777) {
            // 777 roundings of at most half an ulp of values below 1.
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 777.0 * 6e-8);
        }
    }
}

#[test]
fn a_masked_row_is_zero_and_leaves_its_neighbours_alone() {
    let (masked, columns) = (f32::NEG_INFINITY, 5);
    let x = Tensor::from_f32(
        &[2, columns],
        &[masked, masked, masked, masked, masked, 0.0, masked, 0.0, masked, masked],
    );
    for chunk in [8192, 2] {
        assert_eq!(run(&x.clone().unwrap(), chunk), [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0]);
    }
}

#[test]
fn huge_values_do_not_overflow() {
    let x = Tensor::from_f32(&[1, 4], &[3e38, 3e38, -3e38, 0.0]).unwrap();
    for chunk in [8192, 1] {
        assert_eq!(run(&x, chunk), [0.5, 0.5, 0.0, 0.0]);
    }
}

#[test]
fn other_ranks_are_refused() {
    let e = softmax::specialize::<f32>([2, 3, 4], SoftmaxConfig::default()).trace().unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Shape));
}

#[test]
fn scales_that_turn_the_order_are_refused() {
    for scale in [0.0, -1.0, f32::INFINITY, f32::NAN] {
        let cfg = SoftmaxConfig { scale, ..SoftmaxConfig::default() };
        let e = softmax::specialize::<f32>([2, 3], cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure));
    }
}

#[test]
fn one_mask_of_the_right_shape() {
    use super::{MaskedConfig, masked_softmax};
    let code = |mask: Option<[usize; 2]>, row: Option<[usize; 1]>, sink: Option<[usize; 1]>| {
        let s = masked_softmax::specialize::<f32>([2, 3], mask, row, sink, MaskedConfig::default());
        s.trace().map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(code(Some([2, 3]), None, Some([2])), None);
    assert_eq!(code(Some([2, 3]), Some([3]), None), Some(Code::Ensure));
    assert_eq!(code(None, Some([2]), None), Some(Code::Ensure));
    assert_eq!(code(None, None, Some([3])), Some(Code::Ensure));
}
