//! Native building blocks: matrix tiles and rows of numbers, in SIMD.
//!
//! In: slices of `f32`, `bf16`, `f16` and raw bytes, a shape, and a [`Tier`] (which instruction set to use).
//! Out: the same numbers on every tier. Kernels are written once over lanes (`simd::Simd`, private) and
//! compiled for each instruction set, from operations that IEEE 754 defines to the last bit (fused multiply-add
//! included), so AVX-512, AVX2 and portable code agree bit for bit; functions that are allowed to differ
//! say so in their name.
//!
//! The public functions check shapes and bounds once, by `assert!`, and are safe. This crate is the bottom of the
//! workspace and, with the code generator that calls it, the only one that contains `unsafe`.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

mod activation;
mod aligned;
mod binary;
mod codec;
mod convert;
mod element;
mod gemm;
mod math;
mod matmul;
mod matrix;
mod parallel;
mod reduce;
mod scratch;
mod simd;
mod stream;
mod tier;

pub use activation::{
    Activation, activate, activate_affine, activate_affine_in_place, activate_in_place, activate_raw,
    activate_stream_raw,
};
pub use aligned::{AlignedBuf, Plain, as_bytes, as_bytes_mut, cast_slice, cast_slice_mut};
pub use binary::{
    Binary, Input, Operand, binary, binary_in_place, binary_raw, binary_stream_raw, binary_twice_raw,
    has_twice,
};
pub use convert::{Format, convert, narrow, narrow_raw, widen, widen_raw};
pub use element::Element;
pub use gemm::{Destination, Epilogue, Gemm, PackedLeft, PackedRight, Side, matmul_fast};
pub use half::{bf16, f16};
pub use matmul::{Combine, matmul, matmul_raw};
pub use matrix::{MatMut, MatRef, StridedRef};
pub use parallel::{Parallel, Serial, Threads};
pub use reduce::{Reduction, activate_fold_raw, fold, fold_rows, fold_rows_raw};
pub use stream::{stream_fence, stream_raw};
pub use tier::Tier;
