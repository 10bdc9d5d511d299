use super::{KvUpdateConfig, kv_update, kv_update_fp8};
use nki::Mode;
use nki::args::{from_f64, to_f64};
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

/// What is written are the nearest 8-bit floats, and everything else keeps its bits, NaN included.
#[test]
fn eight_bits_are_rounded_once() {
    for tokens in [1, 3] {
        let old = from_f64(DType::F8E4M3, &[1, 1, 2, 5], &[f64::NAN; 10]).unwrap();
        let caches = (old.clone(), Tensor { shape: vec![1, 1, 5, 2], ..old });
        // 0.53 / 0.5 = 1.06 rounds to 1, 0.55 / 0.5 = 1.1 to 1.125.
        let new: Vec<f64> = [0.53, 0.55, 1000.0, -1000.0, 0.5, 0.0][..2 * tokens].to_vec();
        let want = [1.0, 1.125, 240.0, -240.0, 1.0, 0.0];
        let x = from_f64(DType::F32, &[1, tokens, 1, 2], &new).unwrap();
        let scale = Tensor::from_f32(&[1], &[0.5]).unwrap();
        let position = from_f64(DType::I32, &[1], &[1.0]).unwrap();
        let cfg = KvUpdateConfig::default();
        let spec =
            kv_update_fp8::specialize::<f32>(&caches.0, &caches.1, &x, &x, &scale, &scale, &position, cfg);
        for mode in Mode::ALL {
            let got = spec.run(mode, Target::Trn2).unwrap();
            let (k, v) = (to_f64(&got[0]), to_f64(&got[1]));
            for (slot, e) in (0..10).map(|i| (i / 2, i % 2)) {
                let got = [k[e * 5 + slot], v[slot * 2 + e]];
                if (1..1 + tokens).contains(&slot) {
                    assert_eq!(got, [want[2 * (slot - 1) + e]; 2], "{mode} {tokens} {slot} {e}");
                } else {
                    assert!(got.iter().all(|x| x.is_nan()), "{mode} {tokens} {slot} {e}");
                }
            }
        }
    }
}
