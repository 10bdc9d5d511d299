//! nki-rt
