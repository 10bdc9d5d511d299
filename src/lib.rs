//! nki
