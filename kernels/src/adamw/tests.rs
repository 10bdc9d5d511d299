use super::{AdamWConfig, adamw, rates};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

#[test]
fn without_gradient_and_decay_nothing_moves() {
    let p = tensor("normal:f32[300]@1");
    let zero = tensor("zeros:f32[300]");
    let cfg = AdamWConfig::default();
    let rates = Tensor::from_f32(&[3], &rates(&cfg, 0.1, 0.0, 3)).unwrap();
    let s = adamw::specialize::<f32>(&p, &zero, &zero, &zero, None::<&Tensor>, &rates, cfg);
    let results = s.run(Mode::Host, Target::Trn2).unwrap();
    assert_eq!(results[0].data, p.data);
    assert!(results.tensors()[1..].iter().all(|t| to_f64(t).iter().all(|&x| x == 0.0)));
}

#[test]
fn steps_find_the_minimum_of_a_parabola() {
    let cfg = AdamWConfig { beta1: 0.5, beta2: 0.9, ..AdamWConfig::default() };
    let goal = to_f64(&tensor("normal:f32[40]@1"));
    let mut state = [tensor("zeros:f32[40]"), tensor("zeros:f32[40]"), tensor("zeros:f32[40]")];
    for t in 1..=150 {
        let [p, m, v] = &state;
        let g: Vec<f32> = to_f64(p).iter().zip(&goal).map(|(p, goal)| (p - goal) as f32).collect();
        let g = Tensor::from_f32(&[40], &g).unwrap();
        let rates = Tensor::from_f32(&[3], &rates(&cfg, 0.5 / f64::from(t), 0.0, t)).unwrap();
        let s = adamw::specialize::<f32>(p, &g, m, v, None::<&Tensor>, &rates, cfg.clone());
        let results = s.run(Mode::Interp, Target::Trn2).unwrap().into_tensors();
        state = results.try_into().unwrap();
    }
    let furthest = to_f64(&state[0]).iter().zip(&goal).map(|(p, g)| (p - g).abs()).fold(0.0, f64::max);
    assert!(furthest < 1e-2, "{furthest}");
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |n: [usize; 5], cfg: AdamWConfig| {
        let [p, g, m, v, rates] = n.map(|n| [n]);
        let e = adamw::specialize::<f32>(p, g, m, v, None::<[usize; 1]>, rates, cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    let cfg = AdamWConfig::default;
    refused([4, 5, 4, 4, 3], cfg());
    refused([4, 4, 5, 4, 3], cfg());
    refused([4, 4, 4, 5, 3], cfg());
    refused([4, 4, 4, 4, 2], cfg());
    refused([4, 4, 4, 4, 3], AdamWConfig { beta1: 1.0, ..cfg() });
    refused([4, 4, 4, 4, 3], AdamWConfig { eps: 0.0, ..cfg() });
    refused([4, 4, 4, 4, 3], AdamWConfig { columns: 0, ..cfg() });
}
