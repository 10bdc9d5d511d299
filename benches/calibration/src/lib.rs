//! Kernels that have been measured on Trainium, written with the instruction streams that ran there (calibration.md). They
//! register themselves for `nki calibrate`.
#![forbid(unsafe_code)]

pub mod attention;
pub mod cases;
pub mod ladder;
pub mod lora;
pub mod mamba;
mod pieces;
pub mod product;
pub mod single;
pub mod vector;
