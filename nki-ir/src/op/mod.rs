//! The op table: one row per instruction. Builder, reader, writer, verifier, documentation, timing and test generators are
//! driven by it. A row says what isa.md section 9 says in its "Operands" and "Runs on" lines; semantics are in `sem`.

mod enums;
mod table;

pub use enums::{ActFn, AluOp, DgeMode, Engine, MatmulPerf, OobMode, ReduceCmd};
pub use table::OPS;

use crate::kernel::{Attr, Space};
use crate::target::Gen;
use std::fmt;
use std::str::FromStr;

/// A set of memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memories {
    pub hbm: bool,
    pub sbuf: bool,
    pub psum: bool,
}

impl Memories {
    /// Whether `space` belongs to the set.
    pub fn contains(self, space: Space) -> bool {
        match space {
            Space::Hbm => self.hbm,
            Space::Sbuf => self.sbuf,
            Space::Psum => self.psum,
        }
    }
}

/// What an instruction does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
    /// Reads old content when the instruction accumulates (a matmul's destination).
    ReadWrite,
    /// Writes some elements and keeps the others, so that the old content is part of the result.
    Update,
}

/// Forms an operand may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandKind {
    /// A tile that pairs element-wise with the instruction's other `Tile`s: equal P and N (rule G3).
    Tile,
    /// A tile whose shape has rules of its own.
    Free,
    /// One value per partition, (P, 1).
    Vec,
    /// An immediate or a (P, 1) vec.
    ScalarOrVec,
    /// A register.
    Reg,
    /// An integer immediate or a register.
    IntOrReg,
    /// An integer, a position affine in loop variables, or a register.
    IndexOrReg,
    /// A tile or an immediate.
    TileOrScalar,
    /// MX scales: the first four rows of the view, and those 32, 64 and 96 rows further on (isa.md 9.1.2). It may start at
    /// any of four offsets in a quadrant.
    Scales,
    /// A tile of which every sixteenth row takes part (isa.md 9.4.7).
    Sixteenths,
}

impl OperandKind {
    /// A tile with all or some of its rows, never a number or a register.
    pub fn is_tile(self) -> bool {
        use OperandKind::*;
        matches!(self, Tile | Free | Vec | Scales | Sixteenths)
    }
    /// Some rows of the view take no part: they are neither read nor written.
    pub fn is_partial(self) -> bool {
        matches!(self, OperandKind::Scales | OperandKind::Sixteenths)
    }
}

/// One operand position of a row.
#[derive(Clone, Copy, Debug)]
pub struct OperandSpec {
    /// NKI's parameter name.
    pub name: &'static str,
    pub effect: Effect,
    pub kind: OperandKind,
    pub memories: Memories,
    pub optional: bool,
}

/// What an attribute holds; mirrors the variants of [`Attr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    Bool,
    Int,
    F32,
    Ints,
    Pairs,
    Alu,
    Act,
    ReduceCmd,
    Accumulate,
    Oob,
    Dge,
    Engine,
    MatmulPerf,
    Text,
}

/// One attribute position of a row. Attributes equal to their default are not printed.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    /// NKI's parameter name.
    pub name: &'static str,
    pub kind: AttrKind,
    /// `None`: must be given.
    pub default: Option<fn() -> Attr>,
}

/// How an instruction is timed (machine.md section 13); `nki-sim` maps each class to its equations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingClass {
    Matmul,
    Transpose,
    Activation,
    /// One tensor in, one out: copies, tensor_scalar, memset.
    Stream,
    TensorTensor,
    ScalarTensorTensor,
    Scan,
    TensorReduce,
    ScalarReduce,
    Reciprocal,
    Predicated,
    /// N cycles whatever the dtype (range_select, dropout, shuffle, max8, ..).
    PerElement,
    BnAggr,
    /// Four elements per cycle (exponential, quantize_mx).
    Quad,
    Random,
    /// GpSimd, start-up plus N.
    GpSimd,
    Gather,
    TopK,
    Dma,
    Register,
    Barrier,
    None,
}

/// A row of the op table.
#[derive(Clone, Copy, Debug)]
pub struct OpRow {
    pub op: Op,
    /// NKI's name, which is also the text mnemonic.
    pub name: &'static str,
    /// Section of isa.md.
    pub section: &'static str,
    /// Engines per generation: `(engine, from generation)`. The first is the default.
    pub engines: &'static [(Engine, Gen)],
    /// Destinations first.
    pub operands: &'static [OperandSpec],
    pub attrs: &'static [AttrSpec],
    pub timing: TimingClass,
    /// One line for listings.
    pub summary: &'static str,
}

impl OpRow {
    /// Position of an operand by NKI's name.
    pub fn operand(&self, name: &str) -> Option<usize> {
        self.operands.iter().position(|o| o.name == name)
    }
    /// Position of an attribute by NKI's name.
    pub fn attr(&self, name: &str) -> Option<usize> {
        self.attrs.iter().position(|a| a.name == name)
    }
    /// What an instruction with the attributes `attrs` does with operand `i`: a shuffle whose mask keeps no partition writes
    /// all of its destination.
    pub fn effect(&self, i: usize, attrs: &[Attr]) -> Effect {
        let keeps = |mask: &[i64]| mask.contains(&SHUFFLE_KEEP);
        match (self.operands[i].effect, self.attr("shuffle_mask").and_then(|m| attrs.get(m))) {
            (Effect::Update, Some(Attr::Ints(mask))) if !keeps(mask) => Effect::Write,
            (effect, _) => effect,
        }
    }
    /// Engines that run it on `generation`.
    pub fn engines_on(&self, generation: Gen) -> impl Iterator<Item = Engine> {
        self.engines.iter().filter(move |e| e.1 <= generation).map(|e| e.0)
    }
}

/// The entry of a shuffle mask that keeps what the destination's partition holds (isa.md 9.3.22).
pub const SHUFFLE_KEEP: i64 = 255;

/// What an instruction does with its engine's reduce registers (isa.md section 6); `None` if it does not know them.
pub fn reduce_command(op: Op, attrs: &[Attr]) -> Option<ReduceCmd> {
    match op.row().attr("reduce_cmd").and_then(|i| attrs.get(i)) {
        Some(Attr::ReduceCmd(c)) => Some(*c),
        _ if op == Op::ActivationReduce => Some(ReduceCmd::ResetReduce),
        _ => None,
    }
}

impl Op {
    /// Whether it draws from or sets the random numbers of its engine (isa.md 9.5).
    pub fn uses_random(self) -> bool {
        matches!(
            self,
            Op::Dropout | Op::Rng | Op::Rand2 | Op::RandSetState | Op::RandGetState | Op::SetRngSeed
        )
    }
    /// Its row of the table.
    pub fn row(self) -> &'static OpRow {
        &OPS[self as usize]
    }
    /// Every op.
    pub fn all() -> impl Iterator<Item = Op> {
        OPS.iter().map(|r| r.op)
    }
    /// NKI's name.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

pub use table::Op;

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Op {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        OPS.iter().find(|r| r.name == s).map(|r| r.op).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_in_enum_order_with_unique_names() {
        let mut names = BTreeSet::new();
        for (i, row) in OPS.iter().enumerate() {
            assert_eq!(row.op as usize, i, "{}", row.name);
            assert!(names.insert(row.name), "{} twice", row.name);
            assert_eq!(row.name.parse(), Ok(row.op));
            let mut parts = BTreeSet::new();
            for part in row.operands.iter().map(|o| o.name).chain(row.attrs.iter().map(|a| a.name)) {
                assert!(parts.insert(part), "{}: {part} twice", row.name);
            }
            assert!(!row.engines.is_empty(), "{} runs nowhere", row.name);
        }
    }
}
