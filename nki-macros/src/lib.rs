//! The attribute macros of `nki`. In: a Rust function or structure. Out: the same item with names, call frames and labels
//! added, or the unchanged item next to compile errors that say what to do. The logic is in plain functions over
//! `proc_macro2`; nothing here knows of the IR.
#![forbid(unsafe_code)]

mod config;
mod ensure;
mod kernel;
mod lint;
mod naming;
mod signature;

use proc_macro::TokenStream;

/// Makes a function a kernel.
///
/// The first parameter is `nc: Nc`. The body is ordinary Rust and runs once per specialisation; it is linted (device loops
/// cannot be left or carry Rust variables from turn to turn), its `let` and loop variables become the names of what they
/// hold, and positions in diagnostics are those of the operations in it. Next to the function `f` the macro defines a type
/// `f` with `f::specialize(..)` (if a host can call it), `f::at` (labels for schedules) and `f::INFO`.
///
/// A tensor parameter marked `#[inout]` is also written by the kernel and comes back among the results.
#[proc_macro_attribute]
pub fn kernel(attribute: TokenStream, item: TokenStream) -> TokenStream {
    kernel::expand(attribute.into(), item.into()).into()
}

/// Lets a structure with named fields be the configuration of a kernel: its fields can be listed and set by name. Every field
/// type must implement `ConfigValue`. Defaults come from `#[config(default = ..)]` on the fields, or, if no field has one,
/// from the structure's own `Default`. A field-less enum becomes a value that a field can have.
#[proc_macro_derive(KernelConfig, attributes(config))]
pub fn kernel_config(item: TokenStream) -> TokenStream {
    config::expand(item.into()).into()
}

/// `ensure!(nc, condition)` or `ensure!(nc, condition, "message {}", value)`: ends the trace with `nki::ensure` at this place
/// unless the condition holds. The operands of a comparison are shown.
#[proc_macro]
pub fn ensure(input: TokenStream) -> TokenStream {
    ensure::expand(input.into()).into()
}
