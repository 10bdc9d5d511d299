//! `mlp`: what it computes.

pub mod reference;
