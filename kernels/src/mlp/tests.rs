use super::{MlpConfig, mlp};
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};
use nki::{Mode, bf16};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

const NONE: Option<&Tensor> = None;

#[test]
fn a_token_does_not_depend_on_the_others() {
    let (up, down) = (tensor("normal(0,0.1):bf16[200,300]@1"), tensor("normal(0,0.1):bf16[300,200]@2"));
    let run = |x: &Tensor| {
        let s = mlp::specialize::<bf16>(x, NONE, &up, &down, NONE, NONE, NONE, MlpConfig::default());
        to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0])
    };
    // The generator makes the longer tensor begin with the shorter one.
    let (few, many) = (run(&tensor("normal:bf16[3,200]@5")), run(&tensor("normal:bf16[131,200]@5")));
    assert_eq!(few, many[..few.len()]);
}

#[test]
fn shapes_that_do_not_fit_together_are_refused() {
    let cfg = MlpConfig::default();
    let shapes = |up: [usize; 2], down: [usize; 2], gate: Option<[usize; 2]>, bias: Option<[usize; 1]>| {
        let none = None::<[usize; 1]>;
        mlp::specialize::<bf16>([5, 128], gate, up, down, bias, none, none, cfg.clone())
            .verify(Target::Trn2)
            .map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(shapes([128, 256], [256, 128], None, None), None);
    assert_eq!(shapes([127, 256], [256, 128], None, None), Some(Code::Ensure));
    assert_eq!(shapes([128, 256], [255, 128], None, None), Some(Code::Ensure));
    assert_eq!(shapes([128, 256], [256, 128], Some([128, 255]), None), Some(Code::Ensure));
    assert_eq!(shapes([128, 256], [256, 128], None, Some([256])), Some(Code::Ensure));
}

#[test]
fn a_layer_wider_than_sbuf_is_refused_by_name() {
    let (hidden, inner) = (1 << 20, 1 << 20);
    let none = None::<[usize; 1]>;
    let gate = None::<[usize; 2]>;
    let e = mlp::specialize::<f32>(
        [1, hidden],
        gate,
        [hidden, inner],
        [inner, hidden],
        none,
        none,
        none,
        MlpConfig::default(),
    )
    .trace()
    .unwrap_err();
    assert!(e.to_string().contains("too wide for SBUF"), "{e}");
}

#[test]
fn flags_without_their_operands_are_refused() {
    let shapes = |cfg: MlpConfig, tokens: usize| {
        let none = None::<[usize; 1]>;
        mlp::specialize::<bf16>(
            [tokens, 128],
            None::<[usize; 2]>,
            [128, 256],
            [256, 128],
            none,
            none,
            none,
            cfg,
        )
        .trace()
        .map_or_else(|e| e.first_code(), |_| None)
    };
    let limited = MlpConfig { gate_high: Some(7.0), ..MlpConfig::default() };
    assert_eq!(shapes(limited, 5), Some(Code::Ensure));
    let decode = MlpConfig { mode: super::Mode::Decode, ..MlpConfig::default() };
    assert_eq!(shapes(decode.clone(), 128), None);
    assert_eq!(shapes(decode, 129), Some(Code::Ensure));
}

#[test]
fn a_sum_needs_a_residual_and_gains_a_norm() {
    let trace = |residual: Option<[usize; 2]>, gamma: Option<[usize; 1]>, beta: Option<[usize; 1]>, norm| {
        let (none, gate) = (None::<[usize; 1]>, None::<[usize; 2]>);
        super::mlp_block::specialize::<bf16>(
            [5, 128],
            residual,
            gamma,
            beta,
            gate,
            [128, 256],
            [256, 128],
            none,
            none,
            none,
            norm,
            MlpConfig::default(),
        )
        .trace()
        .map_or_else(|e| e.first_code(), |_| None)
    };
    let with = |norm, store_sum| super::BlockConfig { norm, store_sum, ..super::BlockConfig::default() };
    use crate::norm::Norm;
    assert_eq!(trace(Some([5, 128]), Some([128]), None, with(Norm::Rms, true)), None);
    assert_eq!(trace(None, None, None, with(Norm::Rms, true)), Some(Code::Ensure));
    assert_eq!(trace(None, Some([128]), None, with(Norm::None, false)), Some(Code::Ensure));
    assert_eq!(trace(None, None, Some([128]), with(Norm::Rms, false)), Some(Code::Ensure));
    assert_eq!(trace(Some([5, 127]), None, None, with(Norm::Rms, false)), Some(Code::Ensure));
}
