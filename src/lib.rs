//! nki
#![forbid(unsafe_code)]

pub mod args;
pub mod check;
