use super::{Llama, LlamaConfig, Running, Step, Weights, bucket, reference, simulate};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::check::{Tolerance, compare};
use nki::ir::{Code, DType, Target, Tensor};

fn tiny(layers: usize) -> LlamaConfig {
    LlamaConfig { layers, ..LlamaConfig::named("tiny").unwrap() }
}

fn model(config: &LlamaConfig, dtype: DType, mode: Mode, batch: usize) -> Llama {
    let weights = Weights::random(config, dtype, 5);
    let running = Running { mode, target: Target::Trn2, batch, slots: 200 };
    Llama::new(config.clone(), dtype, weights, running).unwrap()
}

/// kernels.md 3.10: of the range.
fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-4 } else { 2e-2 }
}

#[track_caller]
fn close(got: &[f64], want: &[f64], of_range: f64) {
    assert_eq!(got.len(), want.len());
    let range = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let off = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(off <= of_range * range, "{off} of {range}");
}

/// Some tokens of the vocabulary.
fn prompt(n: usize) -> Vec<usize> {
    (0..n).map(|i| (i * 379 + 11) % 1000).collect()
}

#[test]
fn a_layer_is_the_reference_of_its_parts() {
    for (dtype, tokens) in [(DType::F32, 45), (DType::BF16, 64), (DType::F32, 1), (DType::F32, 190)] {
        let config = tiny(1);
        let weights = Weights::random(&config, dtype, 5);
        let x = Generator::natural(dtype).tensor(dtype, &[tokens, config.hidden], 3).unwrap();
        let want = reference::layer(&config, &weights.layers[0], &to_f64(&x));
        let mut model = model(&config, dtype, Mode::Host, 1);
        let positions: Vec<usize> = (0..tokens).collect();
        let got = model.layer(Step::Prefill { tokens, before: 0 }, 0, x, &positions, 0).unwrap();
        close(&to_f64(&got), &want, tolerance(dtype));
    }
}

/// The rows of hidden states from `first` on.
fn rows(x: &Tensor, first: usize, n: usize) -> Tensor {
    let row = x.shape[1] * x.dtype.bytes();
    Tensor {
        dtype: x.dtype,
        shape: vec![n, x.shape[1]],
        data: x.data[first * row..(first + n) * row].to_vec(),
    }
}

#[test]
fn a_layer_decodes_what_it_prefills() {
    let (config, n, before) = (tiny(1), 140, 126);
    for dtype in [DType::F32, DType::BF16] {
        let x = Generator::natural(dtype).tensor(dtype, &[n, config.hidden], 3).unwrap();
        let positions: Vec<usize> = (0..n).collect();
        let whole = model(&config, dtype, Mode::Host, 1)
            .layer(Step::Prefill { tokens: n, before: 0 }, 0, x.clone(), &positions, 0)
            .unwrap();
        let mut stepwise = model(&config, dtype, Mode::Host, 1);
        let first = Step::Prefill { tokens: before, before: 0 };
        stepwise.layer(first, 0, rows(&x, 0, before), &positions[..before], 0).unwrap();
        for at in before..n {
            let step = Step::Decode { batch: 1, bucket: bucket(at, 200) };
            let got = stepwise.layer(step, 0, rows(&x, at, 1), &positions[at..at + 1], 0).unwrap();
            close(&to_f64(&got), &to_f64(&rows(&whole, at, 1)), tolerance(dtype));
        }
    }
}

#[test]
fn decoding_gives_the_logits_of_a_longer_prompt_token_by_token() {
    let (config, tokens) = (tiny(2), prompt(52));
    for dtype in [DType::F32, DType::BF16] {
        let mut stepwise = model(&config, dtype, Mode::Host, 1);
        stepwise.prefill(0, &tokens[..45]).unwrap();
        let mut whole = model(&config, dtype, Mode::Host, 1);
        for at in 45..52 {
            let got = stepwise.decode(&tokens[at..at + 1]).unwrap();
            whole.clear();
            let want = whole.prefill(0, &tokens[..at + 1]).unwrap();
            close(&to_f64(&got.logits), &to_f64(&want.logits), tolerance(dtype));
            assert_eq!(stepwise.lengths(), whole.lengths());
        }
    }
}

#[test]
fn a_model_is_its_reference() {
    let (config, tokens) = (tiny(2), prompt(45));
    for dtype in [DType::F32, DType::BF16] {
        let want = reference::logits(&config, &Weights::random(&config, dtype, 5), &tokens);
        let got = model(&config, dtype, Mode::Host, 1).prefill(0, &tokens).unwrap();
        let last = &want[44 * config.vocabulary..];
        close(&to_f64(&got.logits), last, tolerance(dtype));
        let comparison = compare(&got.logits, last, Tolerance::new(tolerance(dtype), 0.0));
        assert!(comparison.shape_mismatch.is_none());
    }
}

#[test]
fn a_prompt_in_parts_is_the_prompt() {
    let (config, tokens) = (tiny(2), prompt(190));
    let want = model(&config, DType::F32, Mode::Host, 1).prefill(0, &tokens).unwrap();
    let mut parts = model(&config, DType::F32, Mode::Host, 1);
    parts.prefill(0, &tokens[..1]).unwrap();
    parts.prefill(0, &tokens[1..130]).unwrap();
    let got = parts.prefill(0, &tokens[130..]).unwrap();
    close(&to_f64(&got.logits), &to_f64(&want.logits), 1e-4);
}

#[test]
fn sequences_of_different_lengths_decode_together() {
    let config = tiny(2);
    let prompts = [prompt(7), prompt(131), prompt(40)];
    let mut together = model(&config, DType::F32, Mode::Host, 3);
    let mut next: Vec<usize> =
        prompts.iter().enumerate().map(|(s, p)| together.prefill(s, p).unwrap().tokens[0]).collect();
    let mut all = vec![next.clone()];
    for _ in 0..3 {
        next = together.decode(&next).unwrap().tokens;
        all.push(next.clone());
    }
    for (s, prompt) in prompts.iter().enumerate() {
        let alone = model(&config, DType::F32, Mode::Host, 1).generate(prompt, 4).unwrap();
        assert_eq!(alone, all.iter().map(|step| step[s]).collect::<Vec<_>>());
    }
}

#[test]
fn the_simulated_machine_generates_the_same_tokens_in_simulated_time() {
    let config = LlamaConfig { vocabulary: 300, ..tiny(1) };
    let prompt = [3, 299, 17];
    let native = model(&config, DType::BF16, Mode::Host, 1).generate(&prompt, 3).unwrap();
    let mut simulated = model(&config, DType::BF16, Mode::Sim, 1);
    assert_eq!(simulated.generate(&prompt, 3).unwrap(), native);
    let time = |step| simulate(&config, DType::BF16, step, 200, Target::Trn2).unwrap().total_ns();
    let decode = time(Step::Decode { batch: 1, bucket: 128 });
    let want = time(Step::Prefill { tokens: 3, before: 0 }) + 2.0 * decode;
    // A kernel whose transfers depend on data takes as long with data as without.
    assert!((simulated.simulated_ns() / want - 1.0).abs() < 0.02, "{} {want}", simulated.simulated_ns());
}

#[test]
fn what_a_model_cannot_do_is_refused() {
    let config = tiny(1);
    let mut one = model(&config, DType::F32, Mode::Host, 1);
    let code = |r: Result<super::Output, nki::ir::Diagnostics>| r.err().and_then(|e| e.first_code());
    assert_eq!(code(one.prefill(1, &[1])), Some(Code::Argument));
    assert_eq!(code(one.prefill(0, &[])), Some(Code::Argument));
    assert_eq!(code(one.prefill(0, &[1; 201])), Some(Code::Argument));
    assert_eq!(code(one.prefill(0, &[1000])), Some(Code::RuntimeIndex));
    assert_eq!(code(one.decode(&[1, 2])), Some(Code::Argument));
    // What was refused has left nothing behind.
    assert_eq!(one.lengths(), [0]);
    assert!(one.prefill(0, &[1; 200]).is_ok());
    assert_eq!(code(one.decode(&[1])), Some(Code::Argument));
    let weights = Weights::random(&config, DType::F32, 5);
    let running = Running { mode: Mode::Host, target: Target::Trn2, batch: 1, slots: 8 };
    assert!(Llama::new(tiny(2), DType::F32, weights, running).is_err());
}

#[test]
fn weights_are_read_as_they_are_published() {
    let config = LlamaConfig { tied: false, ..tiny(1) };
    let dims = |name: &str| match name {
        "vocabulary" => config.vocabulary,
        "hidden" => config.hidden,
        "inner" => config.inner,
        "heads" => config.heads * config.d,
        _ => config.kv_heads * config.d,
    };
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let shapes: Vec<(String, Vec<&str>)> = vec![
        ("model.embed_tokens.weight".into(), vec!["vocabulary", "hidden"]),
        ("lm_head.weight".into(), vec!["vocabulary", "hidden"]),
        ("model.norm.weight".into(), vec!["hidden"]),
        (layer("input_layernorm"), vec!["hidden"]),
        (layer("post_attention_layernorm"), vec!["hidden"]),
        (layer("self_attn.q_proj"), vec!["heads", "hidden"]),
        (layer("self_attn.k_proj"), vec!["keys", "hidden"]),
        (layer("self_attn.v_proj"), vec!["keys", "hidden"]),
        (layer("self_attn.o_proj"), vec!["hidden", "heads"]),
        (layer("mlp.gate_proj"), vec!["inner", "hidden"]),
        (layer("mlp.up_proj"), vec!["inner", "hidden"]),
        (layer("mlp.down_proj"), vec!["hidden", "inner"]),
    ];
    let made: Vec<(String, Tensor)> = shapes
        .iter()
        .enumerate()
        .map(|(i, (name, shape))| {
            let shape: Vec<usize> = shape.iter().map(|d| dims(d)).collect();
            (name.clone(), Generator::natural(DType::F32).tensor(DType::F32, &shape, i as u64).unwrap())
        })
        .collect();
    let file = |tensors: &[(String, Tensor)]| {
        let views = tensors.iter().map(|(name, t)| {
            let dtype = safetensors::Dtype::F32;
            (name, safetensors::tensor::TensorView::new(dtype, t.shape.clone(), &t.data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    };
    // In two files.
    let (one, two) = (file(&made[..5]), file(&made[5..]));
    let weights = Weights::from_safetensors(&config, DType::F32, &[&one, &two]).unwrap();
    let at = |t: &Tensor, i: usize| to_f64(t)[i];
    let (hidden, d) = (config.hidden, config.d);
    // Row 9 of the weight, query head 1, element 5; key head 1, element 3; value head 0, element 2.
    let qkv = |slot: usize, e: usize| at(&weights.layers[0].qkv, (9 * 8 + slot) * d + e);
    assert_eq!(qkv(1, 5), at(&made[5].1, (d + 5) * hidden + 9));
    assert_eq!(qkv(5, 3), at(&made[6].1, (d + 3) * hidden + 9));
    assert_eq!(qkv(6, 2), at(&made[7].1, 2 * hidden + 9));
    assert_eq!(at(&weights.layers[0].down, 7 * hidden + 4), at(&made[11].1, 4 * config.inner + 7));
    assert_eq!(at(&weights.head, 7 * 1000 + 4), at(&made[1].1, 4 * hidden + 7));
    let missing = Weights::from_safetensors(&config, DType::F32, &[&one]).unwrap_err();
    assert!(missing.to_string().contains("self_attn.q_proj"), "{missing}");
    let wide = LlamaConfig { inner: 385, ..config };
    assert!(Weights::from_safetensors(&wide, DType::F32, &[&one, &two]).is_err());
    assert!(Weights::from_safetensors(&wide, DType::F32, &[&one[..40]]).is_err());
}
