use super::{QkvConfig, qkv, qkv_block, qkv_update};
use crate::kv_update::{KvUpdateConfig, kv_update};
use crate::norm::Norm;
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

const NONE: Option<&'static Tensor> = None;

/// A token's queries, keys and values do not depend on how many others are projected with it, which chooses the path.
#[test]
fn few_and_many_tokens_give_the_same() {
    let x = tensor("normal:f32[130,256]@1");
    let first = Tensor::from_f32(&[3, 256], &to_f64(&x)[..768].iter().map(|x| *x as f32).collect::<Vec<_>>());
    let (gamma, weight) = (tensor("normal:f32[256]@2"), tensor("normal(0,0.1):f32[256,5,16]@3"));
    let run = |x: &Tensor| {
        let s = qkv::specialize::<f32>(
            x,
            Some(&gamma),
            &weight,
            NONE,
            NONE,
            NONE,
            NONE,
            NONE,
            QkvConfig::default(),
        );
        s.run(Mode::Host, Target::Trn2).unwrap()
    };
    let (few, many) = (run(&first.unwrap()), run(&x));
    for part in 0..3 {
        let (few, many) = (to_f64(&few[part]), to_f64(&many[part]));
        assert!(few.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-4), "{part}");
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |weight: [usize; 3], cos: Option<[usize; 2]>, sin: Option<[usize; 2]>, kv_heads: usize| {
        let (none, cfg) = (None::<[usize; 1]>, QkvConfig { kv_heads, ..QkvConfig::default() });
        let bias = None::<[usize; 2]>;
        let s = qkv::specialize::<f32>([4, 16], none, weight, bias, cos, sin, none, none, cfg);
        let e = s.trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    refused([15, 4, 8], None, None, 1);
    refused([16, 4, 8], None, None, 2);
    refused([16, 4, 8], None, None, 0);
    refused([16, 4, 8], Some([4, 4]), None, 1);
    refused([16, 4, 8], Some([4, 3]), Some([4, 3]), 1);
    refused([16, 4, 7], Some([4, 3]), Some([4, 3]), 1);
    refused([16, 4, 513], None, None, 1);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let refused = |residual: Option<[usize; 2]>, gains: [bool; 2], cfg: QkvConfig| {
        let [gamma, beta] = gains.map(|given| given.then_some([16]));
        let (none, table, bias) = (None::<[usize; 1]>, None::<[usize; 2]>, None::<[usize; 2]>);
        let weight = [16, 4, 8];
        let s = qkv_block::specialize::<f32>(
            [4, 16],
            residual,
            residual,
            gamma,
            beta,
            weight,
            bias,
            table,
            table,
            none,
            none,
            cfg,
        );
        s.trace().err().map(|e| e.to_string())
    };
    let cfg = |norm, hidden_actual| QkvConfig { norm, hidden_actual, ..QkvConfig::default() };
    let says = |text: Option<String>, what: &str| {
        assert!(text.clone().unwrap_or_default().contains(what), "{text:?}")
    };
    assert_eq!(refused(Some([4, 16]), [true, true], cfg(Norm::Layer, Some(9))), None);
    says(refused(Some([4, 15]), [true, false], cfg(Norm::Rms, None)), "a residual is like `x`");
    says(refused(None, [true, true], cfg(Norm::Rms, None)), "`beta` belongs to layer normalisation");
    says(refused(None, [false, true], cfg(Norm::Layer, None)), "`beta` belongs to layer normalisation");
    says(refused(None, [true, false], cfg(Norm::None, None)), "`gamma` are the gains of a norm");
    says(refused(None, [true, false], cfg(Norm::Rms, Some(0))), "counts some of the 16 elements");
    says(refused(None, [true, false], cfg(Norm::Rms, Some(17))), "counts some of the 16 elements");
    says(refused(None, [false, false], cfg(Norm::Rms, Some(9))), "which needs `gamma`");
}

/// Padding changes nothing, in either form: zeros behind a token, and gains and weights for them.
#[test]
fn padded_tokens_give_what_bare_ones_do() {
    let padded = |x: &Tensor, rows: usize, to: usize| -> Tensor {
        let (width, values) = (x.elements() / rows, to_f64(x));
        let row =
            |r: &[f64]| -> Vec<f32> { r.iter().map(|v| *v as f32).chain(vec![0.0; to - width]).collect() };
        let all: Vec<f32> = values.chunks(width).flat_map(row).collect();
        Tensor::from_f32(&[rows, to], &all).unwrap()
    };
    for (tokens, norm) in [(3, Norm::Rms), (3, Norm::Layer), (130, Norm::Rms), (130, Norm::Layer)] {
        let x = tensor(&format!("normal(1,1):f32[{tokens},200]@1"));
        let (gamma, weight) = (tensor("normal:f32[200]@2"), tensor("normal(0,0.1):f32[200,5,16]@3"));
        let run = |x: &Tensor, gamma: &Tensor, weight: &Tensor, hidden_actual| {
            let cfg = QkvConfig { norm, hidden_actual, ..QkvConfig::default() };
            let s = qkv::specialize::<f32>(x, Some(gamma), weight, NONE, NONE, NONE, NONE, NONE, cfg);
            s.run(Mode::Host, Target::Trn2).unwrap()
        };
        let bare = run(&x, &gamma, &weight, None);
        let one_row = padded(&gamma, 1, 256);
        let wide = Tensor { shape: vec![256], ..one_row };
        let tall = padded(&weight, 1, 256 * 80);
        let tall = Tensor { shape: vec![256, 5, 16], ..tall };
        let got = run(&padded(&x, tokens, 256), &wide, &tall, Some(200));
        for part in 0..3 {
            let (a, b) = (to_f64(&bare[part]), to_f64(&got[part]));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{tokens} {norm:?} {part}");
        }
    }
}

/// One kernel does what two do one after the other, to the bit.
#[test]
fn keys_and_values_go_where_an_update_puts_them() {
    let (x, weight) = (tensor("normal:f32[6,128]@1"), tensor("normal(0,0.1):f32[128,6,16]@3"));
    let caches = (tensor("normal:f32[3,2,16,9]@4"), tensor("normal:f32[3,2,9,16]@5"));
    let positions = nki::args::from_f64(DType::I32, &[3], &[0.0, 7.0, -1.0]).unwrap();
    let (cfg, update) = (QkvConfig { kv_heads: 2, ..QkvConfig::default() }, KvUpdateConfig { skip: true });
    let s = qkv::specialize::<f32>(&x, NONE, &weight, NONE, NONE, NONE, NONE, NONE, cfg.clone());
    let parts = s.run(Mode::Interp, Target::Trn2).unwrap().into_tensors();
    let new = |x: &Tensor| Tensor { shape: vec![3, 2, 2, 16], ..x.clone() };
    let (k, v) = (new(&parts[1]), new(&parts[2]));
    let s = kv_update::specialize::<f32>(&caches.0, &caches.1, &k, &v, &positions, update.clone());
    let want = s.run(Mode::Interp, Target::Trn2).unwrap().into_tensors();
    let s = qkv_update::specialize::<f32>(
        &caches.0, &caches.1, &x, NONE, NONE, NONE, NONE, &weight, NONE, NONE, NONE, NONE, NONE, &positions,
        cfg, update,
    );
    let got = s.run(Mode::Interp, Target::Trn2).unwrap().into_tensors();
    assert_eq!((&got[0], &got[1], &got[2]), (&parts[0], &want[0], &want[1]));
    assert_ne!(got[1], caches.0);
}
