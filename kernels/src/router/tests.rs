use super::{RouterConfig, router};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

#[test]
fn of_equal_logits_the_first_are_chosen_and_no_more() {
    let x = "ones:f32[3,4]".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    let w = "ones:f32[4,12]".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    let cfg = RouterConfig { k: 5, ..RouterConfig::default() };
    let results =
        router::specialize::<f32>(&x, &w, None::<&Tensor>, cfg).run(Mode::Host, Target::Trn2).unwrap();
    assert_eq!(to_f64(&results[1]), [0.0, 1.0, 2.0, 3.0, 4.0].repeat(3));
    for row in to_f64(&results[2]).chunks(12) {
        assert!(
            row.iter().enumerate().all(|(e, a)| (a - if e < 5 { 0.2 } else { 0.0 }).abs() < 1e-6),
            "{row:?}"
        );
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |x: [usize; 2], w: [usize; 2], bias: Option<[usize; 1]>, k| {
        let cfg = RouterConfig { k, ..RouterConfig::default() };
        let e = router::specialize::<f32>(x, w, bias, cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    refused([4, 8], [9, 16], None, 2);
    refused([4, 8], [8, 513], None, 2);
    refused([4, 8], [8, 16], Some([15]), 2);
    refused([4, 8], [8, 16], None, 9);
    refused([4, 8], [8, 4], None, 5);
    refused([4, 8], [8, 4], None, 0);
}
