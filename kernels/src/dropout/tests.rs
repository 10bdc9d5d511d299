use super::{DropoutConfig, dropout};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn ones(rows: usize, columns: usize) -> Tensor {
    "ones".parse::<Generator>().unwrap().tensor(DType::F32, &[rows, columns], 0).unwrap()
}

fn run(target: Target, p: f32, seed: u32) -> Vec<f64> {
    let cfg = DropoutConfig { p, seed, ..DropoutConfig::default() };
    let s = dropout::specialize::<f32>(&ones(300, 500), cfg);
    to_f64(&s.run(Mode::Interp, target).unwrap()[0])
}

#[test]
fn a_seed_decides_and_the_share_is_right() {
    for target in [Target::Trn1, Target::Trn2, Target::Trn3] {
        let y = run(target, 0.3, 5);
        assert_eq!(y, run(target, 0.3, 5));
        assert_ne!(y, run(target, 0.3, 6));
        let n = y.len() as f64;
        let kept = y.iter().filter(|y| **y != 0.0).count() as f64 / n;
        assert!((kept - 0.7).abs() < 4.0 * (0.21 / n).sqrt(), "{target}: {kept}");
        // What is kept is scaled so that the mean stays.
        assert!((y.iter().sum::<f64>() / n - 1.0).abs() < 0.01);
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |p, columns| {
        let cfg = DropoutConfig { p, columns, ..DropoutConfig::default() };
        let e = dropout::specialize::<f32>([4, 4], cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    refused(1.0, 4);
    refused(-0.1, 4);
    refused(f32::NAN, 4);
    refused(0.5, 6);
    refused(0.5, 0);
}
