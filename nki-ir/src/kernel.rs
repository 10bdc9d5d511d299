//! A kernel: buffers, registers, loops and instructions in structured regions. No control-flow graph, no recursion over
//! depth: regions refer to loops and loops to regions by index.

use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::{Buf, Inst, Loop, Reg, Region, Table, Var};
use crate::loc::{Loc, LocTable};
use crate::op::{ActFn, AluOp, DgeMode, Engine, MatmulPerf, OobMode, Op, ReduceCmd};
use crate::view::View;
use smallvec::SmallVec;
use std::fmt;

/// A memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    Hbm,
    Sbuf,
    Psum,
}

impl Space {
    /// SBUF or PSUM: dimension 0 is the partition dimension.
    pub fn on_chip(self) -> bool {
        self != Space::Hbm
    }
    /// Text name.
    pub fn name(self) -> &'static str {
        match self {
            Space::Hbm => "hbm",
            Space::Sbuf => "sbuf",
            Space::Psum => "psum",
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Role of a buffer. Inputs and outputs are HBM tensors of the kernel's signature, in the order of their declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufKind {
    /// Read-only argument.
    Input,
    /// Result; starts poisoned.
    Output,
    /// Argument that the kernel also writes; it is returned among the results.
    InOut,
    /// Local to the kernel: a tile, or HBM scratch.
    Private,
}

/// A buffer. Its lifetime is from its `Node::Alloc` to its last use within that region; inside a loop every iteration has
/// a fresh one. Inputs, outputs and inouts live throughout and have no `Alloc`.
#[derive(Clone, Debug, PartialEq)]
pub struct BufData {
    /// The author's name for it; unique within the kernel.
    pub name: String,
    pub space: Space,
    pub dtype: DType,
    /// Rank 2 or more on chip, dimension 0 being partitions.
    pub shape: Vec<u32>,
    pub kind: BufKind,
    /// Manual placement: start partition and byte offset within the partition.
    pub address: Option<(u32, u32)>,
    /// Multi-buffering depth asked for by a schedule.
    pub buffers: Option<u32>,
    /// Ring (0 to 15) asked for by a schedule, for the transfers that fill or empty it.
    pub queue: Option<u8>,
    /// Asked for by a schedule: what writes it comes after everything before it that writes that buffer.
    pub after: Option<Buf>,
    pub loc: Loc,
}

impl BufData {
    /// A buffer without manual placement.
    pub fn new(name: &str, space: Space, dtype: DType, shape: &[u32], kind: BufKind, loc: Loc) -> Self {
        BufData {
            name: name.into(),
            space,
            dtype,
            shape: shape.to_vec(),
            kind,
            address: None,
            buffers: None,
            queue: None,
            after: None,
            loc,
        }
    }
    /// Elements per partition on chip; all elements in HBM.
    pub fn row_elements(&self) -> u64 {
        let free = if self.space.on_chip() { self.shape.get(1..).unwrap_or(&[]) } else { &self.shape };
        free.iter().fold(1u64, |n, &d| n.saturating_mul(d.into()))
    }
    /// Bytes per partition on chip; all bytes in HBM.
    pub fn row_bytes(&self) -> u64 {
        self.row_elements().saturating_mul(self.dtype.bytes() as u64)
    }
    /// Partitions on chip; 1 in HBM.
    pub fn partitions(&self) -> u32 {
        if self.space.on_chip() { self.shape.first().copied().unwrap_or(0) } else { 1 }
    }
}

/// A loop bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Const(i64),
    /// A register's value: as an end promised to be at most `max`, as a start to be at least 0.
    Reg {
        reg: Reg,
        max: i64,
    },
}

/// An induction variable: takes `lo, lo + step, ..` below `hi`.
#[derive(Clone, Debug, PartialEq)]
pub struct VarData {
    pub name: String,
    pub owner: Loop,
}

/// A structured node that owns regions.
#[derive(Clone, Debug, PartialEq)]
pub enum LoopData {
    /// `for var in lo..hi step step`.
    For { var: Var, lo: Bound, hi: Bound, step: i64, body: Region, unroll: Option<u32>, loc: Loc },
    /// `while cond != 0`: tested before each turn; the body writes `cond`.
    While { cond: Reg, body: Region, loc: Loc },
    /// `if cond != 0 { then } else { otherwise }`.
    If { cond: Reg, then: Region, otherwise: Region, loc: Loc },
    /// The instructions inside keep their program order.
    NoReorder { body: Region, loc: Loc },
}

impl LoopData {
    /// Source position.
    pub fn loc(&self) -> Loc {
        match self {
            LoopData::For { loc, .. } | LoopData::While { loc, .. } | LoopData::If { loc, .. } => *loc,
            LoopData::NoReorder { loc, .. } => *loc,
        }
    }
    /// The regions it owns.
    pub fn regions(&self) -> SmallVec<[Region; 2]> {
        match self {
            LoopData::For { body, .. } | LoopData::While { body, .. } | LoopData::NoReorder { body, .. } => {
                SmallVec::from_slice(&[*body])
            }
            LoopData::If { then, otherwise, .. } => SmallVec::from_slice(&[*then, *otherwise]),
        }
    }
    /// Whether how often it runs depends on registers.
    pub fn is_dynamic(&self) -> bool {
        match self {
            LoopData::For { lo, hi, .. } => [lo, hi].into_iter().any(|b| matches!(b, Bound::Reg { .. })),
            LoopData::While { .. } | LoopData::If { .. } => true,
            LoopData::NoReorder { .. } => false,
        }
    }
    /// Number of turns of a counted loop with constant bounds.
    pub fn trip_count(&self) -> Option<u64> {
        match self {
            LoopData::For { lo: Bound::Const(lo), hi: Bound::Const(hi), step, .. } if *step > 0 => {
                let span = (*hi as i128 - *lo as i128).max(0);
                u64::try_from((span + *step as i128 - 1) / *step as i128).ok()
            }
            _ => None,
        }
    }
}

/// An element of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Alloc(Buf),
    Inst(Inst),
    Loop(Loop),
}

/// A straight sequence of nodes, in program order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionData {
    pub nodes: Vec<Node>,
}

/// A virtual 32-bit register.
#[derive(Clone, Debug, PartialEq)]
pub struct RegData {
    pub name: String,
    pub dtype: DType,
    pub loc: Loc,
}

/// An operand of an instruction; which forms are legal at a position is in the op table.
// Nearly every operand is a view: a box would cost an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// An optional operand that is absent.
    None,
    View(View),
    /// A float32 immediate.
    Imm(f32),
    /// An integer immediate.
    Int(i64),
    Reg(Reg),
    /// A position that depends on loop variables.
    Index(Affine),
}

impl Operand {
    /// The view, if it is one.
    pub fn view(&self) -> Option<&View> {
        match self {
            Operand::View(v) => Some(v),
            _ => None,
        }
    }
}

/// When a matmul adds to its destination instead of overwriting it (isa.md section 13). `Auto` never leaves the front
/// end: the builder resolves it when the kernel is finished, and passes never derive it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accumulate {
    Auto,
    Overwrite,
    Add,
    /// Overwrites in the turn in which all these loops are at their first iteration, adds in all others.
    UnlessFirst(SmallVec<[Var; 2]>),
}

/// An attribute value; which variant is legal at a position is in the op table.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    None,
    Bool(bool),
    Int(i64),
    F32(f32),
    Ints(Vec<i64>),
    /// `[step, num]` pairs of iota-like patterns, outermost first.
    Pairs(Vec<[i64; 2]>),
    Alu(AluOp),
    Act(ActFn),
    ReduceCmd(ReduceCmd),
    Accumulate(Accumulate),
    Oob(OobMode),
    Dge(DgeMode),
    Engine(Engine),
    MatmulPerf(MatmulPerf),
    Text(String),
}

/// An instruction: a row of the op table with its operands and attributes, each list as long as the row's, in the row's order.
#[derive(Clone, Debug, PartialEq)]
pub struct InstData {
    pub op: Op,
    pub operands: SmallVec<[Operand; 4]>,
    pub attrs: SmallVec<[Attr; 4]>,
    /// The engine asked for; `Engine::Unknown` leaves the choice to the compiler.
    pub engine: Engine,
    /// A name given by the author; unique within the kernel.
    pub name: Option<String>,
    pub loc: Loc,
}

/// A kernel, specialised to shapes and dtypes.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub name: String,
    pub bufs: Table<Buf, BufData>,
    pub vars: Table<Var, VarData>,
    pub regs: Table<Reg, RegData>,
    pub insts: Table<Inst, InstData>,
    pub loops: Table<Loop, LoopData>,
    pub regions: Table<Region, RegionData>,
    pub body: Region,
    /// Which of how many program instances that run together (isa.md 11.4).
    pub program: Option<(u32, u32)>,
    pub locs: LocTable,
}

impl Kernel {
    /// A kernel without operations.
    pub fn new(name: &str) -> Self {
        let mut regions = Table::default();
        let body = regions.push(RegionData::default());
        Kernel {
            name: name.into(),
            bufs: Table::default(),
            vars: Table::default(),
            regs: Table::default(),
            insts: Table::default(),
            loops: Table::default(),
            regions,
            body,
            program: None,
            locs: LocTable::default(),
        }
    }
    /// Tensors that a caller passes (inputs and inouts), in order.
    pub fn inputs(&self) -> impl Iterator<Item = (Buf, &BufData)> {
        self.bufs.iter().filter(|(_, b)| matches!(b.kind, BufKind::Input | BufKind::InOut))
    }
    /// Tensors that a caller gets back (outputs and inouts), in order.
    pub fn outputs(&self) -> impl Iterator<Item = (Buf, &BufData)> {
        self.bufs.iter().filter(|(_, b)| matches!(b.kind, BufKind::Output | BufKind::InOut))
    }
    /// Smallest and largest value of a loop variable, both included; `None` if its loop never runs. Loops nest by
    /// construction, so bounds never depend on other variables.
    pub fn var_range(&self, v: Var) -> Option<(i64, i64)> {
        let LoopData::For { lo, hi, step, .. } = self.loops.get(self.vars.get(v)?.owner)? else {
            return None;
        };
        // A start in a register is at least 0; executors check it.
        let (lo, unknown) = match lo {
            Bound::Const(c) => (*c, false),
            Bound::Reg { .. } => (0, true),
        };
        let hi = match hi {
            Bound::Const(c) => *c,
            Bound::Reg { max, .. } => *max,
        };
        if hi <= lo || *step <= 0 {
            return None;
        }
        // From a start that is not known, any value may be the last.
        let last = if unknown { hi - 1 } else { lo + (hi - 1 - lo) / step * step };
        Some((lo, last))
    }
}
