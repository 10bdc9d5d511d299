use super::{AttentionConfig, attention};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn causal() -> AttentionConfig {
    AttentionConfig { causal: true, ..AttentionConfig::default() }
}

fn run(q: &Tensor, k: &Tensor, v: &Tensor, cfg: AttentionConfig) -> Vec<f64> {
    let s = attention::specialize::<f32>(q, k, v, None::<&Tensor>, cfg);
    to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0])
}

#[test]
fn results_lie_between_the_smallest_and_the_largest_value() {
    let (q, k) = (tensor("normal(0,3):f32[1,130,16]@1"), tensor("normal(0,3):f32[1,257,16]@2"));
    let v = tensor("normal:f32[1,257,16]@3");
    let values = to_f64(&v);
    let range = |column: usize| {
        let of = values.iter().skip(column).step_by(16);
        of.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)))
    };
    for (i, y) in run(&q, &k, &v, AttentionConfig::default()).into_iter().enumerate() {
        let (low, high) = range(i % 16);
        // A sum of 257 weights that add up to 1 but for their roundings.
        assert!(low - 1e-4 <= y && y <= high + 1e-4, "{i}: {y} in {low}..{high}");
    }
}

#[test]
fn later_keys_change_nothing_for_earlier_queries() {
    let q = tensor("normal:f32[1,150,8]@1");
    let (k, v) = (tensor("normal:f32[1,150,8]@2"), tensor("normal:f32[1,150,8]@3"));
    let changed = |t: &Tensor, from: usize| {
        let mut all = to_f64(t);
        all[from * 8..].iter_mut().for_each(|x| *x = 7.0 - *x);
        let all: Vec<f32> = all.into_iter().map(|x| x as f32).collect();
        Tensor::from_f32(&[1, 150, 8], &all).unwrap()
    };
    let before = run(&q, &k, &v, causal());
    let after = run(&q, &changed(&k, 129), &changed(&v, 129), causal());
    assert_eq!(before[..129 * 8], after[..129 * 8]);
    assert_ne!(before[129 * 8..], after[129 * 8..]);
}

#[test]
fn how_it_is_cut_changes_roundings_only() {
    let q = tensor("normal:f32[2,300,8]@1");
    let (k, v) = (tensor("normal:f32[1,600,8]@2"), tensor("uniform(0,1):f32[1,600,8]@3"));
    let cut = |keys, section| AttentionConfig { keys, section, offset: 300, ..causal() };
    let whole = run(&q, &k, &v, cut(1024, 8192));
    for (keys, section) in [(128, 128), (256, 512), (128, 1024)] {
        for (a, b) in run(&q, &k, &v, cut(keys, section)).into_iter().zip(&whole) {
            assert!((a - b).abs() < 1e-5, "{keys} {section}: {a} {b}");
        }
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |q: [usize; 3], k: [usize; 3], v: [usize; 3], cfg: AttentionConfig| {
        let e = attention::specialize::<f32>(q, k, v, None::<[usize; 1]>, cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    let (q, k) = ([4, 8, 16], [2, 8, 16]);
    let with = |change: fn(&mut AttentionConfig)| {
        let mut cfg = causal();
        change(&mut cfg);
        cfg
    };
    refused([4, 8, 129], [2, 8, 129], [2, 8, 129], causal());
    refused(q, [2, 8, 15], [2, 8, 15], causal());
    refused(q, k, [2, 9, 16], causal());
    refused([3, 8, 16], k, k, causal());
    refused(q, [2, 0, 16], [2, 0, 16], causal());
    refused(q, k, k, with(|c| c.keys = 100));
    refused(q, k, k, with(|c| c.section = 0));
    refused(q, k, k, with(|c| c.section = 640));
    refused(q, k, k, with(|c| c.scale = Some(0.0)));
    refused(q, k, k, with(|c| c.window = Some(0)));
    refused(q, k, k, with(|c| (c.causal, c.window) = (false, Some(4))));
    refused(q, k, k, with(|c| (c.offset, c.window) = (1, Some(4))));
}
