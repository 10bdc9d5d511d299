//! nki-backend
