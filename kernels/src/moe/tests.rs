use super::*;
use crate::activation::GatedConfig;
use crate::router::{RouterConfig, router};
use nki::Mode;
use nki::args::{Generator, from_f64, to_f64};
use nki::ir::{Code, Target, Tensor};

const NONE: Option<&Tensor> = None;

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn ints(shape: &[usize], values: &[i32]) -> Tensor {
    from_f64(DType::I32, shape, &values.iter().map(|&v| v.into()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn every_choice_is_in_one_block() {
    let chosen: Vec<u32> = (0..97).flat_map(|t| [t * 7 % 5, (t * 7 + 1 + t % 4) % 5]).collect();
    for block in [1, 3, 16, 200] {
        let b = blocks(&chosen, 2, 6, block);
        assert_eq!(b.ids.len(), b.experts.len() * block);
        let mut seen = Vec::new();
        for (ids, e) in b.ids.chunks(block).zip(&b.experts) {
            let used = ids.iter().take_while(|id| **id >= 0).count();
            assert!(used > 0 && ids[used..].iter().all(|id| *id == -1));
            seen.extend(ids[..used].iter().map(|&t| (t as usize, *e as u32)));
        }
        seen.sort_unstable();
        let mut want: Vec<_> = chosen.iter().enumerate().map(|(i, &e)| (i / 2, e)).collect();
        want.sort_unstable();
        assert_eq!(seen, want);
    }
}

/// A router, its choices sorted into blocks, and the experts: against the sum over all experts, each with its affinity.
#[test]
fn routed_tokens_get_all_their_experts() {
    let (x, w) = (tensor("normal:f32[45,24]@1"), tensor("normal:f32[24,6]@2"));
    let cfg = RouterConfig { k: 3, ..RouterConfig::default() };
    let routed =
        router::specialize::<f32>(&x, &w, None::<&Tensor>, cfg).run(Mode::Host, Target::Trn2).unwrap();
    let chosen: Vec<u32> = to_f64(&routed[1]).iter().map(|&e| e as u32).collect();
    let b = blocks(&chosen, 3, 6, 8);
    let (ids, experts) = (ints(&[b.experts.len(), 8], &b.ids), ints(&[b.experts.len()], &b.experts));
    let (gate, up) = (tensor("normal:f32[6,24,20]@3"), tensor("normal:f32[6,24,20]@4"));
    let down = tensor("normal:f32[6,20,24]@5");
    let weights = [to_f64(&gate), to_f64(&up), to_f64(&down)];
    let x_values = to_f64(&x);
    // Affinities are 0 where a token does not go: every expert for every token is the same sum.
    let everyone: Vec<f64> = (0..6 * 45).map(|i| f64::from(i % 45)).collect();
    let shape = reference::Shape { hidden: 24, inner: 20, experts: 6, block: 45 };
    let w = reference::Weights::plain(Some(&weights[0]), &weights[1], &weights[2]);
    let all: Vec<f64> = (0..6).map(f64::from).collect();
    let want = reference::moe(&x_values, &w, &to_f64(&routed[2]), &everyone, &all, shape);
    let scale = want.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
    let s = moe::specialize::<f32>(
        &x,
        Some(&gate),
        &up,
        &down,
        NONE,
        NONE,
        NONE,
        &routed[2],
        &ids,
        &experts,
        GatedConfig::default(),
    );
    for mode in Mode::ALL {
        let got = to_f64(&s.run(mode, Target::Trn2).unwrap()[0]);
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-5 * scale), "{mode}");
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused =
        |up: [usize; 3], down: [usize; 3], table: [usize; 2], ids: [usize; 2], experts: [usize; 1]| {
            let none = None::<[usize; 2]>;
            let s = moe::specialize::<f32>(
                [9, 8],
                None::<[usize; 3]>,
                up,
                down,
                none,
                none,
                none,
                table,
                ids,
                experts,
                GatedConfig::default(),
            );
            let e = s.trace().unwrap_err();
            assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
        };
    let (up, down, table, ids, experts) = ([2, 8, 5], [2, 5, 8], [9, 2], [3, 4], [3]);
    refused([2, 7, 5], down, table, ids, experts);
    refused(up, [2, 8, 5], table, ids, experts);
    refused(up, down, [8, 2], ids, experts);
    refused(up, down, table, [2, 4], experts);
    refused(up, down, table, [3, 513], experts);
}
