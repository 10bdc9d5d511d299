//! Kernels for Trainium-class NeuronCores, written in the language of crate `nki`.
//!
//! One folder a kernel: `kernel.rs` (the annotated function), `reference.rs` (what it computes, in plain `f64`),
//! `tests.rs`, and `DESIGN.md` (how it uses the machine, and why). [`strip`] holds what several of them share,
//! [`figures`] what they cost in simulated time.
#![forbid(unsafe_code)]

#[cfg(doctest)]
mod book;

pub mod activation;
pub mod adamw;
pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_decode;
pub mod cross_entropy;
pub mod cumsum;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod figures;
pub mod foreach;
pub mod kv_update;
pub mod layernorm;
pub mod llama;
pub mod lm_head;
pub mod matmul;
pub mod mlp;
pub mod projection;
pub mod qkv;
pub mod reduce;
pub mod rmsnorm;
pub mod rmsnorm_backward;
pub mod rope;
pub mod softmax;
pub mod strip;
pub mod transpose;
