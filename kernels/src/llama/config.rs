//! The sizes of a model.

use nki::ir::{Code, DType, Diagnostic, Diagnostics, Tensor};
use serde_json::Value;

/// How Llama 3.1 and later stretch the rotation of long wavelengths (kernels.md 3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    pub factor: f64,
    pub low_frequency: f64,
    pub high_frequency: f64,
    /// Length of context that the model was first trained with.
    pub original: usize,
}

/// A model of the Llama architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    pub hidden: usize,
    /// Size between the projections of the feed-forward layer.
    pub inner: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Elements of a head.
    pub d: usize,
    pub vocabulary: usize,
    pub eps: f32,
    /// Base of the wavelengths of the rotation.
    pub theta: f64,
    pub scaling: Option<Scaling>,
    /// The last projection is the embedding's table.
    pub tied: bool,
}

/// Names of the models that [`LlamaConfig::named`] knows.
pub const NAMES: [&str; 6] =
    ["tiny", "llama-3.2-1b", "llama-3.2-3b", "llama-3-8b", "llama-3.1-8b", "llama-3-70b"];

fn error(message: String) -> Diagnostics {
    Diagnostic::error(Code::Argument, message).into()
}

impl LlamaConfig {
    /// A public model by its name; `tiny` is one for tests.
    pub fn named(name: &str) -> Option<LlamaConfig> {
        let llama = |hidden, inner, layers, heads, d| LlamaConfig {
            hidden,
            inner,
            layers,
            heads,
            kv_heads: 8,
            d,
            vocabulary: 128256,
            eps: 1e-5,
            theta: 500_000.0,
            scaling: None,
            tied: false,
        };
        let stretched = |factor, tied, base| LlamaConfig {
            scaling: Some(Scaling { factor, low_frequency: 1.0, high_frequency: 4.0, original: 8192 }),
            tied,
            ..base
        };
        Some(match name {
            "tiny" => LlamaConfig { kv_heads: 2, vocabulary: 1000, tied: true, ..llama(256, 384, 2, 4, 64) },
            "llama-3.2-1b" => stretched(32.0, true, llama(2048, 8192, 16, 32, 64)),
            "llama-3.2-3b" => stretched(32.0, true, llama(3072, 8192, 28, 24, 128)),
            "llama-3-8b" => llama(4096, 14336, 32, 32, 128),
            "llama-3.1-8b" => stretched(8.0, false, llama(4096, 14336, 32, 32, 128)),
            "llama-3-70b" => llama(8192, 28672, 80, 64, 128),
            _ => return None,
        })
    }

    /// From the text of a `config.json` as models are published with.
    ///
    /// # Errors
    /// `nki::argument`: what is missing, or is another architecture.
    pub fn from_json(text: &str) -> Result<LlamaConfig, Diagnostics> {
        let json: Value = serde_json::from_str(text).map_err(|e| error(format!("the configuration: {e}")))?;
        let size = |name: &str| {
            let n = json[name].as_u64().and_then(|n| usize::try_from(n).ok());
            n.ok_or_else(|| error(format!("the configuration has no size `{name}`")))
        };
        let number = |of: &Value, name: &str| {
            of[name].as_f64().ok_or_else(|| error(format!("the configuration has no number `{name}`")))
        };
        if json["model_type"].as_str().is_some_and(|t| t != "llama") {
            return Err(error(format!("a model of the architecture {}", json["model_type"])));
        }
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let stretch = &json["rope_scaling"];
        let scaling = match stretch["rope_type"].as_str().or(stretch["type"].as_str()) {
            None | Some("default") => None,
            Some("llama3") => Some(Scaling {
                factor: number(stretch, "factor")?,
                low_frequency: number(stretch, "low_freq_factor")?,
                high_frequency: number(stretch, "high_freq_factor")?,
                original: number(stretch, "original_max_position_embeddings")? as usize,
            }),
            Some(other) => return Err(error(format!("a rotation scaled by the rule `{other}`"))),
        };
        let config = LlamaConfig {
            hidden,
            inner: size("intermediate_size")?,
            layers: size("num_hidden_layers")?,
            heads,
            kv_heads: size("num_key_value_heads").unwrap_or(heads),
            d: size("head_dim").unwrap_or(hidden / heads.max(1)),
            vocabulary: size("vocab_size")?,
            eps: number(&json, "rms_norm_eps")? as f32,
            theta: number(&json, "rope_theta").unwrap_or(10_000.0),
            scaling,
            tied: json["tie_word_embeddings"].as_bool().unwrap_or(false),
        };
        config.checked()
    }

    /// # Errors
    /// `nki::argument`: sizes that do not form a model.
    pub fn checked(self) -> Result<LlamaConfig, Diagnostics> {
        let sizes = [self.hidden, self.inner, self.heads, self.kv_heads, self.d, self.vocabulary];
        if sizes.contains(&0) {
            return Err(error(format!("a size of the model is 0: {self:?}")));
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !self.d.is_multiple_of(2) || self.d > 128 {
            return Err(error(format!(
                "{} heads of {} elements over {} of keys: heads are a multiple of those of keys, and have an even number \
                 of elements, at most 128",
                self.heads, self.d, self.kv_heads
            )));
        }
        Ok(self)
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        let attention = self.hidden * self.d * (2 * self.heads + 2 * self.kv_heads);
        let layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden;
        let tables = if self.tied { 1 } else { 2 };
        self.layers * layer + tables * self.vocabulary * self.hidden + self.hidden
    }

    /// Angle by which one position turns each pair of elements.
    pub fn frequencies(&self) -> Vec<f64> {
        let plain = |i: usize| self.theta.powf(-2.0 * i as f64 / self.d as f64);
        let Some(s) = self.scaling else { return (0..self.d / 2).map(plain).collect() };
        let (low, high) = (s.original as f64 / s.low_frequency, s.original as f64 / s.high_frequency);
        let stretched = |frequency: f64| {
            let wavelength = std::f64::consts::TAU / frequency;
            if wavelength < high {
                frequency
            } else if wavelength > low {
                frequency / s.factor
            } else {
                let smooth =
                    (s.original as f64 / wavelength - s.low_frequency) / (s.high_frequency - s.low_frequency);
                (1.0 - smooth) * frequency / s.factor + smooth * frequency
            }
        };
        (0..self.d / 2).map(|i| stretched(plain(i))).collect()
    }

    /// Cosines and sines for tokens at `positions`, each `[positions, d / 2]` in f32.
    pub fn angles(&self, positions: &[usize]) -> (Tensor, Tensor) {
        let frequencies = self.frequencies();
        let table = |f: fn(f64) -> f64| {
            let angles = positions.iter().flat_map(|p| frequencies.iter().map(move |w| *p as f64 * w));
            let bytes = angles.flat_map(|a| (f(a) as f32).to_le_bytes()).collect();
            Tensor { dtype: DType::F32, shape: vec![positions.len(), self.d / 2], data: bytes }
        };
        (table(f64::cos), table(f64::sin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_models_have_as_many_weights_as_their_names_say() {
        let billions = |name| LlamaConfig::named(name).unwrap().weights() as f64 / 1e9;
        for (name, size) in [("llama-3.2-1b", 1.24), ("llama-3.2-3b", 3.21), ("llama-3-8b", 8.03)] {
            assert!((billions(name) - size).abs() < 0.01, "{name}: {}", billions(name));
        }
        assert!((billions("llama-3-70b") - 70.6).abs() < 0.1);
        assert!(NAMES.iter().all(|n| LlamaConfig::named(n).is_some_and(|c| c.checked().is_ok())));
        assert_eq!(LlamaConfig::named("llama"), None);
    }

    #[test]
    fn long_wavelengths_are_stretched_and_short_ones_are_not() {
        let config = LlamaConfig::named("llama-3.2-1b").unwrap();
        let (scaled, plain) =
            (config.frequencies(), LlamaConfig { scaling: None, ..config.clone() }.frequencies());
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[31], plain[31] / 32.0);
        let between = scaled.iter().zip(&plain).filter(|(s, p)| *s < p && **s > **p / 32.0).count();
        assert!(between > 0 && scaled.windows(2).all(|w| w[0] > w[1]));
    }

    #[test]
    fn a_published_configuration_is_read() {
        let text = r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
            "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": true,
            "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192, "rope_type": "llama3"}}"#;
        assert_eq!(LlamaConfig::from_json(text).unwrap(), LlamaConfig::named("llama-3.2-1b").unwrap());
        for (from, to) in
            [("\"llama\"", "\"gpt2\""), ("llama3", "yarn"), ("hidden_size", "size"), (": 8,", ": 7,")]
        {
            assert!(LlamaConfig::from_json(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
