//! The weights of a model, in the layouts that the kernels take.

use super::config::LlamaConfig;
use nki::ir::{Code, DType, Diagnostic, Diagnostics, Tensor};
use safetensors::SafeTensors;

/// The weights of a layer. Every weight of a projection is `[from, to]`.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `[hidden]`.
    pub attention_norm: Tensor,
    /// `[hidden, heads + 2 kv_heads, d]`: queries, keys, values.
    pub qkv: Tensor,
    /// `[heads · d, hidden]`.
    pub out: Tensor,
    /// `[hidden]`.
    pub mlp_norm: Tensor,
    /// `[hidden, inner]`.
    pub gate: Tensor,
    /// `[hidden, inner]`.
    pub up: Tensor,
    /// `[inner, hidden]`.
    pub down: Tensor,
}

/// The weights of a model, all of one dtype.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[vocabulary, hidden]`.
    pub embedding: Tensor,
    pub layers: Vec<LayerWeights>,
    /// `[hidden]`.
    pub norm: Tensor,
    /// `[hidden, vocabulary]`.
    pub head: Tensor,
}

impl Weights {
    /// Random weights, the same for the same seed: gains of 1, and evenly distributed numbers of deviation `1 / √from` in a
    /// projection, 1 in the embedding.
    pub fn random(config: &LlamaConfig, dtype: DType, seed: u64) -> Weights {
        let c = config;
        let mut next = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut matrix = |shape: &[usize]| next.tensor(dtype, shape, (3.0 / shape[0] as f32).sqrt());
        let gains = || from_f32(dtype, &[c.hidden], vec![1.0; c.hidden].into_iter());
        let layers = (0..c.layers)
            .map(|_| LayerWeights {
                attention_norm: gains(),
                qkv: matrix(&[c.hidden, c.heads + 2 * c.kv_heads, c.d]),
                out: matrix(&[c.heads * c.d, c.hidden]),
                mlp_norm: gains(),
                gate: matrix(&[c.hidden, c.inner]),
                up: matrix(&[c.hidden, c.inner]),
                down: matrix(&[c.inner, c.hidden]),
            })
            .collect();
        let head = matrix(&[c.hidden, c.vocabulary]);
        let embedding = match c.tied {
            true => transposed(&head),
            false => next.tensor(dtype, &[c.vocabulary, c.hidden], 3f32.sqrt()),
        };
        Weights { embedding, layers, norm: gains(), head }
    }

    /// From the bytes of one or several `.safetensors` files, with the names that models are published with
    /// (`model.layers.0.self_attn.q_proj.weight`, ..), converted to `dtype`.
    ///
    /// # Errors
    /// `nki::file`: a file that is malformed. `nki::argument`: a tensor that is missing or has another shape.
    pub fn from_safetensors(
        config: &LlamaConfig,
        dtype: DType,
        files: &[&[u8]],
    ) -> Result<Weights, Diagnostics> {
        let parsed: Result<Vec<SafeTensors>, _> = files.iter().map(|f| SafeTensors::deserialize(f)).collect();
        let parsed = parsed.map_err(|e| fail(Code::File, format!("a file of weights: {e}")))?;
        let read = |name: &str, shape: &[usize]| read(&parsed, name, shape, dtype);
        let c = config;
        let layer = |l: usize| -> Result<LayerWeights, Diagnostics> {
            let gain = |name: &str| read(&format!("model.layers.{l}.{name}.weight"), &[c.hidden]);
            // Published weights are [to, from].
            let projection = |name: &str, from: usize, to: usize| {
                read(&format!("model.layers.{l}.{name}.weight"), &[to, from]).map(|w| transposed(&w))
            };
            let head =
                |name: &str, n: usize| projection(&format!("self_attn.{name}_proj"), c.hidden, n * c.d);
            let fused = beside(&[head("q", c.heads)?, head("k", c.kv_heads)?, head("v", c.kv_heads)?]);
            Ok(LayerWeights {
                attention_norm: gain("input_layernorm")?,
                qkv: Tensor { shape: vec![c.hidden, c.heads + 2 * c.kv_heads, c.d], ..fused },
                out: projection("self_attn.o_proj", c.heads * c.d, c.hidden)?,
                mlp_norm: gain("post_attention_layernorm")?,
                gate: projection("mlp.gate_proj", c.hidden, c.inner)?,
                up: projection("mlp.up_proj", c.hidden, c.inner)?,
                down: projection("mlp.down_proj", c.inner, c.hidden)?,
            })
        };
        let embedding = read("model.embed_tokens.weight", &[c.vocabulary, c.hidden])?;
        let head = match c.tied {
            true => transposed(&embedding),
            false => transposed(&read("lm_head.weight", &[c.vocabulary, c.hidden])?),
        };
        let layers: Result<Vec<LayerWeights>, Diagnostics> = (0..c.layers).map(layer).collect();
        Ok(Weights { embedding, layers: layers?, norm: read("model.norm.weight", &[c.hidden])?, head })
    }
}

fn fail(code: Code, message: String) -> Diagnostics {
    Diagnostic::error(code, message).into()
}

/// A tensor of one of several files.
fn read(files: &[SafeTensors], name: &str, shape: &[usize], dtype: DType) -> Result<Tensor, Diagnostics> {
    let view = files.iter().find_map(|f| f.tensor(name).ok());
    let view = view.ok_or_else(|| fail(Code::Argument, format!("the weights have no tensor `{name}`")))?;
    if view.shape() != shape {
        let message = format!("`{name}` is {:?}, and {shape:?} by the configuration", view.shape());
        return Err(fail(Code::Argument, message));
    }
    let bytes = view.data();
    let stored = match view.dtype() {
        safetensors::Dtype::F32 => DType::F32,
        safetensors::Dtype::BF16 => DType::BF16,
        safetensors::Dtype::F16 => DType::F16,
        other => return Err(fail(Code::Argument, format!("`{name}` has elements of {other}"))),
    };
    let tensor = Tensor { dtype: stored, shape: shape.to_vec(), data: bytes.to_vec() };
    if stored == dtype {
        return Ok(tensor);
    }
    let values = nki::args::to_f64(&tensor);
    let converted = nki::args::from_f64(dtype, shape, &values);
    converted.ok_or_else(|| fail(Code::Argument, format!("`{name}` cannot be had as {dtype}")))
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed(x: &Tensor) -> Tensor {
    /// Elements of a square that is moved at a time: rows of both sides stay in the cache.
    const SQUARE: usize = 64;
    let (rows, columns, size) = (x.shape[0], x.shape[1], x.dtype.bytes());
    let mut data = vec![0; x.data.len()];
    for (r0, c0) in squares(rows, columns, SQUARE) {
        for c in c0..(c0 + SQUARE).min(columns) {
            for r in r0..(r0 + SQUARE).min(rows) {
                let (from, to) = ((r * columns + c) * size, (c * rows + r) * size);
                data[to..to + size].copy_from_slice(&x.data[from..from + size]);
            }
        }
    }
    Tensor { dtype: x.dtype, shape: vec![columns, rows], data }
}

fn squares(rows: usize, columns: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(size).flat_map(move |r| (0..columns).step_by(size).map(move |c| (r, c)))
}

/// Matrices of the same number of rows, side by side.
fn beside(parts: &[Tensor]) -> Tensor {
    let (rows, dtype) = (parts[0].shape[0], parts[0].dtype);
    let columns = parts.iter().map(|p| p.shape[1]).sum();
    let mut data = Vec::with_capacity(rows * columns * dtype.bytes());
    for r in 0..rows {
        for p in parts {
            let row = p.shape[1] * dtype.bytes();
            data.extend_from_slice(&p.data[r * row..(r + 1) * row]);
        }
    }
    Tensor { dtype, shape: vec![rows, columns], data }
}

/// A tensor of `dtype`, which is f32, bf16 or f16, from numbers in order.
fn from_f32(dtype: DType, shape: &[usize], values: impl Iterator<Item = f32>) -> Tensor {
    let data = match dtype {
        DType::BF16 => values.flat_map(|x| nki::bf16::from_f32(x).to_le_bytes()).collect(),
        DType::F16 => values.flat_map(|x| nki::f16::from_f32(x).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    };
    Tensor { dtype, shape: shape.to_vec(), data }
}

/// Evenly distributed numbers, quickly: a model has billions.
struct Numbers(u64);

impl Numbers {
    /// Steele, Lea and Flood's SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn tensor(&mut self, dtype: DType, shape: &[usize], limit: f32) -> Tensor {
        let n = shape.iter().product();
        let unit = |bits: u64| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        from_f32(dtype, shape, (0..n).map(|_| limit * unit(self.next())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_turn_and_stand_side_by_side() {
        let x = from_f32(DType::F32, &[70, 65], (0..70 * 65).map(|i| i as f32));
        let y = transposed(&x);
        assert_eq!(y.shape, [65, 70]);
        assert_eq!(nki::args::to_f64(&y)[3 * 70 + 5], f64::from(5 * 65 + 3));
        assert_eq!(transposed(&y), x);
        let both = beside(&[x.clone(), x]);
        assert_eq!(both.shape, [70, 130]);
        assert_eq!(nki::args::to_f64(&both)[130 + 66], 66.0);
    }

    #[test]
    fn random_weights_depend_on_the_seed_alone_and_have_the_deviation_they_should() {
        let config = LlamaConfig::named("tiny").unwrap();
        let one = Weights::random(&config, DType::F32, 1);
        assert_eq!(one.head, Weights::random(&config, DType::F32, 1).head);
        assert_ne!(one.head, Weights::random(&config, DType::F32, 2).head);
        let values = nki::args::to_f64(&one.head);
        let deviation = (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        assert!((deviation * 16.0 - 1.0).abs() < 0.01, "{deviation}");
        assert_eq!(one.embedding, transposed(&one.head));
    }
}
