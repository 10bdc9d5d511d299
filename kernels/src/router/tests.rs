use super::{GroupedConfig, RouterConfig, router, router_grouped};
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

#[test]
fn groups_that_it_does_not_take_are_refused() {
    let traced = |experts: usize, k, groups, top_groups| {
        let cfg = GroupedConfig { k, groups, top_groups, ..GroupedConfig::default() };
        let none = None::<[usize; 1]>;
        router_grouped::specialize::<f32>([4, 8], [8, experts], none, cfg)
            .trace()
            .map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(traced(16, 4, 4, 1), None);
    // Groups of different sizes, of one expert, more groups than there are, more experts than the groups have.
    for (experts, k, groups, top_groups) in [(15, 2, 4, 2), (4, 1, 4, 2), (16, 2, 4, 5), (16, 5, 4, 1)] {
        assert_eq!(traced(experts, k, groups, top_groups), Some(Code::Ensure));
    }
}
