//! Kernels for Trainium-class NeuronCores, written in the language of crate `nki`.
//!
//! One folder a kernel: `kernel.rs` (the annotated function), `reference.rs` (what it computes, in plain `f64`),
//! `tests.rs`, and `DESIGN.md` (how it uses the machine, and why). [`strip`] holds what several of them share,
//! [`figures`] what they cost in simulated time, of which [`gallery`] makes a page.
//!
//! Kernels whose work can be cut without another order of sums share it when two programs of a logical core run them ([`share`]): those on rows
//! and elements, `matmul`, `mlp`, `qkv`, attention, projections, `rope`, `embedding`, `lm_head`, `argmax`. The results have the same bits.
//!
//! ```
//! use nki::ir::Tensor;
//! use nki::prelude::*;
//! use nki_kernels::softmax::softmax;
//!
//! let x = Tensor::from_f32(&[2, 2], &[0.0, 0.0, f32::NEG_INFINITY, 3.0]).unwrap();
//! let both = softmax::specialize::<f32>(&x, Default::default()).programs(2);
//! assert_eq!(nki::args::to_f64(&both.run(Mode::Sim, Target::Trn2).unwrap()[0]), [0.5, 0.5, 0.0, 1.0]);
//! ```
#![forbid(unsafe_code)]

#[cfg(doctest)]
mod book;

pub mod activation;
pub mod adamw;
pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_backward;
pub mod attention_decode;
pub mod cross_entropy;
pub mod cumsum;
pub mod depthwise_conv1d;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod figures;
pub mod foreach;
pub mod gallery;
pub mod kv_update;
pub mod layernorm;
pub mod llama;
pub mod lm_head;
pub mod matmul;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod pool;
pub mod projection;
pub mod qkv;
pub mod reduce;
pub mod resize;
pub mod rmsnorm;
pub mod rmsnorm_backward;
pub mod rmsnorm_quant;
pub mod rope;
pub mod router;
pub mod selective_scan;
pub mod share;
pub mod softmax;
pub mod strip;
pub mod transpose;
