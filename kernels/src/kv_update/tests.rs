use super::{KvUpdateConfig, kv_update};
use nki::Mode;
use nki::args::from_f64;
use nki::ir::{Code, DType, Target, Tensor};

#[test]
fn tokens_outside_the_cache_end_the_run() {
    let zeros = |shape: &[usize]| Tensor::zeros(DType::F32, shape);
    for (tokens, position) in [(1, 6.0), (1, -1.0), (3, 4.0), (3, -2.0)] {
        let new = zeros(&[1, tokens, 2, 4]);
        let positions = from_f64(DType::I32, &[1], &[position]).unwrap();
        let (k, v) = (zeros(&[1, 2, 4, 6]), zeros(&[1, 2, 6, 4]));
        let spec = kv_update::specialize::<f32>(&k, &v, &new, &new, &positions, KvUpdateConfig::default());
        for mode in Mode::ALL {
            let e = spec.run(mode, Target::Trn2).unwrap_err();
            assert_eq!(e.first_code(), Some(Code::RuntimeIndex), "{mode} {tokens} {position}: {e}");
        }
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |k: [usize; 4], v: [usize; 4], new: [usize; 4]| {
        let s = kv_update::specialize::<f32>(k, v, new, new, [new[0]], KvUpdateConfig::default());
        assert_eq!(s.trace().unwrap_err().first_code(), Some(Code::Ensure));
    };
    refused([1, 2, 4, 6], [1, 2, 6, 4], [1, 7, 2, 4]);
    refused([1, 2, 4, 6], [1, 2, 6, 4], [2, 1, 2, 4]);
    refused([1, 2, 4, 6], [1, 2, 5, 4], [1, 1, 2, 4]);
    refused([1, 2, 129, 6], [1, 2, 6, 129], [1, 1, 2, 129]);
}
