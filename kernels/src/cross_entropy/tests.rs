use super::*;
use nki::Mode;
use nki::args::{Generator, from_f64, to_f64};
use nki::ir::{Code, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

#[test]
fn rows_of_the_gradient_add_up_to_nothing() {
    let logits = tensor("normal(0,3):f32[131,257]@1");
    let targets = tensor("uniform(0,257):i32[131]@2");
    let forward = cross_entropy::specialize::<f32>(&logits, &targets, CrossEntropyConfig::default());
    let results = forward.run(Mode::Host, Target::Trn2).unwrap();
    assert!(to_f64(&results[0]).iter().all(|&loss| loss > 0.0));
    let cfg = CrossEntropyBackwardConfig { scale: Some(1.0), columns: 100 };
    let backward = cross_entropy_backward::specialize::<f32>(&logits, &targets, &results[1], cfg);
    let grad = to_f64(&backward.run(Mode::Host, Target::Trn2).unwrap()[0]);
    for (row, &target) in grad.chunks(257).zip(&to_f64(&targets)) {
        assert!(row.iter().sum::<f64>().abs() < 1e-5);
        let target = target as usize;
        assert!(row.iter().enumerate().all(|(c, g)| (*g < 0.0) == (c == target)));
    }
}

#[test]
fn a_shift_of_the_logits_does_not_matter() {
    let x = to_f64(&tensor("uniform(-4,4):f32[5,60]@1"))
        .iter()
        .map(|x| (x * 64.0).round() / 64.0)
        .collect::<Vec<_>>();
    let run = |by: f64| {
        let x: Vec<f64> = x.iter().map(|x| x + by).collect();
        let x = from_f64(DType::F32, &[5, 60], &x).unwrap();
        let targets = tensor("uniform(0,60):i32[5]@2");
        let s = cross_entropy::specialize::<f32>(&x, &targets, CrossEntropyConfig { columns: 16 });
        to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0])
    };
    for (a, b) in run(0.0).into_iter().zip(run(1000.0)) {
        // 1000 and the loss share 24 bits.
        assert!((a - b).abs() < 2e-4, "{a} {b}");
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let code = |s: nki::Specialization| s.trace().unwrap_err().first_code();
    let cfg = CrossEntropyConfig::default;
    assert_eq!(code(cross_entropy::specialize::<f32>([4, 5], [5], cfg())), Some(Code::Ensure));
    assert_eq!(code(cross_entropy::specialize::<f32>([4, 0], [4], cfg())), Some(Code::Ensure));
    assert_eq!(
        code(cross_entropy::specialize::<f32>([4, 5], [4], CrossEntropyConfig { columns: 0 })),
        Some(Code::Ensure)
    );
    let back = CrossEntropyBackwardConfig::default;
    assert_eq!(code(cross_entropy_backward::specialize::<f32>([4, 5], [4], [3], back())), Some(Code::Ensure));
    assert_eq!(code(cross_entropy_backward::specialize::<f32>([4, 5], [3], [4], back())), Some(Code::Ensure));
}
