//! A model of the Llama architecture that generates tokens greedily: natively, and in time on simulated Trainium cores.
//!
//! ```text
//! cargo run --release -p nki-kernels --example llama -- --config llama-3.2-1b --layers 2 --prompt 1,2,3 --simulate trn1,trn2
//! cargo run --release -p nki-kernels --example llama -- --config llama-3-8b --prompt-length 2048 --simulate trn2 --time-only
//! ```

use nki::Mode;
use nki::args::{Sink, parse_dtype};
use nki::ir::{DType, Diagnostics, Target};
use nki_kernels::llama::{Llama, LlamaConfig, NAMES, Running, Step, Weights, bucket, simulate};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
llama [OPTIONS]
  --config NAME|FILE        a public model by its name, or a config.json (default: tiny)
  --layers N                only the first so many layers
  --weights FILE            a .safetensors file with published names; may be repeated (default: random weights)
  --seed N                  of random weights (default: 0)
  --dtype DTYPE             bf16 (default), f16 or f32
  --prompt 1,2,3|TEXT       token ids; of a text, its bytes (default: 1,2,3,4,5,6,7,8)
  --prompt-length N         as many ids that are made up, instead
  --tokens N                to generate (default: 8)
  --slots N                 of the cache (default: prompt and generated tokens)
  --mode host|interp|sim    how kernels run (default: host)
  --target TARGET           what they are compiled for (default: trn2)
  --simulate TARGET,..      time to the first token and tokens per second on these simulated cores
  --time-only               do not run the model, only simulate its time: any size
  --logits FILE             the logits of every generated token's row, as .npy or .safetensors";

struct Options {
    config: LlamaConfig,
    weights: Vec<String>,
    seed: u64,
    dtype: DType,
    prompt: Vec<usize>,
    tokens: usize,
    slots: Option<usize>,
    mode: Mode,
    target: Target,
    simulate: Vec<Target>,
    time_only: bool,
    logits: Option<Sink>,
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|_| format!("`{text}` is no target: trn1, inf2, trn2, trn3"))
}

fn model(text: &str) -> Result<LlamaConfig, String> {
    if let Some(config) = LlamaConfig::named(text) {
        return Ok(config);
    }
    let json = std::fs::read_to_string(text)
        .map_err(|e| format!("`{text}` is neither a file ({e}) nor one of {}", NAMES.join(", ")))?;
    LlamaConfig::from_json(&json).map_err(|e| e.to_string())
}

fn prompt(text: &str) -> Vec<usize> {
    let ids: Option<Vec<usize>> = text.split(',').map(|id| id.trim().parse().ok()).collect();
    ids.unwrap_or_else(|| text.bytes().map(usize::from).collect())
}

/// `None`: help was asked for.
fn options(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut o = Options {
        config: model("tiny")?,
        weights: Vec::new(),
        seed: 0,
        dtype: DType::BF16,
        prompt: (1..=8).collect(),
        tokens: 8,
        slots: None,
        mode: Mode::Host,
        target: Target::Trn2,
        simulate: Vec::new(),
        time_only: false,
        logits: None,
    };
    let mut layers = None;
    while let Some(option) = args.next() {
        match option.as_str() {
            "--help" | "-h" => return Ok(None),
            "--time-only" => {
                o.time_only = true;
                continue;
            }
            _ => {}
        }
        let value = args.next().ok_or_else(|| format!("`{option}` is no option, or has no value"))?;
        match option.as_str() {
            "--config" => o.config = model(&value)?,
            "--layers" => layers = Some(number(&value)?),
            "--weights" => o.weights.push(value),
            "--seed" => o.seed = number(&value)? as u64,
            "--dtype" => o.dtype = parse_dtype(&value)?,
            "--prompt" => o.prompt = prompt(&value),
            "--prompt-length" => o.prompt = (0..number(&value)?).map(|i| i % 251 + 1).collect(),
            "--tokens" => o.tokens = number(&value)?,
            "--slots" => o.slots = Some(number(&value)?),
            "--mode" => o.mode = value.parse().map_err(|()| format!("`{value}` is no mode"))?,
            "--target" => o.target = target(&value)?,
            "--simulate" => o.simulate = value.split(',').map(target).collect::<Result<_, _>>()?,
            "--logits" => o.logits = Some(value.parse().map_err(|e: Diagnostics| e.to_string())?),
            _ => return Err(format!("`{option}` is no option")),
        }
    }
    if let Some(layers) = layers {
        o.config.layers = layers;
    }
    if o.prompt.is_empty() || o.tokens == 0 {
        return Err("a prompt has a token, and so has what is generated".into());
    }
    Ok(Some(o))
}

fn main() -> ExitCode {
    let result = match options(std::env::args().skip(1)) {
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => run(&options),
        Err(message) => Err(format!("error: {message}\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(o: &Options) -> Result<(), String> {
    let c = &o.config;
    println!(
        "{} layers, hidden {}, inner {}, {} heads over {} of {}, {} words: {:.1} million weights, {}",
        c.layers,
        c.hidden,
        c.inner,
        c.heads,
        c.kv_heads,
        c.d,
        c.vocabulary,
        c.weights() as f64 / 1e6,
        o.dtype
    );
    // Room for the prompt and all tokens; whole tiles of keys where nothing else is said.
    let slots = o.slots.unwrap_or((o.prompt.len() + o.tokens).next_multiple_of(128));
    if !o.time_only {
        generate(o, slots).map_err(|e| e.to_string())?;
    }
    for &target in &o.simulate {
        time(o, slots, target).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn weights(o: &Options) -> Result<Weights, Diagnostics> {
    if o.weights.is_empty() {
        return Ok(Weights::random(&o.config, o.dtype, o.seed));
    }
    let read = |path: &String| {
        std::fs::read(path).map_err(|e| {
            nki::ir::Diagnostic::error(nki::ir::Code::File, format!("`{path}` cannot be read: {e}")).into()
        })
    };
    let files: Result<Vec<Vec<u8>>, Diagnostics> = o.weights.iter().map(read).collect();
    let files = files?;
    Weights::from_safetensors(&o.config, o.dtype, &files.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Runs the model, and says how long this machine took.
fn generate(o: &Options, slots: usize) -> Result<(), Diagnostics> {
    let started = Instant::now();
    let running = Running { mode: o.mode, target: o.target, batch: 1, slots };
    let mut model = Llama::new(o.config.clone(), o.dtype, weights(o)?, running)?;
    println!("weights ready after {:.1} s", started.elapsed().as_secs_f64());
    let (started, mut steps) = (Instant::now(), Vec::new());
    let mut output = model.prefill(0, &o.prompt)?;
    let first = started.elapsed().as_secs_f64();
    let (mut logits, mut all) = (output.logits, output.tokens);
    while all.len() < o.tokens {
        let started = Instant::now();
        output = model.decode(&all[all.len() - 1..])?;
        steps.push(started.elapsed().as_secs_f64());
        logits.data.extend(output.logits.data);
        all.extend(output.tokens);
    }
    logits.shape[0] = all.len();
    println!("prompt: {} tokens; generated: {all:?}", o.prompt.len());
    print!("on this machine ({}): first token after {first:.2} s, with compiling", o.mode);
    steps.sort_by(f64::total_cmp);
    match steps.get(steps.len() / 2) {
        Some(median) => println!("; then {:.1} tokens/s", 1.0 / median),
        None => println!(),
    }
    if o.mode == Mode::Sim {
        println!("simulated time on {}: {:.2} ms", o.target, model.simulated_ns() / 1e6);
    }
    match &o.logits {
        Some(sink) => sink.write(&[("logits", &logits)]),
        None => Ok(()),
    }
}

/// What simulated cores would take.
fn time(o: &Options, slots: usize, target: Target) -> Result<(), Diagnostics> {
    let (c, n) = (&o.config, o.prompt.len());
    let prefill = simulate(c, o.dtype, Step::Prefill { tokens: n, before: 0 }, slots, target)?;
    println!("\none core of {target} (simulated), prompt of {n} tokens:\n{prefill}");
    let step = Step::Decode { batch: 1, bucket: bucket(n, slots) };
    let decode = simulate(c, o.dtype, step, slots, target)?;
    println!("a further token:\n{decode}");
    println!(
        "time to first token {:.3} ms, {:.1} tokens/s",
        prefill.total_ns() / 1e6,
        1e9 / decode.total_ns()
    );
    Ok(())
}
