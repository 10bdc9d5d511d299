use super::{AttentionBackwardConfig, attention_backward, reference};
use crate::attention::{AttentionConfig, attention};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

/// Forward and backward on the machine: a step along the gradient changes the result by the gradient's square.
#[test]
fn the_result_grows_along_the_gradient() {
    let window = Some(60);
    let sink = tensor("uniform(0,3):f32[2]@5");
    let (q, k) = (tensor("normal:f32[2,140,16]@1"), tensor("normal:f32[1,140,16]@2"));
    let (v, dy) = (tensor("normal:f32[1,140,16]@3"), tensor("normal:f32[2,140,16]@4"));
    let forward = |q: &Tensor, k: &Tensor, sink: &Tensor| {
        let cfg = AttentionConfig { causal: true, window, ..AttentionConfig::default() };
        let s = attention::specialize::<f32>(q, k, &v, Some(sink), cfg);
        s.run(Mode::Host, Target::Trn2).unwrap().into_tensors().remove(0)
    };
    let o = forward(&q, &k, &sink);
    let shape = reference::Shape {
        heads: 2,
        kv_heads: 1,
        queries: 140,
        keys: 140,
        d: 16,
        causal: true,
        window: Some(60),
        scale: 0.25,
    };
    let lse: Vec<f32> = reference::lse(&to_f64(&q), &to_f64(&k), Some(&to_f64(&sink)), shape)
        .iter()
        .map(|&x| x as f32)
        .collect();
    let lse = Tensor::from_f32(&[2, 140], &lse).unwrap();
    let cfg = AttentionBackwardConfig { causal: true, window, ..AttentionBackwardConfig::default() };
    let s = attention_backward::specialize::<f32>(&q, &k, &v, &o, &dy, &lse, Some(&sink), cfg);
    let gradients = s.run(Mode::Host, Target::Trn2).unwrap();
    let value = |q: &Tensor, k: &Tensor, sink: &Tensor| -> f64 {
        to_f64(&forward(q, k, sink)).iter().zip(to_f64(&dy)).map(|(y, d)| y * d).sum()
    };
    let step = |x: &Tensor, g: &Tensor, by: f64| {
        let moved: Vec<f32> = to_f64(x).iter().zip(to_f64(g)).map(|(x, g)| (x + by * g) as f32).collect();
        Tensor::from_f32(&x.shape, &moved).unwrap()
    };
    let square = |g: &Tensor| to_f64(g).iter().map(|g| g * g).sum::<f64>();
    let (dq, dk, dsink) = (&gradients[0], &gradients[1], &gradients[3]);
    let h = 1e-2;
    let along_q = (value(&step(&q, dq, h), &k, &sink) - value(&step(&q, dq, -h), &k, &sink)) / (2.0 * h);
    let along_k = (value(&q, &step(&k, dk, h), &sink) - value(&q, &step(&k, dk, -h), &sink)) / (2.0 * h);
    let along_sink =
        (value(&q, &k, &step(&sink, dsink, h)) - value(&q, &k, &step(&sink, dsink, -h))) / (2.0 * h);
    assert!((along_q / square(dq) - 1.0).abs() < 0.01, "{along_q} {}", square(dq));
    assert!((along_k / square(dk) - 1.0).abs() < 0.01, "{along_k} {}", square(dk));
    assert!((along_sink / square(dsink) - 1.0).abs() < 0.01, "{along_sink} {}", square(dsink));
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |q: [usize; 3], k: [usize; 3], lse: [usize; 2], cfg: AttentionBackwardConfig| {
        let sink = None::<[usize; 1]>;
        let e = attention_backward::specialize::<f32>(q, k, k, q, q, lse, sink, cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    let (q, k, lse, cfg) = ([4, 8, 16], [2, 9, 16], [4, 8], AttentionBackwardConfig::default);
    refused([4, 8, 129], [2, 9, 129], lse, cfg());
    refused(q, [2, 9, 15], lse, cfg());
    refused([3, 8, 16], k, [3, 8], cfg());
    refused(q, k, [4, 9], cfg());
    refused(q, k, lse, AttentionBackwardConfig { causal: true, ..cfg() });
    refused(q, k, lse, AttentionBackwardConfig { scale: Some(0.0), ..cfg() });
    refused(q, k, lse, AttentionBackwardConfig { keys: 640, ..cfg() });
    refused(q, k, lse, AttentionBackwardConfig { window: Some(3), ..cfg() });
    let square = [2, 8, 16];
    refused(q, square, lse, AttentionBackwardConfig { causal: true, window: Some(0), ..cfg() });
}
