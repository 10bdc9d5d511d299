//! What object files written by `nki build` are linked with: `cargo build --release -p nki-native` makes the static library
//! `libnki_native.a`. In: kernels' native code and their tile IR. Out: the functions that this code calls, and those that the
//! headers declare. It holds no code generator; the instruction set is chosen when it runs.
#![forbid(unsafe_code)]

pub use nki_backend::host::c_abi;
