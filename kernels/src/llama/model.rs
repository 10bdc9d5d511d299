//! A model with its weights and caches, step by step.

use super::config::LlamaConfig;
use super::kernels::{Kernels, Step, kernels};
use super::weights::{LayerWeights, Weights};
use nki::args::to_f64;
use nki::ir::{Code, DType, Diagnostic, Diagnostics, Target, Tensor};
use nki::{Executable, Mode};
use std::collections::BTreeMap;
use std::mem::{replace, take};
use std::rc::Rc;

/// How a model runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub mode: Mode,
    pub target: Target,
    /// Sequences that are decoded together.
    pub batch: usize,
    /// Tokens that a sequence may have, prompt included.
    pub slots: usize,
}

/// A model that generates tokens greedily. Host code calls one kernel after the other; every kernel is compiled once for each
/// [`Step`].
pub struct Llama {
    config: LlamaConfig,
    dtype: DType,
    running: Running,
    /// Table and ids, as the kernel takes them.
    embedding: Vec<Tensor>,
    layers: Vec<Layer>,
    /// Hidden states, gain and weight.
    head: Vec<Tensor>,
    /// Tokens of each sequence that are in the caches.
    lengths: Vec<usize>,
    compiled: BTreeMap<Step, Rc<Kernels<Executable>>>,
    simulated_ns: f64,
}

/// The arguments of a layer's kernels, weights in place, so that no step copies them.
struct Layer {
    qkv: Vec<Tensor>,
    out: Vec<Tensor>,
    norm: Vec<Tensor>,
    mlp: Vec<Tensor>,
    /// `[batch, kv_heads, d, slots]`.
    k_cache: Tensor,
    /// `[batch, kv_heads, slots, d]`.
    v_cache: Tensor,
}

/// What a step gives.
pub struct Output {
    /// `[rows, vocabulary]`, f32.
    pub logits: Tensor,
    /// The token of each row with the largest logit.
    pub tokens: Vec<usize>,
}

fn fail(message: String) -> Diagnostics {
    Diagnostic::error(Code::Argument, message).into()
}

/// A tensor that stands where another one was taken from.
fn nothing() -> Tensor {
    Tensor { dtype: DType::F32, shape: vec![0], data: Vec::new() }
}

fn shaped(x: Tensor, shape: &[usize]) -> Tensor {
    Tensor { shape: shape.to_vec(), ..x }
}

fn integers(values: &[usize]) -> Tensor {
    let bytes = values.iter().flat_map(|&v| i32::try_from(v).unwrap_or(i32::MAX).to_le_bytes()).collect();
    Tensor { dtype: DType::I32, shape: vec![values.len()], data: bytes }
}

impl Layer {
    fn new(c: &LlamaConfig, dtype: DType, running: Running, w: LayerWeights) -> Layer {
        let cache = |shape: [usize; 4]| Tensor::zeros(dtype, &shape);
        Layer {
            qkv: vec![nothing(), w.attention_norm, w.qkv, nothing(), nothing()],
            out: vec![nothing(), w.out, nothing()],
            norm: vec![nothing(), w.mlp_norm],
            mlp: vec![nothing(), w.gate, w.up, w.down],
            k_cache: cache([running.batch, c.kv_heads, c.d, running.slots]),
            v_cache: cache([running.batch, c.kv_heads, running.slots, c.d]),
        }
    }
}

/// Takes the part of one sequence out of a cache: `[1, ..]`.
fn of_sequence(cache: &mut Tensor, sequence: usize) -> Tensor {
    let mut shape = cache.shape.clone();
    let batch = replace(&mut shape[0], 1);
    let bytes = cache.data.len() / batch;
    match batch {
        1 => replace(cache, nothing()),
        _ => Tensor {
            dtype: cache.dtype,
            shape,
            data: cache.data[sequence * bytes..(sequence + 1) * bytes].to_vec(),
        },
    }
}

/// Puts it back.
fn back(cache: &mut Tensor, sequence: usize, part: Tensor) {
    if cache.data.is_empty() {
        *cache = part;
        return;
    }
    let bytes = part.data.len();
    cache.data[sequence * bytes..(sequence + 1) * bytes].copy_from_slice(&part.data);
}

impl Llama {
    /// A model with empty caches.
    ///
    /// # Errors
    /// `nki::argument`: sizes that do not form a model, weights of another number of layers.
    pub fn new(
        config: LlamaConfig,
        dtype: DType,
        weights: Weights,
        running: Running,
    ) -> Result<Llama, Diagnostics> {
        let config = config.checked()?;
        if weights.layers.len() != config.layers {
            return Err(fail(format!("{} layers have weights, of {}", weights.layers.len(), config.layers)));
        }
        if running.batch == 0 || running.slots == 0 {
            return Err(fail("a model runs at least one sequence of at least one token".into()));
        }
        let layers = weights.layers.into_iter().map(|w| Layer::new(&config, dtype, running, w)).collect();
        Ok(Llama {
            dtype,
            running,
            embedding: vec![weights.embedding, nothing()],
            layers,
            head: vec![nothing(), weights.norm, weights.head],
            lengths: vec![0; running.batch],
            compiled: BTreeMap::new(),
            simulated_ns: 0.0,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Tokens of each sequence that are in the caches.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Simulated time of all steps so far, in nanoseconds: that of the kernels one after the other. Only [`Mode::Sim`] has one.
    pub fn simulated_ns(&self) -> f64 {
        self.simulated_ns
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.lengths.fill(0);
    }

    /// Takes `tokens`, a prompt or the next part of one, into the cache of a sequence; the output has one row, that of the last
    /// token.
    ///
    /// # Errors
    /// `nki::argument`: no such sequence, no token, or more than the cache has slots for; `nki::runtime_index`: a token that
    /// the vocabulary does not have; what the kernels refuse.
    pub fn prefill(&mut self, sequence: usize, tokens: &[usize]) -> Result<Output, Diagnostics> {
        let Some(&before) = self.lengths.get(sequence) else {
            return Err(fail(format!("sequence {sequence} of {}", self.running.batch)));
        };
        self.has_room(sequence, tokens.len())?;
        let step = Step::Prefill { tokens: tokens.len(), before };
        let positions: Vec<usize> = (before..before + tokens.len()).collect();
        let x = self.hidden(step, tokens, &positions, sequence)?;
        self.lengths[sequence] += tokens.len();
        let row = self.config.hidden * self.dtype.bytes();
        let last = x.data[(tokens.len() - 1) * row..].to_vec();
        self.logits(step, Tensor { dtype: self.dtype, shape: vec![1, self.config.hidden], data: last })
    }

    /// Takes one further token of every sequence; the output has a row for each.
    ///
    /// # Errors
    /// As [`prefill`](Llama::prefill); `nki::argument`: not one token for each sequence.
    pub fn decode(&mut self, tokens: &[usize]) -> Result<Output, Diagnostics> {
        if tokens.len() != self.running.batch {
            return Err(fail(format!("{} tokens for {} sequences", tokens.len(), self.running.batch)));
        }
        (0..tokens.len()).try_for_each(|s| self.has_room(s, 1))?;
        let positions = self.lengths.clone();
        let longest = positions.iter().copied().max().unwrap_or(0);
        let step = Step::Decode { batch: tokens.len(), bucket: bucket(longest, self.running.slots) };
        let x = self.hidden(step, tokens, &positions, 0)?;
        self.lengths.iter_mut().for_each(|l| *l += 1);
        self.logits(step, x)
    }

    /// The tokens that follow a prompt, greedily, in the first sequence of a model that runs one.
    ///
    /// # Errors
    /// As [`prefill`](Llama::prefill).
    pub fn generate(&mut self, prompt: &[usize], n: usize) -> Result<Vec<usize>, Diagnostics> {
        let mut all = self.prefill(0, prompt)?.tokens;
        while all.len() < n {
            let next = self.decode(&all[all.len() - 1..])?;
            all.extend(next.tokens);
        }
        all.truncate(n);
        Ok(all)
    }

    fn has_room(&self, sequence: usize, tokens: usize) -> Result<(), Diagnostics> {
        let (held, slots) = (self.lengths[sequence], self.running.slots);
        if tokens == 0 || held + tokens > slots {
            let message = format!("{tokens} tokens after {held} in a cache of {slots} slots");
            return Err(fail(message));
        }
        Ok(())
    }

    fn kernels(&mut self, step: Step) -> Result<Rc<Kernels<Executable>>, Diagnostics> {
        if let Some(made) = self.compiled.get(&step) {
            return Ok(made.clone());
        }
        let Running { mode, target, slots, .. } = self.running;
        let all = kernels(&self.config, self.dtype, step, slots)?;
        let made = Rc::new(all.try_map(|k| k.compile(mode, target))?);
        self.compiled.insert(step, made.clone());
        Ok(made)
    }

    /// Runs one kernel.
    fn run(&mut self, kernel: &Executable, arguments: &[Tensor]) -> Result<Vec<Tensor>, Diagnostics> {
        let results = kernel.run(arguments)?;
        self.simulated_ns += results.report.as_ref().map_or(0.0, |r| r.kernel_ns);
        Ok(results.into_tensors())
    }

    /// Runs one kernel with one result.
    fn run_one(&mut self, kernel: &Executable, arguments: &[Tensor]) -> Result<Tensor, Diagnostics> {
        Ok(self.run(kernel, arguments)?.swap_remove(0))
    }

    /// Hidden states after all layers.
    fn hidden(
        &mut self,
        step: Step,
        tokens: &[usize],
        positions: &[usize],
        sequence: usize,
    ) -> Result<Tensor, Diagnostics> {
        let kernels = self.kernels(step)?;
        let mut embedding = take(&mut self.embedding);
        embedding[1] = integers(tokens);
        let looked_up = self.run_one(&kernels.embedding, &embedding);
        self.embedding = embedding;
        let mut x = looked_up?;
        for l in 0..self.layers.len() {
            x = self.layer(step, l, x, positions, sequence)?;
        }
        Ok(x)
    }

    /// One decoder layer (kernels.md 3.10): `[tokens, hidden]` to the same.
    ///
    /// # Errors
    /// What the kernels refuse.
    pub(super) fn layer(
        &mut self,
        step: Step,
        l: usize,
        x: Tensor,
        positions: &[usize],
        sequence: usize,
    ) -> Result<Tensor, Diagnostics> {
        let mut layer = replace(&mut self.layers[l], Layer::empty());
        let result = self.layer_with(step, &mut layer, x, positions, sequence);
        self.layers[l] = layer;
        result
    }

    fn layer_with(
        &mut self,
        step: Step,
        layer: &mut Layer,
        x: Tensor,
        positions: &[usize],
        sequence: usize,
    ) -> Result<Tensor, Diagnostics> {
        let (kernels, n) = (self.kernels(step)?, step.tokens());
        let (heads, kv_heads, d) = (self.config.heads, self.config.kv_heads, self.config.d);
        (layer.qkv[3], layer.qkv[4]) = self.config.angles(positions);
        layer.qkv[0] = x;
        let [q, k, v]: [Tensor; 3] =
            self.run(&kernels.qkv, &layer.qkv)?.try_into().expect("the kernel has three results");
        let x = replace(&mut layer.qkv[0], nothing());
        let attended = match step {
            Step::Prefill { .. } => {
                let new = [1, n, kv_heads, d];
                let caches =
                    [of_sequence(&mut layer.k_cache, sequence), of_sequence(&mut layer.v_cache, sequence)];
                let first = integers(&positions[..1]);
                let [k_cache, v_cache] =
                    self.update(&kernels.update, caches, [shaped(k, &new), shaped(v, &new)], first)?;
                let slots = self.running.slots;
                let arguments =
                    [q, shaped(k_cache, &[kv_heads, d, slots]), shaped(v_cache, &[kv_heads, slots, d])];
                let attended = self.run_one(&kernels.attention, &arguments)?;
                let [_, k_cache, v_cache] = arguments;
                back(&mut layer.k_cache, sequence, shaped(k_cache, &[1, kv_heads, d, slots]));
                back(&mut layer.v_cache, sequence, shaped(v_cache, &[1, kv_heads, slots, d]));
                attended
            }
            Step::Decode { .. } => {
                let new = [n, 1, kv_heads, d];
                let caches = [&mut layer.k_cache, &mut layer.v_cache].map(|c| replace(c, nothing()));
                let [k_cache, v_cache] = caches;
                let (q, k, v) = (shaped(q, &[n, 1, heads, d]), shaped(k, &new), shaped(v, &new));
                let arguments = [q, k, v, k_cache, v_cache, integers(positions)];
                let attended = self.run_one(&kernels.attention, &arguments)?;
                let [_, k, v, k_cache, v_cache, positions] = arguments;
                [layer.k_cache, layer.v_cache] =
                    self.update(&kernels.update, [k_cache, v_cache], [k, v], positions)?;
                attended
            }
        };
        layer.out[0] = shaped(attended, &[n, heads * d]);
        layer.out[2] = x;
        let x = self.run_one(&kernels.out, &layer.out)?;
        layer.norm[0] = x;
        layer.mlp[0] = self.run_one(&kernels.norm, &layer.norm)?;
        let inner = self.run_one(&kernels.mlp, &layer.mlp)?;
        let x = replace(&mut layer.norm[0], nothing());
        self.run_one(&kernels.add, &[x, inner])
    }

    /// The caches with new keys and values at `positions`.
    fn update(
        &mut self,
        kernel: &Executable,
        [k_cache, v_cache]: [Tensor; 2],
        [k, v]: [Tensor; 2],
        positions: Tensor,
    ) -> Result<[Tensor; 2], Diagnostics> {
        let updated = self.run(kernel, &[k_cache, v_cache, k, v, positions])?;
        Ok(updated.try_into().expect("both caches are updated"))
    }

    fn logits(&mut self, step: Step, x: Tensor) -> Result<Output, Diagnostics> {
        let kernels = self.kernels(step)?;
        let mut head = take(&mut self.head);
        head[0] = x;
        let logits = self.run_one(&kernels.head, &head);
        self.head = head;
        let arguments = [logits?];
        let best = self.run(&kernels.argmax, &arguments)?;
        let [logits] = arguments;
        let tokens = to_f64(&best[1]).into_iter().map(|t| t as usize).collect();
        Ok(Output { logits, tokens })
    }
}

impl Layer {
    fn empty() -> Layer {
        let none = Vec::new;
        Layer { qkv: none(), out: none(), norm: none(), mlp: none(), k_cache: nothing(), v_cache: nothing() }
    }
}

/// Slots that are looked at for sequences of up to `length`: a power of two, so that few kernels are compiled.
pub fn bucket(length: usize, slots: usize) -> usize {
    length.max(128).next_power_of_two().min(slots)
}
