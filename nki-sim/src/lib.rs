//! nki-sim
