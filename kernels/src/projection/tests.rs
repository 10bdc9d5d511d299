use super::{ProjectionConfig, TransposedConfig, projection_fp8, projection_transposed};
use nki::ir::Code;

#[test]
fn columns_that_do_not_fill_partitions_are_refused() {
    let trace = |x: [usize; 2], weight: [usize; 2]| {
        let bias = None::<[usize; 1]>;
        let s = projection_transposed::specialize::<f32>(x, weight, bias, TransposedConfig::default());
        s.trace().map_or_else(|e| Some((e.first_code(), e.to_string())), |_| None)
    };
    let says = |x, weight, what: &str| {
        let (code, text) = trace(x, weight).unwrap();
        assert!(code == Some(Code::Ensure) && text.contains(what), "{text}");
    };
    assert!(trace([4, 64], [64, 640]).is_none());
    says([4, 64], [64, 602], "602 columns do not fill 128 partitions");
    says([129, 64], [64, 640], "takes 1 to 128 tokens, not 129");
    says([4, 64], [65, 640], "");
}

#[test]
fn a_weight_has_one_scale() {
    let (bias, residual) = (None::<[usize; 1]>, None::<[usize; 2]>);
    let cfg = ProjectionConfig::default();
    let refused = |scale: usize, x_scale: Option<usize>| {
        let x_scale = x_scale.map(|n| [n]);
        let s = projection_fp8::specialize::<f32>(
            [4, 64],
            [64, 10],
            [scale],
            x_scale,
            bias,
            residual,
            cfg.clone(),
        );
        s.trace().map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(refused(1, Some(1)), None);
    assert_eq!(refused(2, None), Some(Code::Ensure));
    assert_eq!(refused(1, Some(2)), Some(Code::Ensure));
}
