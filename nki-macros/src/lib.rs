//! nki-macros
