//! nki
#![forbid(unsafe_code)]

pub mod args;
