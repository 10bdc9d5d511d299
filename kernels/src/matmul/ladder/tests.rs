use super::*;
use nki::Specialization;
use nki::backend::device::{CompileOptions, Pass, compile};
use nki::check::gate;
use nki::ir::{Code, Diagnostics};
use nki::prelude::*;
use nki::sim::SimOptions;

fn code(s: Specialization) -> Option<Code> {
    s.verify(Target::Trn2).map_or_else(|e: Diagnostics| e.first_code(), |_| None)
}

#[test]
fn each_rung_refuses_what_it_does_not_take() {
    assert_eq!(code(matmul_basic::specialize::<bf16>([128, 65], [128, 512])), Some(Code::Ensure));
    assert_eq!(code(matmul_tiled::specialize::<bf16>([128, 129], [128, 512])), Some(Code::Ensure));
    assert_eq!(code(matmul_hoisted::specialize::<bf16>([128, 128], [128, 511])), Some(Code::Ensure));
    assert_eq!(code(matmul_blocked_free::specialize::<bf16>([100, 128], [100, 512])), Some(Code::Ensure));
    let groups = |groups, m| matmul_decode::specialize::<bf16>([300, m], [300, 40], DecodeConfig { groups });
    assert_eq!(code(groups(4, 32)), None);
    assert_eq!(code(groups(4, 33)), Some(Code::Ensure));
    assert_eq!(code(groups(3, 5)), Some(Code::Ensure));
    let fp8 = |k| matmul_double_row::specialize([k, 64], [k, 40], [1], DoubleRowConfig::default());
    assert_eq!(code(fp8(512)), None);
    assert_eq!(code(fp8(384)), Some(Code::Ensure));
}

#[test]
fn operands_are_given_one_way_round() {
    let none = None::<[usize; 3]>;
    let of = |lhs, lhs_t| {
        let bias = None::<[usize; 1]>;
        let cfg = GeneralConfig::default();
        code(matmul_general::specialize::<bf16>(lhs, lhs_t, Some([2, 8, 4]), none, bias, none, cfg))
    };
    assert_eq!(of(Some([2, 3, 8]), None), None);
    assert_eq!(of(None, Some([2, 8, 3])), None);
    assert_eq!(of(Some([2, 3, 8]), Some([2, 8, 3])), Some(Code::Ensure));
    assert_eq!(of(None, None), Some(Code::Ensure));
    assert_eq!(of(Some([1, 3, 8]), None), Some(Code::Ensure));
}

/// Simulated time of a rung, with the loads where its author put them.
fn as_written(s: Specialization) -> f64 {
    let verified = gate(s.trace().unwrap().kernel, Target::Trn1, &mut Diagnostics::new()).unwrap();
    let options = CompileOptions::default().without(Pass::ReuseLoads);
    let program = nki::sim::verify(compile(&verified, &options).unwrap().program).unwrap();
    let options = SimOptions { mode: nki::sim::Mode::TimeOnly, ..SimOptions::default() };
    nki::sim::run(&program, &[], &options).unwrap().report.kernel_ns
}

/// Each rung moves less than the one below it: on trn1, where a tile of rung 2 has half the operations per byte that keep the
/// tensor engine busy, that is time.
#[test]
fn the_ladder_leads_up() {
    let (left, right) = ([1024usize, 2048], [1024usize, 2048]);
    let times = [
        as_written(matmul_tiled::specialize::<bf16>(left, right)),
        as_written(matmul_hoisted::specialize::<bf16>(left, right)),
        as_written(matmul_blocked_free::specialize::<bf16>(left, right)),
        as_written(crate::matmul::matmul_blocked::specialize::<bf16>(left, right, Default::default())),
    ];
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert!(times[3] < 0.7 * times[0], "{times:?}");
}
