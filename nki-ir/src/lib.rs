//! nki-ir
