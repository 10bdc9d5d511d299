use super::{ActivationConfig, GatedConfig, GatedTiles, activation_sum, gated};
use nki::args::to_f64;
use nki::ir::{Code, Target, Tensor};
use nki::prelude::*;

#[test]
fn the_activation_of_gpt_oss() {
    let row = |x: &[f32]| Tensor::from_f32(&[1, 3], x).unwrap();
    let spec = gated::specialize::<f32>(
        &row(&[100.0, 7.0, -100.0]),
        &row(&[100.0, -100.0, 3.0]),
        GatedConfig::gpt_oss(),
        GatedTiles::default(),
    );
    let y = to_f64(&spec.run(Mode::Sim, Target::Trn2).unwrap()[0]);
    // 7 · σ(11.914) is 6.99995; times 8, and times -6. A gate far below 0 lets nothing through.
    let g = 7.0 / (1.0 + (-1.702f64 * 7.0).exp());
    for (got, want) in y.iter().zip([8.0 * g, -6.0 * g, 0.0]) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
}

#[test]
fn operands_of_other_shapes_are_refused() {
    let code = |s: nki::Specialization| s.trace().map_or_else(|e| e.first_code(), |_| None);
    let (cfg, tiles) = (GatedConfig::default(), GatedTiles::default());
    assert_eq!(code(gated::specialize::<f32>([3, 5], [3, 4], cfg, tiles)), Some(Code::Ensure));
    let bias = activation_sum::specialize::<f32>([3, 5], Some([5]), ActivationConfig::default());
    assert_eq!(code(bias), Some(Code::Ensure));
}
