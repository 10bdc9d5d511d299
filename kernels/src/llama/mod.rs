//! Models of the Llama architecture, of this library's kernels: sizes, weights, and generation of tokens.
//!
//! A decoder layer is host code that calls kernels: `qkv` with the norm and the rotation, `kv_update`, `attention_cached` or
//! `attention_decode`, `projection` with the residual, `rmsnorm`, `mlp`, `add`. See `DESIGN.md`, and the example `llama`.
//!
//! ```
//! use nki::ir::{DType, Target};
//! use nki_kernels::llama::{Llama, LlamaConfig, Running, Weights};
//!
//! let config = LlamaConfig { layers: 1, ..LlamaConfig::named("tiny").unwrap() };
//! let weights = Weights::random(&config, DType::F32, 7);
//! let running = Running { mode: nki::Mode::Host, target: Target::Trn2, batch: 1, slots: 64 };
//! let mut model = Llama::new(config, DType::F32, weights, running).unwrap();
//! let tokens = model.generate(&[1, 2, 3], 4).unwrap();
//! assert_eq!(tokens.len(), 4);
//! ```

mod config;
mod kernels;
mod model;
pub mod reference;
mod simulate;
#[cfg(test)]
mod tests;
mod weights;

pub use config::{LlamaConfig, NAMES, Scaling};
pub use kernels::{Kernels, Step, kernels};
pub use model::{Llama, Output, Running, bucket};
pub use simulate::{StepTime, simulate};
pub use weights::{LayerWeights, Weights};
