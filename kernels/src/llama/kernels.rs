//! The kernels of a step, specialised to a model's sizes.

use super::config::LlamaConfig;
use crate::add::add;
use crate::argmax::argmax;
use crate::attention::{AttentionConfig, attention_cached};
use crate::attention_decode::{AttentionDecodeConfig, attention_decode};
use crate::embedding::{EmbeddingConfig, embedding};
use crate::kv_update::{KvUpdateConfig, kv_update};
use crate::lm_head::{LmHeadConfig, lm_head};
use crate::mlp::{MlpConfig, mlp};
use crate::projection::{ProjectionConfig, projection};
use crate::qkv::{QkvConfig, qkv};
use crate::rmsnorm::{RmsNormConfig, rmsnorm};
use nki::ir::{Code, DType, Diagnostic, Diagnostics};
use nki::{Float, HostElem, Specialization, bf16, f16};

/// What a model does between two choices of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `tokens` of one sequence's prompt, behind `before` that its cache holds.
    Prefill { tokens: usize, before: usize },
    /// One token of each of `batch` sequences, none longer than `bucket` slots.
    Decode { batch: usize, bucket: usize },
}

impl Step {
    /// Rows of hidden states.
    pub fn tokens(self) -> usize {
        match self {
            Step::Prefill { tokens, .. } => tokens,
            Step::Decode { batch, .. } => batch,
        }
    }

    /// Rows of logits.
    pub fn logits(self) -> usize {
        match self {
            Step::Prefill { .. } => 1,
            Step::Decode { batch, .. } => batch,
        }
    }
}

/// One kernel of each kind that a step runs.
pub struct Kernels<K> {
    pub embedding: K,
    pub qkv: K,
    pub update: K,
    pub attention: K,
    pub out: K,
    pub norm: K,
    pub mlp: K,
    pub add: K,
    pub head: K,
    pub argmax: K,
}

impl<K> Kernels<K> {
    /// Every kernel made into something else.
    ///
    /// # Errors
    /// The first of `f`.
    pub fn try_map<L, E>(self, mut f: impl FnMut(K) -> Result<L, E>) -> Result<Kernels<L>, E> {
        Ok(Kernels {
            embedding: f(self.embedding)?,
            qkv: f(self.qkv)?,
            update: f(self.update)?,
            attention: f(self.attention)?,
            out: f(self.out)?,
            norm: f(self.norm)?,
            mlp: f(self.mlp)?,
            add: f(self.add)?,
            head: f(self.head)?,
            argmax: f(self.argmax)?,
        })
    }

    /// Every kernel, what it is for, and how often a step of a model with so many layers runs it.
    pub fn counted(self, layers: usize) -> Vec<(&'static str, usize, K)> {
        vec![
            ("embedding", 1, self.embedding),
            ("queries, keys, values", layers, self.qkv),
            ("cache update", layers, self.update),
            ("attention", layers, self.attention),
            ("output projection", layers, self.out),
            ("norm", layers, self.norm),
            ("feed-forward", layers, self.mlp),
            ("residual", layers, self.add),
            ("logits", 1, self.head),
            ("argmax", 1, self.argmax),
        ]
    }
}

/// The kernels of a step, for caches of `slots`.
///
/// # Errors
/// `nki::argument`: a dtype that models are not run in.
pub fn kernels(
    config: &LlamaConfig,
    dtype: DType,
    step: Step,
    slots: usize,
) -> Result<Kernels<Specialization>, Diagnostics> {
    match dtype {
        DType::BF16 => Ok(of::<bf16>(config, step, slots)),
        DType::F16 => Ok(of::<f16>(config, step, slots)),
        DType::F32 => Ok(of::<f32>(config, step, slots)),
        other => {
            let message = format!("a model runs in f32, bf16 or f16, not in {other}");
            Err(Diagnostic::error(Code::Argument, message).into())
        }
    }
}

fn of<T: Float + HostElem>(c: &LlamaConfig, step: Step, slots: usize) -> Kernels<Specialization> {
    let (none, no_matrix) = (None::<[usize; 1]>, None::<[usize; 2]>);
    let (n, rows) = (step.tokens(), step.logits());
    let (x, gain) = ([n, c.hidden], [c.hidden]);
    let angles = Some([n, c.d / 2]);
    let (keys, values) = ([c.kv_heads, c.d, slots], [c.kv_heads, slots, c.d]);
    let (batch, new) = match step {
        Step::Prefill { tokens, .. } => (1, [1, tokens, c.kv_heads, c.d]),
        Step::Decode { batch, .. } => (batch, [batch, 1, c.kv_heads, c.d]),
    };
    let caches = ([batch, keys[0], keys[1], keys[2]], [batch, values[0], values[1], values[2]]);
    let attention = match step {
        Step::Prefill { tokens, before } => {
            let cfg = AttentionConfig { causal: true, offset: before, ..Default::default() };
            attention_cached::specialize::<T>([tokens, c.heads, c.d], keys, values, none, cfg)
        }
        Step::Decode { batch, bucket } => {
            let cfg = AttentionDecodeConfig { bucket: Some(bucket), ..Default::default() };
            let q = [batch, 1, c.heads, c.d];
            attention_decode::specialize::<T>(q, new, new, caches.0, caches.1, [batch], none, cfg)
        }
    };
    let weight = [c.hidden, c.heads + 2 * c.kv_heads, c.d];
    let heads = QkvConfig { kv_heads: c.kv_heads, eps: c.eps, ..Default::default() };
    let joined = c.heads * c.d;
    let wide = [c.hidden, c.inner];
    let down = [c.inner, c.hidden];
    Kernels {
        embedding: embedding::specialize::<T>([c.vocabulary, c.hidden], [n], EmbeddingConfig::default()),
        qkv: qkv::specialize::<T>(x, Some(gain), weight, no_matrix, angles, angles, none, none, heads),
        update: kv_update::specialize::<T>(caches.0, caches.1, new, new, [batch], KvUpdateConfig::default()),
        attention,
        out: projection::specialize::<T>(
            [n, joined],
            [joined, c.hidden],
            none,
            Some(x),
            ProjectionConfig::default(),
        ),
        norm: rmsnorm::specialize::<T>(x, gain, RmsNormConfig { eps: c.eps, ..Default::default() }),
        mlp: mlp::specialize::<T>(x, Some(wide), wide, down, none, none, none, MlpConfig::default()),
        add: add::specialize::<T>(x, x, Default::default()),
        head: lm_head::specialize::<T>(
            [rows, c.hidden],
            Some(gain),
            [c.hidden, c.vocabulary],
            LmHeadConfig { eps: c.eps },
        ),
        argmax: argmax::specialize::<f32>([rows, c.vocabulary]),
    }
}
