//! `rmsnorm`: what it computes.

pub mod reference;
