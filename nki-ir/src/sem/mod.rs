//! What each operation computes, bit by bit: the single definition that the eager mode, the interpreter and the simulator
//! execute, and that the host backend is checked against (isa.md sections 2 to 6, 9 and 13).
//!
//! An instruction reaches [`execute`] resolved: every operand is a [`Span`] of bytes in some memory, registers and loop
//! variables have become numbers, and the engine is known ([`engine_of`]; 32-bit integer arithmetic depends on it).
//! One function per op, in a file per engine, found through a table with a row per op.

mod access;
pub mod act;
pub mod alu;
pub mod cast;
mod engine;
mod exec;
mod indirect;
mod later;
mod ops;
mod random;
mod scratch;
mod span;
mod state;

pub use engine::{OperandFacts, engine_of};
pub use indirect::{Columns, group};
pub use later::Later;
pub use ops::register_value;
pub use ops::{MAX_SOURCES, SOURCES, lane};
pub use random::Random;
pub use span::{Memory, Span};
pub use state::{LANES, Outside, Registers, Rounding, State, identity, salt};

use crate::diag::Code;
use crate::kernel::Attr;
use crate::op::{Effect, Engine, Op, OperandKind};
use crate::target::{Gen, PARTITIONS};
use exec::Exec;

/// A resolved operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// An optional operand that is absent.
    None,
    Span(Span),
    /// Rows at positions known only at run time (isa.md 3.5, `dma_copy`).
    Rows(Rows),
    /// Columns at positions known only at run time (isa.md 3.6).
    Columns(Columns),
    /// A float32 immediate.
    Imm(f32),
    /// An integer immediate, or the value of a register.
    Int(i64),
}

/// Rows of an HBM tensor chosen by an index tile: row `p` holds the elements of `row` with the base `starts[p]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// One partition; its `base` is not used.
    pub row: Span,
    /// First byte of each row; `None` for a row that an out-of-bounds index skips.
    pub starts: Vec<Option<u64>>,
}

/// One execution of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub op: Op,
    /// As [`engine_of`] resolves it.
    pub engine: Engine,
    pub generation: Gen,
    /// As many as the row of the op table has operands, in its order.
    pub args: &'a [Arg],
    /// As many as the row has attributes.
    pub attrs: &'a [Attr],
    /// Whether this execution of a matmul adds to its destination.
    pub accumulate: bool,
    /// Tells executions of an instruction apart for stochastic rounding, and for nothing else. Executors that give equal
    /// salts round alike.
    pub salt: u64,
}

/// Why an instruction cannot be executed. Executors add the place.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub code: Code,
    pub message: String,
    /// Position of the operand to blame.
    pub operand: Option<usize>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// An error result.
pub(crate) fn fault<T>(code: Code, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { code, message: message.into(), operand: None })
}

/// Executes one instruction on `mem`.
///
/// Everything is read before anything that depends on it is written, a partition at a time: in-place use with identical
/// views is exact. Reads and writes nothing but the operands and the reduce registers of the call's engine.
///
/// # Errors
/// A [`Fault`] when operands or attributes do not fit the op table or each other, or an operand leaves its memory; the
/// destination may then be partly written. Never panics.
pub fn execute(call: &Call, mem: &mut dyn Memory, state: &mut State) -> Result<(), Fault> {
    let row = call.op.row();
    if call.args.len() != row.operands.len() || call.attrs.len() != row.attrs.len() {
        return fault(Code::Form, format!("{} with the wrong number of operands or attributes", row.name));
    }
    if call.args.iter().any(|a| matches!(a, Arg::Columns(_))) {
        return indirect::execute(call, mem, state);
    }
    for (i, arg) in call.args.iter().enumerate() {
        check_operand(call, i, arg, mem).map_err(|f| Fault {
            message: format!("{}: {}", row.operands[i].name, f.message),
            operand: Some(i),
            ..f
        })?;
    }
    ops::function(call.op)(&mut Exec::new(call, mem, state))
}

/// The elements of an operand of `kind` that an instruction reads or writes: all of `span`, but for kinds of which some rows
/// take no part ([`OperandKind::is_partial`]).
pub fn used(kind: OperandKind, span: &Span) -> smallvec::SmallVec<[Span; 4]> {
    ops::used(kind, span)
}

/// The text that an instruction carries.
pub fn text_of(attrs: &[Attr]) -> &str {
    attrs.iter().find_map(|a| if let Attr::Text(t) = a { Some(t.as_str()) } else { None }).unwrap_or("")
}

/// The checks that make the operand safe to access, and its size sane.
fn check_operand(call: &Call, i: usize, arg: &Arg, mem: &dyn Memory) -> Result<(), Fault> {
    let spec = &call.op.row().operands[i];
    match arg {
        Arg::None if spec.optional => Ok(()),
        // What is written there is left in the state.
        Arg::None if spec.kind == OperandKind::Reg && spec.effect == Effect::Write => Ok(()),
        Arg::None => fault(Code::Form, "missing"),
        Arg::Imm(_) | Arg::Int(_) if spec.kind.is_tile() => fault(Code::Form, "not a tile"),
        Arg::Imm(_) | Arg::Int(_) => Ok(()),
        Arg::Span(span) => {
            let len = mem.bytes(span.mem).len();
            span.check(len)?;
            let compute = !matches!(call.engine, Engine::Dma | Engine::Sync);
            if compute && span.parts > PARTITIONS {
                return fault(Code::Partition, format!("{} partitions", span.parts));
            }
            if compute && span.row_elements() > span::MAX_ROW {
                return fault(Code::Limit, format!("{} elements per partition", span.row_elements()));
            }
            // What is printed or exchanged may repeat elements as an engine may, not without bound.
            let bound = (len / span.dtype.bytes()).max(span::MAX_ROW);
            if call.engine == Engine::Sync && span.elements() > bound {
                return fault(Code::Limit, format!("{} elements", span.elements()));
            }
            // A destination names each element at most once, so it is no larger than its memory.
            let too_many = span.elements() > len / span.dtype.bytes();
            if spec.effect != Effect::Read && span.elements() > 0 && too_many {
                return fault(Code::Overlap, "the destination repeats elements");
            }
            Ok(())
        }
        Arg::Rows(rows) if call.engine == Engine::Dma => {
            let len = mem.bytes(rows.row.mem).len();
            if rows.row.parts != 1 {
                return fault(Code::Form, "a row spans partitions");
            }
            let mut row = rows.row.clone();
            for start in rows.starts.iter().flatten() {
                row.base = *start;
                row.check(len)?;
            }
            Ok(())
        }
        Arg::Columns(_) => fault(Code::DynamicIndex, "columns at run-time positions in an index"),
        Arg::Rows(_) => fault(Code::DynamicIndex, "rows at run-time positions exist only in transfers"),
    }
}

#[cfg(test)]
mod tests;
