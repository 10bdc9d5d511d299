use super::{
    AttentionDecodeConfig, BlocksConfig, attention_decode, attention_decode_blocks, attention_decode_fp8,
    attention_decode_masked, attention_decode_rows,
};
use crate::attention::{AttentionConfig, attention};
use crate::kv_update::{KvUpdateConfig, kv_update_fp8};
use nki::Mode;
use nki::args::{Generator, from_f64, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn lengths(all: &[usize]) -> Tensor {
    let values: Vec<f64> = all.iter().map(|n| *n as f64).collect();
    from_f64(DType::I32, &[all.len()], &values).unwrap()
}

/// `x` with axes in the order that `at` (old position of a new one) gives.
fn reordered(x: &Tensor, shape: &[usize], at: impl Fn(&[usize]) -> usize) -> Tensor {
    let values = to_f64(x);
    let n: usize = shape.iter().product();
    let index = |mut i: usize| {
        let mut index = vec![0; shape.len()];
        for (place, size) in index.iter_mut().zip(shape).rev() {
            *place = i % size;
            i /= size;
        }
        index
    };
    let values: Vec<f64> = (0..n).map(|i| values[at(&index(i))]).collect();
    from_f64(x.dtype, shape, &values).unwrap()
}

/// The last tokens of a sequence see the same through the cache as in attention over the whole sequence.
#[test]
fn the_cache_and_the_whole_sequence_agree() {
    let (heads, kv_heads, d, keys, tokens) = (4, 2, 32, 203, 3);
    let before = keys - tokens;
    let (q, k) = (tensor("normal:f32[4,3,32]@1"), tensor("normal:f32[2,203,32]@2"));
    let v = tensor("normal:f32[2,203,32]@3");
    let cfg = AttentionConfig { causal: true, offset: before, ..AttentionConfig::default() };
    let whole = attention::specialize::<f32>(&q, &k, &v, None::<&Tensor>, cfg);
    let whole = whole.run(Mode::Host, Target::Trn2).unwrap();
    let want = reordered(&whole[0], &[tokens, heads, d], |i| (i[1] * tokens + i[0]) * d + i[2]);

    let q = reordered(&q, &[1, tokens, heads, d], |i| (i[2] * tokens + i[1]) * d + i[3]);
    let new =
        |x: &Tensor| reordered(x, &[1, tokens, kv_heads, d], |i| (i[2] * keys + before + i[1]) * d + i[3]);
    let k_cache = reordered(&k, &[1, kv_heads, d, before], |i| (i[1] * keys + i[3]) * d + i[2]);
    let v_cache = reordered(&v, &[1, kv_heads, before, d], |i| (i[1] * keys + i[2]) * d + i[3]);
    let spec = attention_decode::specialize::<f32>(
        &q,
        &new(&k),
        &new(&v),
        &k_cache,
        &v_cache,
        &lengths(&[before]),
        None::<&Tensor>,
        AttentionDecodeConfig::default(),
    );
    let got = spec.run(Mode::Host, Target::Trn2).unwrap();
    for (got, want) in to_f64(&got[0]).into_iter().zip(to_f64(&want)) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
}

const NAN: f64 = f64::NAN;

/// `[2, 2, 16, 40]` and `[2, 2, 40, 16]`, with `rest` in the slots that are not used.
fn caches(used: impl Fn(usize, usize) -> bool, rest: f64) -> (Tensor, Tensor) {
    let old = to_f64(&tensor("uniform(0,1):f32[2,2,40,16]@4"));
    let fill = |shape: [usize; 4], slot: &dyn Fn(usize) -> usize| {
        let values: Vec<f64> =
            (0..old.len()).map(|i| if used(i / 1280, slot(i)) { old[i] } else { rest }).collect();
        from_f64(DType::F32, &shape, &values).unwrap()
    };
    (fill([2, 2, 16, 40], &|i| i % 40), fill([2, 2, 40, 16], &|i| i / 16 % 40))
}

/// What lies in slots that no token sees, a NaN or an infinity, does not get to the result: past the length, before the window.
#[test]
fn slots_that_nobody_sees_change_nothing() {
    let (q, k) = (tensor("normal:f32[2,1,4,16]@1"), tensor("normal:f32[2,1,2,16]@2"));
    let v = tensor("normal:f32[2,1,2,16]@3");
    for (window, first) in [(None, 0), (Some(12), 19)] {
        let run = |rest: f64, mode: Mode| {
            let (k_cache, v_cache) = caches(|_, slot| (first..30).contains(&slot), rest);
            let cfg = AttentionDecodeConfig { window, ..AttentionDecodeConfig::default() };
            let (lengths, sink) = (lengths(&[30, 30]), None::<&Tensor>);
            let spec =
                attention_decode::specialize::<f32>(&q, &k, &v, &k_cache, &v_cache, &lengths, sink, cfg);
            to_f64(&spec.run(mode, Target::Trn2).unwrap()[0])
        };
        let want = run(0.0, Mode::Interp);
        assert!(want.iter().all(|x| x.is_finite()));
        for rest in [NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30] {
            assert_eq!(run(rest, Mode::Interp), want, "{rest} {window:?}");
        }
        for mode in [Mode::Host, Mode::Sim] {
            assert_eq!(run(NAN, mode), run(0.0, mode), "{mode} {window:?}");
        }
    }
}

/// Keys as rows and as columns give the same bits, whatever unused slots hold.
#[test]
fn keys_as_rows_and_as_columns_agree() {
    let (q, k) = (tensor("normal:f32[2,1,4,16]@1"), tensor("normal:f32[2,1,2,16]@2"));
    let v = tensor("normal:f32[2,1,2,16]@3");
    for rest in [0.0, NAN, f64::INFINITY] {
        let (k_cache, v_cache) = caches(|_, slot| slot < 30, rest);
        let columns = to_f64(&k_cache);
        let at = |i: usize| i / 640 * 640 + i % 16 * 40 + i / 16 % 40;
        let rows: Vec<f64> = (0..columns.len()).map(|i| columns[at(i)]).collect();
        let k_rows = from_f64(DType::F32, &[2, 2, 40, 16], &rows).unwrap();
        let (lengths, sink, cfg) = (lengths(&[30, 30]), None::<&Tensor>, AttentionDecodeConfig::default);
        let of_columns =
            attention_decode::specialize::<f32>(&q, &k, &v, &k_cache, &v_cache, &lengths, sink, cfg());
        let of_rows =
            attention_decode_rows::specialize::<f32>(&q, &k, &v, &k_rows, &v_cache, &lengths, sink, cfg());
        for mode in [Mode::Interp, Mode::Host, Mode::Sim] {
            let run = |spec: &nki::Specialization| to_f64(&spec.run(mode, Target::Trn2).unwrap()[0]);
            assert_eq!(run(&of_rows), run(&of_columns), "{mode}, {rest} in unused slots");
        }
    }
}

/// Rows of a block that a sequence has only begun, and blocks that its table has left over from another.
#[test]
fn rows_of_blocks_that_nobody_sees_change_nothing() {
    let (q, k) = (tensor("normal:f32[2,1,4,16]@1"), tensor("normal:f32[2,1,2,16]@2"));
    let v = tensor("normal:f32[2,1,2,16]@3");
    // Sequence 0 uses 7 slots of blocks 1 and 0, sequence 1 those of block 3 and one of block 2, which are all of 5 slots.
    let table = from_f64(DType::I32, &[2, 3], &[1.0, 0.0, 4.0, 3.0, 2.0, -1.0]).unwrap();
    let used = |row: usize| [0..2, 5..10, 10..11, 15..20].iter().any(|rows| rows.contains(&row));
    let run = |rest: f64, mode: Mode| {
        let values = to_f64(&tensor("uniform(0,1):f32[25,2,16]@4"));
        let values: Vec<f64> =
            values.iter().enumerate().map(|(i, x)| if used(i / 32) { *x } else { rest }).collect();
        let cache = from_f64(DType::F32, &[25, 2, 16], &values).unwrap();
        let spec = attention_decode_blocks::specialize::<f32>(
            &q,
            &k,
            &v,
            &cache,
            &cache,
            &table,
            &lengths(&[7, 6]),
            None::<&Tensor>,
            BlocksConfig { length: 5 },
            AttentionDecodeConfig::default(),
        );
        to_f64(&spec.run(mode, Target::Trn2).unwrap()[0])
    };
    for mode in [Mode::Interp, Mode::Host, Mode::Sim] {
        let want = run(0.0, mode);
        assert!(want.iter().all(|x| x.is_finite()));
        assert_eq!(run(NAN, mode), want, "{mode}");
    }
}

/// Masks that say what lengths say give the same bits; what they hide may be anything.
#[test]
fn masks_and_lengths_agree() {
    let (q, k) = (tensor("normal:f32[2,2,4,16]@1"), tensor("normal:f32[2,2,2,16]@2"));
    let v = tensor("normal:f32[2,2,2,16]@3");
    let n = [30, 17];
    let (k_cache, v_cache) = caches(|b, slot| slot < n[b], NAN);
    let (sink, cfg) = (None::<&Tensor>, AttentionDecodeConfig::default);
    let by_length =
        attention_decode::specialize::<f32>(&q, &k, &v, &k_cache, &v_cache, &lengths(&n), sink, cfg());
    let run = |s: nki::Specialization| to_f64(&s.run(Mode::Interp, Target::Trn2).unwrap()[0]);
    let want = run(by_length);
    for heads in [1, 4] {
        let shown = |shape: &[usize], sees: &dyn Fn(usize) -> bool| {
            let all: Vec<f64> = (0..shape.iter().product()).map(|i| f64::from(sees(i))).collect();
            from_f64(DType::U8, shape, &all).unwrap()
        };
        let mask = shown(&[2, 40, 2, heads], &|i| i / (2 * heads) % 40 < n[i / (80 * heads)]);
        let new_mask = shown(&[2, 2, 2, heads], &|i| i / (2 * heads) % 2 <= i / heads % 2);
        for new_mask in [None, Some(&new_mask)] {
            let s = attention_decode_masked::specialize::<f32>(
                &q,
                &k,
                &v,
                &k_cache,
                &v_cache,
                &mask,
                new_mask,
                sink,
                cfg(),
            );
            assert_eq!(run(s), want, "{heads}");
        }
    }
}

/// A new token that nobody sees, as in a batch of ragged drafts, may be a NaN.
#[test]
fn a_new_token_that_nobody_sees_changes_nothing() {
    let q = tensor("normal:f32[1,2,1,4]@1");
    let cache = (tensor("normal:f32[1,1,4,5]@2"), tensor("normal:f32[1,1,5,4]@3"));
    let mask = tensor("uniform(0,2):u8[1,5,2,1]@4");
    let new_mask = from_f64(DType::U8, &[1, 2, 2, 1], &[1.0, 1.0, 0.0, 0.0]).unwrap();
    let run = |last: f64| {
        let new =
            from_f64(DType::F32, &[1, 2, 1, 4], &[0.5, -1.0, 2.0, 0.0, last, last, last, last]).unwrap();
        let cfg = AttentionDecodeConfig::default();
        let sink = None::<&Tensor>;
        let s = attention_decode_masked::specialize::<f32>(
            &q,
            &new,
            &new,
            &cache.0,
            &cache.1,
            &mask,
            Some(&new_mask),
            sink,
            cfg,
        );
        to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0])
    };
    assert_eq!(run(NAN), run(0.0));
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |q: [usize; 4], cache: [usize; 4], cfg: AttentionDecodeConfig| {
        let [b, t, _, d] = q;
        let new = [b, t, cache[1], d];
        let values = [cache[0], cache[1], cache[3], cache[2]];
        let sink = None::<[usize; 1]>;
        let s = attention_decode::specialize::<f32>(q, new, new, cache, values, [b], sink, cfg);
        let e = s.trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    let cfg = AttentionDecodeConfig::default;
    refused([1, 1, 4, 129], [1, 2, 129, 10], cfg());
    refused([1, 1, 3, 16], [1, 2, 16, 10], cfg());
    refused([1, 33, 4, 16], [1, 2, 16, 10], cfg());
    refused([2, 1, 4, 16], [1, 2, 16, 10], cfg());
    refused([1, 1, 4, 16], [1, 2, 17, 10], cfg());
    refused([1, 1, 4, 16], [1, 2, 16, 10], AttentionDecodeConfig { bucket: Some(11), ..cfg() });
    refused([1, 1, 4, 16], [1, 2, 16, 10], AttentionDecodeConfig { keys: 100, ..cfg() });
    refused([1, 1, 4, 16], [1, 2, 16, 10], AttentionDecodeConfig { scale: Some(0.0), ..cfg() });
    refused([1, 1, 4, 16], [1, 2, 16, 10], AttentionDecodeConfig { window: Some(0), ..cfg() });
}

/// Slots in blocks, in any order of blocks, give the same bits as the same slots in a row.
#[test]
fn blocks_and_slots_agree() {
    let (kv_heads, d, length, n) = (2, 16, 5, 27);
    let (q, k) = (tensor("normal:f32[2,2,4,16]@1"), tensor("normal:f32[2,2,2,16]@2"));
    let v = tensor("normal:f32[2,2,2,16]@3");
    let (keys, values) = (tensor("normal:f32[270,2,16]@4"), tensor("normal:f32[270,2,16]@5"));
    // 5 and 54 have no common factor: every block is used once.
    let order: Vec<f64> = (0..2 * n).map(|i| (i * 5 % (2 * n)) as f64).collect();
    let row = |b: usize, slot: usize| order[b * n + slot / length] as usize * length + slot % length;
    let k_cache =
        reordered(&keys, &[2, kv_heads, d, n * length], |i| (row(i[0], i[3]) * kv_heads + i[1]) * d + i[2]);
    let v_cache =
        reordered(&values, &[2, kv_heads, n * length, d], |i| (row(i[0], i[2]) * kv_heads + i[1]) * d + i[3]);
    let (cfg, sink, lengths) = (AttentionDecodeConfig::default(), None::<&Tensor>, lengths(&[135, 77]));
    let whole =
        attention_decode::specialize::<f32>(&q, &k, &v, &k_cache, &v_cache, &lengths, sink, cfg.clone());
    let table = from_f64(DType::I32, &[2, n], &order).unwrap();
    let blocks = attention_decode_blocks::specialize::<f32>(
        &q,
        &k,
        &v,
        &keys,
        &values,
        &table,
        &lengths,
        sink,
        BlocksConfig { length },
        cfg,
    );
    let run = |s: nki::Specialization| to_f64(&s.run(Mode::Interp, Target::Trn2).unwrap()[0]);
    assert_eq!(run(whole), run(blocks));
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    let trace = |cache: [usize; 3], values: [usize; 3], table: [usize; 2]| {
        let (sink, cfg) = (None::<[usize; 1]>, AttentionDecodeConfig::default());
        let blocks = BlocksConfig { length: 8 };
        let (q, new) = ([2, 1, 4, 16], [2, 1, 2, 16]);
        let s = attention_decode_blocks::specialize::<f32>(
            q,
            new,
            new,
            cache,
            values,
            table,
            [2],
            sink,
            blocks,
            cfg,
        );
        s.trace().map_or_else(|e| e.first_code(), |_| None)
    };
    let cache = [48, 2, 16];
    assert_eq!(trace(cache, cache, [2, 3]), None);
    assert_eq!(trace(cache, cache, [1, 3]), Some(Code::Ensure));
    assert_eq!(trace(cache, cache, [2, 0]), Some(Code::Ensure));
    assert_eq!(trace(cache, [48, 1, 16], [2, 3]), Some(Code::Ensure));
    assert_eq!(trace([48, 1, 16], [48, 1, 16], [2, 3]), Some(Code::Ensure));
    assert_eq!(trace([0, 2, 16], [0, 2, 16], [2, 3]), Some(Code::Ensure));
    assert_eq!(trace([1 << 25, 2, 16], [1 << 25, 2, 16], [2, 3]), Some(Code::Ensure));
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let trace = |mask: [usize; 4], new_mask: Option<[usize; 4]>, window: Option<usize>| {
        let (new, keys, values) = ([2, 3, 2, 16], [2, 2, 16, 40], [2, 2, 40, 16]);
        let cfg = AttentionDecodeConfig { window, ..AttentionDecodeConfig::default() };
        let sink = None::<[usize; 1]>;
        let q = [2, 3, 4, 16];
        let s =
            attention_decode_masked::specialize::<f32>(q, new, new, keys, values, mask, new_mask, sink, cfg);
        s.trace().map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(trace([2, 40, 3, 1], None, None), None);
    assert_eq!(trace([2, 40, 3, 4], Some([2, 3, 3, 1]), None), None);
    assert_eq!(trace([2, 40, 3, 2], None, None), Some(Code::Ensure));
    assert_eq!(trace([2, 41, 3, 4], None, None), Some(Code::Ensure));
    assert_eq!(trace([2, 40, 1, 4], None, None), Some(Code::Ensure));
    assert_eq!(trace([2, 40, 3, 4], Some([2, 3, 40, 1]), None), Some(Code::Ensure));
    assert_eq!(trace([2, 40, 3, 4], None, Some(5)), Some(Code::Ensure));
}

/// A sequence whose earlier tokens were rounded to 8 bits on their way into the cache differs by no more than these roundings.
#[test]
fn an_8_bit_cache_stands_for_its_tokens() {
    let (slots, d) = (150, 32);
    let zeros = |shape: [usize; 4]| Tensor::zeros(DType::F8E4M3, &shape);
    let (k, v) = (tensor("normal:f32[1,150,2,32]@1"), tensor("uniform(0,1):f32[1,150,2,32]@2"));
    let scale = |x: f32| Tensor::from_f32(&[1], &[x]).unwrap();
    let (k_scale, v_scale) = (scale(0.02), scale(1.0 / 240.0));
    let caches = kv_update_fp8::specialize::<f32>(
        &zeros([1, 2, d, slots]),
        &zeros([1, 2, slots, d]),
        &k,
        &v,
        &k_scale,
        &v_scale,
        &lengths(&[0]),
        KvUpdateConfig::default(),
    );
    let caches = caches.run(Mode::Interp, Target::Trn2).unwrap().into_tensors();
    let (q, new) = (tensor("normal:f32[1,1,4,32]@3"), tensor("uniform(0,1):f32[1,1,2,32]@4"));
    let (sink, cfg, n) = (None::<&Tensor>, AttentionDecodeConfig::default, lengths(&[slots]));
    let (keys, values) = (&caches[0], &caches[1]);
    let got = attention_decode_fp8::specialize::<f32>(
        &q,
        &new,
        &new,
        keys,
        values,
        &k_scale,
        &v_scale,
        &n,
        sink,
        cfg(),
    );
    let k_cache = reordered(&k, &[1, 2, d, slots], |i| (i[3] * 2 + i[1]) * d + i[2]);
    let v_cache = reordered(&v, &[1, 2, slots, d], |i| (i[2] * 2 + i[1]) * d + i[3]);
    let want = attention_decode::specialize::<f32>(&q, &new, &new, &k_cache, &v_cache, &n, sink, cfg());
    let run = |s: nki::Specialization| to_f64(&s.run(Mode::Interp, Target::Trn2).unwrap()[0]);
    let (got, want) = (run(got), run(want));
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 0.03 && worst > 0.0, "{worst}");
}

/// 8-bit slots that nobody sees may hold anything, too: rows in words of 32, 16 and 8 bits.
#[test]
fn unused_8_bit_slots_change_nothing() {
    for d in [4, 6, 5] {
        let small = |seed: usize| {
            let x: Generator = format!("normal:bf16[1,1,1,{d}]@{seed}").parse().unwrap();
            x.tensor(DType::BF16, &[], 0).unwrap()
        };
        let scale = Tensor::from_f32(&[1], &[0.5]).unwrap();
        let run = |rest: f64| {
            let fill = |shape: [usize; 4], slot: &dyn Fn(usize) -> usize| {
                let of = |i| if slot(i) < 4 { (i % 7) as f64 } else { rest };
                from_f64(DType::F8E4M3, &shape, &(0..9 * d).map(of).collect::<Vec<f64>>()).unwrap()
            };
            let (k_cache, v_cache) = (fill([1, 1, d, 9], &|i| i % 9), fill([1, 1, 9, d], &|i| i / d));
            let s = attention_decode_fp8::specialize::<nki::bf16>(
                &small(1),
                &small(2),
                &small(3),
                &k_cache,
                &v_cache,
                &scale,
                &scale,
                &lengths(&[4]),
                None::<&Tensor>,
                AttentionDecodeConfig::default(),
            );
            to_f64(&s.run(Mode::Sim, Target::Trn2).unwrap()[0])
        };
        assert_eq!(run(NAN), run(0.0), "{d}");
    }
}
