use super::{RmsNormQuantConfig, rmsnorm_quant};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn run(x: &Tensor, cfg: RmsNormQuantConfig) -> Vec<Vec<f64>> {
    let s = rmsnorm_quant::specialize::<f32>(x, None::<&Tensor>, None::<&Tensor>, cfg);
    s.run(Mode::Host, Target::Trn2).unwrap().tensors().iter().map(to_f64).collect()
}

#[test]
fn scales_are_those_of_the_rows() {
    let mut x = to_f64(&tensor("normal:f32[40,200]@1"));
    // A huge outlier in one row, nothing but zeros in another.
    x[3 * 200 + 7] = 1e6;
    x[5 * 200..6 * 200].fill(0.0);
    let t = Tensor::from_f32(&[40, 200], &x.iter().map(|&x| x as f32).collect::<Vec<_>>()).unwrap();
    let got = run(&t, RmsNormQuantConfig { normalise: false, ..RmsNormQuantConfig::default() });
    for ((row, q), scale) in x.chunks(200).zip(got[0].chunks(200)).zip(&got[1]) {
        let largest = row.iter().fold(1e-5, |m, x| f64::max(m, x.abs()));
        assert!((scale * 240.0 / largest - 1.0).abs() < 1e-6, "{scale} {largest}");
        assert!(row.iter().zip(q).all(|(x, q)| (x / scale - q).abs() <= q.abs() / 16.0 + 1e-3));
    }
}

#[test]
fn quantising_again_changes_nothing() {
    let cfg = || RmsNormQuantConfig { normalise: false, ..RmsNormQuantConfig::default() };
    let first = run(&tensor("normal:f32[7,129]@3"), cfg());
    // Times a power of two, so that the second scale is exact.
    let values: Vec<f32> = first[0].iter().map(|q| *q as f32 * 0.25).collect();
    let second = run(&Tensor::from_f32(&[7, 129], &values).unwrap(), cfg());
    assert_eq!(first[0], second[0]);
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |gamma: Option<[usize; 1]>, scale: Option<[usize; 1]>, cfg| {
        let e = rmsnorm_quant::specialize::<f32>([4, 5], gamma, scale, cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    refused(Some([4]), None, RmsNormQuantConfig::default());
    refused(None, Some([4]), RmsNormQuantConfig::default());
    refused(None, None, RmsNormQuantConfig { floor: 0.0, ..RmsNormQuantConfig::default() });
}
