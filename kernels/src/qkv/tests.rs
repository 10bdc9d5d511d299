use super::{QkvConfig, qkv};
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
