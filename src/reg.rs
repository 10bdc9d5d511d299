//! Scalars in engine registers: trip counts and offsets that are known only when the kernel runs.

use crate::elem::Int;
use crate::trace::TraceId;
use std::marker::PhantomData;

/// A 32-bit scalar in a sequencer register (isa.md section 9.7). Not a Rust number: it can be a loop bound
/// ([`Nc::range_dyn`](crate::Nc::range_dyn)), a condition ([`Nc::when`](crate::Nc::when)) or an offset.
#[derive(Clone, Copy)]
pub struct Reg<T: Int> {
    pub(crate) trace: TraceId,
    pub(crate) reg: nki_ir::Reg,
    pub(crate) kind: PhantomData<(T, *const ())>,
}
